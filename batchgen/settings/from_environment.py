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
from batchgen.settings.faults import faults, unknown, variables
from batchgen.settings.project import Settings
from batchgen.settings.worker import WorkerSettings

SettingsT = TypeVar("SettingsT", bound=Settings)


def load(kind: type[SettingsT], env_file: Path | None = None, *, warn: Callable[[str], None]) -> SettingsT:
    """Read settings; `env_file` replaces `.env`. `warn` is told of `BATCHGEN_` variables that are no settings.

    Raises `InvalidRequest` that names every wrong or misspelt variable and its rule, and never shows a value.
    """
    given = {**_in_file(env_file or Path(".env")), **os.environ}
    misspelt, others = unknown(variables(WorkerSettings), given)
    problems: list[tuple[str | None, str]] = [*misspelt]
    try:
        settings = kind(_env_file=env_file) if env_file else kind()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        problems += faults(kind, error, [name for name, value in given.items() if value])
    else:
        if not problems:
            for sentence in others:
                warn(sentence)
            return settings
    sentences = " ".join(words.rstrip(".") + "." for _, words in problems)
    raise InvalidRequest(
        f"The settings are not right. {sentences}",
        code="invalid_settings",
        field=problems[0][0],
        remedy="Set the variables in the environment or in .env; .env.example lists them all.",
    )


def _in_file(path: Path) -> Mapping[str, str | None]:
    """What a settings file holds, as pydantic-settings reads it. Lines that it would leave out are refused."""
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise _unusable(
            f"The settings file {path} cannot be read; it has to be a text file in UTF-8.",
            "Save it as UTF-8, and let this user read it.",
        ) from None
    for line in parse_stream(StringIO(text)):
        where = f"The settings are not right: line {line.original.line} of {path}"
        if line.error:
            raise _unusable(f"{where} is no NAME=value.", "Write it so, or put # before it.")
        if line.key and line.value is None and line.key.upper().startswith(("BATCHGEN_", "SUPABASE_")):
            raise _unusable(f"{where} names {line.key} without a value.", f"Write {line.key}=value, or remove it.")
    return dotenv_values(stream=StringIO(text))


def _unusable(message: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_settings", remedy=remedy)
