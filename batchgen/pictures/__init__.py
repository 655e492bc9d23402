"""Fetch and check the pictures that providers deliver."""
