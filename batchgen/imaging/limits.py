"""Limits of files; the bucket, `images.file_size` and docs/pictures.md have the same numbers."""

MEBIBYTE = 2**20
LARGEST_PICTURE_BYTES = 50 * MEBIBYTE
"""The largest file that is stored."""
LARGEST_DELIVERY_BYTES = 128 * MEBIBYTE
"""The largest file that is fetched and checked: larger pictures than the bucket accepts are made smaller."""
