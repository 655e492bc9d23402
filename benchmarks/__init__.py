"""`make bench`: measure speed beside other Postgres queues, in one run on one machine. Never a test."""
