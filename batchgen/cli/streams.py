"""Where a command's words go: results to stdout, progress and errors to stderr, as text or as JSON."""

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
"""Columns of a table that goes to a file or a pipe, unless COLUMNS says otherwise."""


class Output:
    """One command's two streams. With `as_json`, stdout gets JSON and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.go_on_with = ""
        """The command that takes up what an interrupt leaves."""

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
        """One line, in which no character means anything to a terminal."""
        plain = data if isinstance(data, dict | list) else data.model_dump(mode="json")
        sys.stdout.write(json_text(plain, encoding=sys.stdout.encoding) + "\n")
        sys.stdout.flush()

    def lines(self, lines: "Iterable[Text | str]") -> None:
        """Results, one a line, never folded: they are copied."""
        from rich.text import Text

        for line in lines:
            self.out.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)

    def show(self, what: "RenderableType") -> None:
        """A table or another thing that knows the width."""
        self.out.print(what)

    def note(self, line: str) -> None:
        """A word to a person; machines don't get it."""
        if not self.as_json:
            self._say(line)

    def warning(self, code: str, message: str) -> None:
        """For machines, on stderr: why nothing moves. People are told where they look."""
        sys.stderr.write(
            json_text({"warning": {"code": code, "message": message}}, encoding=sys.stderr.encoding) + "\n"
        )
        sys.stderr.flush()

    def working(self, what: str) -> AbstractContextManager[object]:
        """A spinner for what may take longer than a second; nothing where nobody looks."""
        if self.as_json or not self.err.is_terminal or self.err.is_dumb_terminal:
            return nullcontext()
        from rich.text import Text

        return self.err.status(Text(what))

    def error(self, error: BatchgenError) -> int:
        """Say what is wrong and what to do, and return the exit code."""
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
    told = isinstance(error, NotSignedIn | BackendUnavailable)
    return {
        "code": error.code if told else "backend_unavailable",
        "message": str(error),
        "index": None,
        "field": None,
        "limit": None,
        "remedy": error.remedy if told else None,
    }
