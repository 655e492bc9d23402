"""Short ids: shown and accepted forms."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.client.ids import digits_of, range_of, short_id, short_ids, with_hyphens
from batchgen.errors import InvalidRequest

ONE = UUID("0f0c6d0e-1111-4000-8000-000000000000")


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("0f0c", "0f0c"),
        ("0F0C6D0E", "0f0c6d0e"),
        ("0f0c6d0e-", "0f0c6d0e"),
        ("0f0c6d0e-11", "0f0c6d0e11"),
        ("0f0c6d0e11", "0f0c6d0e11"),
        (f" {ONE} ", ONE.hex),
        (ONE.hex, ONE.hex),
    ],
)
def test_an_id_prefix_has_at_least_four_digits_and_optional_hyphens(text: str, digits: str) -> None:
    assert digits_of(text) == digits


@pytest.mark.parametrize(
    "text", ["", "-", "0f0", "0f0c-6d0e", "nope", "0f0c6d0e_", f"{ONE}0", "{0f0c6d0e}", "\uff10f0c6d0e"]
)
def test_an_invalid_id_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        digits_of(text, remedy="Look it up.")

    assert (refused.value.code, refused.value.remedy) == ("invalid_id", "Look it up.")


@given(st.uuids(), st.integers(4, 32))
def test_the_range_of_an_id_prefix_holds_only_its_ids(one: UUID, length: int) -> None:
    first, last = range_of(one.hex[:length])

    assert first <= one <= last
    assert first.hex[:length] == last.hex[:length] == one.hex[:length]
    assert UUID(with_hyphens(one.hex)) == one


@given(st.lists(st.uuids(), min_size=1, max_size=20, unique=True), st.integers(4, 30))
def test_each_short_id_is_unique_and_at_least_eight_digits_long(ids: list[UUID], shared: int) -> None:
    near = [UUID(ids[0].hex[:shared] + one.hex[shared:]) for one in ids]
    among = sorted({*near, *ids})

    for one, short in short_ids(among).items():
        assert [other for other in among if str(other).startswith(short)] == [one]
        assert len(short) >= 8
        assert not short.endswith("-")
        assert short == short_id(one, among)
