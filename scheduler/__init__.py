"""The worker: claims items, orders and stores their pictures. Start it with `python -m scheduler`."""
