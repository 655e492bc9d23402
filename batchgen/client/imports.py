"""Run the items of exports again as new batches."""

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

from batchgen.client.caller import Caller
from batchgen.client.details import preview_batch
from batchgen.client.project_queries import Model, read_models
from batchgen.client.submit import create_batch
from batchgen.errors import InvalidRequest
from batchgen.exports.archive import MANIFEST
from batchgen.exports.manifest import (
    MOST_ITEMS,
    REMEDY,
    Manifest,
    ManifestBatch,
    ManifestItem,
    not_a_manifest,
    read_manifest,
)
from batchgen.models import BatchRequest, CreatedBatch, Prompt, SharedSettings
from batchgen.text import printable
from batchgen.validation import closest_matches

MOST_MANIFEST_BYTES = 16 * 1024 * 1024
MOST_DIRECTORY_BYTES = 16 * 1024 * 1024
"""A ZIP's list of files is read whole; one of 100,000 pictures fits into this."""
MOST_PROMPTS = 10
"""Prompts per batch, unless the project allows the user fewer."""
LONGEST_NAME = 200
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class ImportedBatch:
    """A batch that an import submitted, now or by an earlier run of the same import."""

    batch: CreatedBatch
    source_batch_id: str | None
    """The batch in the manifest."""


OnSubmitted = Callable[[ImportedBatch, int], None]
"""Called after each batch, with the number of all batches."""


def read_manifests(paths: Sequence[Path]) -> tuple[ManifestBatch, ...]:
    """The batches in manifests or exports, joined if an export has several files.

    Nothing is extracted, and memory is bounded whatever a ZIP claims. Raises `InvalidRequest`.
    """
    manifests = [_read(path) for path in paths]
    if not any(batch.items for manifest in manifests for batch in manifest.batches):
        raise InvalidRequest("There is nothing to import.", code="prompts_missing", field="file", remedy=REMEDY)
    return _joined(manifests)


async def import_batches(
    caller: Caller,
    batches: Sequence[ManifestBatch],
    *,
    model: str | None = None,
    again: str = "",
    on_submitted: OnSubmitted | None = None,
) -> tuple[ImportedBatch, ...]:
    """Submit the items of manifests as new batches.

    The client keys come from the content, so repeating the import after an error, or by mistake, submits nothing
    twice; another `again` makes it a new import. `model` replaces the models of the manifests. Raises `InvalidRequest`
    before anything is submitted if a model is missing or a batch cannot be made.
    """
    models = _Models(await read_models(caller, inactive=False), model)
    plans = [plan for number, batch in enumerate(batches) for plan in _plans(number, batch, models)]
    most = MOST_PROMPTS
    while True:
        requests = _requests(plans, most, again)
        try:
            await _check(caller, plans, requests)
            return await _submit(caller, plans, requests, on_submitted)
        except InvalidRequest as error:
            if error.code != "too_many_prompts" or not isinstance(error.limit, int) or not 0 < error.limit < most:
                raise
            most = error.limit  # the user's own limit; batches that are submitted already stay as they are


@dataclass(frozen=True, slots=True)
class _Plan:
    """Items of one batch that share all settings, and so can be a batch again."""

    source: ManifestBatch
    where: str
    """The path of the first item in the manifest."""
    settings: SharedSettings
    items: tuple[ManifestItem, ...]
    is_whole: bool
    """Whether these are all items of the batch."""


