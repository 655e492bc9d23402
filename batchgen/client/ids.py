"""Ids as people type and read them: the beginning of one is enough where no other id begins like it."""

import re
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from batchgen.errors import InvalidRequest
from batchgen.text import printable

FEWEST_TYPED = 4
FEWEST_SHOWN = 8
NEWEST = frozenset({"latest", "-"})
LOOK_UP = "batchgen list shows the ids; the first digits of one are enough, and latest or - is the newest batch."
_DIGITS = 32
_PARTS = (8, 4, 4, 4, 12)


def digits_of(text: str, *, what: str = "batch", field: str = "id", code: str = "invalid_id", remedy: str = "") -> str:
    """The hexadecimal digits of an id, or of the beginning of one. Raises `InvalidRequest` for anything else."""
    typed = text.strip().lower()
    digits = typed.replace("-", "")
    is_plain = digits == typed or written(digits).startswith(typed.rstrip("-"))
    if not is_plain or not re.fullmatch(r"[0-9a-f]+", digits):
        name = printable(text, 60) or "An empty text"
        raise InvalidRequest(f"{name} is not a {what} id.", code=code, field=field, remedy=remedy)
    if not FEWEST_TYPED <= len(digits) <= _DIGITS:
        raise InvalidRequest(
            f"{typed[:60]} has {len(digits)} digits; of a {what} id, {FEWEST_TYPED} to {_DIGITS} are needed.",
            code=code,
            field=field,
            limit=FEWEST_TYPED if len(digits) < FEWEST_TYPED else _DIGITS,
            remedy=remedy,
        )
    return digits


def check_batch_id(text: str) -> str:
    """The text, if it can name a batch. Raises `InvalidRequest` otherwise."""
    if text.strip().lower() not in NEWEST:
        digits_of(text, remedy=LOOK_UP)
    return text


def range_of(digits: str) -> tuple[UUID, UUID]:
    """The first and the last id that begin with these digits."""
    return UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))


def written(digits: str) -> str:
    """The digits with an id's hyphens."""
    parts: list[str] = []
    rest = digits
    for length in _PARTS:
        if rest:
            parts.append(rest[:length])
        rest = rest[length:]
    return "-".join(parts)


def short_id(one: UUID, others: Iterable[UUID] = ()) -> str:
    """The beginning of an id by which it differs from the others: eight digits, or as many as it takes."""
    length = FEWEST_SHOWN
    for other in others:
        if other != one:
            length = max(length, _shared(one.hex, other.hex) + 1)
    return written(one.hex[:length])


def short_ids(ids: Collection[UUID], others: Collection[UUID] = ()) -> Mapping[UUID, str]:
    """Each id's short form among all of them and the others. Only neighbours in the order can share a beginning."""
    ordered = sorted({*ids, *others})
    near = {one: ordered[max(0, place - 1) : place + 2] for place, one in enumerate(ordered)}
    return {one: short_id(one, near[one]) for one in ids}


def _shared(one: str, other: str) -> int:
    return next((place for place in range(_DIGITS) if one[place] != other[place]), _DIGITS)
