"""Image files as such, for the worker, the client and the offline provider alike."""
