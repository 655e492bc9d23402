"""Print the start of the stack: a line per part, in colour on a terminal."""

import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from devstack.files import display_path
from devstack.keys import DEV_EMAIL, DEV_PASSWORD
from devstack.stack import StackInfo

NOTICE = "For development and tests only. Only this machine can reach it."


class Terminal:
    """`brief` leaves out the settings and the next steps, for programs that start the stack."""

    def __init__(self, console: Console | None = None, *, brief: bool = False) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._brief = brief

    def begin(self, data_dir: Path) -> None:
        self._print(f"[bold]batchgen dev[/] with data in {escape(str(data_dir))}")
        self._print(f"[yellow]{NOTICE}[/]")

    def part(self, name: str, detail: str) -> None:
        """Print a part that is up, or that is waiting if the detail ends with an ellipsis."""
        up = not detail.endswith("…")
        mark = ("[green]✓[/]" if up else "[yellow]…[/]") if self._console.is_terminal else "-"
        self._print(f"  {mark} {escape(f'{name:<20}')} {escape(detail)}")

    def ready(self, info: StackInfo, env_file: Path, seconds: float) -> None:
        file = shlex.quote(display_path(env_file))
        self._print(f"[bold green]Ready[/] after {seconds:.1f} s. Stop it with Ctrl-C.")
        if self._brief:
            return
        for name, value in (
            ("URL", info.url),
            ("Publishable key", info.publishable_key),
            ("Secret key", info.secret_key),
            ("Database", info.database_url),
            ("Account", f"{DEV_EMAIL}, password {DEV_PASSWORD}"),
            ("Settings file", str(env_file)),
        ):
            self._print(f"  {name:<16} {escape(value)}")
        for when, line in next_steps(file):
            self._print(escape(f"{when}\n  {line}"))

    def say(self, text: str) -> None:
        self._print(escape(text))

    def _print(self, markup: str) -> None:
        self._console.print(markup)
        self._console.file.flush()


def next_steps(env_file: str) -> tuple[tuple[str, str], ...]:
    """Commands to try next, each with its purpose. They work whether or not somebody is signed in."""
    command = f"{_own_command()} --env-file {env_file}"
    return (
        (
            f"Next, in another terminal, in {Path.cwd()}:",
            f'{command} submit "a red fox" "a blue bird" --wait --user {DEV_EMAIL}',
        ),
        (
            "Or sign in first; then --user is not needed:",
            f"echo {DEV_PASSWORD} | {command} login --email {DEV_EMAIL} --password-stdin",
        ),
        (
            "The settings for other programs:",
            f"set -a; . {env_file if '/' in env_file else f'./{env_file}'}; set +a",
        ),
    )


def _own_command() -> str:
    """`batchgen` if the shell finds this one, else its path beside this Python."""
    own = Path(sys.executable).parent / "batchgen"
    found = shutil.which("batchgen")
    return "batchgen" if found and Path(found).resolve() == own.resolve() else shlex.quote(display_path(own))
