"""Whether finished pictures can be stored: while the bucket is not there, nothing more is bought."""

from collections.abc import Awaitable, Callable

import structlog

from batchgen.errors import StorageError

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Store:
    """Closed by an upload that failed where the bucket does not answer either; open again when it does.

    `look` asks for the bucket and raises `StorageError`; `opened` is called when there is room for work again.
    """

    def __init__(self, look: Callable[[], Awaitable[object]]) -> None:
        self._look = look
        self.opened: Callable[[], None] = lambda: None
        self.is_open = True

    async def doubt(self) -> None:
        """An upload failed: by a fault of its own, or is it the bucket?"""
        if not self.is_open:
            return
        try:
            await self._look()
        except StorageError as error:
            self.is_open = False
            log.warning("storage lost, nothing more is begun and pictures are kept", reason=str(error))

    async def look_again(self) -> None:
        """Part of each poll."""
        if self.is_open:
            return
        try:
            await self._look()
        except StorageError:
            return
        self.is_open = True
        log.info("storage recovered")
        self.opened()
