"""README.md from top to bottom."""

from pathlib import Path

import pytest

from tests.readme.commands import EXPECTED, NEEDS, README, blocks
from tests.readme.machine import SECONDS, machine_of_these_tests

TEXT = README.read_text()


@pytest.mark.timeout(SECONDS)
def test_every_readme_command_does_what_the_text_says(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o711)  # Postgres may run as another user

    ran = machine_of_these_tests(tmp_path).run_commands()

    assert set(ran) == EXPECTED.keys()


def test_every_readme_command_has_an_expectation() -> None:
    run = [
        command for block in blocks(TEXT) if block.language == "sh" and not block.needs for command in block.commands
    ]

    assert set(run) == EXPECTED.keys()


def test_every_skipped_block_names_what_it_needs() -> None:
    assert {block.needs for block in blocks(TEXT) if block.needs} == NEEDS
    assert {block.language for block in blocks(TEXT)} == {"sh", "python"}
