"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FollowOptions:
    """What a command that waits for a batch's end prints and saves."""

    save_to: Path | None = None
    contact_sheet: bool = False
    every_snapshot: bool = False
    """With `--json`: print a line per snapshot instead of only the last one."""


@dataclass(frozen=True)
class RunAs:
    """Whom a command runs as: the signed-in user, or an operator if requested."""

    operator: bool = False
    """As operator for all users, with the secret key."""
    user: str | None = None
    """As operator for this user: an id, its first digits, or an e-mail address."""

    @property
    def is_operator(self) -> bool:
        return self.operator or self.user is not None


@dataclass(frozen=True)
class Edits:
    """The options of `retry` that change items; None leaves a value."""

    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    model: str | None = None

    def __bool__(self) -> bool:
        return self != Edits()
