"""The commands `storage public`, `storage private` and `storage thumbnails`, for operators."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from batchgen.cli.identity import client_for, secret_key
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.picture_access import PictureAccess
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.settings import Settings
from batchgen.text import printable

OPERATOR = RunAs(operator=True)
MOST_SHOWN = 20
EFFECTS: dict[PictureAccess, tuple[str, ...]] = {
    "private": (
        "Only owners see their pictures now, by signed links that expire. The bucket is not public.",
        "Public addresses that were given out no longer work. Browsers and caches that have a picture may show it "
        "until their copy expires, at most a year after they fetched it.",
    ),
    "public": (
        "Anyone who knows the address of a picture can see it now. The bucket is public.",
        "Public addresses that were given out before work again. Signed links work until they expire.",
    ),
}


class Counts(Protocol):
    """As `scheduler.thumbnails.ThumbnailCounts`."""

    missing: int
    made: int
    unneeded: int
    failed: int

    @property
    def done(self) -> int: ...


MakeThumbnails = Callable[
    [Settings, str, Callable[[Counts], None], Callable[[str, str], None]],
    Awaitable[Counts],
]


async def set_picture_access(out: Output, settings: Settings, access: PictureAccess) -> int:
    """Switch, and say what becomes of links that were given out."""
    async with await client_for(settings, OPERATOR) as client:
        with out.spinner("Switching …"):
            switched = await client.set_picture_access(access)
    if out.as_json:
        out.json(switched.model_dump(mode="json"))
        return DONE
    out.lines([*EFFECTS[access], f"Addresses changed in {switched.changed} of {switched.rows} rows of images."])
    return DONE


async def make_thumbnails(out: Output, settings: Settings, make: MakeThumbnails) -> int:
    """Make missing thumbnails. The exit code is 1 if some could not be made."""
    failures: list[tuple[str, str]] = []
    columns = (TextColumn("Thumbnails"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.err, transient=True, disable=out.as_json) as progress:
        task = progress.add_task("Thumbnails", total=None)

        def show(counts: Counts) -> None:
            progress.update(task, total=max(counts.missing, counts.done), completed=counts.done)

        counts = await make(settings, secret_key(settings), show, lambda path, why: failures.append((path, why)))
    if out.as_json:
        figures = {"missing": counts.missing, "made": counts.made, "unneeded": counts.unneeded, "failed": counts.failed}
        out.json({**figures, "failures": [{"storage_path": path, "reason": why} for path, why in failures]})
    else:
        out.lines([f"{counts.made} thumbnails made."])
        out.lines([printable(f"no thumbnail: {path}: {why}") for path, why in failures[:MOST_SHOWN]])
        if len(failures) > MOST_SHOWN:
            out.lines([f"… and {len(failures) - MOST_SHOWN} more"])
    return WORK_FAILED if counts.failed else DONE
