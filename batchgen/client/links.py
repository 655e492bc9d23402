"""Links to pictures and thumbnails: public addresses, or signed links where the pictures are private."""

from collections.abc import Iterable, Mapping, Sequence

from batchgen.backend.bucket import ImageStorage
from batchgen.client.caller import Caller
from batchgen.errors import InvalidRequest
from batchgen.models import BatchSnapshot, Image

LINK_SECONDS = 3600
LONGEST_LINK_SECONDS = 365 * 86_400
PATHS_PER_REQUEST = 500
"""Storage signs no more in one request."""


async def signed_links(
    caller: Caller, storage: ImageStorage, paths: Sequence[str], seconds: int = LINK_SECONDS
) -> Mapping[str, str]:
    """Signed links by path, in one request for up to 500 paths. Files that the caller may not read have none."""
    if not 1 <= seconds <= LONGEST_LINK_SECONDS:
        raise InvalidRequest(
            f"A link cannot be valid for {seconds} seconds.",
            code="out_of_range",
            field="seconds",
            limit=LONGEST_LINK_SECONDS,
            remedy="Give 1 second to 365 days; an hour is enough to show pictures.",
        )
    await caller.renew_if_needed()
    links: dict[str, str] = {}
    for start in range(0, len(paths), PATHS_PER_REQUEST):
        links |= await storage.sign(paths[start : start + PATHS_PER_REQUEST], seconds)
    return links


async def with_links(
    caller: Caller, storage: ImageStorage, snapshot: BatchSnapshot, seconds: int = LINK_SECONDS
) -> BatchSnapshot:
    """The snapshot with `link` and `thumbnail_link` of each picture.

    Public pictures have their addresses. The files of private ones are signed, all in one request.
    """
    private = [path for image in snapshot.images if not image.public_url for path in _paths_of(image)]
    links: dict[str, str] = {}
    if private:
        links |= await signed_links(caller, storage, private, seconds)
    for image in snapshot.images:
        if image.public_url and image.thumbnail_path:
            links[image.thumbnail_path] = await storage.public_url(image.thumbnail_path)
    images = (
        image.model_copy(
            update={
                "link": image.public_url or links.get(image.storage_path),
                "thumbnail_link": links.get(image.thumbnail_path or ""),
            }
        )
        for image in snapshot.images
    )
    return snapshot.model_copy(update={"images": tuple(images)})


def _paths_of(image: Image) -> Iterable[str]:
    yield image.storage_path
    if image.thumbnail_path:
        yield image.thumbnail_path
