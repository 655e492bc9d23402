"""Hold back new orders while Storage is lost."""

from collections.abc import Awaitable, Callable

from scheduler.outages import Outage


class StorageGate:
    """Closes when an upload fails and the bucket does not answer either; opens when the bucket answers again.

    `ask_bucket` raises `StorageError`.
    """

    def __init__(self, ask_bucket: Callable[[], Awaitable[object]]) -> None:
        self._ask_bucket = ask_bucket
        self._outage = Outage("storage lost, nothing more is begun and pictures are kept", "storage recovered")

    @property
    def is_open(self) -> bool:
        return not self._outage.is_on

    async def check(self) -> None:
        """An upload failed: close unless the bucket answers."""
        if not self.is_open:
            return
        with self._outage.logged():
            await self._ask_bucket()

    async def reopen(self) -> bool:
        """Ask for the bucket if the gate is closed, and return whether this opened it. Part of each poll."""
        if self.is_open:
            return False
        with self._outage.logged():
            await self._ask_bucket()
        return self.is_open
