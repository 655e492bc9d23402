"""What a stored picture may be at most; the bucket and docs/pictures.md say the same."""

LARGEST_PICTURE_BYTES = 50 * 2**20
