"""Chaos runs: the whole system under faults drawn from a seed, `python -m tests.chaos --seed 7`."""
