"""Print the results as tables."""

from rich.console import Console
from rich.table import Table

from benchmarks.results import Figure, Goal, Results


def show(console: Console, results: Results) -> None:
    for subject in dict.fromkeys(figure.subject for figure in results.figures.values()):
        console.print(_figures(subject, [figure for figure in results.figures.values() if figure.subject == subject]))
    if results.goals:
        console.print(_goals(results.goals))
    for note in results.notes:
        console.print(f"Note: {note}", markup=False)


def _figures(subject: str, figures: list[Figure]) -> Table:
    table = Table(title=subject, title_justify="left")
    table.add_column("")
    for heading in ("median", "min", "max"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("runs", justify="right")
    for figure in figures:
        values = (figure.median, min(figure.counted), max(figure.counted))
        noise = " (noisy)" if figure.is_noisy else ""
        table.add_row(figure.name, *(_number(value) for value in values), figure.unit, f"{len(figure.runs)}{noise}")
    return table


def _goals(goals: list[Goal]) -> Table:
    table = Table(title="goals", title_justify="left")
    table.add_column("")
    for heading in ("value", "goal", ""):
        table.add_column(heading, justify="right")
    for goal in goals:
        sign = "≤" if goal.at_most else "≥"
        asked = "" if goal.limit is None else f"{sign} {_number(goal.limit)}"
        verdict = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[goal.is_met]
        table.add_row(goal.text, f"{_number(goal.value)} {goal.unit}", asked, verdict)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}"
