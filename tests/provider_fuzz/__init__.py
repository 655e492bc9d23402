"""Whatever a provider may answer, sent to a real worker: statuses, headers, JSON, addresses, bytes, broken connections.

A provider joins with a shop in `shops.py` and a listing in `tests/money/catalogue.py`.
"""
