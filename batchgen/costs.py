"""`batchgen costs`: what pictures cost, from the ledger, for operators."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from batchgen.connection import connect, disconnect
from batchgen.identity import secret_key
from batchgen.output import DONE, Output
from batchgen.postgrest import rpc
from batchgen.render import dollars, table_of
from batchgen.settings import Settings
from batchgen.texts import printable


class Costs(BaseModel):
    """The costs of one batch, user, day or model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str | None
    """Its id, or the day (UTC); None for items whose batch was deleted before they were ordered."""
    name: str | None = None
    attempts: int
    paid: int
    """Orders that were charged."""
    paid_usd: Decimal
    unknown: int
    """Orders of which nobody knows whether they were charged."""
    unknown_usd: Decimal
    """What those cost if all of them were."""


async def show_costs(out: Output, settings: Settings, *, by: str, since: datetime | None, limit: int) -> int:
    client = await connect(settings, key=secret_key(settings))
    try:
        with out.working("Adding up …"):
            arguments = {"p_by": by, "p_since": since.isoformat() if since else None, "p_limit": limit}
            costs = [Costs.model_validate(row) for row in await rpc(client, "get_costs", arguments) or ()]
    finally:
        await disconnect(client)
    _print(out, by, costs)
    return DONE


def _print(out: Output, by: str, costs: Sequence[Costs]) -> None:
    if out.as_json:
        out.json([one.model_dump(mode="json") for one in costs])
    elif costs:
        rows = [
            (
                printable(one.name or one.key or "deleted", 50),
                str(one.attempts),
                str(one.paid),
                dollars(one.paid_usd),
                str(one.unknown or ""),
                dollars(one.unknown_usd) if one.unknown else "",
            )
            for one in costs
        ]
        out.show(table_of(by.capitalize(), "Attempts", "Paid", "Cost", "Unknown", "At most", rows=rows))
    else:
        out.note("Nothing was ordered yet.")
