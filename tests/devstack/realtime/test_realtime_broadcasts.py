"""Broadcasts: messages that the database sends by `realtime.send`, private topics, replay, and clients' messages.

`broadcast_frames.jsonl` was recorded with supabase/realtime v2.129.8; tokens and ids in it are replaced.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from realtime_harness import (
    ALICE,
    BOB,
    PATIENCE_SECONDS,
    SECRET_KEY,
    BareClient,
    Frame,
    Stack,
    binary_frame,
    binary_push,
    binding,
    user_token,
)

from devstack.database import REALTIME, REALTIME_PARTITIONS

TOPIC = f"user:{ALICE}"
RECORDED_USER = "00000000-0000-4000-8000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REFUSAL = "Unauthorized: You do not have permissions to read from this Channel topic: "


class Recorded(NamedTuple):
    scenario: str
    direction: str
    frame: Any


def recorded() -> list[tuple[str, list[Recorded]]]:
    lines = Path(__file__).with_name("broadcast_frames.jsonl").read_text().splitlines()
    frames = [Recorded(item["scenario"], item["dir"], item["frame"]) for item in map(json.loads, lines)]
    return [(scenario, list(group)) for scenario, group in groupby(frames, lambda one: one.scenario)]


async def send(stack: Stack, payload: dict[str, Any], topic: str = TOPIC, *, private: bool = True) -> None:
    await stack.sql("select realtime.send(%s, 'changed', %s, %s)", [json.dumps(payload), topic, private])


async def join(client: BareClient, topic: str = TOPIC, token: str | None = None, **config: Any) -> Frame:
    return await client.join(topic, token=token or user_token(), private=True, **config)


def reason_of(reply: Frame) -> str:
    assert reply.payload["status"] == "error", reply.text
    return reply.payload["response"]["reason"]


def steady(frame: Any) -> Any:
    """The frame without ids and ages, and without most of a long text."""
    text = UUID.sub("id", json.dumps(frame, sort_keys=True))
    text = re.sub(r"x{300000}", r"x\\u2026(300,000)", text)
    return json.loads(re.sub(r"\d+ seconds ago", "some seconds ago", text))


def as_frame(version: str, frame: Any) -> Any:
    """A recorded frame of version 2 in the form of version 1."""
    if version == "1.0.0":
        return frame
    if isinstance(frame, dict):
        found = binary_frame(bytes.fromhex(str(cast("dict[str, Any]", frame)["binary_hex"])))
        return {"ref": None, "event": found.event, "payload": found.payload, "topic": found.topic}
    return {"ref": frame[1], "event": frame[3], "payload": frame[4], "topic": frame[2]}


SENT_IN: dict[str, list[tuple[dict[str, Any], bool]]] = {
    "private join, own topic, realtime.send, vsn 1.0.0": [({"n": 1, "batch_id": "b1"}, True)],
    "private join, own topic, realtime.send, vsn 2.0.0": [({"n": 1, "batch_id": "b1"}, True)],
    "private join, own topic, not private message": [({"n": 2}, False)],
    "public join of the same topic name, private message": [({"n": 3}, True), ({"n": 4}, False)],
    "private join, service_role": [({"n": 5}, True)],
    "broadcast_changes row by trigger function": [({"big": "x" * 300_000}, True)],
}
"""The messages that the database sends after the join of a scenario, and whether each is private."""
TOKENS: dict[str, dict[str, Any]] = {
    "private join, service_role": {"role": "service_role"},
    "private join, anon": {"role": "anon"},
    "private join, expired token": {"seconds": -10},
}


async def test_recorded_conversations_are_reproduced(messaging: Stack) -> None:
    for scenario, frames in recorded():
        version = "2.0.0" if scenario.endswith("2.0.0") else "1.0.0"
        client = await messaging.connect(version)
        for one in frames:
            if one.direction == "->":
                token = user_token(**TOKENS.get(scenario, {}))
                text = json.dumps(one.frame).replace('"TOKEN"', json.dumps(token)).replace(RECORDED_USER, ALICE)
                await client.ws.send_str(re.sub(r'"since": \d+', f'"since": {since_a_minute()}', text))
            else:
                wanted = as_frame(version, one.frame)
                got = await client.expect(wanted["event"])
                found = {"ref": got.ref, "event": got.event, "payload": got.payload, "topic": got.topic}
                assert steady(found) == steady(wanted), scenario
                if wanted["event"] == "phx_reply":
                    for payload, private in SENT_IN.get(scenario, []):
                        await send(messaging, payload, private=private)
        await answered(client)
        assert not client.waiting("broadcast"), scenario


async def answered(client: BareClient) -> None:
    """Wait until the server has handled what this client sent before."""
    ref = await client.send("phoenix", "heartbeat", {})
    await client.expect("phx_reply", "phoenix", ref=ref)


def since_a_minute() -> int:
    return int((time.time() - 60) * 1000)


async def test_a_message_is_the_recorded_binary_frame_in_version_2(messaging: Stack) -> None:
    [hexadecimal] = [
        one.frame["binary_hex"] for _, frames in recorded() for one in frames if "binary_hex" in (one.frame or {})
    ]
    wanted = bytes.fromhex(hexadecimal)
    client = await messaging.connect("2.0.0")
    await join(client)

    await send(messaging, {"n": 1, "batch_id": "b1"})
    got = bytes.fromhex((await client.expect("broadcast")).text)

    assert UUID.sub("id", got.decode()) == UUID.sub("id", wanted.decode())
    assert len(got) == len(wanted)


async def test_messages_of_one_transaction_arrive_in_order_and_those_rolled_back_never(
    messaging: Stack, version: str
) -> None:
    client = await messaging.connect(version)
    await join(client)

    await messaging.sql(
        "do $$ begin perform realtime.send('{\"n\": 0}', 'changed', 'user:' || %s, true); raise 'no'; exception"
        " when others then null; end $$".replace("%s", f"'{ALICE}'")
    )
    await messaging.sql(
        "select realtime.send(jsonb_build_object('n', n), 'changed', %s, true) from generate_series(1, 50) n", [TOPIC]
    )
    got = [(await client.expect("broadcast")).payload["payload"]["n"] for _ in range(50)]

    assert got == list(range(1, 51))


async def test_a_binary_message_reaches_version_2_alone(messaging: Stack) -> None:
    old, new = await messaging.connect("1.0.0"), await messaging.connect("2.0.0")
    for client in (old, new):
        await join(client)

    await messaging.sql("select realtime.send_binary('\\x00ff'::bytea, 'raw', %s, true)", [TOPIC])
    await send(messaging, {"n": 1})

    assert (await new.expect("broadcast")).payload["payload"] == b"\x00\xff"
    assert (await old.expect("broadcast")).payload["payload"]["n"] == 1


async def test_strangers_and_anonymous_clients_are_refused_and_hear_nothing(messaging: Stack, version: str) -> None:
    stranger, anon, owner = [await messaging.connect(version) for _ in range(3)]
    refusals = [
        await join(stranger, token=user_token(BOB)),
        await anon.join(TOPIC, private=True),
        await anon.join(TOPIC, private=True, token=user_token(role="anon")),
    ]
    await stranger.join(TOPIC, token=user_token(BOB))  # public: private messages do not reach it
    await join(owner)

    await send(messaging, {"n": 1})
    await owner.expect("broadcast")
    for client in (stranger, anon):
        await answered(client)

    assert [reason_of(reply) for reply in refusals] == [REFUSAL + TOPIC] * 3
    assert not stranger.waiting("broadcast")
    assert not anon.waiting("broadcast")


async def test_a_secret_key_joins_any_private_topic(messaging: Stack) -> None:
    client = await messaging.connect(key=SECRET_KEY)
    assert (await client.join("batchgen:workers", private=True)).payload["status"] == "ok"
    await send(messaging, {"n": 1}, "batchgen:workers")
    assert (await client.expect("broadcast")).payload["payload"]["n"] == 1


async def test_a_policy_for_presence_alone_lets_join_and_hides_broadcasts(messaging: Stack) -> None:
    await messaging.sql("create policy presence on realtime.messages for select to anon using (extension = 'presence')")
    client = await messaging.connect()

    without = await client.join("room", private=True)
    joined = await client.join("room", private=True, presence={"enabled": True})
    replaying = await client.join("room", private=True, presence={"enabled": True}, broadcast={"replay": {"since": 0}})
    await send(messaging, {"n": 1}, "room")
    listener = await messaging.connect(key=SECRET_KEY)
    await listener.join("room", private=True)
    await send(messaging, {"n": 2}, "room")
    await listener.expect("broadcast")
    await answered(client)

    assert joined.payload["status"] == "ok"
    assert [reason_of(reply) for reply in (without, replaying)] == [REFUSAL + "room"] * 2
    assert not client.waiting("broadcast")


async def test_a_join_without_todays_partition_says_so(messaging: Stack) -> None:
    partitions = "select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass"
    for (name,) in await messaging.sql(partitions):
        await messaging.sql(f"drop table {name}")
    client = await messaging.connect()

    await send(messaging, {"n": 1})  # a warning, as with the real function

    reason = "MissingPartition: Realtime was unable to find the expected messages partition"
    assert reason_of(await join(client)) == reason


async def test_a_database_that_gets_realtimes_tables_later_sends(stack: Stack) -> None:
    before = await stack.connect()
    refused = await join(before)
    await stack.sql((REALTIME + REALTIME_PARTITIONS).decode())
    client = await stack.connect(key=SECRET_KEY)
    await client.join(TOPIC, private=True, broadcast={"replication_ready": True})
    system = await client.expect("system")

    await send(stack, {"n": 1})

    assert reason_of(refused) == REFUSAL + TOPIC
    assert system.payload["message"] == "Replication connection established"
    assert (await client.expect("broadcast")).payload["payload"]["n"] == 1


async def test_the_stream_is_restored_and_replay_fills_the_gap(messaging: Stack, version: str) -> None:
    client = await messaging.connect(version)
    await join(client)
    await messaging.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'devstack realtime messages'"
        " and datname = current_database()"
    )
    await send(messaging, {"n": 1})
    replay = {"replay": {"since": since_a_minute(), "limit": 25}}

    again = await messaging.connect(version)
    await join(again, broadcast={**replay, "replication_ready": True})
    replayed = await again.expect("broadcast")
    await again.expect("system")
    await send(messaging, {"n": 2})

    assert replayed.payload["meta"]["replayed"] is True
    assert replayed.payload["payload"]["n"] == 1
    live = await again.expect("broadcast")
    assert (live.payload["payload"]["n"], "replayed" in live.payload["meta"]) == (2, False)


async def test_replay_sends_the_last_messages_since_then_oldest_first(messaging: Stack, version: str) -> None:
    await send(messaging, {"n": 0})
    await messaging.sql("update realtime.messages set inserted_at = inserted_at - interval '1 hour'")
    for n in range(1, 31):
        await send(messaging, {"n": n})
    await send(messaging, {"n": 31}, private=False)
    await send(messaging, {"n": 32}, f"user:{BOB}")

    async def replayed(**replay: Any) -> list[int]:
        client = await messaging.connect(version)
        reply = await join(client, broadcast={"replay": replay})
        assert reply.payload["status"] == "ok", reply.text
        await answered(client)
        return [frame.payload["payload"]["n"] for frame in client.waiting("broadcast")]

    assert await replayed(since=since_a_minute(), limit=2) == [29, 30]
    assert await replayed(since=since_a_minute()) == list(range(6, 31))
    assert await replayed(since=0, limit=1000) == list(range(6, 31))
    assert await replayed(since=since_a_minute(), limit=-1) == [30]
    assert await replayed(since=int(time.time() * 1000) + 60_000) == []


@pytest.mark.parametrize(
    ("replay", "private", "reason"),
    [
        ({"since": 0}, False, "UnableToReplayMessages: Replay is not allowed for public channels"),
        ({}, True, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": "yesterday"}, True, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": 10**18}, True, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": 0, "limit": "all"}, True, "UnableToReplayMessages: Replay params are not valid"),
    ],
)
async def test_an_invalid_replay_is_refused(
    messaging: Stack, replay: dict[str, Any], private: bool, reason: str
) -> None:
    client = await messaging.connect()
    reply = await client.join(TOPIC, token=user_token(), private=private, broadcast={"replay": replay})
    assert reason_of(reply) == reason


async def test_clients_send_to_a_private_topic_only_with_a_policy(messaging: Stack) -> None:
    await messaging.sql(
        "create policy hear on realtime.messages for select to authenticated using (topic = 'room');"
        "create policy say on realtime.messages for insert to authenticated"
        " with check (topic = 'room' and (select auth.uid())::text = %s)".replace("%s", f"'{ALICE}'")
    )
    alice, bob = await messaging.connect(), await messaging.connect()
    joined = await join(alice, "room", broadcast={"ack": True})
    await join(bob, "room", user_token(BOB), broadcast={"ack": True})

    await bob.send("realtime:room", "broadcast", {"type": "broadcast", "event": "x", "payload": {"a": 1}}, "1")
    await answered(bob)
    message = {"type": "broadcast", "event": "x", "payload": {"a": 2}}
    ref = await alice.send("realtime:room", "broadcast", message, joined.ref)

    assert (await bob.expect("broadcast")).payload == message
    assert (await alice.expect("phx_reply", ref=ref)).payload == {"status": "ok", "response": {}}
    assert not alice.waiting("broadcast")
    assert not bob.waiting("phx_reply")
    assert await messaging.sql("select count(*) from realtime.messages") == [(0,)]


async def test_binary_pushes_of_version_2_reach_both_versions(messaging: Stack) -> None:
    old, new, sender = [await messaging.connect(version) for version in ("1.0.0", "2.0.0", "2.0.0")]
    for client in (old, new, sender):
        await client.join("room", broadcast={"ack": client is sender, "self": True})

    await sender.ws.send_bytes(binary_push("realtime:room", "x", b"\x01\x02", is_json=False))
    await sender.ws.send_bytes(binary_push("realtime:room", "x", b"not json"))
    await sender.ws.send_bytes(binary_push("realtime:room", "x", b'{"a": 1}'))
    await old.send("realtime:room", "broadcast", {"event": "y", "payload": {}}, "1")

    for client in (new, sender):
        assert (await client.expect("broadcast")).payload["payload"] == b"\x01\x02"
        assert (await client.expect("broadcast")).payload == {"type": "broadcast", "event": "x", "payload": {"a": 1}}
        plain = await client.expect("broadcast")
        assert (plain.join_ref, plain.ref, plain.payload) == (None, None, {"event": "y", "payload": {}})
    assert (await old.expect("broadcast")).payload == {"type": "broadcast", "event": "x", "payload": {"a": 1}}
    assert [(await sender.expect("phx_reply")).ref for _ in range(2)] == ["7", "7"]


async def test_a_token_that_may_not_read_the_topic_closes_the_channel(messaging: Stack, version: str) -> None:
    client = await messaging.connect(version)
    reply = await join(client)

    await client.send(f"realtime:{TOPIC}", "access_token", {"access_token": user_token(BOB)}, reply.ref)
    system = await client.expect("system")
    await client.expect("phx_close")

    assert system.payload["message"] == REFUSAL.removeprefix("Unauthorized: ") + TOPIC
    assert system.payload["status"] == "error"


async def test_one_private_channel_has_changes_and_broadcasts(messaging: Stack, version: str) -> None:
    client = await messaging.connect(version)
    await client.join(TOPIC, [binding("notes")], token=user_token(), private=True)

    await messaging.sql("insert into notes values (1, %s, 'a')", [ALICE])
    await send(messaging, {"n": 1})

    assert (await client.expect("broadcast")).payload["payload"]["n"] == 1
    assert (await client.expect("postgres_changes")).data["record"]["id"] == 1


async def test_stopping_drops_the_slot_and_a_long_topic_is_dropped(messaging: Stack) -> None:
    slots = "select count(*) from pg_replication_slots where database = current_database()"
    client = await messaging.connect("2.0.0", key=SECRET_KEY)
    long = "x" * 300
    await client.join(long, private=True)
    await client.join("short", private=True)
    await send(messaging, {"n": 1}, long)
    await send(messaging, {"n": 2}, "short")
    assert (await client.expect("broadcast")).payload["payload"]["n"] == 2
    assert await messaging.sql(slots) == [(2,)]

    await messaging.realtime.stop()

    async with asyncio.timeout(PATIENCE_SECONDS):
        while await messaging.sql(slots) != [(0,)]:  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)
