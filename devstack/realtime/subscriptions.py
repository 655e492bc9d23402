"""The active subscriptions, which the real server keeps in the table `realtime.subscription`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from devstack.realtime.filters import Filter
from devstack.realtime.visibility import Viewer


class Subscriber(Protocol):
    """A joined channel."""

    def push_change(self, change_type: str, ids: tuple[int, ...], data: str) -> None:
        """Queue the event without waiting."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """One binding of a channel, with the tables that it matches."""

    subscriber: Subscriber
    viewer: Viewer
    binding_id: int
    tables: frozenset[int]
    action: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None


class Registry:
    """The active subscriptions. A channel's are added and removed together, without awaiting in between."""

    def __init__(self) -> None:
        self._of_subscriber: dict[Subscriber, tuple[Subscription, ...]] = {}
        self._of_table: dict[int, dict[Subscriber, list[Subscription]]] = defaultdict(dict)

    def put(self, subscriber: Subscriber, subscriptions: Iterable[Subscription]) -> None:
        self.remove(subscriber)
        self._of_subscriber[subscriber] = tuple(subscriptions)
        for subscription in self._of_subscriber[subscriber]:
            for table in subscription.tables:
                self._of_table[table].setdefault(subscriber, []).append(subscription)

    def remove(self, subscriber: Subscriber) -> None:
        for subscription in self._of_subscriber.pop(subscriber, ()):
            for table in subscription.tables:
                self._of_table[table].pop(subscriber, None)
                if not self._of_table[table]:
                    del self._of_table[table]

    def holds(self, subscriber: Subscriber) -> bool:
        return subscriber in self._of_subscriber

    def interested(self, table_oid: int, action: str) -> list[Subscription]:
        subscribers: Mapping[Subscriber, list[Subscription]] = self._of_table.get(table_oid, {})
        return [
            subscription
            for subscriptions in subscribers.values()
            for subscription in subscriptions
            if subscription.action in ("*", action)
        ]
