"""The commands after parsing: call the library and print the result."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen.cli import formatting
from batchgen.cli.formatting import BatchLabel, expected_end_text
from batchgen.cli.identity import client_for, publishable_key
from batchgen.cli.options import FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.cli.progress import JsonLines, Progress, progress_on
from batchgen.cli.status_words import NO_FACTS
from batchgen.client.atomic_write import write_atomically
from batchgen.client.batch_queries import FoundBatch
from batchgen.client.client import BatchgenClient
from batchgen.client.details import BatchDetails
from batchgen.client.downloads import SavedImage, check_folder, write_errors
from batchgen.client.ids import short_id, short_ids
from batchgen.client.session import SessionStore
from batchgen.errors import BatchgenError, InvalidRequest
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.models import (
    BatchFacts,
    BatchRequest,
    BatchSnapshot,
    BatchStatus,
    CreatedBatch,
    GenerationStatus,
    Wait,
    WaitReason,
)
from batchgen.settings import Settings

IDLE_SECONDS = 3.0
"""Pause between two checks for a running worker, while no item of a watched batch runs."""
NO_WORKER = "No worker is running, so nothing happens: start one with batchgen worker."


async def submit(
    out: Output, settings: Settings, run_as: RunAs, request: BatchRequest, following: FollowOptions | None
) -> int:
    """Create a batch; with `following`, wait for its end."""
    check_target(following)
    async with await open_client(out, settings, run_as, "Submitting …") as client:
        with out.spinner("Submitting …"):
            try:
                created = await client.submit(request)
            except InvalidRequest as error:
                raise _with_split_remedy(error, request) from error.__cause__
        return await finish_submit(out, client, created, following)


async def finish_submit(
    out: Output, client: BatchgenClient, created: CreatedBatch, following: FollowOptions | None
) -> int:
    """Print a new batch; with `following`, wait for its end."""
    label = await label_of_new(client, created.id)
    if following is None:
        _print_created(out, created, label)
        return DONE
    out.note(_submitted(created, label))
    return await follow(out, client, created.id, label, following)


async def watch(out: Output, settings: Settings, run_as: RunAs, batch_id: str, following: FollowOptions) -> int:
    check_target(following)
    async with await open_client(out, settings, run_as, "Connecting …") as client:
        with out.spinner("Connecting …"):
            found = await client.find(batch_id)
        return await follow(out, client, found.batch.id, label_of(client, found), following)


async def show_list(out: Output, settings: Settings, run_as: RunAs, limit: int) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            batches = await client.batches(limit)
            ids = [] if out.as_json else [batch.id for batch in batches]
            short, facts = await asyncio.gather(client.short_ids(ids), client.facts(ids))
    if out.as_json:
        out.json([batch.model_dump(mode="json") for batch in batches])
    elif batches:
        users = {batch.user_id for batch in batches if batch.user_id}
        out.show(formatting.batch_table(batches, short, facts, short_ids(users) if client.is_operator else None))
    else:
        out.note("No batches yet. Make one with batchgen submit.")
    return DONE


async def show(out: Output, settings: Settings, run_as: RunAs, batch_id: str, *, everything: bool = False) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = await client.find(batch_id)
            snapshot = await client.with_links(await client.snapshot(found.batch.id))
            details = await client.details(found.batch.id)
            cost = await client.costs("batch", batch_id=found.batch.id) if client.is_operator else ()
    # An item that was queued again between the two reads is left out.
    pending = {item.id for item in snapshot.generations if item.status is GenerationStatus.PENDING}
    waits = tuple(wait for wait in details.waits if wait.generation_id in pending)
    facts = details.facts
    if out.as_json:
        out.json(_with_details(snapshot, waits, details))
        return DONE
    label = label_of(client, found)
    if everything:
        label = BatchLabel(str(found.batch.id), str(found.batch.user_id) if label.owner else None)
    out.lines([formatting.heading(snapshot.batch, label, facts), formatting.times(snapshot.batch, facts)])
    if details.batch.expected_end and details.now:
        out.lines([expected_end_text(details.batch.expected_end, details.now)])
    out.lines([*formatting.settings_lines(snapshot), *(f"Cost: {formatting.cost_text(one)}" for one in cost)])
    if everything:
        out.lines(formatting.long_lines(snapshot, waits))
        return DONE
    out.lines([""])
    out.show(formatting.item_table(snapshot, waits))
    _print_more(out, snapshot, found.short_id)
    return DONE


def _print_more(out: Output, snapshot: BatchSnapshot, short: str) -> None:
    """Print below the table why items failed and where the pictures are."""
    faults = [*formatting.fault_lines(snapshot)]
    if faults:
        out.lines(["", *faults])
    if snapshot.images:
        who = (
            "The bucket is public: anyone with an address can see the picture."
            if all(image.public_url for image in snapshot.images)
            else "They are private: the addresses are links that expire after an hour."
        )
        out.note(f"batchgen show {short} --long shows all details and the pictures' addresses. {who}")


async def login(out: Output, settings: Settings, email: str, password: str, *, sign_up: bool) -> int:
    enter = BatchgenClient.sign_up if sign_up else BatchgenClient.sign_in
    with out.spinner("Signing in …"):
        async with await enter(settings.url, publishable_key(settings), email, password) as client:
            session = client.session
    if session is None:  # pragma: no cover - sign_in returns one or raises
        raise AssertionError("signed in without a session")
    store = SessionStore(settings.url)
    store.save(session)
    if out.as_json:
        out.json({"user_id": str(session.user_id), "email": session.email, "url": settings.url})
    else:
        out.lines([formatting.printable(f"Signed in to {settings.url} as {session.email} ({session.user_id}).")])
    return DONE


async def logout(out: Output, settings: Settings) -> int:
    """Forget the session here in any case; end it on the server if that can be reached."""
    store = SessionStore(settings.url)
    session = store.load()
    if session:
        try:
            key = publishable_key(settings)
            with out.spinner("Signing out …"):
                async with await BatchgenClient.with_session(settings.url, key, session, settings=settings) as client:
                    await client.sign_out()
        except BatchgenError as error:
            out.note(formatting.printable(f"The session was not ended on the server: {error}"))
        store.forget()
    if out.as_json:
        out.json({"signed_out": session is not None})
    else:
        out.lines([f"Signed out of {settings.url}." if session else "Nobody was signed in."])
    return DONE


async def open_client(out: Output, settings: Settings, run_as: RunAs, doing: str) -> BatchgenClient:
    """A client for the command. Prints a note if it runs as operator."""
    with out.spinner(doing):
        client = await client_for(settings, run_as)
    if run_as.is_operator:
        whom = f"user {client.acting_for}" if client.acting_for else "all users"
        out.note(f"Running as operator for {whom}.")
    return client


def label_of(client: BatchgenClient, found: FoundBatch) -> BatchLabel:
    """The label of a batch, for operators with its owner."""
    owner = found.batch.user_id
    return BatchLabel(found.short_id, (short_id(owner) if owner else "nobody") if client.is_operator else None)


async def label_of_new(client: BatchgenClient, batch_id: UUID) -> BatchLabel:
    """The label of a new batch, with its whole id if the short one cannot be looked up now."""
    owner = short_id(client.acting_for) if client.acting_for else None
    try:
        return BatchLabel((await client.short_ids([batch_id]))[batch_id], owner)
    except BatchgenError:
        return BatchLabel(str(batch_id), owner)


async def follow(
    out: Output,
    client: BatchgenClient,
    batch_id: UUID,
    label: BatchLabel,
    following: FollowOptions,
    more: Mapping[str, Any] | None = None,
) -> int:
    """Watch the batch until its end and print the result; `more` are further keys of the JSON result."""
    out.resume_command = f"batchgen watch {label.id}"
    snapshot = await client.with_links(await _watch_to_the_end(out, client, batch_id, label, following))
    files = await save_files(out, client, snapshot, following)
    if out.as_json:
        running = {"no_worker": False} if following.every_snapshot else {}
        out.json({**snapshot.model_dump(mode="json"), **running, **(more or {}), **files})
    else:
        facts = (await client.facts([batch_id])).get(batch_id, NO_FACTS)
        _print_end(out, snapshot, label, facts, files)
    return DONE if snapshot.batch.status is BatchStatus.COMPLETED else WORK_FAILED


async def _watch_to_the_end(
    out: Output, client: BatchgenClient, batch_id: UUID, label: BatchLabel, following: FollowOptions
) -> BatchSnapshot:
    with ExitStack() as shown:
        lines = JsonLines(out, every_snapshot=following.every_snapshot) if out.as_json else progress_on(out.err, label)
        progress: Progress = shown.enter_context(lines)
        changes = client.watch(batch_id, on_outage=progress.outage)
        async with aclosing(changes), _watch_for_missing_worker(client, batch_id, progress) as watched:
            async for snapshot in changes:
                watched.snapshot = snapshot
                progress.show(snapshot)
                if snapshot.batch.status.is_final:
                    return snapshot
    raise AssertionError("a watch ends with a final state or an error")


@dataclass
class _WatchedBatch:
    snapshot: BatchSnapshot | None = None


@asynccontextmanager
async def _watch_for_missing_worker(
    client: BatchgenClient, batch_id: UUID, progress: Progress
) -> AsyncGenerator[_WatchedBatch]:
    """Check for a running worker while no item of the batch runs, and show a hint if there is none."""
    watched = _WatchedBatch()
    task = asyncio.create_task(_report_missing_worker(client, batch_id, progress, watched))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _report_missing_worker(
    client: BatchgenClient, batch_id: UUID, progress: Progress, watched: _WatchedBatch
) -> None:
    is_shown = False
    while True:
        await asyncio.sleep(IDLE_SECONDS)
        is_missing = False
        if watched.snapshot and not any(
            item.status is GenerationStatus.PROCESSING for item in watched.snapshot.generations
        ):
            try:
                is_missing = any(wait.reason is WaitReason.NO_WORKER for wait in await client.waits(batch_id))
            except BatchgenError:
                continue
        if is_missing != is_shown:
            progress.hint(NO_WORKER if is_missing else "")
            is_shown = is_missing


def check_target(following: FollowOptions | None) -> None:
    """Raise `InvalidRequest` if files could not be written, before anything is submitted or changed."""
    if following and following.save_to:
        check_folder(following.save_to)
    elif following and following.contact_sheet:
        check_folder(Path())


async def save_files(
    out: Output, client: BatchgenClient, snapshot: BatchSnapshot, following: FollowOptions
) -> dict[str, Any]:
    """Save the requested files. Returns the keys that they add to the JSON result."""
    answer: dict[str, Any] = {}
    if following.save_to:
        with out.spinner("Downloading …"):
            saved = await client.save_images(snapshot, following.save_to)
        answer["files"] = [_file(image) for image in saved]
    if following.contact_sheet:
        with out.spinner("Drawing the contact sheet …"):
            content = await client.contact_sheet(snapshot)
        path = (following.save_to or Path()) / f"contact-sheet-{str(snapshot.batch.id)[:8]}.png"
        with write_errors(path):
            write_atomically(path, content, mode=0o644)
        answer["contact_sheet"] = str(path)
    return answer


def _with_details(snapshot: BatchSnapshot, waits: Sequence[Wait], details: BatchDetails) -> dict[str, Any]:
    """The snapshot as JSON, with more in each item: `waits_for` (an object for pending items, else null), what may be
    retried, the expected end and the cost.
    """
    known = {str(wait.generation_id): wait.model_dump(mode="json", exclude={"generation_id"}) for wait in waits}
    shown = {"attempt", "may_retry", "retry_refused", "cancel_requested", "expected_end", "cost_usd"}
    more = {str(item.id): item.model_dump(mode="json", include=shown) for item in details.items}
    answer = snapshot.model_dump(mode="json")
    answer["batch"] |= details.batch.model_dump(mode="json", include={"expected_end", "cost_usd"})
    for item in answer["generations"]:
        item["waits_for"] = known.get(item["id"])
        item |= more.get(item["id"], {})
    return answer


def _file(saved: SavedImage) -> Mapping[str, Any]:
    return {"index": saved.index, "generation_id": str(saved.generation_id), "path": str(saved.path)}


def _with_split_remedy(error: InvalidRequest, request: BatchRequest) -> InvalidRequest:
    """The refusal of too many prompts, with the commands that submit them all."""
    is_expanded = request.choices or request.variations or request.template
    if error.code == "too_many_prompts" and isinstance(error.limit, int) and not is_expanded:
        error.remedy = (
            f"Submit at most {error.limit} at once. For a file with one prompt per line: "
            f"split -l {error.limit} FILE part-, "
            'then for part in part-*; do batchgen submit --file "$part"; done'
        )
    return error


def _submitted(created: CreatedBatch, label: BatchLabel) -> str:
    owner = f" for user {label.owner}" if label.owner else ""
    return f"Batch {label.id} submitted{owner}: {created.total_count} pictures."


def _print_created(out: Output, created: CreatedBatch, label: BatchLabel) -> None:
    if out.as_json:
        batch = created.model_dump(mode="json", exclude={"generations"})
        out.json({"batch": batch, "generations": [item.model_dump(mode="json") for item in created.generations]})
        return
    out.lines([_submitted(created, label)])
    out.note(f"Follow it with: batchgen watch {label.id}")


def _print_end(
    out: Output, snapshot: BatchSnapshot, label: BatchLabel, facts: BatchFacts, files: Mapping[str, Any]
) -> None:
    paths = {UUID(file["generation_id"]): str(file["path"]) for file in files.get("files", ())}
    out.lines([formatting.heading(snapshot.batch, label, facts)])
    out.lines(formatting.picture_lines(snapshot, paths, out.out.width))
    if "contact_sheet" in files:
        out.lines([f"all  {formatting.printable(files['contact_sheet'])}"])
    if snapshot.images and not paths:
        out.note(
            f"Download the pictures with batchgen save {label.id} --to DIR; "
            f"batchgen show {label.id} --long shows their addresses."
        )
