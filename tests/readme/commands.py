"""The commands of README.md, block by block, and their expected results.

A block with needs that no machine meets by itself has a comment in front: `<!-- needs: a Replicate account -->`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
NEEDS = frozenset({"a Replicate account"})
"""Needs of blocks that are not run. All other needs are met by the README itself."""

_BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>.+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
_SETS_THE_SHELL_UP = re.compile(r"(\. |export |set )")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    needs: str | None

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines without their comments. A `#` within quotes is none."""
        lines = (re.sub(r"""^((?:[^"'#]|"[^"]*"|'[^']*')*?)\s*#.*$""", r"\1", line) for line in self.text.splitlines())
        return tuple(line.strip() for line in lines if line.strip())


@dataclass(frozen=True)
class Expected:
    """`says` are expressions that the output must match; `leaves` maps patterns of files to their expected number."""

    code: int = 0
    says: tuple[str, ...] = ()
    leaves: Mapping[str, int] | None = None
    background: bool = False
    """Runs until it is stopped; its output by then must match `says`."""
    shorter: str | None = None
    """An equivalent command that is fast enough for a test."""


EXPECTED: Mapping[str, Expected] = {
    "make demo": Expected(
        says=(r"✓|- +Postgres", "Ready", r"5 of 5 done", "The stack goes on running"),
        leaves={"demo-output/*.png": 6, ".batchgen/dev/dev.env": 1},
        background=True,
    ),
    "make test": Expected(says=(r"\d+ passed",), shorter='make test ARGS="-n0 -q tests/unit/test_text.py"'),
    ". .venv/bin/activate": Expected(),
    "export BATCHGEN_ENV_FILE=.batchgen/dev/dev.env": Expected(),
    "batchgen list": Expected(says=("Demo", "completed")),
    'batchgen submit "a red fox" "a blue bird" --wait --save-to pictures': Expected(
        says=("2 of 2 done",), leaves={"pictures/*.png": 2}
    ),
    "batchgen show latest": Expected(says=("a red fox", "a blue bird", "completed")),
    "batchgen tag latest animals": Expected(says=("tagged",)),
    "batchgen save latest": Expected(says=("saved",)),
    'batchgen submit "a fox #slow:30" "a bird #slow:30"': Expected(says=("submitted",)),
    "batchgen cancel latest": Expected(says=("cancel",)),
    'batchgen submit "a fox" "a bird #fail" --wait': Expected(code=1, says=("partial",)),
    "batchgen retry latest --wait": Expected(code=1, says=("partial",)),
    "batchgen delete latest --yes": Expected(says=("deleted",)),
    "set -a; . .batchgen/dev/dev.env; set +a": Expected(),
    "python example.py": Expected(says=("completed 2 of 2",)),
    "pip install .": Expected(),
    "batchgen worker": Expected(says=("worker starts",), background=True),
    "batchgen worker --once": Expected(says=("worker stopped",)),
    "batchgen storage check": Expected(says=("match",)),
}


def blocks(text: str) -> tuple[Block, ...]:
    return tuple(Block(found["language"], found["text"], found["needs"]) for found in _BLOCK.finditer(text))


def sets_the_shell_up(command: str) -> bool:
    """Whether later commands in the same shell depend on it."""
    return bool(_SETS_THE_SHELL_UP.match(command))
