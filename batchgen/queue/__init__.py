"""What only a worker asks of the database and of Storage."""
