"""Fifty items at each provider, under faults and kills: nothing is ordered twice, and the ledger has all charges."""

from pathlib import Path

import pytest

from devstack import StackInfo
from tests.money.provider_setups import PROVIDER_SETUPS
from tests.money.run import Options, run

SEED = 2026


@pytest.mark.timeout(300)  # usually half a minute; on a busy machine workers take long to start, and that is no failure
@pytest.mark.parametrize("provider", PROVIDER_SETUPS)
async def test_fifty_items_are_ordered_once_under_faults_and_kills(
    provider: str, stack: StackInfo, empty_queue: None, tmp_path: Path
) -> None:
    told: list[str] = []

    report = await run(Options(provider, SEED), stack, tmp_path, told.append)

    assert not report.violations, "\n".join([*report.violations, *report.details, str(report.figures), *told])
    assert report.figures["items"]["in all"] == 50
    assert report.figures["workers"]["killed"] == 8
