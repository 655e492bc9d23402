"""Short ids: the first digits of an id identify it if no other id begins with them."""

import re
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from batchgen.errors import InvalidRequest
from batchgen.text import printable

MIN_TYPED_DIGITS = 4
MIN_SHOWN_DIGITS = 8
NEWEST = frozenset({"latest", "-"})
LOOK_UP = "Run batchgen list for the ids. The first digits of one are enough; latest or - is the newest batch."
_DIGITS = 32
_PARTS = (8, 4, 4, 4, 12)


def digits_of(text: str, *, what: str = "batch", field: str = "id", code: str = "invalid_id", remedy: str = "") -> str:
    """The hexadecimal digits of an id or of its beginning. Raises `InvalidRequest` for anything else."""
    typed = text.strip().lower()
    digits = typed.replace("-", "")
    is_plain = digits == typed or with_hyphens(digits).startswith(typed.rstrip("-"))
    if not is_plain or not re.fullmatch(r"[0-9a-f]+", digits):
        name = printable(text, 60) or "An empty text"
        raise InvalidRequest(f"{name} is not a {what} id.", code=code, field=field, remedy=remedy)
    if not MIN_TYPED_DIGITS <= len(digits) <= _DIGITS:
        raise InvalidRequest(
            f"{typed[:60]} has {len(digits)} digits; give {MIN_TYPED_DIGITS} to {_DIGITS} digits of a {what} id.",
            code=code,
            field=field,
            limit=MIN_TYPED_DIGITS if len(digits) < MIN_TYPED_DIGITS else _DIGITS,
            remedy=remedy,
        )
    return digits


def check_batch_id(text: str) -> str:
    """The text, if it has the form of a batch's id or is `latest` or `-`. Raises `InvalidRequest` otherwise."""
    if text.strip().lower() not in NEWEST:
        digits_of(text, remedy=LOOK_UP)
    return text


def range_of(digits: str) -> tuple[UUID, UUID]:
    """The first and the last id that begin with these digits."""
    return UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))


def with_hyphens(digits: str) -> str:
    """The digits with an id's hyphens."""
    parts: list[str] = []
    rest = digits
    for length in _PARTS:
        if rest:
            parts.append(rest[:length])
        rest = rest[length:]
    return "-".join(parts)


def short_id(one: UUID, others: Iterable[UUID] = ()) -> str:
    """The shortest beginning of an id that none of the others has, at least eight digits."""
    length = MIN_SHOWN_DIGITS
    for other in others:
        if other != one:
            length = max(length, _shared(one.hex, other.hex) + 1)
    return with_hyphens(one.hex[:length])


def short_ids(ids: Collection[UUID], others: Collection[UUID] = ()) -> Mapping[UUID, str]:
    """The short form of each id among all of them and the others. Only sorted neighbours can share a beginning."""
    ordered = sorted({*ids, *others})
    near = {one: ordered[max(0, place - 1) : place + 2] for place, one in enumerate(ordered)}
    return {one: short_id(one, near[one]) for one in ids}


def _shared(one: str, other: str) -> int:
    return next((place for place in range(_DIGITS) if one[place] != other[place]), _DIGITS)
