"""How far a stop of the worker has got."""

import asyncio


class StopRequest:
    """Set by a signal, or by the end of a run's time."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        """Claim nothing more and drain."""
        self.asked = asyncio.Event()
        """Somebody wants the process to end; otherwise the time of a run is over."""
        self.hurry = asyncio.Event()
        """Asked twice: drain without the grace time."""
        self.is_time_over = False

    @property
    def is_set(self) -> bool:
        return self.stopping.is_set()

    def ask(self) -> None:
        if self.asked.is_set():
            self.hurry.set()
        self.asked.set()
        self.stopping.set()

    def end_in_time(self) -> None:
        self.is_time_over = True
        self.stopping.set()
