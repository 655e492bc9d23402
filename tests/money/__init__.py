"""Money under faults: each provider's local server sells badly, workers are killed, and the books are compared."""
