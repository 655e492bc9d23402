"""Tables that fit the terminal: the least important columns are dropped, long cells are cut, ids never are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2
Cell = str | Text


@dataclass
class Column:
    """One column. Its cells may be cut down to the width `min_width`; if that is None, they are never cut."""

    name: str
    cells: list[Cell] = field(default_factory=list[Cell])
    min_width: int | None = None
    wraps: bool = False
    """Wrap cells instead of cutting them."""
    right: bool = False
    drop: int = 0
    """The column with the highest number is dropped first; 0: never."""

    @property
    def natural(self) -> int:
        return max((cell_len(_plain(cell)) for cell in (self.name, *self.cells)), default=0)

    @property
    def smallest(self) -> int:
        return self.natural if self.min_width is None else min(self.natural, max(self.min_width, cell_len(self.name)))


class FittedTable:
    """Chooses columns and widths for the width at hand."""

    def __init__(self, *columns: Column) -> None:
        self.columns = [column for column in columns if column.drop == 0 or any(map(_plain, column.cells))]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.fitted(options.max_width)

    def fitted(self, width: int) -> Table:
        columns = _fitting_columns(self.columns, width)
        widths = _widths(columns, width)
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
        for column, room in zip(columns, widths, strict=True):
            table.add_column(
                column.name,
                width=room,
                justify="right" if column.right else "left",
                no_wrap=not column.wraps,
                overflow="fold" if column.wraps else "ellipsis",
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
        return table


def _fitting_columns(columns: Sequence[Column], width: int) -> Sequence[Column]:
    kept = list(columns)
    while sum(column.smallest for column in kept) + GAP * (len(kept) - 1) > width:
        first_dropped = max(kept, key=lambda column: column.drop)
        if first_dropped.drop == 0:
            break
        kept.remove(first_dropped)
    return kept


def _widths(columns: Sequence[Column], width: int) -> Sequence[int]:
    """Distribute the spare width evenly among columns that need it."""
    widths = [column.smallest for column in columns]
    left = width - sum(widths) - GAP * (len(columns) - 1)
    while left > 0:
        hungry = [place for place, column in enumerate(columns) if widths[place] < column.natural]
        if not hungry:
            break
        for place in hungry[:left]:
            widths[place] += 1
        left -= len(hungry[:left])
    return widths


def _plain(cell: Cell) -> str:
    return cell.plain if isinstance(cell, Text) else cell
