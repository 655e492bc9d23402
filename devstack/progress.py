"""What the terminal shows: one line per part, colours where there is a terminal."""

import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from devstack.stack import StackInfo

NOTICE = "For development and tests only. Nothing but this machine can reach it."


class Progress:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def begin(self, data_dir: Path) -> None:
        self._print(f"[bold]batchgen dev[/] with its data in {escape(str(data_dir))}")
        self._print(f"[yellow]{NOTICE}[/]")

    def part(self, name: str, detail: str) -> None:
        mark = "[green]✓[/]" if self._console.is_terminal else "-"
        self._print(f"  {mark} {escape(f'{name:<20}')} {escape(detail)}")

    def ready(self, info: StackInfo, env_file: Path, seconds: float) -> None:
        file = shlex.quote(shortest(env_file))
        self._print(f"[bold green]Ready[/] after {seconds:.1f} s. Ctrl-C stops it.")
        for name, value in (
            ("URL", info.url),
            ("Publishable key", info.publishable_key),
            ("Secret key", info.secret_key),
            ("Database", info.database_url),
            ("Settings file", str(env_file)),
        ):
            self._print(f"  {name:<16} {escape(value)}")
        self._print("Next, in another terminal:")
        self._print(f'  {escape(_own_command())} --env-file {escape(file)} submit "a red fox" "a blue bird" --wait')
        self._print(f"  set -a; . {escape(file)}; set +a    # the same settings for any other program")

    def say(self, text: str) -> None:
        self._print(escape(text))

    def _print(self, markup: str) -> None:
        self._console.print(markup)
        self._console.file.flush()


def _own_command() -> str:
    """`batchgen` where the shell finds it, else the path of the one beside this Python."""
    return "batchgen" if shutil.which("batchgen") else shlex.quote(shortest(Path(sys.executable).parent / "batchgen"))


def shortest(path: Path) -> str:
    """Relative to where the user is, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
