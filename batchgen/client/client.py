"""The public API: everything that the command line does, as methods."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from platformdirs import user_state_path
from pydantic import ValidationError
from supabase import AsyncClient

from batchgen.backend.bucket import ImageStorage
from batchgen.backend.connection import connect, disconnect
from batchgen.client import actions, auth, new_batches, ratings, schedules, templates, trash
from batchgen.client.actions import Items
from batchgen.client.batch_queries import (
    BatchId,
    FoundBatch,
    find_batch,
    id_of,
    read_batches,
    read_short_ids,
    read_snapshot,
    read_waits,
)
from batchgen.client.caller import Caller
from batchgen.client.credits import CreditEntry, Credits, read_credit_history, read_credits, write_credits
from batchgen.client.details import BatchDetails, BatchPage, BatchPreview, preview_batch, read_details, read_page
from batchgen.client.downloads import OnSaved, SavedImage, read_images, save_images
from batchgen.client.exports import ExportReport, export_batches
from batchgen.client.imports import ImportedBatch, OnSubmitted, import_batches, read_manifests
from batchgen.client.large_jobs import JobReport, LargeJob, read_items
from batchgen.client.large_jobs import OnProgress as OnJobProgress
from batchgen.client.links import LINK_SECONDS, signed_links, with_links
from batchgen.client.picture_access import OnRows, PictureAccess, SwitchedPictures, set_picture_access
from batchgen.client.project_queries import (
    Costs,
    KnownWorker,
    Model,
    check_is_operator,
    read_costs,
    read_facts,
    read_models,
    read_workers,
)
from batchgen.client.requested_exports import (
    RequestedExport,
    read_exports,
    request_export,
    save_export,
    wait_for_export,
)
from batchgen.client.schedules import MissedRuns, Schedule, ScheduleRuns
from batchgen.client.session import Session, SessionStore
from batchgen.client.storage_check import StorageCheck, StorageReport
from batchgen.client.submit import check_acts_for_user, create_batch
from batchgen.client.templates import BatchTemplate, Row
from batchgen.client.users import find_user
from batchgen.client.watch import OnOutage, WatchTiming, watch
from batchgen.errors import InvalidRequest
from batchgen.exports.build import OnProgress
from batchgen.exports.types import Writable
from batchgen.models import (
    ActionReport,
    Batch,
    BatchFacts,
    BatchRating,
    BatchRequest,
    BatchSnapshot,
    CreatedBatch,
    EmptiedTrash,
    ItemEdit,
    JobRow,
    Prompt,
    RepeatedBatch,
    SharedSettings,
    TemplateUse,
    TrashPage,
    Wait,
)
from batchgen.settings import Settings
from batchgen.settings.error_messages import error_messages


class BatchgenClient:
    """A client of a project, for one user or one operator.

    Create it with `sign_in`, `sign_up`, `with_session` or `operator`, and close it with `async with`:

        async with await BatchgenClient.sign_in(url, publishable_key, email, password) as client:
            batch = await client.submit(BatchRequest(prompts=(Prompt(text="a fox"), Prompt(text="a bird"))))
            async for snapshot in client.watch(batch.id):
                print(snapshot.batch.status)

    Every call may raise `NotSignedIn` (the session ended for good) and `BackendUnavailable`.
    """

    def __init__(self, caller: Caller, settings: Settings) -> None:
        self._caller = caller
        self._settings = settings
        self._storage = ImageStorage(caller.supabase, bucket=settings.bucket)

    @classmethod
    async def sign_in(cls, url: str, publishable_key: str, email: str, password: str) -> Self:
        """A client for a user with e-mail and password. Raises `NotSignedIn` if one of them is wrong."""
        settings = settings_for(url)
        return await cls._as_user(settings, publishable_key, lambda s: auth.sign_in(s, email, password))

    @classmethod
    async def sign_up(cls, url: str, publishable_key: str, email: str, password: str) -> Self:
        """A client for a new user. Raises `NotSignedIn` if the project requires a confirmed address first."""
        settings = settings_for(url)
        return await cls._as_user(settings, publishable_key, lambda s: auth.sign_up(s, email, password))

    @classmethod
    async def with_session(
        cls,
        url: str,
        publishable_key: str,
        session: Session,
        *,
        store: SessionStore | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """A client for a user who is signed in. Renewed tokens go to `store`, which processes may share."""
        supabase = await connect(settings or settings_for(url), key=publishable_key)
        caller = Caller(supabase, session=session, store=store)
        return await cls._ready(caller, settings or settings_for(url), caller.begin)

    @classmethod
    async def operator(
        cls, url: str, secret_key: str, *, user: UUID | str | None = None, settings: Settings | None = None
    ) -> Self:
        """A client with the secret key. It sees all batches, or acts for one user, given by id or e-mail."""
        supabase = await connect(settings or settings_for(url), key=secret_key)
        caller = Caller(supabase)

        async def resolve_user() -> None:
            caller.user_id = await find_user(supabase, user) if isinstance(user, str) else user

        return await cls._ready(caller, settings or settings_for(url), resolve_user)

    @property
    def session(self) -> Session | None:
        """The user's current session; None for an operator."""
        return self._caller.session

    @property
    def is_operator(self) -> bool:
        return self._caller.is_operator

    @property
    def acting_for(self) -> UUID | None:
        """The user that an operator acts for; None for users and for operators who act for all."""
        return self._caller.user_id

    async def submit(self, request: BatchRequest) -> CreatedBatch:
        """Create a batch, which is pending when this returns. Safe to repeat with the same `client_key`.

        Raises `InvalidRequest` with code, prompt index and remedy; `Conflict` if the `client_key` was used for another
        request; `LimitReached` with the time when the limit resets; `CreditsShort` with the credits needed.
        """
        return await create_batch(self._caller, request)

    async def preview(self, request: BatchRequest) -> BatchPreview:
        """What `submit` would do with the request: its items, price, time, and what is left of each limit.

        Writes nothing. Raises what `submit` raises, except for limits and credits: `refusal` has the one in the way.
        """
        return await preview_batch(self._caller, request)

    async def details(self, batch_id: BatchId) -> BatchDetails:
        """A batch with everything that a screen shows, in one call: `snapshot`, `facts`, `waits`, and more.

        More: what may be retried, when items will end, and what they cost. Raises `NotFound`.
        """
        return await read_details(self._caller, await id_of(self._caller, batch_id))

    async def page(
        self,
        *,
        before: str | None = None,
        limit: int = 20,
        state: str | None = None,
        tag: str | None = None,
        search: str | None = None,
    ) -> BatchPage:
        """A page of 1 to 100 batches with their details, newest first. `before` is `next` of the page before.

        `state` is a status, `active`, `ended` or `trashed`. `tag` finds batches with a picture that has it, `search` a
        text in their name or prompts. Raises `InvalidRequest`.
        """
        return await read_page(self._caller, before=before, limit=limit, state=state, tag=tag, search=search)

    async def templates(self) -> tuple[BatchTemplate, ...]:
        """The caller's own templates by name, then the public ones; without their requests."""
        return await templates.read_templates(self._caller)

    async def template(self, which: UUID | str) -> BatchTemplate:
        """A template by its id or name, with its request. Raises `NotFound`, as do the next three methods."""
        return await templates.read_template(self._caller, which)

    async def rename_template(self, which: UUID | str, name: str) -> BatchTemplate:
        """Give a template another name. Raises `Conflict` if the name is taken."""
        return await templates.rename_template(self._caller, which, name)

    async def delete_template(self, which: UUID | str) -> UUID:
        """Delete a template and return its id. Batches that were made from it stay."""
        return await templates.delete_template(self._caller, which)

    async def publish_template(self, which: UUID | str, *, is_public: bool = True) -> BatchTemplate:
        """For operators: let every user read and use a template, or no longer."""
        return await templates.publish_template(self._caller, which, is_public=is_public)

    async def save_template(
        self,
        name: str,
        request: Mapping[str, Any] | BatchRequest | None = None,
        *,
        batch_id: BatchId | None = None,
        defaults: Row | None = None,
        replace: bool = False,
    ) -> BatchTemplate:
        """Save a request, or a batch's prompts and settings, as a template with placeholders such as `{{animal}}`.

        Raises `Conflict` if another template has the name, unless `replace` is true.
        """
        body = request.body() if isinstance(request, BatchRequest) else request
        source = await id_of(self._caller, batch_id) if batch_id is not None else None
        return await templates.save_template(
            self._caller, name, request=body, batch_id=source, defaults=defaults, replace=replace
        )

    def submit_rows(
        self, template: BatchTemplate, rows: Sequence[Row], request: BatchRequest | None = None, *, run: str = ""
    ) -> AsyncGenerator[CreatedBatch]:
        """Create batches from a template and rows of values, as many rows in each as fit; yield each batch.

        Sending the same rows again creates nothing again; another `run` does. `request` overrides the template's
        fields. Raises what `submit` raises, after the batches before.
        """
        base = request or BatchRequest(template=TemplateUse(id=template.id))
        return templates.submit_rows(self._caller, template, rows, base, run)

    async def submit_many(
        self,
        prompts: Sequence[Prompt | JobRow],
        *,
        shared_settings: SharedSettings | None = None,
        name: str | None = None,
        wait: bool = False,
        again: bool = False,
        on_progress: OnJobProgress | None = None,
        folder: Path | str | None = None,
    ) -> JobReport:
        """Submit any number of prompts as batches, waiting for room; with `wait`, also wait until all have ended.

        Call it again with the same prompts after an interruption of any kind: it goes on, and makes no batch twice.
        `again` submits once more what was submitted whole before. `folder` keeps the journals, by default in the
        user's state folder. A `JobRow` has settings of its own. Raises what `submit` raises, and `LimitReached` only
        for a limit that no batch fits into.
        """
        return await self.large_job(
            prompts, shared_settings=shared_settings, name=name, again=again, on_progress=on_progress, folder=folder
        ).run(wait=wait)

    def large_job(
        self,
        prompts: Sequence[Prompt | JobRow],
        *,
        shared_settings: SharedSettings | None = None,
        name: str | None = None,
        again: bool = False,
        on_progress: OnJobProgress | None = None,
        folder: Path | str | None = None,
    ) -> LargeJob:
        """The job of `submit_many`, which has not begun."""
        if self.is_operator:
            check_acts_for_user(self._caller)
        shared = shared_settings or SharedSettings()
        rows = [one if isinstance(one, JobRow) else JobRow(prompt=one, settings=shared) for one in prompts]
        return LargeJob(
            self._caller,
            rows,
            Path(folder) if folder else user_state_path("batchgen") / "jobs",
            project=self._settings.url,
            name=name,
            again=again,
            on_progress=on_progress or (lambda _progress: None),
        )

    async def job_items(self, report: JobReport) -> Mapping[tuple[UUID, int], Mapping[str, Any]]:
        """The items of a job's batches as `{id, status, error_code}`, by batch and index."""
        return await read_items(self._caller, [one.batch_id for one in report.batches if one.batch_id])

    async def batches(self, limit: int = 20) -> tuple[Batch, ...]:
        """The newest batches, newest first."""
        return await read_batches(self._caller, limit)

    async def find(self, batch_id: BatchId) -> FoundBatch:
        """Find a batch by its id, by the first digits of it (at least four), or by `latest` or `-`.

        All methods accept a batch's id in these forms. They raise `InvalidRequest` for an invalid id (`invalid_id`)
        or digits that begin several ids (`ambiguous_id`), and `NotFound`.
        """
        return await find_batch(self._caller, batch_id)

    async def short_ids(self, batch_ids: Iterable[UUID]) -> Mapping[UUID, str]:
        """The shortest unique beginning of each id, at least eight digits, among the batches the caller may see."""
        return await read_short_ids(self._caller, batch_ids)

    async def snapshot(self, batch_id: BatchId) -> BatchSnapshot:
        """A batch with its items and pictures. Raises `NotFound`."""
        return await read_snapshot(self._caller, await id_of(self._caller, batch_id))

    async def facts(self, batch_ids: Sequence[UUID]) -> Mapping[UUID, BatchFacts]:
        """Facts that the counts of batches do not show: cancelled and deleted items, and the last retry."""
        return await read_facts(self._caller, batch_ids)

    async def costs(
        self, by: str = "day", *, since: datetime | None = None, limit: int = 100, batch_id: UUID | None = None
    ) -> tuple[Costs, ...]:
        """For operators: the costs in US dollars from the ledger, grouped by `day`, `batch`, `user` or `model`."""
        return await read_costs(self._caller, by, since=since, limit=limit, batch_id=batch_id)

    async def workers(self) -> tuple[KnownWorker, ...]:
        """For operators: the workers of the last day, the running ones first."""
        return await read_workers(self._caller)

    async def credits(self) -> Credits:
        """Credits of the user, or of the user that an operator acts for: balance, what is held, and prices."""
        return await read_credits(self._caller)

    async def credit_history(self, limit: int = 50, *, before: int | None = None) -> tuple[CreditEntry, ...]:
        """The newest entries of the user's credit ledger, newest first; with `before`, those older than that entry."""
        return await read_credit_history(self._caller, limit, before=before)

    async def grant_credits(
        self, credits: Decimal | int | str, *, note: str | None = None, key: str | None = None
    ) -> Credits:
        """For operators who act for a user: give credits. Repeated with the same `key`, they count once."""
        return await write_credits(self._caller, "grant_credits", credits, note=note, key=key)

    async def adjust_credits(self, credits: Decimal | int | str, *, note: str, key: str | None = None) -> Credits:
        """For operators who act for a user: correct the balance by a positive or negative number."""
        return await write_credits(self._caller, "note_credit_adjustment", credits, note=note, key=key)

    async def models(self, *, inactive: bool = False) -> tuple[Model, ...]:
        """The models that a request may name. Operators also see the provider, and with `inactive` all models."""
        return await read_models(self._caller, inactive=inactive)

    async def check_storage(self, *, fix: bool = False, grace_hours: float = 48) -> StorageReport:
        """For operators: find files without a row of `images` and rows without a file; `fix` repairs both."""
        check_is_operator(self._caller, "compare the bucket with all rows")
        check = StorageCheck(self._caller.supabase, bucket=self._settings.bucket, grace=timedelta(hours=grace_hours))
        report = await check.report()
        return await check.fix(report) if fix else report

    async def waits(self, batch_id: BatchId) -> tuple[Wait, ...]:
        """Why each pending item of a batch does not run yet: a limit, its provider, a retry, or items before it.

        Items may have started since the last snapshot. Raises `NotFound`.
        """
        return await read_waits(self._caller, await id_of(self._caller, batch_id))

    def watch(
        self, batch_id: BatchId, *, timing: WatchTiming | None = None, on_outage: OnOutage | None = None
    ) -> AsyncGenerator[BatchSnapshot]:
        """Yield the batch now and after every change, until its final state. Raises `NotFound`.

        `on_outage` is called with the error when an outage begins, and with None when it is over. Wrap the generator
        in `contextlib.aclosing` if you may leave it early.
        """
        if timing is None:
            poll, silence = self._settings.watch_poll_seconds, self._settings.watch_silence_seconds
            timing = WatchTiming(poll_seconds=poll, silence_seconds=silence)
        return self._watch(batch_id, timing, on_outage)

    async def _watch(
        self, batch_id: BatchId, timing: WatchTiming, on_outage: OnOutage | None
    ) -> AsyncGenerator[BatchSnapshot]:
        async with aclosing(watch(self._caller, await id_of(self._caller, batch_id), timing, on_outage)) as changes:
            async for snapshot in changes:
                yield snapshot

    async def cancel(self, batch_id: BatchId, items: Items = None, *, waiting_only: bool = False) -> ActionReport:
        """End the batch's pending items at once and ask the workers to cancel the running ones at their provider.

        Finished pictures stay. With `waiting_only`, running items go on. This method and the next five act on all
        items of the batch or on `items`, report for each what was done or why it was refused, are idempotent, and
        raise `NotFound`.
        """
        found = await id_of(self._caller, batch_id)
        return await actions.cancel_batch(self._caller, found, items, waiting_only=waiting_only)

    async def retry_failed(
        self, batch_id: BatchId, items: Items = None, *, edits: Iterable[ItemEdit] | None = None
    ) -> ActionReport:
        """Queue the failed items again; cancelled ones and those blocked by policy stay as they are.

        `edits` change items, which also lets those run that were blocked by policy; without `items`, only those are
        retried. Raises `LimitReached` or `CreditsShort` if the user may not queue or cannot pay for them, and
        `InvalidRequest` for an invalid edit; then nothing is changed.
        """
        return await actions.retry_failed(self._caller, await id_of(self._caller, batch_id), items, edits)

    async def keep_images(self, batch_id: BatchId, items: Items = None) -> ActionReport:
        """Mark the batch's pictures as saved, so that no retention setting removes them. `save_images` downloads."""
        return await actions.keep_images(self._caller, await id_of(self._caller, batch_id), items)

    async def tag_images(self, batch_id: BatchId, tags: Sequence[str], items: Items = None) -> ActionReport:
        """Put tags on the batch's pictures; unknown tags are created. Raises `InvalidRequest` for invalid tags."""
        return await actions.tag_images(self._caller, await id_of(self._caller, batch_id), tags, items)

    async def untag_images(self, batch_id: BatchId, tags: Sequence[str], items: Items = None) -> ActionReport:
        """Remove tags from the batch's pictures. Raises `InvalidRequest` for invalid tags."""
        return await actions.untag_images(self._caller, await id_of(self._caller, batch_id), tags, items)

    async def generate_similar(
        self, batch_id: BatchId, items: Items = None, *, count: int | None = None, client_key: str | None = None
    ) -> RepeatedBatch:
        """Submit a new batch with the prompts and settings of the batch's pictures and new seeds, `count` of each.

        Without `count`, one of each, or as many as a batch needs. Raises what `submit` raises, and `NotFound`.
        """
        found = await id_of(self._caller, batch_id)
        return await new_batches.generate_similar(self._caller, found, items, count, client_key)

    async def run_again(
        self,
        batch_id: BatchId,
        items: Items = None,
        *,
        changes: SharedSettings | None = None,
        client_key: str | None = None,
    ) -> RepeatedBatch:
        """Submit the batch again as a new one with the same seeds; `changes` names the settings that are to differ.

        Raises what `submit` raises, and `NotFound`.
        """
        found = await id_of(self._caller, batch_id)
        return await new_batches.run_again(self._caller, found, items, changes, client_key)

    async def rate_images(self, batch_id: BatchId, rating: int | None, items: Items = None) -> ActionReport:
        """Rate the batch's pictures with 1 to 5 stars; None removes their rating."""
        return await ratings.rate_images(self._caller, await id_of(self._caller, batch_id), rating, items)

    async def rate(self, batch_id: BatchId, stars: int, comment: str | None = None) -> BatchRating:
        """Rate the batch with 1 to 5 stars and a sentence; a later call replaces both. For its owner only."""
        return await ratings.rate_batch(self._caller, await id_of(self._caller, batch_id), stars, comment)

    async def rating(self, batch_id: BatchId) -> BatchRating | None:
        """The owner's rating of the batch; None if there is none."""
        return await ratings.read_rating(self._caller, await id_of(self._caller, batch_id))

    async def trash_images(self, batch_id: BatchId, items: Items = None) -> ActionReport:
        """Put the batch with its pictures into the trash, or the pictures of `items`; `restore_images` takes them back.

        What is in the trash is deleted after some days (`trash_days`). A batch with unfinished items stays in the list.
        """
        return await trash.trash_images(self._caller, await id_of(self._caller, batch_id), items)

    async def restore_images(self, batch_id: BatchId, items: Items = None) -> ActionReport:
        """Take the batch and its pictures, all or those of `items`, out of the trash."""
        return await trash.restore_images(self._caller, await id_of(self._caller, batch_id), items)

    async def trash(self, *, before: str | None = None, limit: int = 20) -> TrashPage:
        """A page of what the user has in the trash, newest first. `before` is `next` of the page before."""
        return await trash.read_trash(self._caller, before, limit)

    async def empty_trash(self) -> EmptiedTrash:
        """Delete all that the user has in the trash for good."""
        return await trash.empty_trash(self._caller)

    async def delete_images(self, batch_id: BatchId, items: Items = None) -> ActionReport:
        """Delete the batch's pictures for good; a worker removes their files soon after. The items and totals stay."""
        return await actions.delete_images(self._caller, await id_of(self._caller, batch_id), items)

    async def signed_links(self, paths: Sequence[str], seconds: int = LINK_SECONDS) -> Mapping[str, str]:
        """Links by path to pictures and thumbnails, for `seconds`; anyone who has one can open it that long.

        One request for up to 500 paths, so a screen needs one beside its data. Paths that the caller may not read have
        no link. Public pictures need none.
        """
        return await signed_links(self._caller, self._storage, paths, seconds)

    async def with_links(self, snapshot: BatchSnapshot, seconds: int = LINK_SECONDS) -> BatchSnapshot:
        """The snapshot with `link` and `thumbnail_link` of each picture, signed for `seconds` if it is private."""
        return await with_links(self._caller, self._storage, snapshot, seconds)

    async def set_picture_access(self, access: PictureAccess, on_rows: OnRows | None = None) -> SwitchedPictures:
        """For operators: make the project's pictures public or private. Repeat the call if it was interrupted.

        Going private ends all public addresses, but not copies in browsers and caches. Going public ends no signed
        link: each works until it expires.
        """
        return await set_picture_access(self._caller, self._storage, access, on_rows)

    async def save_images(
        self, snapshot: BatchSnapshot, directory: Path | str, on_saved: OnSaved | None = None
    ) -> tuple[SavedImage, ...]:
        """Download the batch's pictures as `<number>-<words of the prompt>.<format>`; see `batchgen.client.downloads`.

        Raises `StorageError` if a file cannot be downloaded, after the others were written.
        """
        await self._caller.renew_if_needed()
        return await save_images(self._storage, snapshot, Path(directory), on_saved)

    async def contact_sheet(self, snapshot: BatchSnapshot) -> bytes:
        """One PNG with all pictures of the batch; a failed item is a grey tile with the reason."""
        from batchgen.client.contact_sheet import contact_sheet  # only this needs Pillow

        await self._caller.renew_if_needed()
        pictures = await read_images(self._storage, snapshot)
        return await asyncio.to_thread(contact_sheet, snapshot, pictures)

    async def export(
        self, batch_ids: Sequence[BatchId], to: Path | str | Writable, on_progress: OnProgress | None = None
    ) -> ExportReport:
        """Write the pictures of batches with a manifest and a table to a ZIP file, or to a binary stream.

        The file appears once it is complete, and replaces one of that name. Pictures that are missing are in the
        report with the reason. Raises `NotFound`, `InvalidRequest` if the file cannot be written, and `StorageError` if
        Storage does not answer.
        """
        ids = [await id_of(self._caller, batch_id) for batch_id in batch_ids]
        return await export_batches(
            self._caller, self._storage, ids, Path(to) if isinstance(to, str) else to, on_progress
        )

    async def request_export(self, batch_ids: Sequence[BatchId]) -> RequestedExport:
        """Have a worker build an export of batches. While one of the same batches is open, returns that one.

        Raises `NotFound`, `InvalidRequest`, and `LimitReached` with the time when the limit resets.
        """
        return await request_export(self._caller, [await id_of(self._caller, batch_id) for batch_id in batch_ids])

    async def exports(self, limit: int = 20) -> tuple[RequestedExport, ...]:
        """The newest exports that were asked for, at most 100, with links while they are ready."""
        return await read_exports(self._caller, limit)

    async def wait_for_export(
        self, export_id: UUID, on_change: Callable[[RequestedExport], None] | None = None
    ) -> RequestedExport:
        """Wait until an export is ready or has failed, and return it."""
        return await wait_for_export(self._caller, export_id, on_change)

    async def save_export(self, export: RequestedExport, directory: Path | str) -> tuple[Path, ...]:
        """Download the files of an export that is ready. Returns their paths."""
        return await save_export(self._caller, self._caller.supabase, export, Path(directory))

    async def import_batches(
        self,
        paths: Sequence[Path | str],
        *,
        model: str | None = None,
        again: str = "",
        on_submitted: OnSubmitted | None = None,
    ) -> tuple[ImportedBatch, ...]:
        """Run the items of exports, or of their manifests, again as new batches of the allowed size.

        Repeating an import submits nothing twice, unless `again` is another text. `model` replaces the models of the
        manifests. Raises `InvalidRequest`, before anything is submitted, if a file is not a manifest, a model is
        missing or a batch would be refused.
        """
        batches = await asyncio.to_thread(read_manifests, [Path(path) for path in paths])
        return await import_batches(self._caller, batches, model=model, again=again, on_submitted=on_submitted)

    async def create_schedule(
        self,
        request: BatchRequest,
        *,
        cron: str | None = None,
        run_at: datetime | None = None,
        time_zone: str = "UTC",
        name: str | None = None,
        missed_runs: MissedRuns = MissedRuns.ONE,
        paused: bool = False,
        client_key: str | None = None,
    ) -> Schedule:
        """Run a request at a time (`run_at`), or again and again (`cron`, in `time_zone`), by a worker.

        Raises `InvalidRequest` for an invalid request or time, and `LimitReached` if the user has too many schedules.
        """
        fields = {"cron": cron, "run_at": run_at, "time_zone": time_zone, "name": name, "client_key": client_key}
        more = {"missed_runs": missed_runs.value, "paused": paused}
        return await schedules.create_schedule(self._caller, request, {**fields, **more})

    async def schedules(self, limit: int = 100, *, before: datetime | None = None) -> tuple[Schedule, ...]:
        """The newest schedules with their next five runs, newest first, created before `before`."""
        return await schedules.read_schedules(self._caller, limit, before)

    async def find_schedule(self, schedule_id: str) -> UUID:
        """The id of a schedule from its first digits, at least four. Raises `NotFound` and `InvalidRequest`."""
        return await schedules.find_schedule(self._caller, schedule_id)

    async def schedule_runs(
        self, schedule_id: UUID, limit: int = 50, *, before: datetime | None = None
    ) -> ScheduleRuns:
        """A schedule with its decided slots, the newest first, and the batches that they made. Raises `NotFound`."""
        return await schedules.read_schedule_runs(self._caller, schedule_id, limit, before)

    async def preview_schedule(self, schedule_id: UUID) -> tuple[datetime, ...]:
        """The times of the next five runs. `batchgen.next_runs` computes them of any expression. Raises `NotFound`."""
        return (await schedules.read_schedule_runs(self._caller, schedule_id, 0, None)).schedule.next_runs

    async def edit_schedule(
        self,
        schedule_id: UUID,
        *,
        request: BatchRequest | None = None,
        cron: str | None = None,
        run_at: datetime | None = None,
        time_zone: str | None = None,
        name: str | None = None,
        missed_runs: MissedRuns | None = None,
    ) -> Schedule:
        """Change some fields of a schedule; new times count from now on. Raises `NotFound` and `InvalidRequest`."""
        fields = {"cron": cron, "run_at": run_at, "time_zone": time_zone, "name": name}
        rule = {"missed_runs": missed_runs.value if missed_runs else None}
        return await schedules.edit_schedule(self._caller, schedule_id, request, {**fields, **rule})

    async def pause_schedule(self, schedule_id: UUID) -> Schedule:
        """Run nothing until `resume_schedule`; slots that pass meanwhile do not run. Raises `NotFound`."""
        return await schedules.act_on_schedule(self._caller, "pause_schedule", schedule_id)

    async def resume_schedule(self, schedule_id: UUID) -> Schedule:
        """Go on with the next slot. Raises `NotFound`."""
        return await schedules.act_on_schedule(self._caller, "resume_schedule", schedule_id)

    async def delete_schedule(self, schedule_id: UUID) -> None:
        """Delete a schedule; its batches stay. Raises `NotFound`."""
        await schedules.delete_schedule(self._caller, schedule_id)

    async def sign_out(self) -> None:
        """End this session on the server; other sessions of the user stay."""
        await auth.sign_out(self._caller.supabase)

    async def close(self) -> None:
        await disconnect(self._caller.supabase)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @classmethod
    async def _as_user(cls, settings: Settings, key: str, sign: Callable[[AsyncClient], Awaitable[Session]]) -> Self:
        caller = Caller(await connect(settings, key=key))

        async def begin() -> None:
            caller.session = await sign(caller.supabase)

        return await cls._ready(caller, settings, begin)

    @classmethod
    async def _ready(cls, caller: Caller, settings: Settings, begin: Callable[[], Awaitable[None]]) -> Self:
        """The client after `begin`; if that fails, the connection is closed."""
        try:
            await begin()
        except BaseException:
            await disconnect(caller.supabase)
            raise
        return cls(caller, settings)


def settings_for(url: str) -> Settings:
    """Default settings for a project. Keys and other settings of the environment are not read."""
    try:
        return Settings.model_validate({"supabase_url": url})
    except ValidationError as error:
        [(variable, message), *_] = error_messages(Settings, error, ())
        if variable != "SUPABASE_URL":  # a proxy of the environment that cannot be used
            raise InvalidRequest(
                f"Invalid settings: {message}.", code="invalid_settings", field=variable, remedy=f"Change {variable}."
            ) from None
        raise InvalidRequest(
            f"The project's address {message.removeprefix('SUPABASE_URL: ')}.",
            code="invalid_url",
            field="url",
            remedy="Give the address of the project, such as https://abc.supabase.co.",
        ) from None
