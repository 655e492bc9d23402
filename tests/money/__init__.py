"""Money under faults: providers fail, workers are killed, and the ledger is compared with the providers' logs."""
