"""The context of all subjects: sizes, results and progress."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.noise import Load, wait_until_quiet
from benchmarks.results import Goal, Results

ReportProgress = Callable[[int, int, str], None]
"""`progress(30, 100, "all is well")`: 30 of 100 parts of a step are done."""


@dataclass
class Bench:
    folder: Path
    """For databases and logs; removed at the end."""
    runs: int
    is_quick: bool
    quiet_seconds: float
    """How long to wait for a quiet machine before each measurement."""
    console: Console
    results: Results = field(default_factory=Results)
    failed: list[str] = field(default_factory=list[str])
    """Subjects that could not be measured."""

    def size(self, whole: int, quick: int) -> int:
        return quick if self.is_quick else whole

    @contextmanager
    def step(self, text: str) -> Generator[ReportProgress]:
        """Show a step and its progress: a spinner on a terminal, at most ten lines elsewhere."""
        if not self.console.is_terminal:
            self.console.print(f"  {text}")
            yield self._print_tenths
            return
        with self.console.status(text) as status:

            def update(done: int, total: int, more: str) -> None:
                status.update(f"{text}: {done:,} of {total:,}, {more}")

            yield update

    def _print_tenths(self, done: int, total: int, more: str) -> None:
        if done * 10 % total == 0:
            self.console.print(f"    {done:,} of {total:,}: {more}")

    @contextmanager
    def measured(self) -> Generator[Load]:
        """Wait for a quiet machine, then measure the load of other processes."""
        wait_until_quiet(self.quiet_seconds)
        with Load() as load:
            yield load

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def note(self, text: str) -> None:
        """Print a remark and add it to the results."""
        self.results.notes.append(text)
        self.say(text)

    def goal(
        self, text: str, value: float | None, limit: float | None = None, *, at_most: bool = True, unit: str = ""
    ) -> None:
        if value is not None:
            self.results.goals.append(Goal(text, value, limit, at_most, unit))