class _Models:
    """The models of this project by the id, name or `replicate_id` that a manifest has."""

    def __init__(self, models: Sequence[Model], override: str | None) -> None:
        self._models = models
        self._override = self._find(override, "model") if override else None

    def id_for(self, item: ManifestItem, field: str) -> str | None:
        """The id of an item's model; None means the default model, if the manifest names none."""
        if self._override is not None:
            return self._override
        wanted = [one for one in (item.model_id, item.model, item.provider_model) if one]
        for one in wanted:
            if (found := self._id(one)) is not None:
                return found
        return self._find(item.model or wanted[0], field) if wanted else None

    def _id(self, wanted: str) -> str | None:
        for names in zip(*(_names_of(model) for model in self._models), strict=True):
            found = [
                model for model, name in zip(self._models, names, strict=True) if name.casefold() == wanted.casefold()
            ]
            if len(found) == 1:
                return str(found[0].id)
        return None

    def _find(self, wanted: str, field: str) -> str:
        if (found := self._id(wanted)) is not None:
            return found
        near = closest_matches(wanted, [model.name for model in self._models], 3)
        offered = ", ".join(printable(name, 60) for name in near or [model.name for model in self._models[:5]])
        hint = f"{'Similar are' if near else 'There are'} {offered}. " if offered else ""
        raise InvalidRequest(
            f"This project has no active model {printable(wanted, 80)}. Nothing was submitted.",
            code="unknown_model",
            field=field,
            remedy=f"{hint}Choose one for all items with --model; batchgen models lists all models.",
        )


def _names_of(model: Model) -> tuple[str, str, str, str]:
    """What a manifest may call a model, the most exact first."""
    return str(model.id), model.replicate_id, model.name, model.display_name


def _plans(number: int, batch: ManifestBatch, models: _Models) -> list[_Plan]:
    groups: dict[SharedSettings, list[tuple[int, ManifestItem]]] = {}
    for position, item in enumerate(batch.items):
        settings = SharedSettings(
            model_id=models.id_for(item, f"batches[{number}].items[{position}].model"),
            model_version=item.requested_model_version,
            width=item.width,
            height=item.height,
            steps=item.steps,
            guidance_scale=item.guidance_scale,
        )
        groups.setdefault(settings, []).append((position, item))
    return [
        _Plan(
            batch,
            f"batches[{number}].items[{items[0][0]}]",
            settings,
            tuple(item for _, item in items),
            len(groups) == 1,
        )
        for settings, items in groups.items()
    ]


async def _check(caller: Caller, plans: Sequence[_Plan], requests: Sequence[Sequence[BatchRequest]]) -> None:
    """Raise the refusal of a request that breaks a rule. Limits and credits may free up until it is submitted."""
    for plan, some in zip(plans, requests, strict=True):
        for request in some:
            try:
                await preview_batch(caller, request)
            except InvalidRequest as error:
                raise _explained(error, plan) from error


async def _submit(
    caller: Caller,
    plans: Sequence[_Plan],
    requests: Sequence[Sequence[BatchRequest]],
    on_submitted: OnSubmitted | None,
) -> tuple[ImportedBatch, ...]:
    count = sum(map(len, requests))
    imported: list[ImportedBatch] = []
    try:
        for plan, some in zip(plans, requests, strict=True):
            for request in some:
                imported.append(ImportedBatch(await create_batch(caller, request), plan.source.id))
                if on_submitted:
                    on_submitted(imported[-1], count)
    except InvalidRequest as error:
        if imported:
            rest = f"{len(imported)} of {count} batches are submitted; run the same import again for the rest."
            error.remedy = f"{error.remedy or ''} {rest}".strip()
        raise
    return tuple(imported)


def _explained(error: InvalidRequest, plan: _Plan) -> InvalidRequest:
    """The refusal of a request with the place in the manifest."""
    where = plan.where if error.index is None else f"a batch that begins with {plan.where}"
    remedy = error.remedy
    if error.code == "too_few_prompts":
        where = plan.where
        remedy = "Add an item to the manifest that has the same settings"
        remedy += "." if plan.is_whole else ", or run all items with the same model: --model NAME."
    return InvalidRequest(
        f"{where}: {error.message} Nothing was submitted.",
        code=error.code,
        index=error.index,
        field=error.field,
        limit=error.limit,
        remedy=remedy,
    )


