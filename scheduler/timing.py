"""The worker's times that come from its settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerTiming:
    grace_seconds: float = 30
    """How long running items may finish after a stop."""
    refill_pause_seconds: float = 0.02
    """Items that end within this time are replaced by one claim."""
    longest_wait_seconds: float = 30
    """The longest wait for work: a worker whose ticks are dead must notice it."""
    report_seconds: float = 20
    """How long stopped items may take to write their results down."""
    failed_claims: int = 3
    """`run_once` gives up after so many in a row."""
