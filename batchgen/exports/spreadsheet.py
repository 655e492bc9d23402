"""`pictures.csv`: a row per picture, safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

COLUMNS = (
    "file",
    "batch",
    "batch_id",
    "number",
    "prompt",
    "negative_prompt",
    "seed",
    "model",
    "model_version",
    "width",
    "height",
    "steps",
    "guidance_scale",
    "created_at",
    "started_at",
    "completed_at",
    "generation_seconds",
    "cost_usd",
    "tags",
    "sha256",
    "bytes",
    "missing",
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_FORMULA = frozenset("=+-@|%\t\r\n\uff1d\uff0b\uff0d\uff20")
"""Characters with which a spreadsheet lets a formula or a command begin, full-width ones included."""


def csv_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The table as UTF-8, every cell quoted."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([cell(row.get(column)) for column in COLUMNS])
    return out.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe marks a text that begins like one."""
    if value is None:
        return ""
    text = ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
    is_formula = text[:1] in _FORMULA or text.lstrip()[:1] in _FORMULA
    return f"'{text}" if text and is_formula and not _NUMBER.fullmatch(text) else text
