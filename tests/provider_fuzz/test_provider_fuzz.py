"""Whatever a provider answers, the item ends, is ordered once, and no other item is harmed."""

from pathlib import Path

import pytest

from devstack import StackInfo
from tests.fuzzing import CASES
from tests.provider_fuzz.cases import drawn
from tests.provider_fuzz.run import fuzz
from tests.provider_fuzz.servers import TARGETS

USUAL_CASES = 40


@pytest.mark.timeout(max(300, CASES))
@pytest.mark.parametrize("provider", TARGETS)
async def test_every_item_ends_whatever_its_provider_answers(
    provider: str, stack: StackInfo, empty_queue: None, tmp_path: Path
) -> None:
    cases = drawn(TARGETS[provider].kinds, USUAL_CASES)

    report = await fuzz(provider, cases, stack, tmp_path, lambda text: print(f"{provider}: {text}"))  # noqa: T201

    assert not report.violations, f"{len(report.violations)}:\n" + "\n".join(report.violations[:20])
    assert report.cases == len(cases)
    assert report.sent, "no replaced answer was ever asked for"
    print(f"{provider}: {report.completed} completed, {report.codes}")  # noqa: T201