def _requests(plans: Sequence[_Plan], most: int, again: str) -> list[list[BatchRequest]]:
    """The requests of each plan, split evenly into at most so many prompts, with keys made from their content."""
    parts = [_evenly(plan.items, most) for plan in plans]
    counts = Counter(id(plan.source) for plan, some in zip(plans, parts, strict=True) for _ in some)
    places: Counter[int] = Counter()
    seen: Counter[str] = Counter()
    requests: list[list[BatchRequest]] = []
    for plan, some in zip(plans, parts, strict=True):
        requests.append([])
        for items in some:
            source = id(plan.source)
            places[source] += 1
            request = BatchRequest(
                prompts=tuple(
                    Prompt(text=item.prompt, negative_prompt=item.negative_prompt, seed=item.seed, tags=item.tags)
                    for item in items
                ),
                shared_settings=plan.settings,
                batch_name=_name(plan.source.name, places[source], counts[source]),
            )
            body = json.dumps(request.model_dump(mode="json", exclude_none=True), sort_keys=True)
            seen[body] += 1
            key = hashlib.sha256(f"{again}\n{seen[body]}\n{body}".encode("utf-8", "surrogatepass")).hexdigest()
            requests[-1].append(request.model_copy(update={"client_key": f"import-{key}"}))
    return requests


def _evenly(items: Sequence[ManifestItem], most: int) -> list[Sequence[ManifestItem]]:
    """At most so many at a time, in parts of nearly equal size: 11 items are 6 and 5, not 10 and 1."""
    parts = -(-len(items) // most)
    cuts = [len(items) * part // parts for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(cuts)]


def _name(name: str | None, nth: int, count: int) -> str | None:
    if count == 1:
        return name
    suffix = f" ({nth} of {count})"
    return (name or "Import")[: LONGEST_NAME - len(suffix)] + suffix


def _joined(manifests: Sequence[Manifest]) -> tuple[ManifestBatch, ...]:
    """The batches of all manifests. Parts of a batch from several files of an export become one batch again."""
    batches: dict[object, ManifestBatch] = {}
    for number, manifest in enumerate(manifests):
        for place, batch in enumerate(manifest.batches):
            key = batch.id or (number, place)
            known = batches.get(key)
            items = [*(known.items if known else ()), *batch.items]
            # An item whose pictures are in two files is in both manifests.
            different = {item.id or place: item for place, item in enumerate(items)}
            batches[key] = batch.model_copy(update={"items": tuple(different.values())})
    if sum(len(batch.items) for batch in batches.values()) > MOST_ITEMS:
        raise InvalidRequest(
            f"The files have more than {MOST_ITEMS} items together.",
            code="too_many_items",
            field="file",
            limit=MOST_ITEMS,
            remedy="Import fewer files at once.",
        )
    return tuple(batches.values())


def _read(path: Path) -> Manifest:
    name = printable(str(path), 200)
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "there is no such file")
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            content = _from_zip(file, name) if is_zip else file.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidRequest(
            f"{name} cannot be read: {reason[:1].lower()}{reason[1:]}.", code="unreadable", field="file", remedy=REMEDY
        ) from error
    if len(content) > MOST_MANIFEST_BYTES:
        raise _too_large(name)
    return read_manifest(content, name)


def _from_zip(file: IO[bytes], name: str) -> bytes:
    """The manifest in a ZIP file. Reads nothing else, and no more than a manifest may have."""
    try:
        with zipfile.ZipFile(cast("IO[bytes]", _BoundedReads(file))) as archive:
            entry = archive.getinfo(MANIFEST)
            if entry.file_size > MOST_MANIFEST_BYTES:
                raise _too_large(name)
            if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise not_a_manifest(name, f"its {MANIFEST} is encrypted or compressed in an unusual way")
            with archive.open(entry) as opened:
                return opened.read(MOST_MANIFEST_BYTES + 1)
    except KeyError as error:
        raise not_a_manifest(name, f"it has no {MANIFEST}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        raise not_a_manifest(name, f"the ZIP file is damaged ({type(error).__name__})") from error


def _too_large(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The manifest in {name} is too large.",
        code="too_large",
        field="file",
        limit=MOST_MANIFEST_BYTES,
        remedy=f"A manifest has at most {MOST_MANIFEST_BYTES // 2**20} MiB; split it.",
    )


class _BoundedReads:
    """A file that refuses to read very much at once, as a ZIP's list of millions of files would need."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MOST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("The list of files is too long.")
        return self._file.read(MOST_DIRECTORY_BYTES if size < 0 else size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
