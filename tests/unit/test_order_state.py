"""The state of an order: merging two sources, and unknown values."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, PICTURE_LEFT, OrderState

seconds = st.none() | st.floats(0, 1000)
states = st.builds(OrderState, st.none() | st.booleans(), st.none() | st.booleans(), seconds, seconds)


def test_an_open_order_is_never_known_to_cost_nothing() -> None:
    assert OrderState(over=False, charged=False) == OPEN
    assert replace(NOT_CHARGED, over=False) == NOT_CHARGED.merge(OPEN) == OPEN
    assert CHARGED.merge(OPEN) == PICTURE_LEFT


@given(first=states, newer=states)
def test_the_newer_state_counts_where_it_knows_a_value(first: OrderState, newer: OrderState) -> None:
    merged = first.merge(newer)

    for field in fields(OrderState):
        old, new = getattr(first, field.name), getattr(newer, field.name)
        if field.name != "charged" or merged.over is not False:
            assert getattr(merged, field.name) == (old if new is None else new)
    assert not (merged.over is False and merged.charged is False)


@given(state=states)
def test_merging_nothing_new_changes_nothing(state: OrderState) -> None:
    assert state.merge(OrderState()) == OrderState().merge(state) == state
