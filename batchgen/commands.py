"""What each command does, once its arguments are read: ask the library, hand the answer to the output."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen import render
from batchgen.bars import Progress, progress_on
from batchgen.client import BatchgenClient
from batchgen.download import SavedImage
from batchgen.errors import BatchgenError
from batchgen.identity import client_for, publishable_key
from batchgen.models import BatchRequest, BatchSnapshot, BatchStatus, CreatedBatch, GenerationStatus, Wait
from batchgen.output import DONE, WORK_FAILED, Output
from batchgen.session import SessionStore, write_atomically
from batchgen.settings import Settings


@dataclass(frozen=True)
class Wanted:
    """What a command that waits leaves behind."""

    save_to: Path | None = None
    contact_sheet: bool = False
    every_snapshot: bool = False
    """With `--json`: a line per snapshot, and not only the last one."""


async def submit(
    out: Output, settings: Settings, user: str | None, request: BatchRequest, wanted: Wanted | None
) -> int:
    """Create a batch; with `wanted`, wait for its end."""
    with out.working("Submitting …"):
        client = await client_for(settings, user)
    async with client:
        with out.working("Submitting …"):
            created = await client.submit(request)
        if wanted is None:
            _print_created(out, created)
            return DONE
        out.note(f"Batch {created.id} submitted: {created.total_count} pictures.")
        return await follow(out, client, created.id, wanted)


async def watch(out: Output, settings: Settings, user: str | None, batch_id: UUID, wanted: Wanted) -> int:
    with out.working("Connecting …"):
        client = await client_for(settings, user)
    async with client:
        return await follow(out, client, batch_id, wanted)


async def show_list(out: Output, settings: Settings, user: str | None, limit: int) -> int:
    with out.working("Reading …"):
        async with await client_for(settings, user) as client:
            batches = await client.batches(limit)
    if out.as_json:
        out.json([batch.model_dump(mode="json") for batch in batches])
    elif batches:
        out.show(render.batch_table(batches))
    else:
        out.note("No batches yet. Make one with batchgen submit.")
    return DONE


async def show(out: Output, settings: Settings, user: str | None, batch_id: UUID) -> int:
    with out.working("Reading …"):
        async with await client_for(settings, user) as client:
            snapshot = await client.snapshot(batch_id)
            pending = {item.id for item in snapshot.generations if item.status is GenerationStatus.PENDING}
            waits = await client.waits(batch_id) if pending else ()
    # An item that was set back between the two looks is told of next time.
    waits = tuple(wait for wait in waits if wait.generation_id in pending)
    if out.as_json:
        out.json(_with_waits(snapshot, waits))
        return DONE
    out.lines([render.heading(snapshot.batch), render.times(snapshot.batch), ""])
    out.show(render.item_table(snapshot, waits))
    if snapshot.images:
        out.lines(["", *render.picture_lines(snapshot.model_copy(update={"generations": _finished(snapshot)}))])
    return DONE


async def login(out: Output, settings: Settings, email: str, password: str, *, sign_up: bool) -> int:
    enter = BatchgenClient.sign_up if sign_up else BatchgenClient.sign_in
    with out.working("Signing in …"):
        async with await enter(settings.url, publishable_key(settings), email, password) as client:
            session = client.session
    if session is None:  # pragma: no cover - sign_in gives one or raises
        raise AssertionError("signed in without a session")
    store = SessionStore(settings.url)
    store.save(session)
    if out.as_json:
        out.json({"user_id": str(session.user_id), "email": session.email, "url": settings.url})
    else:
        out.lines([render.printable(f"Signed in to {settings.url} as {session.email} ({session.user_id}).")])
    return DONE


async def logout(out: Output, settings: Settings) -> int:
    """Forget the session here in any case; end it on the server where that can be reached."""
    store = SessionStore(settings.url)
    session = store.load()
    if session:
        try:
            key = publishable_key(settings)
            with out.working("Signing out …"):
                async with await BatchgenClient.with_session(settings.url, key, session, settings=settings) as client:
                    await client.sign_out()
        except BatchgenError as error:
            out.note(render.printable(f"The server was not told: {error}"))
        store.forget()
    if out.as_json:
        out.json({"signed_out": session is not None})
    else:
        out.lines([f"Signed out of {settings.url}." if session else "Nobody was signed in."])
    return DONE


async def follow(
    out: Output, client: BatchgenClient, batch_id: UUID, wanted: Wanted, more: Mapping[str, Any] | None = None
) -> int:
    """Watch the batch to its end and say how it ended; `more` are further keys of the JSON answer."""
    out.go_on_with = f"batchgen watch {batch_id}"
    snapshot = await _watch_to_the_end(out, client, batch_id, wanted)
    files = await save_files(out, client, snapshot, wanted)
    if out.as_json:
        out.json({**snapshot.model_dump(mode="json"), **(more or {}), **files})
    else:
        _print_end(out, snapshot, files)
    return DONE if snapshot.batch.status is BatchStatus.COMPLETED else WORK_FAILED


async def _watch_to_the_end(out: Output, client: BatchgenClient, batch_id: UUID, wanted: Wanted) -> BatchSnapshot:
    with ExitStack() as shown:
        progress: Progress | None = None if out.as_json else shown.enter_context(progress_on(out.err))
        changes = client.watch(batch_id, on_trouble=progress.trouble if progress else None)
        async with aclosing(changes):
            async for snapshot in changes:
                if progress:
                    progress.show(snapshot)
                if snapshot.batch.status.is_final:
                    return snapshot
                if out.as_json and wanted.every_snapshot:
                    out.json(snapshot)
    raise AssertionError("a watch ends with a final state or an error")


async def save_files(out: Output, client: BatchgenClient, snapshot: BatchSnapshot, wanted: Wanted) -> dict[str, Any]:
    """The keys that files add to the JSON answer; empty where none were asked for."""
    answer: dict[str, Any] = {}
    if wanted.save_to:
        with out.working("Downloading …"):
            saved = await client.save_images(snapshot, wanted.save_to)
        answer["files"] = [_file(image) for image in saved]
    if wanted.contact_sheet:
        with out.working("Drawing the contact sheet …"):
            content = await client.contact_sheet(snapshot)
        path = (wanted.save_to or Path()) / f"contact-sheet-{str(snapshot.batch.id)[:8]}.png"
        write_atomically(path, content, mode=0o644)
        answer["contact_sheet"] = str(path)
    return answer


def _with_waits(snapshot: BatchSnapshot, waits: Sequence[Wait]) -> dict[str, Any]:
    """The snapshot as JSON, with `waits_for` in each item: an object where it is pending, null elsewhere."""
    known = {str(wait.generation_id): wait.model_dump(mode="json", exclude={"generation_id"}) for wait in waits}
    answer = snapshot.model_dump(mode="json")
    for item in answer["generations"]:
        item["waits_for"] = known.get(item["id"])
    return answer


def _file(saved: SavedImage) -> Mapping[str, Any]:
    return {"index": saved.index, "generation_id": str(saved.generation_id), "path": str(saved.path)}


def _finished(snapshot: BatchSnapshot) -> tuple[Any, ...]:
    images = render.images_by_item(snapshot)
    return tuple(item for item in snapshot.generations if item.id in images)


def _print_created(out: Output, created: CreatedBatch) -> None:
    if out.as_json:
        batch = created.model_dump(mode="json", exclude={"generations"})
        out.json({"batch": batch, "generations": [item.model_dump(mode="json") for item in created.generations]})
        return
    out.lines([f"Batch {created.id} submitted: {created.total_count} pictures."])
    out.note(f"Follow it with: batchgen watch {created.id}")


def _print_end(out: Output, snapshot: BatchSnapshot, files: Mapping[str, Any]) -> None:
    paths = {UUID(file["generation_id"]): str(file["path"]) for file in files.get("files", ())}
    out.lines([render.heading(snapshot.batch), *render.picture_lines(snapshot, paths)])
    if "contact_sheet" in files:
        out.lines([render.printable(f"all  {files['contact_sheet']}")])
