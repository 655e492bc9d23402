"""The keys of a dev stack, generated once and kept in its data folder, and its development account."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from devstack.errors import DevstackError
from devstack.files import write_private

DEV_EMAIL = "dev@example.com"
DEV_PASSWORD = "batchgen-dev"  # noqa: S105 - printed at each start; only this machine can reach the stack


@dataclass(frozen=True)
class Keys:
    jwt_secret: str
    publishable_key: str
    secret_key: str


def load_or_create_keys(file: Path) -> Keys:
    if not file.exists():
        write_private(file, json.dumps(asdict(_new_keys()), indent=2) + "\n")
    try:
        return Keys(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise DevstackError(f"{file} is not a file of keys: remove it, and new keys are generated.") from error


def _new_keys() -> Keys:
    return Keys(
        jwt_secret=secrets.token_urlsafe(40),
        publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
    )
