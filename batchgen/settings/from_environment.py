"""Read settings from the environment and a `.env` file."""

import os
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    ValidationError,
)

from batchgen.errors import InvalidRequest
from batchgen.settings.error_messages import error_messages, unknown_variables, variables
from batchgen.settings.project import Settings
from batchgen.settings.worker import WorkerSettings

SettingsT = TypeVar("SettingsT", bound=Settings)


def load(kind: type[SettingsT], env_file: Path | None = None, *, warn: Callable[[str], None]) -> SettingsT:
    """Read settings; `env_file` replaces `.env`. `warn` gets a message for each unknown `BATCHGEN_` variable.

    Raises `InvalidRequest` that names every invalid or misspelt variable and its rule, and never shows a value.
    """
    given = {**_read_file(env_file or Path(".env")), **os.environ}
    misspelt, others = unknown_variables(variables(WorkerSettings), given)
    problems: list[tuple[str | None, str]] = [*misspelt]
    try:
        settings = kind(_env_file=env_file) if env_file else kind()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        problems += error_messages(kind, error, [name for name, value in given.items() if value])
    else:
        if not problems:
            for message in others:
                warn(message)
            return settings
    messages = " ".join(message.rstrip(".") + "." for _, message in problems)
    raise InvalidRequest(
        f"Invalid settings: {messages}",
        code="invalid_settings",
        field=problems[0][0],
        remedy="Set the variables in the environment or in .env; .env.example lists all of them.",
    )


def _read_file(path: Path) -> Mapping[str, str | None]:
    """The variables of a settings file, as pydantic-settings reads them. Lines that it would skip are refused."""
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise _unusable(
            f"The settings file {path} cannot be read; it must be a UTF-8 text file.",
            "Save it as UTF-8 and make it readable for this user.",
        ) from None
    for line in parse_stream(StringIO(text)):
        where = f"Invalid settings: line {line.original.line} of {path}"
        if line.error:
            raise _unusable(f"{where} is not NAME=value.", "Write it like that, or put # before it.")
        if line.key and line.value is None and line.key.upper().startswith(("BATCHGEN_", "SUPABASE_")):
            raise _unusable(f"{where} has {line.key} without a value.", f"Write {line.key}=value, or remove it.")
    return dotenv_values(stream=StringIO(text))


def _unusable(message: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_settings", remedy=remedy)
