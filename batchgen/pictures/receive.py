"""Turn a provider's result, in hand or at an address, into a checked file that can be stored."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from batchgen.pictures.check import CheckedImage, Checker
from batchgen.pictures.fetch import Fetcher
from batchgen.pictures.temporary_files import in_a_file
from batchgen.providers.base import RawImage, RemoteImage


class Receiver:
    """Fetches and checks pictures. Owns its fetcher and checker; closed with `aclose`."""

    def __init__(self, fetcher: Fetcher, checker: Checker, *, folder: Path | None = None) -> None:
        self._fetcher = fetcher
        self._checker = checker
        self._folder = folder

    @asynccontextmanager
    async def receive(
        self, output: RawImage | RemoteImage, *, local_server: str | None = None
    ) -> AsyncGenerator[CheckedImage]:
        """The checked picture, for the time of the block. `local_server` as in `Fetcher.fetch`.

        Raises what `Fetcher.fetch` and `Checker.check` raise.
        """
        opened = (
            self._fetcher.fetch(output, local_server=local_server)
            if isinstance(output, RemoteImage)
            else in_a_file(output.content, self._folder)
        )
        keeps_metadata = isinstance(output, RawImage) and output.keeps_metadata
        async with opened as file:
            yield await self._checker.check(file, keeps_metadata=keeps_metadata)

    async def aclose(self) -> None:
        self._checker.close()
        await self._fetcher.aclose()
