"""Decide which subscribers get which changes, for a chunk of changes at a time, with few statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from devstack.realtime.catalog import TableNow, describe_tables
from devstack.realtime.database import Connection
from devstack.realtime.payloads import Audience, ChangedRow, changed_row, data, refusal, refused_data
from devstack.realtime.slot import Change
from devstack.realtime.subscriptions import Registry, Subscriber, Subscription
from devstack.realtime.values import Comparison, TypedText, compare, to_json
from devstack.realtime.visibility import Key, Viewer, visible_keys


@dataclass(frozen=True, slots=True)
class ChangeFrame:
    """The frame of one change for one channel."""

    subscriber: Subscriber
    change_type: str
    ids: tuple[int, ...]
    data: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A change with the subscriptions that it may be sent to."""

    row: ChangedRow
    table: TableNow
    subscriptions: tuple[Subscription, ...]


async def route(connection: Connection, registry: Registry, changes: Sequence[Change]) -> list[ChangeFrame]:
    """The frames of these changes for the current subscriptions, in the order of the changes."""
    interest = [
        (change, found) for change in changes if (found := registry.interested(change.relation.oid, change.action))
    ]
    if not interest:
        return []
    tables = await describe_tables(
        connection,
        {change.relation.oid for change, _ in interest},
        {subscription.viewer.role for _, found in interest for subscription in found},
    )
    candidates = [
        _Candidate(changed_row(change), tables[change.relation.oid], tuple(found))
        for change, found in interest
        if change.relation.oid in tables
    ]
    let_through = await _through_filters(connection, candidates)
    visible = await _visible_keys(connection, let_through)
    json_of = await to_json(connection, {value for c in let_through for value in c.row.typed_values()})
    return [frame for candidate in let_through for frame in _frames(candidate, visible, json_of)]


async def _through_filters(connection: Connection, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    wanted = {
        comparison
        for candidate in candidates
        for subscription in candidate.subscriptions
        for comparison in _comparisons(candidate, subscription) or ()
    }
    held = await compare(connection, wanted)

    def passes(candidate: _Candidate, subscription: Subscription) -> bool:
        if refusal(candidate.row.change, candidate.table, subscription.viewer.role):
            return True  # all subscribers with this role get the error, whatever their filters
        comparisons = _comparisons(candidate, subscription)
        return comparisons is not None and all(held[comparison] for comparison in comparisons)

    narrowed = (_Candidate(c.row, c.table, tuple(s for s in c.subscriptions if passes(c, s))) for c in candidates)
    return [candidate for candidate in narrowed if candidate.subscriptions]


def _comparisons(candidate: _Candidate, subscription: Subscription) -> list[Comparison] | None:
    """The comparisons of the filters with the new row, or for a DELETE with the old identity; None if a column is
    missing there.
    """
    row = candidate.row
    cells = row.old if row.change.action == "DELETE" else row.new
    if any(filter_.column not in cells for filter_ in subscription.filters):
        return None
    return [Comparison.of(cells[filter_.column], filter_) for filter_ in subscription.filters]


_VisibleKeys = Mapping[Viewer, Mapping[int, frozenset[Key]]]


async def _visible_keys(connection: Connection, candidates: Sequence[_Candidate]) -> _VisibleKeys:
    """The rows that each viewer can see, by one query per viewer and table."""
    wanted: dict[Viewer, dict[TableNow, set[Key]]] = defaultdict(lambda: defaultdict(set))
    for candidate in candidates:
        for subscription in candidate.subscriptions:
            if _needs_visibility_check(candidate, subscription):
                keys = wanted[subscription.viewer][candidate.table]
                keys.add(candidate.row.primary_key(candidate.table))
    return {
        viewer: await visible_keys(connection, viewer, {table: list(keys) for table, keys in tables.items()})
        for viewer, tables in wanted.items()
    }


def _needs_visibility_check(candidate: _Candidate, subscription: Subscription) -> bool:
    change = candidate.row.change
    return (
        candidate.table.has_row_security
        and change.action != "DELETE"
        and refusal(change, candidate.table, subscription.viewer.role) is None
    )


def _frames(candidate: _Candidate, visible: _VisibleKeys, json_of: Mapping[TypedText, str]) -> Iterator[ChangeFrame]:
    """One frame per channel and column selection; `ids` has the last binding first."""
    texts: dict[Audience, str] = {}
    ids: dict[tuple[Subscriber, Audience], list[int]] = defaultdict(list)
    for subscription in candidate.subscriptions:
        if _is_visible(candidate, subscription, visible):
            audience = Audience(candidate.table, subscription.viewer.role, subscription.select)
            ids[subscription.subscriber, audience].insert(0, subscription.binding_id)
    for (subscriber, audience), binding_ids in sorted(ids.items(), key=lambda item: item[0][1].select or ()):
        if audience not in texts:
            texts[audience] = _data(candidate, audience, json_of)
        action = candidate.row.change.action
        yield ChangeFrame(subscriber, action, tuple(binding_ids), texts[audience])


def _is_visible(candidate: _Candidate, subscription: Subscription, visible: _VisibleKeys) -> bool:
    if not _needs_visibility_check(candidate, subscription):
        return True
    return candidate.row.primary_key(candidate.table) in visible[subscription.viewer][candidate.table.oid]


def _data(candidate: _Candidate, audience: Audience, json_of: Mapping[TypedText, str]) -> str:
    error = refusal(candidate.row.change, candidate.table, audience.role)
    if error is not None:
        return refused_data(candidate.row.change, error)
    return data(candidate.row, audience, json_of)
