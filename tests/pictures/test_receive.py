"""From a provider's result to Storage: only pictures are stored."""

import uuid
from collections.abc import AsyncGenerator

import httpx
import pytest
from hostile_pictures import HTML, picture, png_bomb, svg, with_png_block, zip_end
from picture_server import PRIVATE_ADDRESS, FakeNetwork, PictureServer
from supabase import AsyncClient

from batchgen.backend.bucket import ImageStorage
from batchgen.errors import ProviderError
from batchgen.pictures.check import Checker
from batchgen.pictures.fetch import Fetcher
from batchgen.pictures.receive import Receiver
from batchgen.providers.base import RawImage, RemoteImage
from batchgen.queue.picture_store import PictureStore
from batchgen.settings import Settings
from tests.support import User

URL = "https://pictures.test/one.png"


@pytest.fixture
async def receiver(fetcher: Fetcher) -> AsyncGenerator[Receiver]:
    receiver = Receiver(fetcher, Checker())
    yield receiver
    await receiver.aclose()


async def stored_types(service: AsyncClient, settings: Settings, user: User) -> list[str]:
    listed = await service.storage.from_(settings.bucket).list(user.id)
    return [entry["metadata"]["mimetype"] for entry in listed]


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
async def test_a_fetched_picture_is_stored_byte_for_byte(
    receiver: Receiver,
    storage: ImageStorage,
    picture_store: PictureStore,
    server: PictureServer,
    user: User,
    format: str,
) -> None:
    content = picture(format, (700, 500))
    server.gives("/one.png", content)  # whatever the name says
    generation_id = uuid.uuid4()

    async with receiver.receive(RemoteImage(URL)) as image:
        first = await picture_store.put(image, user_id=uuid.UUID(user.id), generation_id=generation_id)
        again = await picture_store.put(image, user_id=uuid.UUID(user.id), generation_id=generation_id)

    assert first == again
    assert first.storage_path == f"{user.id}/{generation_id}.{format}"
    assert (first.width, first.height, first.file_size) == (700, 500, len(content))
    assert await storage.get(first.storage_path) == content
    assert first.public_url
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(first.public_url)
    assert answer.headers["content-type"] == f"image/{format}"


async def test_only_a_picture_that_the_worker_wrote_keeps_its_metadata(receiver: Receiver) -> None:
    content = with_png_block(picture(), b"tEXt", b"prompt\0a fox")

    async with receiver.receive(RawImage(content)) as image:
        assert image.file.read() == picture()
    async with receiver.receive(RawImage(content, keeps_metadata=True)) as image:
        assert image.file.read() == content
        assert (image.format, image.file_size) == ("png", len(content))


@pytest.mark.parametrize(
    "content", [HTML, svg("<rect/>"), png_bomb(30_000, 30_000), zip_end() + picture(), picture()[:-40], b""]
)
async def test_a_hostile_file_never_reaches_storage(
    receiver: Receiver,
    picture_store: PictureStore,
    server: PictureServer,
    service: AsyncClient,
    settings: Settings,
    user: User,
    content: bytes,
) -> None:
    server.gives("/one.png", content, headers={"content-type": "image/png"})

    for output in (RemoteImage(URL), RawImage(content)):
        with pytest.raises(ProviderError):
            async with receiver.receive(output) as image:
                await picture_store.put(image, user_id=uuid.UUID(user.id), generation_id=uuid.uuid4())

    assert await stored_types(service, settings, user) == []


async def test_a_redirect_into_the_local_network_is_not_followed(
    receiver: Receiver, server: PictureServer, network: FakeNetwork
) -> None:
    network.knows("inside.test", [PRIVATE_ADDRESS])
    server.redirects("/one.png", "https://inside.test/one.png")

    with pytest.raises(ProviderError):
        async with receiver.receive(RemoteImage(URL)):
            pass

    assert PRIVATE_ADDRESS not in [address for address, _ in network.connected]
