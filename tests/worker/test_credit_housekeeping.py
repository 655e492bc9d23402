"""The credits of the month are granted in chunks, the ledger's horizon follows, and errors stop nothing."""

from structlog.testing import capture_logs

from batchgen.errors import QueueUnavailable
from scheduler.credits import USERS_AT_ONCE, CreditHousekeeping


class FakeLedger:
    """Grants to these numbers of users, one per call; -1 is an outage."""

    def __init__(self, *counts: int) -> None:
        self.counts = list(counts)
        self.calls = 0
        self.moves = 0

    async def grant(self, limit: int) -> int:
        assert limit == USERS_AT_ONCE
        self.calls += 1
        count = self.counts.pop(0) if self.counts else 0
        if count < 0:
            raise QueueUnavailable("the project does not answer")
        return count

    async def move_horizon(self) -> None:
        self.moves += 1


async def test_many_users_are_granted_in_chunks_until_none_is_left() -> None:
    ledger = FakeLedger(USERS_AT_ONCE, USERS_AT_ONCE, 7)

    await CreditHousekeeping(ledger.grant, ledger.move_horizon).run()

    assert (ledger.calls, ledger.moves) == (3, 1)


async def test_an_outage_is_logged_once_and_the_next_tick_goes_on() -> None:
    ledger = FakeLedger(-1, -1, 3)
    credits = CreditHousekeeping(ledger.grant, ledger.move_horizon)

    with capture_logs() as lines:
        for _ in range(3):
            await credits.run()

    events = [(line["event"], line.get("task")) for line in lines]
    assert events == [
        ("housekeeping is held up, items go on", "credits"),
        ("monthly credits granted", None),
        ("housekeeping goes on", "credits"),
    ]


async def test_a_stopped_worker_grants_nothing_more() -> None:
    ledger = FakeLedger(USERS_AT_ONCE)
    credits = CreditHousekeeping(ledger.grant, ledger.move_horizon)
    credits.stop()

    await credits.run()

    assert (ledger.calls, ledger.moves) == (0, 0)
