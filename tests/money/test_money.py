"""Fifty items at each provider, under faults and kills: nothing is bought twice, and the ledger says what was paid."""

from pathlib import Path

import pytest

from devstack import StackInfo
from tests.money.catalogue import LISTINGS
from tests.money.run import Options, run

SEED = 2026


@pytest.mark.timeout(300)  # usually half a minute; on a busy machine workers take long to start, and that is no failure
@pytest.mark.parametrize("provider", LISTINGS)
async def test_fifty_items_under_faults_and_kills_are_never_bought_twice_and_the_ledger_agrees(
    provider: str, stack: StackInfo, empty_queue: None, tmp_path: Path
) -> None:
    told: list[str] = []

    verdict = await run(Options(provider, SEED), stack, tmp_path, told.append)

    assert not verdict.violations, "\n".join([*verdict.violations, *verdict.evidence, str(verdict.figures), *told])
    assert verdict.figures["items"]["in all"] == 50
    assert verdict.figures["workers"]["killed"] == 8
