"""Show the progress of a batch: redrawn bars on a terminal, lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from batchgen.cli.formatting import ICONS, STYLES, BatchLabel, change_lines, duration_text, heading
from batchgen.cli.output import Output
from batchgen.cli.status_words import facts_of, is_cancelled, item_word
from batchgen.errors import BackendUnavailable
from batchgen.models import BatchSnapshot, Generation, GenerationStatus
from batchgen.text import printable

REDRAWS_PER_SECOND = 10
BAR_WIDTH = 20


class Progress(Protocol):
    """Shows snapshots as they arrive. A context manager that restores the terminal."""

    def show(self, snapshot: BatchSnapshot) -> None: ...
    def outage(self, error: BackendUnavailable | None) -> None:
        """Show that an outage began, or, with None, that it is over."""
        ...

    def hint(self, text: str) -> None:
        """Show why no item runs; an empty text removes the hint."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_on(console: Console, label: BatchLabel | None = None) -> Progress:
    """The progress display for this console."""
    is_live = console.is_terminal and not console.is_dumb_terminal
    return LiveBars(console, label) if is_live else PlainLines(console, label)


class PlainLines:
    """One line per change, for files, pipes and CI."""

    def __init__(self, console: Console, label: BatchLabel | None = None) -> None:
        self._console = console
        self._label = label
        self._last: BatchSnapshot | None = None
        self._away = False

    def show(self, snapshot: BatchSnapshot) -> None:
        for line in change_lines(self._last, snapshot, self._label):
            say(self._console, line)
        self._last = snapshot

    def outage(self, error: BackendUnavailable | None) -> None:
        if error and not self._away:
            say(self._console, f"connection lost, trying again: {printable(str(error))}")
        elif self._away and not error:
            say(self._console, "connection is back")
        self._away = error is not None

    def hint(self, text: str) -> None:
        if text:
            say(self._console, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class JsonLines:
    """For programs: with `every_snapshot`, a line of JSON on stdout for each change, with the key `no_worker`;
    otherwise a warning on stderr if no worker runs. The command prints the final state.
    """

    def __init__(self, out: Output, *, every_snapshot: bool) -> None:
        self._out = out
        self._every_snapshot = every_snapshot
        self._last: BatchSnapshot | None = None
        self._no_worker = False

    def show(self, snapshot: BatchSnapshot) -> None:
        self._last = snapshot
        if self._every_snapshot and not snapshot.batch.status.is_final:
            self._out.json({**snapshot.model_dump(mode="json"), "no_worker": self._no_worker})

    def outage(self, error: BackendUnavailable | None) -> None:
        pass

    def hint(self, text: str) -> None:
        self._no_worker = bool(text)
        if self._every_snapshot and self._last:
            self.show(self._last)
        elif text:
            self._out.warning("no_worker", text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LiveBars:
    """A bar per item with icon, prompt and time, redrawn in place. The last state stays on the screen."""

    def __init__(self, console: Console, label: BatchLabel | None = None) -> None:
        self._label = label
        self._hint = ""
        self._snapshot: BatchSnapshot | None = None
        self._away = False
        self._began: dict[UUID, float] = {}
        self._took: dict[UUID, float] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=console, refresh_per_second=REDRAWS_PER_SECOND, get_renderable=self._draw)

    def show(self, snapshot: BatchSnapshot) -> None:
        for item in snapshot.generations:
            self._time(item)
        self._snapshot = snapshot

    def outage(self, error: BackendUnavailable | None) -> None:
        self._away = error is not None

    def hint(self, text: str) -> None:
        self._hint = text

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _time(self, item: Generation) -> None:
        """Time an item from the snapshots; one that was never seen running gets the worker's measurement."""
        now = time.monotonic()
        if item.status is GenerationStatus.PENDING:
            self._began.pop(item.id, None)
        elif item.status is GenerationStatus.PROCESSING:
            self._began.setdefault(item.id, now)
        elif item.id not in self._took:
            seen = now - self._began[item.id] if item.id in self._began else None
            self._took[item.id] = seen if seen is not None else float(item.generation_time_seconds or 0)

    def _draw(self) -> RenderableType:
        if self._snapshot is None:
            return Text("Waiting for the project …", style="bright_black")
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(width=1)
        rows.add_column(justify="right", width=2)
        rows.add_column(width=BAR_WIDTH)
        rows.add_column(justify="right", width=8)
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for item in self._snapshot.generations:
            rows.add_row(*self._row(item))
        # The final state is the command's result and printed below the bars.
        title = [] if self._snapshot.batch.status.is_final else [self._title(self._snapshot)]
        words = "connection lost, trying again …" if self._away else self._hint
        return Group(*title, rows, *([Text(words, style="yellow")] if words else []))

    def _title(self, snapshot: BatchSnapshot) -> Text:
        title = heading(snapshot.batch, self._label, facts_of(snapshot))
        title.no_wrap, title.overflow = True, "ellipsis"
        return title

    def _row(self, item: Generation) -> tuple[RenderableType, ...]:
        running = item.status is GenerationStatus.PROCESSING
        style = STYLES[item_word(item)]
        icon = self._spinner if running else Text(ICONS[item.status], style=style)
        return icon, Text(str(item.index + 1)), _bar(item), Text(self._elapsed(item), style=style), _description(item)

    def _elapsed(self, item: Generation) -> str:
        if item.status.is_final:
            return duration_text(self._took.get(item.id, 0))
        return duration_text(time.monotonic() - self._began[item.id]) if item.id in self._began else "waiting"


def say(console: Console, line: str) -> None:
    """Print one line as it is: no markup, no highlighting, no folding."""
    console.print(Text(line), soft_wrap=True)


def _bar(item: Generation) -> ProgressBar:
    status = item.status
    done = {GenerationStatus.PENDING: 0, GenerationStatus.PROCESSING: 50}.get(status, 100)
    finished = "green" if status is not GenerationStatus.FAILED else "yellow" if is_cancelled(item) else "red"
    return ProgressBar(
        total=100,
        completed=done,
        width=BAR_WIDTH,
        pulse=status is GenerationStatus.PROCESSING,
        finished_style=finished,
        pulse_style="cyan",
    )


def _description(item: Generation) -> Text:
    text = Text(printable(item.prompt, 200))
    if item.retry_count and not item.status.is_final:
        text.append(f"  retry {item.retry_count}", style="yellow")
    if item.status is GenerationStatus.FAILED and item.error_message:
        text.append(f"  {printable(item.error_message, 200)}", style=STYLES[item_word(item)])
    return text
