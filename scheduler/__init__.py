"""The worker: claims generations, runs them at a provider, stores the pictures. Start it with `python -m scheduler`."""
