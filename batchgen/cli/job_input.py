"""Read the rows of a large job: prompts one per line, CSV with a header, or JSON Lines."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, cast

from batchgen.cli.input import STDIN, read_source
from batchgen.cli.options import FollowOptions
from batchgen.cli.prompts import from_lines, with_options
from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, JobRow, Prompt, SharedSettings
from batchgen.text import printable
from batchgen.validation import closest_matches

PROMPT_FIELDS = ("text", "negative_prompt", "seed", "tags")
SETTING_FIELDS = tuple(SharedSettings.model_fields)
ALIASES = {"prompt": "text", "model": "model_id"}
LARGEST_BATCH = 100
"""No project has larger batches."""
WHOLE_NUMBERS = ("seed", "width", "height", "steps")


class FileFormat(StrEnum):
    """How a file holds prompts."""

    TEXT = "text"
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class FileJob:
    """The prompts of a file, and how they are submitted."""

    rows: Sequence[JobRow]
    request: BatchRequest | None
    """The same as one batch, which is tried first; None if it cannot be one."""
    is_for_one_batch: bool
    """An option was given that counts for one batch, so that it is not split."""
    name: str | None
    again: bool
    summary: Path
    following: FollowOptions | None


def job_from(
    file: str,
    kind: str | None,
    options: Mapping[str, Any],
    *,
    again: bool,
    summary: Path | None,
    following: FollowOptions | None,
) -> FileJob:
    """Read the prompts of a file; `options` are those of `batchgen.cli.prompts.with_options`."""
    content, found = read_source(file), format_of(file, FileFormat(kind) if kind else None)
    rows = rows_of(
        content,
        found,
        shared=options["shared"],
        negative_prompt=options["negative_prompt"],
        seed=None if options["variations"] else options["seed"],
        tags=options["tags"],
    )
    request: BatchRequest | None = None
    if found is FileFormat.TEXT:
        request = with_options(from_lines(content), **options)
    elif rows and all(row.settings == rows[0].settings for row in rows):
        request = BatchRequest(
            prompts=tuple(row.prompt for row in rows),
            shared_settings=rows[0].settings,
            batch_name=options["name"],
            client_key=options["client_key"],
            choices=options["choices"],
            variations=options["variations"],
        )
    one_batch = ("client_key", "choices", "variations")
    is_for_one = any(options[name] for name in one_batch) or bool(following and following.contact_sheet)
    if is_for_one and (request is None or len(rows) > LARGEST_BATCH):
        raise InvalidRequest(
            "--client-key, --choices, --variations, --seeds and --contact-sheet are for one batch of equal settings.",
            code="wrong_usage",
            remedy="Leave them out, or submit the prompts batch by batch.",
        )
    target = summary or Path(f"batchgen-{_hash(content)}.summary.json" if file == STDIN else f"{file}.summary.json")
    return FileJob(rows, request, is_for_one, options["name"], again, target, following)


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def format_of(file: str, given: FileFormat | None) -> FileFormat:
    """The format that was given, else the one that the file's name tells; text if it tells none."""
    suffixes = {".csv": FileFormat.CSV, ".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL}
    return given or suffixes.get(PurePath(file).suffix.lower(), FileFormat.TEXT)


def rows_of(
    text: str,
    kind: FileFormat,
    *,
    shared: Mapping[str, Any],
    negative_prompt: str | None,
    seed: int | None,
    tags: Sequence[str],
) -> Sequence[JobRow]:
    """The rows, with the command's options where a row has no value of its own. Raises `InvalidRequest`, with the line.

    `seed` is the first row's; each further one gets the next number.
    """
    rows: list[JobRow] = []
    own_tags: Any
    for line, fields in _READERS[kind](text):
        own_tags = fields.get("tags") or ()
        filled: dict[str, Any] = {
            "text": fields.get("text"),
            "negative_prompt": fields.get("negative_prompt") or negative_prompt,
            "seed": fields.get("seed") if fields.get("seed") is not None or seed is None else seed + len(rows),
            "tags": (*cast("Sequence[Any]", own_tags), *tags) if isinstance(own_tags, list | tuple) else own_tags,
        }
        settings = {
            name: fields.get(name) if fields.get(name) is not None else shared.get(name) for name in SETTING_FIELDS
        }
        try:
            prompt, own = Prompt.model_validate(filled), SharedSettings.model_validate(settings)
        except InvalidRequest as error:
            raise _at_line(line, error) from None
        if not prompt.text.strip():
            raise _at_line(line, InvalidRequest("text is empty.", code="blank_prompt", field="text"))
        rows.append(JobRow(prompt=prompt, settings=own))
    return rows


def _lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, prompt in enumerate(text.splitlines(), 1):
        if prompt.strip():
            yield line, {"text": prompt.strip()}


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            value: Any = json.loads(content)
        except (ValueError, RecursionError):
            raise _at_line(line, InvalidRequest("it is not JSON.", code="invalid_json", remedy=_SHAPE)) from None
        if isinstance(value, str):
            yield line, {"text": value}
        elif isinstance(value, dict):
            yield line, _named(line, cast("Mapping[str, Any]", value))
        else:
            raise _at_line(
                line, InvalidRequest("it is neither a text nor an object.", code="wrong_type", remedy=_SHAPE)
            )


def _csv(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: Sequence[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if "text" not in _named(1, dict.fromkeys(header)):
                    raise _at_line(
                        1, InvalidRequest("no column is named text.", code="wrong_type", field="text", remedy=_HEADER)
                    )
                continue
            line = reader.line_num
            if len(cells) > len(header):
                raise _at_line(
                    line, InvalidRequest(f"it has {len(cells)} cells, the first line {len(header)}.", code="wrong_type")
                )
            values = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            yield line, {name: _value(line, name, cell) for name, cell in _named(line, values).items() if cell}
    except csv.Error as error:
        raise _at_line(reader.line_num, InvalidRequest(f"it is not CSV: {error}.", code="invalid_csv")) from None


def _value(line: int, name: str, cell: str) -> Any:
    if name == "tags":
        return tuple(tag.strip() for tag in cell.replace(";", ",").split(",") if tag.strip())
    try:
        if name in WHOLE_NUMBERS:
            return int(cell)
        return float(cell) if name == "guidance_scale" else cell
    except ValueError:
        kind = "a whole number" if name in WHOLE_NUMBERS else "a number"
        message = f"{name} must be {kind}, not {printable(cell, 40)}."
        raise _at_line(line, InvalidRequest(message, code="wrong_type", field=name)) from None


def _named(line: int, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields by their full names. Raises `InvalidRequest` for an unknown one."""
    known = (*PROMPT_FIELDS, *SETTING_FIELDS)
    named: dict[str, Any] = {}
    for given, value in fields.items():
        name = ALIASES.get(given, given)
        if name not in known:
            near = closest_matches(name, known)
            remedy = f"Did you mean {near[0]}? {_HEADER}" if near else _HEADER
            message = f"{printable(given, 60) or 'a column without a name'} is not a field of a prompt."
            raise _at_line(line, InvalidRequest(message, code="unknown_field", field=given[:60], remedy=remedy))
        named[name] = value
    return named


def _at_line(line: int, error: InvalidRequest) -> InvalidRequest:
    return InvalidRequest(
        f"Line {line}: {error.message}", code=error.code, field=error.field, limit=error.limit, remedy=error.remedy
    )


_SHAPE = 'Write a line for each prompt: "a fox" or {"text": "a fox", "seed": 1, "width": 512}.'
_HEADER = f"Known columns: {', '.join((*PROMPT_FIELDS, *SETTING_FIELDS))}."
_READERS = {FileFormat.TEXT: _lines, FileFormat.JSONL: _json_lines, FileFormat.CSV: _csv}
