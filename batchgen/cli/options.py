"""What the options of a command say: who asks, and what a command that waits leaves behind."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """What a command that waits leaves behind."""

    save_to: Path | None = None
    contact_sheet: bool = False
    every_snapshot: bool = False
    """With `--json`: a line per snapshot, and not only the last one."""


@dataclass(frozen=True)
class Asker:
    """Who a command speaks for: the user who is signed in, or an operator, but only where one was asked for."""

    operator: bool = False
    """With the secret key: any batch of any user."""
    user: str | None = None
    """With the secret key, for this user alone: an id, the beginning of one, or an e-mail address."""

    @property
    def is_operator(self) -> bool:
        return self.operator or self.user is not None
