"""The credits of the month are granted in chunks, and errors stop nothing."""

from structlog.testing import capture_logs

from batchgen.errors import QueueUnavailable
from scheduler.monthly_credits import USERS_AT_ONCE, MonthlyCredits


class FakeGrants:
    """Grants to these numbers of users, one per call; -1 is an outage."""

    def __init__(self, *counts: int) -> None:
        self.counts = list(counts)
        self.calls = 0

    async def __call__(self, limit: int) -> int:
        assert limit == USERS_AT_ONCE
        self.calls += 1
        count = self.counts.pop(0) if self.counts else 0
        if count < 0:
            raise QueueUnavailable("the project does not answer")
        return count


async def test_many_users_are_granted_in_chunks_until_none_is_left() -> None:
    grants = FakeGrants(USERS_AT_ONCE, USERS_AT_ONCE, 7)

    await MonthlyCredits(grants).grant()

    assert grants.calls == 3


async def test_an_outage_is_logged_once_and_the_next_tick_goes_on() -> None:
    grants = FakeGrants(-1, -1, 3)
    credits = MonthlyCredits(grants)

    with capture_logs() as lines:
        for _ in range(3):
            await credits.grant()

    events = [(line["event"], line.get("task")) for line in lines]
    assert events == [
        ("housekeeping is held up, items go on", "monthly credits"),
        ("monthly credits granted", None),
        ("housekeeping goes on", "monthly credits"),
    ]


async def test_a_stopped_worker_grants_nothing_more() -> None:
    grants = FakeGrants(USERS_AT_ONCE)
    credits = MonthlyCredits(grants)
    credits.stop()

    await credits.grant()

    assert grants.calls == 0
