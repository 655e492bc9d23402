"""The worker's calls to the database and to Storage."""
