"""Structured logs on stderr: readable text on a terminal, otherwise one JSON object a line; secrets redacted."""

import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from batchgen.queue.types import Claim
from batchgen.settings import WorkerSettings
from batchgen.text import printable

OURS = ("scheduler", "batchgen")
REDACTED = "[secret]"
_SECRET_SHAPES = re.compile(
    r"sb_(?:secret|publishable)_[\w-]+"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?i:bearer\s+)[\w.~+/=-]+"
    r"|(?i:apikey[=:]\s*)[\w.~+/=-]+"
)


COLUMNS = 100
"""Of a line of text, if the stream has no terminal width."""
FEWEST_COLUMNS = 40
INDENT = " " * 17
_NAMES = {"generation_id": "item", "batch_id": "batch"}
_FIRST = ("generation_id", "code", "in_seconds", "provider", "remedy", "reason", "seconds", "attempt", "batch_id")
_FIRST_OF_SUCCESSES = ("generation_id", "seconds", "provider", "attempt", "batch_id")
LEAST_REASON = 20
_IN_JSON_ALONE = frozenset({"worker", "lease_id", "user_id", "logger", "timestamp", "level", "event", "exception"})
_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def item_fields(claim: Claim) -> dict[str, str | int | None]:
    """The fields of every line about an item."""
    return {
        "user_id": str(claim.user_id),
        "model": claim.model,
        "provider": claim.provider or claim.model_provider,
        "batch_id": str(claim.batch_id),
        "generation_id": str(claim.generation_id),
        "lease_id": str(claim.lease_id),
        "attempt": claim.attempt,
    }


def configure_logs(settings: WorkerSettings, *, stream: TextIO = sys.stderr) -> logging.Handler:
    """Send all logs to `stream`; those of libraries from warnings on."""
    handler = logging.StreamHandler(stream)
    if _wants_json(settings, stream):
        render: list[Processor] = [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        render = [partial(_text, secrets=settings.secrets(), columns=partial(_columns, stream))]
    handler.setFormatter(_RedactingFormatter(secrets=settings.secrets(), render=render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    # It logs every failed connection as an error; `wakeup` logs an outage once.
    logging.getLogger("realtime").setLevel(logging.CRITICAL)
    # It warns of each run that is skipped because the last one still runs, as in an outage; `ticks` reports dead ticks.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return handler


def _in_order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put time, level and event first, for people who read the JSON lines."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Remove the secrets, and anything that looks like a key or token, from `text`."""
    for secret in secrets:
        text = text.replace(secret, REDACTED) if len(secret) > 5 else text
    return _SECRET_SHAPES.sub(REDACTED, text)


class _RedactingFormatter(ProcessorFormatter):
    """Redacts the finished line, so that exceptions and libraries cannot leak a secret."""

    def __init__(self, *, secrets: Sequence[str], render: Sequence[Processor]) -> None:
        first = [ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info]
        super().__init__(processors=[*first, *render], foreign_pre_chain=_shared())
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secrets)


def _text(_logger: Any, _method: str, event: EventDict, *, secrets: Sequence[str], columns: Callable[[], int]) -> str:
    """One line for an event of an item: what does not fit is in the item's row and in the JSON lines.

    Events of the worker are recorded nowhere else, so they continue on indented lines. A traceback follows unchanged.
    """
    head = (
        f"{str(event.get('timestamp', ''))[11:19]} {event.get('level', ''):<7} {printable(str(event.get('event', '')))}"
    )
    shown = {key: value for key, value in event.items() if key not in _IN_JSON_ALONE and value is not None}
    first = _FIRST if "reason" in shown else _FIRST_OF_SUCCESSES
    ordered = [key for key in first if key in shown] + [key for key in shown if key not in first]
    # redacted before it is cut: half a key is a secret as well
    parts = [_UUID.sub(r"\1", redact(f"{_NAMES.get(key, key)}={_value(shown[key])}", secrets)) for key in ordered]
    if "generation_id" in shown:
        line = _fitting(redact(head, secrets), parts, columns())
    else:
        whole = redact(" ".join([head, *parts]), secrets)
        line = "\n".join(textwrap.wrap(whole, columns(), subsequent_indent=INDENT, break_on_hyphens=False))
    trace = event.get("exception")
    return f"{line}\n{trace}" if trace else line


def _fitting(line: str, parts: Sequence[str], columns: int) -> str:
    """Append the parts that fit to the line, and as much of a reason as fits."""
    line = _cut(line, columns)
    for part in parts:
        room = columns - len(line) - 1
        if len(part) <= room:
            line = f"{line} {part}"
        elif part.startswith("reason=") and room >= LEAST_REASON:
            line = f"{line} {_cut(part, room)}"
    return line


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def _columns(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # not a terminal, or not a file
        columns = 0
    return max(columns, FEWEST_COLUMNS) if columns else COLUMNS


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, list | tuple):
        return ",".join(printable(str(one)) for one in cast("Sequence[Any]", value))
    text = printable(str(value))
    return f'"{text}"' if " " in text else text


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _wants_json(settings: WorkerSettings, stream: TextIO) -> bool:
    if settings.log_format == "auto":
        return not stream.isatty()
    return settings.log_format == "json"
