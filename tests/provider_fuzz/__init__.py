"""Arbitrary answers of providers to a real worker: statuses, headers, JSON, addresses, bytes, broken connections.

To add a provider, add a server to `servers.py` and a setup to `tests/money/provider_setups.py`.
"""
