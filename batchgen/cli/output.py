"""Print results to stdout, and notes, progress and errors to stderr, as text or as JSON."""

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from batchgen.errors import BackendUnavailable, BatchgenError, InvalidRequest, NotSignedIn
from batchgen.exit_codes import INVALID, UNREACHABLE
from batchgen.text import json_text, printable

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType
    from rich.text import Text

PIPE_WIDTH = 160
"""Columns of a table in a file or pipe, unless COLUMNS is set."""


class Output:
    """A command's output. With `as_json`, only JSON goes to stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.resume_command = ""
        """The command that continues after an interrupt."""
        self.interrupted = ""
        """The note after an interrupt, instead of the one with `resume_command`."""

    @cached_property
    def out(self) -> "Console":
        from rich.console import Console

        width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else PIPE_WIDTH
        return Console(width=width, highlight=False, markup=False, emoji=False)

    @cached_property
    def err(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, data: "BaseModel | dict[str, Any] | list[Any]") -> None:
        """Print one line of JSON without control characters."""
        plain = data if isinstance(data, dict | list) else data.model_dump(mode="json")
        sys.stdout.write(json_text(plain, encoding=sys.stdout.encoding) + "\n")
        sys.stdout.flush()

    def lines(self, lines: "Iterable[Text | str]") -> None:
        """Print results, one per line. Lines are never wrapped, so that they can be copied."""
        from rich.text import Text

        for line in lines:
            self.out.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)

    def show(self, what: "RenderableType") -> None:
        """Print a table or something else that adapts to the width."""
        self.out.print(what)

    def note(self, line: str) -> None:
        """Print a note to stderr, unless the output is JSON."""
        if not self.as_json:
            self._say(line)

    def warning(self, code: str, message: str) -> None:
        """Print a warning as JSON to stderr."""
        sys.stderr.write(
            json_text({"warning": {"code": code, "message": message}}, encoding=sys.stderr.encoding) + "\n"
        )
        sys.stderr.flush()

    def spinner(self, what: str) -> AbstractContextManager[object]:
        """A spinner on a terminal for work that may take longer than a second; nothing elsewhere."""
        if self.as_json or not self.err.is_terminal or self.err.is_dumb_terminal:
            return nullcontext()
        from rich.text import Text

        return self.err.status(Text(what))

    def error(self, error: BatchgenError) -> int:
        """Print the error and its remedy, and return the exit code."""
        if self.as_json:
            sys.stderr.write(json_text({"error": _as_dict(error)}, encoding=sys.stderr.encoding) + "\n")
        else:
            self._explain(error)
        return INVALID if isinstance(error, InvalidRequest | NotSignedIn) else UNREACHABLE

    def _explain(self, error: BatchgenError) -> None:
        from rich.text import Text

        details = _as_dict(error)
        self.err.print(Text("Error: ", style="bold red") + Text(printable(details["message"])), soft_wrap=True)
        if details["remedy"]:
            self._say(printable(details["remedy"]))

    def _say(self, line: str) -> None:
        from rich.text import Text

        self.err.print(Text(line), soft_wrap=True)


def _as_dict(error: BatchgenError) -> dict[str, Any]:
    if isinstance(error, InvalidRequest):
        return dict(error.as_dict())
    has_code = isinstance(error, NotSignedIn | BackendUnavailable)
    return {
        "code": error.code if has_code else "backend_unavailable",
        "message": str(error),
        "index": None,
        "field": None,
        "limit": None,
        "remedy": error.remedy if has_code else None,
    }
