"""Make the pictures of a project public or private."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from batchgen.backend.bucket import ImageStorage
from batchgen.client.caller import Caller
from batchgen.client.project_queries import check_is_operator
from batchgen.errors import InvalidRequest

PictureAccess = Literal["public", "private"]
ROWS_AT_ONCE = 1000

OnRows = Callable[[int], None]


class SwitchedPictures(BaseModel):
    """The result of a switch."""

    model_config = ConfigDict(frozen=True)

    pictures: PictureAccess
    rows: int
    """Pictures of the project."""
    changed: int
    """Those whose `public_url` was emptied or filled."""


class _Step(BaseModel):
    checked: int
    changed: int
    last_id: str | None = None


async def set_picture_access(
    caller: Caller, storage: ImageStorage, access: PictureAccess, on_rows: OnRows | None = None
) -> SwitchedPictures:
    """Switch the setting, the bucket and `public_url` of all rows. Repeat it if it was interrupted.

    New pictures and the bucket follow at once; `on_rows` is called with the number of rows done so far.
    """
    check_is_operator(caller, "switch between public and private pictures")
    if access not in ("public", "private"):
        raise InvalidRequest(
            f"Pictures cannot be {access!r}.", code="out_of_range", field="access", remedy="Say public or private."
        )
    await caller.rpc("set_picture_access", {"p_pictures": access}, resends=True)
    # The database's role may not be allowed to change the bucket, or the pictures may be in another one.
    await storage.set_public(access == "public")
    url = str(caller.supabase.supabase_url).rstrip("/")
    rows = changed = 0
    last_id: str | None = "00000000-0000-0000-0000-000000000000"
    while last_id is not None:
        arguments = {"p_project_url": url, "p_after": last_id, "p_limit": ROWS_AT_ONCE}
        step = _Step.model_validate(await caller.rpc("update_public_urls", arguments, resends=True))
        rows, changed, last_id = rows + step.checked, changed + step.changed, step.last_id
        if on_rows:
            on_rows(rows)
    return SwitchedPictures(pictures=access, rows=rows, changed=changed)
