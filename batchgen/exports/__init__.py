"""Exports: ZIP files with the pictures of batches and a manifest that can run them again."""
