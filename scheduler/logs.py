"""Structured logs on stderr: readable on a terminal, one JSON object a line otherwise; secrets blacked out."""

import logging
import re
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from batchgen.models import Claim
from batchgen.settings import WorkerSettings

OURS = ("scheduler", "batchgen")
REDACTED = "[secret]"
_SECRET_SHAPES = re.compile(
    r"sb_(?:secret|publishable)_[\w-]+"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?i:bearer\s+)[\w.~+/=-]+"
    r"|(?i:apikey[=:]\s*)[\w.~+/=-]+"
)


def item_fields(claim: Claim) -> dict[str, str | int]:
    """What every line about an item carries."""
    return {
        "batch_id": str(claim.batch_id),
        "generation_id": str(claim.generation_id),
        "lease_id": str(claim.lease_id),
        "attempt": claim.attempt,
    }


def configure_logs(settings: WorkerSettings, *, stream: TextIO = sys.stderr) -> logging.Handler:
    """Send all logs, ours and those of libraries, to `stream`. Libraries show from warnings on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(as_json=_wants_json(settings, stream), secrets=settings.secrets()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    # It reports every try to connect as an error; `wakeup` tells what of it matters, once per change.
    logging.getLogger("realtime").setLevel(logging.CRITICAL)
    # It warns of each beat that finds the one before it at work, as in an outage; `ticks` tells of those that are dead.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return handler


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without the secrets, and without anything that looks like a key or token."""
    for secret in secrets:
        text = text.replace(secret, REDACTED) if len(secret) > 5 else text
    return _SECRET_SHAPES.sub(REDACTED, text)


class _RedactingFormatter(ProcessorFormatter):
    """Works on the finished line, so that no exception and no library can slip a secret past it."""

    def __init__(self, *, secrets: Sequence[str], processors: Sequence[Processor]) -> None:
        super().__init__(processors=processors, foreign_pre_chain=_shared())
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secrets)


def _formatter(*, as_json: bool, secrets: Sequence[str]) -> logging.Formatter:
    last: list[Processor] = [ProcessorFormatter.remove_processors_meta]
    if as_json:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        last += [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return _RedactingFormatter(secrets=secrets, processors=last)


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
