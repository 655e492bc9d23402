"""The commands `credits show`, `credits history`, `credits grant` and `credits adjust`."""

from collections.abc import Sequence
from decimal import Decimal

from batchgen.cli.commands import open_client
from batchgen.cli.formatting import table_of
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.credits import CreditEntry, CreditPrice, Credits
from batchgen.exit_codes import DONE
from batchgen.settings import Settings
from batchgen.text import printable


async def show_credits(out: Output, settings: Settings, run_as: RunAs) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            credits = await client.credits()
    if out.as_json:
        out.json(credits.model_dump(mode="json"))
        return DONE
    _print_credits(out, credits)
    if credits.prices:
        out.show(
            table_of("Model", "Name", "Credits", rows=[_price_row(one) for one in credits.prices], right="Credits")
        )
    return DONE


async def show_history(out: Output, settings: Settings, run_as: RunAs, *, limit: int, before: int | None) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            entries = await client.credit_history(limit, before=before)
    if out.as_json:
        out.json([entry.model_dump(mode="json") for entry in entries])
    elif entries:
        names = ("Id", "Time (UTC)", "Entry", "Credits", "For")
        out.show(table_of(*names, rows=[_entry_row(entry) for entry in entries], right=("Id", "Credits")))
    else:
        out.note("No entries." if before is None else "No older entries.")
    return DONE


async def grant(
    out: Output, settings: Settings, run_as: RunAs, credits: str, *, note: str | None, key: str | None
) -> int:
    async with await open_client(out, settings, run_as, "Granting …") as client:
        after = await client.grant_credits(credits, note=note, key=key)
    return _print_after(out, after)


async def adjust(out: Output, settings: Settings, run_as: RunAs, credits: str, *, note: str, key: str | None) -> int:
    async with await open_client(out, settings, run_as, "Adjusting …") as client:
        after = await client.adjust_credits(credits, note=note, key=key)
    return _print_after(out, after)


def _print_after(out: Output, credits: Credits) -> int:
    if out.as_json:
        out.json(credits.model_dump(mode="json", include={"balance", "held", "available"}))
    else:
        _print_credits(out, credits)
    return DONE


def _print_credits(out: Output, credits: Credits) -> None:
    lines = [
        f"{_plain(credits.available)} credits available: a balance of {_plain(credits.balance)}, "
        f"{_plain(credits.held)} held for items under way."
    ]
    if credits.monthly_credits:
        lines.append(f"{_plain(credits.monthly_credits)} more each month.")
    if not credits.is_on:
        lines.append("Credits are off: pictures cost none at present.")
    out.lines(lines)


def _price_row(price: CreditPrice) -> Sequence[str]:
    return printable(price.name, 60), printable(price.display_name, 40), _plain(price.credits)


def _entry_row(entry: CreditEntry) -> Sequence[str]:
    subject = f"item {entry.generation_id}" if entry.generation_id else printable(entry.note or "", 80)
    return str(entry.id), f"{entry.noted_at:%Y-%m-%d %H:%M:%S}", entry.entry, _plain(entry.credits), subject


def _plain(number: Decimal) -> str:
    return f"{number:f}"
