"""`manifest.json`: what each picture of an export was made from, enough to make it again."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import ValidationError, field_validator

from batchgen.errors import InvalidRequest
from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture
from batchgen.models import Frozen
from batchgen.text import printable

FORMAT = "batchgen-export"
FORMAT_VERSION = 1
MOST_ITEMS = 10_000
REMEDY = "Give a manifest.json or a ZIP file that batchgen export wrote."


class ManifestItem(Frozen):
    """An item of a manifest, as far as an import needs it."""

    id: str | None = None
    index: int | None = None
    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    model: str | None = None
    model_id: str | None = None
    provider_model: str | None = None
    requested_model_version: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    tags: tuple[str, ...] = ()

    @field_validator("seed", mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        if isinstance(value, str) and len(value) > 20:
            raise ValueError("is longer than a 64-bit number")
        return value


class ManifestBatch(Frozen):
    id: str | None = None
    name: str | None = None
    items: tuple[ManifestItem, ...]


class Manifest(Frozen):
    format: str
    format_version: int
    batches: tuple[ManifestBatch, ...]


def manifest_bytes(batches: Sequence[dict[str, Any]], *, version: str, at: datetime, part: int | None = None) -> bytes:
    """The manifest as UTF-8. `part` is the file's number if the export has several."""
    missing = [
        {"batch_id": batch["id"], "index": item["index"], **reason}
        for batch in batches
        for item in batch["items"]
        for reason in _reasons(item)
    ]
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "batchgen_version": version,
        "exported_at": _time(at),
        **({} if part is None else {"part": part}),
        "batches": batches,
        "missing": missing,
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode("utf-8", "replace")


def batch_entry(batch: ExportBatch) -> dict[str, Any]:
    """A batch in the manifest, with no items yet."""
    return {
        "id": str(batch.id),
        "name": batch.name,
        "status": batch.status,
        "created_at": _time(batch.created_at),
        "completed_at": _time(batch.completed_at),
        "items": [],
    }


def item_entry(batch: ExportBatch, item: ExportItem, position: int) -> dict[str, Any]:
    """An item in the manifest, with no pictures yet. Seeds and costs are texts: JavaScript rounds large numbers."""
    made = item.pictures[-1] if item.pictures else None
    return {
        "id": str(item.id),
        "index": position if item.index is None else item.index,
        "status": item.status,
        "prompt": item.prompt,
        "negative_prompt": item.negative_prompt,
        "seed": (made.seed if made else None) or item.seed,
        "model": item.model,
        "model_id": item.model_id,
        "provider_model": item.provider_model,
        "model_version": (made.model_version if made else None) or batch.model_version,
        "requested_model_version": batch.model_version,
        "width": item.width,
        "height": item.height,
        "steps": item.steps,
        "guidance_scale": item.guidance_scale,
        "created_at": _time(item.created_at),
        "started_at": _time(item.started_at),
        "completed_at": _time(item.completed_at),
        "generation_seconds": item.generation_seconds,
        "cost_usd": item.cost_usd,
        "tags": sorted({*item.tags, *(tag for picture in item.pictures for tag in picture.tags)}),
        "error": {"code": item.error_code, "message": item.error_message} if item.status == "failed" else None,
        "pictures": [],
        "missing": None,
    }


def picture_entry(picture: ExportPicture) -> dict[str, Any]:
    """A picture in the manifest, before its file is written."""
    return {
        "id": str(picture.id),
        "file": None,
        "sha256": None,
        "bytes": None,
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "missing": None,
    }


def read_manifest(content: bytes, name: str) -> Manifest:
    """The manifest in a file. Raises `InvalidRequest` for anything else, with the path of what is wrong."""
    try:
        data: Any = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise not_a_manifest(name, "it is not JSON in UTF-8") from error
    found = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if found.get("format") != FORMAT:
        raise not_a_manifest(name, f'its "format" is not "{FORMAT}"')
    version = found.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise InvalidRequest(
            f"{name} has format version {printable(str(version), 20)}; this batchgen reads {FORMAT_VERSION}.",
            code="unknown_format_version",
            field="format_version",
            limit=FORMAT_VERSION,
            remedy="Install a newer version of batchgen.",
        )
    _check_number_of_items(found, name)
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise InvalidRequest(
            f"{name}: {printable(path, 80)}: {first['msg'][:1].lower()}{first['msg'][1:]}.",
            code="wrong_type",
            field=path,
            remedy="Correct it in the manifest.",
        ) from None


def not_a_manifest(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name} is not a manifest of batchgen: {why}.", code="not_a_manifest", field="file", remedy=REMEDY
    )


def _check_number_of_items(found: dict[str, Any], name: str) -> None:
    batches: Any = found.get("batches")
    items = 0
    for batch in cast("list[Any]", batches) if isinstance(batches, list) else []:
        of_batch: Any = cast("dict[str, Any]", batch).get("items") if isinstance(batch, dict) else None
        items += len(cast("list[Any]", of_batch)) if isinstance(of_batch, list) else 0
    if items > MOST_ITEMS:
        raise InvalidRequest(
            f"{name} has {items} items; at most {MOST_ITEMS} are imported at once.",
            code="too_many_items",
            field="batches",
            limit=MOST_ITEMS,
            remedy="Split the manifest.",
        )


def _reasons(item: dict[str, Any]) -> list[dict[str, Any]]:
    found = [item["missing"], *(picture["missing"] for picture in item["pictures"])]
    return [reason for reason in found if reason]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
