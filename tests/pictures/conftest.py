"""An HTTPS picture server, a fake network around it, and a fetcher that trusts the server's certificate."""

import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import trustme
from picture_server import PUBLIC_ADDRESS, FakeNetwork, PictureServer, picture_server
from supabase import AsyncClient

from batchgen.backend.bucket import ImageStorage
from batchgen.pictures.fetch import Fetcher, FetchLimits
from batchgen.queue.picture_store import PictureStore
from batchgen.settings import Settings

FetcherMaker = Callable[..., Fetcher]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncGenerator[PictureServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("pictures.test", "elsewhere.test").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    async with picture_server(context) as server:
        yield server


@pytest.fixture
async def plain_server() -> AsyncGenerator[PictureServer]:
    """Without TLS, like a provider in the local network."""
    async with picture_server() as server:
        yield server


@pytest.fixture
def network(server: PictureServer) -> FakeNetwork:
    network = FakeNetwork(server.port)
    network.knows("pictures.test", [PUBLIC_ADDRESS])
    network.knows("elsewhere.test", ["1.0.0.1"])
    return network


@pytest.fixture
def trusted(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@pytest.fixture
async def fetcher_with(network: FakeNetwork, trusted: ssl.SSLContext) -> AsyncGenerator[FetcherMaker]:
    """`fetcher_with(max_bytes=10)`: a fetcher in that network, with limits as given."""
    made: list[Fetcher] = []

    def make(**limits: Any) -> Fetcher:
        fetcher = Fetcher(FetchLimits(**limits), resolve=network.resolve, network=network, certificates=trusted)
        made.append(fetcher)
        return fetcher

    yield make
    for fetcher in made:
        await fetcher.aclose()


@pytest.fixture
def fetcher(fetcher_with: FetcherMaker) -> Fetcher:
    return fetcher_with()


@pytest.fixture
def storage(service: AsyncClient, settings: Settings) -> ImageStorage:
    return ImageStorage(service, bucket=settings.bucket)


@pytest.fixture
def picture_store(service: AsyncClient, settings: Settings) -> PictureStore:
    return PictureStore(service, bucket=settings.bucket)
