"""Reactions of a worker to a backend that refuses it at the start."""

import asyncio
from collections.abc import Iterable

import pytest

from batchgen.backend.bucket import Bucket
from batchgen.errors import BackendUnavailable, NotSetUp
from batchgen.queue.types import StartFacts
from scheduler import startup_check
from scheduler.retries import RetryPolicy
from scheduler.startup_check import REFUSALS_BELIEVED, REFUSALS_BELIEVED_AFTER_OUTAGE, StartupCheck, WrongSettings

REFUSED = NotSetUp("worker_start is not there (PGRST202): apply supabase/migrations to the project.")
UNREACHABLE = BackendUnavailable("the project's API failed (503)")
FACTS = StartFacts.model_construct()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_check, "REFUSAL_PAUSE_SECONDS", 0.0)


class Backend:
    """Gives these errors in turn, then good answers; counts them."""

    def __init__(self, *answers: Exception) -> None:
        self._answers = iter(answers)
        self.asked = 0

    async def facts(self) -> StartFacts:
        self.asked += 1
        if (error := next(self._answers, None)) is not None:
            raise error
        return FACTS

    async def bucket(self) -> Bucket:
        return Bucket(is_public=True, file_size_limit=None, mime_types=None)

    def start(self) -> StartupCheck:
        retry_policy = RetryPolicy(backoff_seconds=0.001)
        return StartupCheck(self.facts, self.bucket, retry_policy, bucket_name="generated-images", once=False)


async def test_a_repeated_refusal_ends_the_worker() -> None:
    backend = Backend(*[REFUSED] * 10)

    with pytest.raises(WrongSettings, match="apply supabase/migrations"):
        await backend.start().check(asyncio.Event())

    assert backend.asked == REFUSALS_BELIEVED


@pytest.mark.parametrize(
    "answers",
    [
        [UNREACHABLE, *[REFUSED] * (REFUSALS_BELIEVED_AFTER_OUTAGE - 1)],
        [*[REFUSED] * (REFUSALS_BELIEVED - 1), UNREACHABLE, *[REFUSED] * (REFUSALS_BELIEVED_AFTER_OUTAGE - 1)],
    ],
    ids=["outage first", "outage in between"],
)
async def test_a_refusal_may_last_longer_after_an_outage(answers: Iterable[Exception]) -> None:
    backend = Backend(*answers)

    assert await backend.start().check(asyncio.Event()) is FACTS


async def test_a_lasting_refusal_after_an_outage_ends_the_worker() -> None:
    backend = Backend(UNREACHABLE, *[REFUSED] * 100)

    with pytest.raises(WrongSettings, match="apply supabase/migrations"):
        await backend.start().check(asyncio.Event())

    assert backend.asked == 1 + REFUSALS_BELIEVED_AFTER_OUTAGE
