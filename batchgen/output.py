"""Where a command's words go: results to stdout, progress and errors to stderr, as text or as JSON."""

import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from batchgen.bars import say
from batchgen.errors import BatchgenError, InvalidRequest, NotSignedIn
from batchgen.render import PIPE_WIDTH
from batchgen.texts import printable

DONE, WORK_FAILED, INVALID, UNREACHABLE, INTERRUPTED, BROKEN = 0, 1, 2, 3, 130, 70


class Output:
    """One command's two streams. With `as_json`, stdout gets JSON and nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.go_on_with = ""
        """The command that takes up what an interrupt leaves."""
        self.out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)
        self.err = Console(stderr=True, highlight=False, markup=False)

    def json(self, data: BaseModel | dict[str, Any] | list[Any]) -> None:
        """One line of ASCII, so that no character in it means anything to a terminal."""
        plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        sys.stdout.write(json.dumps(plain) + "\n")
        sys.stdout.flush()

    def lines(self, lines: Iterable[Text | str]) -> None:
        """Results, one a line, never folded: they are copied."""
        for line in lines:
            self.out.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)

    def note(self, line: str) -> None:
        """A word to a person; machines don't get it."""
        if not self.as_json:
            say(self.err, line)

    def working(self, what: str) -> AbstractContextManager[object]:
        """A spinner for what may take longer than a second; nothing where nobody looks."""
        return self.err.status(Text(what)) if self.err.is_terminal and not self.as_json else nullcontext()

    def error(self, error: BatchgenError) -> int:
        """Say what is wrong and what to do, and return the exit code."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": _as_dict(error)}) + "\n")
        else:
            self._explain(error)
        return INVALID if isinstance(error, InvalidRequest | NotSignedIn) else UNREACHABLE

    def _explain(self, error: BatchgenError) -> None:
        details = _as_dict(error)
        self.err.print(Text("Error: ", style="bold red") + Text(printable(details["message"])), soft_wrap=True)
        if details["remedy"]:
            say(self.err, printable(details["remedy"]))


def _as_dict(error: BatchgenError) -> dict[str, Any]:
    if isinstance(error, InvalidRequest):
        return dict(error.as_dict())
    signed_out = isinstance(error, NotSignedIn)
    return {
        "code": "not_signed_in" if signed_out else "backend_unavailable",
        "message": str(error),
        "index": None,
        "field": None,
        "limit": None,
        "remedy": "Sign in with batchgen login." if signed_out else None,
    }
