"""Read prompts, passwords and confirmations from files, stdin and the terminal."""

import csv
import getpass
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchgen.cli import prompts
from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest

STDIN = "-"


def request_from(texts: Sequence[str], file: str | None, json_file: str | None, **options: Any) -> BatchRequest:
    """The request from exactly one source, with the options applied."""
    if (bool(texts), file is not None, json_file is not None).count(True) != 1:
        raise InvalidRequest(
            "Give the prompts in exactly one way.",
            code="prompts_missing",
            field="prompts",
            remedy="Give them as arguments, with --file FILE, or with --json-file FILE.",
        )
    if json_file is not None:
        request = prompts.from_json(read_source(json_file))
    else:
        request = prompts.from_lines(read_source(file)) if file is not None else prompts.from_texts(texts)
    return prompts.with_options(request, **options)


def template_from(texts: Sequence[str], json_file: str | None, batch_id: str | None) -> dict[str, Any] | None:
    """The request of a template from exactly one source; None if that is a batch.

    Numbers may be placeholders, so the database alone checks the fields.
    """
    if (bool(texts), json_file is not None, batch_id is not None).count(True) != 1:
        raise InvalidRequest(
            "Give the template's prompts in exactly one way.",
            code="prompts_missing",
            field="prompts",
            remedy="Give them as arguments, with --json-file FILE, or with --from-batch ID.",
        )
    if json_file is not None:
        return prompts.template_from_json(read_source(json_file))
    return {"prompts": [{"text": text} for text in texts]} if batch_id is None else None


def rows_from(file: str) -> list[dict[str, str | int | float]]:
    """The rows of a CSV file as values by the names in its first line; empty cells are left out."""
    reader = csv.DictReader(io.StringIO(read_source(file), newline=""), strict=True)
    try:
        rows = [_row(row, reader.line_num) for row in reader]
    except csv.Error as error:
        raise InvalidRequest(f"{file} is not CSV: {error}.", code="invalid_csv", field="csv") from None
    if not rows:
        raise InvalidRequest(
            f"{file} has no rows.",
            code="rows_missing",
            field="csv",
            remedy="Name the placeholders in the first line, and give one row per line after it.",
        )
    return rows


def _row(row: dict[str | None, Any], line: int) -> dict[str, str | int | float]:
    if None in row:
        raise InvalidRequest(
            f"Line {line} has more cells than the first line has names.", code="invalid_csv", field="csv"
        )
    return {name.strip(): value for name, value in row.items() if name is not None and value}


def password_from(email: str | None, *, password_stdin: bool, twice: bool) -> tuple[str, str]:
    """E-mail and password, asked for on the terminal if missing. A password is never an argument."""
    if password_stdin:
        if not email:
            raise InvalidRequest("--password-stdin needs --email.", code="email_missing", field="email")
        return email, read_source(STDIN).split("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "There is no terminal to ask for the password.",
            code="password_missing",
            field="password",
            remedy="Pipe it in with --password-stdin, and give --email.",
        )
    address = email or _ask("E-mail: ")
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("Repeat the password: ") != password:
        raise InvalidRequest("The two passwords differ.", code="passwords_differ", field="password")
    return address, password


def check_terminal() -> None:
    """Raise `InvalidRequest` if stdin is not a terminal, where nobody could confirm."""
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "There is no terminal to ask for confirmation.",
            code="confirmation_missing",
            field="yes",
            remedy="Add --yes to confirm.",
        )


def is_confirmed(question: str) -> bool:
    """Ask on the terminal; every answer but `y` and `yes` means no."""
    return _ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _ask(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def read_source(source: str) -> str:
    """The text of a file, or of stdin for `-`. Raises `InvalidRequest`."""
    try:
        content = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{source} is not UTF-8 text.", code="invalid_encoding", field="file") from None
    except OSError as error:
        raise InvalidRequest(f"{source} cannot be read: {error.strerror}.", code="unreadable", field="file") from None
