"""State that all sockets share: subscriptions, topics, and the connection for the channels' queries."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from devstack.realtime.broadcasts import Broadcast, UserBroadcast
from devstack.realtime.database import SharedConnection
from devstack.realtime.filters import Binding, binding_id, parse_binding
from devstack.realtime.private_topics import Readable, may_send, readable, replay
from devstack.realtime.subscriptions import Registry, Subscriber, Subscription
from devstack.realtime.tokens import Identity, TokenChecker
from devstack.realtime.validation import PublishedTable, published_tables, tables_of
from devstack.realtime.visibility import Viewer

log = logging.getLogger(__name__)


class TopicMember(Subscriber, Protocol):
    """The part of a joined channel that other channels and the watch of the publication use."""

    def receive(self, broadcast: Broadcast) -> None: ...

    def subscribe_again(self) -> None: ...


class Hub:
    def __init__(self, database_url: str, publication: str, tokens: TokenChecker) -> None:
        self.tokens = tokens
        self.registry = Registry()
        self.is_reading = asyncio.Event()  # set once changes committed from now on are certain to be read
        self.is_streaming = asyncio.Event()  # set while messages of the database are delivered
        self._publication = publication
        self._published: frozenset[PublishedTable] | None = None
        self._database = SharedConnection(database_url, "subscriptions")
        self._topics = SharedConnection(database_url, "private topics")
        self._members: dict[tuple[str, bool], set[TopicMember]] = defaultdict(set)

    async def close(self) -> None:
        await self._database.close()
        await self._topics.close()

    async def subscriptions_for(
        self, subscriber: Subscriber, bindings: Sequence[Binding], identity: Identity
    ) -> list[Subscription]:
        """The subscriptions of all bindings of a channel. Raises `BindingError` for the first invalid one."""
        parsed = [(binding_id(binding), parse_binding(binding)) for binding in bindings]
        await self.is_reading.wait()
        viewer = Viewer(identity.role, identity.claims_json)
        found: list[Subscription] = []
        async with self._database.use() as connection:
            for number, binding in parsed:
                tables = await tables_of(connection, self._publication, binding, identity.role)
                found.append(
                    Subscription(subscriber, viewer, number, tables, binding.action, binding.filters, binding.select)
                )
        return found

    async def readable(self, topic: str, identity: Identity, *, presence: bool) -> Readable:
        async with self._topics.use() as connection:
            return await readable(connection, topic, identity, presence=presence)

    async def may_send(self, topic: str, identity: Identity) -> bool:
        async with self._topics.use() as connection:
            return await may_send(connection, topic, identity)

    async def replay(self, topic: str, since: datetime, limit: int) -> list[UserBroadcast]:
        async with self._topics.use() as connection:
            return await replay(connection, topic, since, limit)

    async def follow_publication(self) -> None:
        """Let every channel subscribe again after the publication's tables changed.

        As supabase/realtime v2.129.8 lib/extensions/postgres_cdc_rls/subscription_manager.ex.
        """
        async with self._database.use() as connection:
            published = await published_tables(connection, self._publication)
        before, self._published = self._published, published
        if before is None or before == published:
            return
        log.info("the publication %s changed: %d tables", self._publication, len(published))
        for member in [member for members in self._members.values() for member in members]:
            member.subscribe_again()

    def enter(self, topic: str, private: bool, member: TopicMember) -> None:
        self._members[topic, private].add(member)

    def leave(self, topic: str, private: bool, member: TopicMember) -> None:
        members = self._members[topic, private]
        members.discard(member)
        if not members:
            del self._members[topic, private]
        self.registry.remove(member)

    def broadcast(
        self, topic: str, private: bool, broadcast: Broadcast, leaving_out: TopicMember | None = None
    ) -> None:
        for member in self._members.get((topic, private), set()):
            if member is not leaving_out:
                member.receive(broadcast)
