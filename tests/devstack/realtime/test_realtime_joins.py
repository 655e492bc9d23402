"""Opening a socket, joining and leaving topics, and the text of every error."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from realtime_harness import (
    JWT_SECRET,
    PATIENCE_SECONDS,
    PUBLISHABLE_KEY,
    BareClient,
    Stack,
    binding,
    expired_seconds,
    user_token,
)

UNSIGNED = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}", b""))


@pytest.mark.parametrize(
    ("key", "status", "message"),
    [
        (None, 401, "API key is missing"),
        ("", 401, "The token provided is not a valid JWT"),
        ("sb_publishable_of_somebody_else", 401, "The token provided is not a valid JWT"),
        (
            jwt.encode({"role": "anon", "exp": 9999999999}, "another-secret-of-more-than-32-bytes"),
            401,
            "Failed to validate JWT signature",
        ),
        (user_token(seconds=-10), 401, "Token has expired"),
        (user_token(role=None), 401, "Fields `role` and `exp` are required in JWT"),
        (UNSIGNED, 401, "Failed to generate JWT signer, check your JWT secret or JWKS configuration"),
    ],
)
async def test_a_refused_handshake_says_why(common: Stack, key: str | None, status: int, message: str) -> None:
    parameters = {} if key is None else {"apikey": key}
    assert await common.handshake(None, vsn="1.0.0", **parameters) == (status, f'{{"error":"{message}"}}')


async def test_the_header_wins_over_the_parameter(common: Stack) -> None:
    status, _ = await common.handshake({"x-api-key": "nonsense"}, apikey=PUBLISHABLE_KEY)
    assert status == 401


async def test_an_unknown_version_is_forbidden_without_a_body(common: Stack) -> None:
    assert await common.handshake(vsn="9.0.0", apikey=PUBLISHABLE_KEY) == (403, "")


async def test_a_jwt_opens_a_socket_too(common: Stack) -> None:
    client = await common.connect(key=user_token())
    assert (await client.join("room")).payload["status"] == "ok"


async def test_a_heartbeat_needs_no_join(common: Stack, version: str) -> None:
    client = await common.connect(version)
    ref = await client.send("phoenix", "heartbeat", {})
    reply = await client.expect("phx_reply", "phoenix")
    assert (reply.join_ref, reply.ref, reply.payload) == (None, ref, {"status": "ok", "response": {}})


async def test_the_reply_echoes_each_binding_with_a_number(common: Stack) -> None:
    client = await common.connect()
    bindings = [
        binding("todos", extra={"k": [1]}),
        binding("notes", filter="id=eq.1"),
        binding("todos", extra={"k": [1]}),
    ]
    reply = await client.join("room", [*bindings, None])
    items = reply.payload["response"]["postgres_changes"]
    numbers = [item.pop("id") for item in items]
    assert items == bindings
    assert numbers[0] == numbers[2] != numbers[1]
    assert all(isinstance(number, int) for number in numbers)


async def test_a_join_without_bindings_gets_no_system_message(common: Stack) -> None:
    client = await common.connect()
    reply = await client.join("room")
    await client.join("other", [binding("todos")])
    assert reply.payload["response"] == {"postgres_changes": []}
    assert not client.waiting("system")


@pytest.mark.parametrize("changes", ["x", None, 5, {}])
async def test_bindings_of_the_wrong_type_are_ignored(common: Stack, changes: Any) -> None:
    client = await common.connect()
    reply = await client.join_with("room", {"config": {"postgres_changes": changes}})
    assert reply.payload == {"status": "ok", "response": {"postgres_changes": []}}


@pytest.mark.parametrize("config", [{"broadcast": "x"}, {"presence": []}, {"postgres_changes": ["x"]}])
async def test_a_config_of_the_wrong_type_refuses_the_join(common: Stack, config: dict[str, Any]) -> None:
    client = await common.connect()
    assert (await client.join_with("room", {"config": config})).payload["status"] == "error"


async def test_presence_state_is_sent_where_presence_is_enabled(common: Stack) -> None:
    client = await common.connect()
    await client.join("with", presence={"enabled": True, "key": ""})
    assert (await client.expect("presence_state")).payload == {}
    await client.join("without", [binding("todos")], presence={"enabled": False})
    assert not client.waiting("presence_state")


REFUSED_BINDINGS = {
    "no such table": (
        {"event": "*", "schema": "public", "table": "nosuch"},
        "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect "
        "parameters: [event: *, schema: public, table: nosuch, filters: [], select: nil]",
    ),
    "bad value": (
        binding("todos", filter="batch_id=eq.notauuid"),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: *, schema: public, table: todos, filters: [{"batch_id", "eq", "notauuid", false}], '
        'select: nil]. Exception: ERROR 22P02 (invalid_text_representation) invalid input syntax for type uuid: '
        '"notauuid"',
    ),
    "hidden column": (
        binding("secrets", filter="hidden=eq.1", event="insert"),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: INSERT, schema: public, table: secrets, filters: [{"hidden", "eq", "1", false}], '
        "select: nil]. Exception: ERROR P0001 (raise_exception) invalid column for filter hidden",
    ),
    "hidden select": (
        binding("secrets", select=["hidden"]),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: *, schema: public, table: secrets, filters: [], select: ["hidden"]]. '
        "Exception: ERROR P0001 (raise_exception) invalid column for select hidden",
    ),
    "too many values": (
        binding("two_keys", filter="a=in.(" + ",".join(["1"] * 101) + ")"),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: *, schema: public, table: two_keys, filters: [{"a", "in", "{' + ",".join(["1"] * 101) +
        '}", false}], select: nil]. Exception: ERROR P0001 (raise_exception) too many values for `in` filter. '
        "Maximum 100",
    ),
    "no pattern": (
        binding("two_keys", filter="b=match.("),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: *, schema: public, table: two_keys, filters: [{"b", "match", "(", false}], select: nil]. '
        "Exception: ERROR P0001 (raise_exception) invalid regular expression for match filter: "
        "invalid regular expression: parentheses () not balanced",
    ),
    "like on a number": (
        binding("two_keys", filter="a=like.1%"),
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        'parameters: [event: *, schema: public, table: two_keys, filters: [{"a", "like", "1%", false}], select: nil]. '
        "Exception: ERROR P0001 (raise_exception) operator like requires a text-compatible column type, got integer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_BINDINGS)
async def test_an_invalid_binding_joins_and_then_gets_an_error(stack: Stack, case: str) -> None:
    wrong, message = REFUSED_BINDINGS[case]
    client = await stack.connect()
    await client.join("other", [binding("todos")])

    reply = await client.join("room", [binding("todos"), wrong], token=user_token(), subscribed=False)
    system = await client.expect("system")
    await stack.sql("insert into todos (id) values (1)")
    await stack.sql("insert into todos (id) values (2)")
    topics = {change.topic for change in await client.changes(2)}

    assert reply.payload["status"] == "ok"
    assert system.payload == {
        "message": message, "status": "error", "extension": "postgres_changes", "channel": "room",
    }  # fmt: skip
    assert (topics, client.waiting()) == ({"realtime:other"}, [])


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("nosuchrole", 'ERROR 42704 (undefined_object) role "nosuchrole" does not exist'),
        ("postgres", 'ERROR 42501 (insufficient_privilege) permission denied to set role "postgres"'),
    ],
)
async def test_a_role_that_cannot_be_assumed_is_refused(common: Stack, role: str, reason: str) -> None:
    client = await common.connect()
    await client.join("room", [binding("todos")], token=user_token(role=role), subscribed=False)
    assert (await client.expect("system")).payload["message"].endswith(f"Exception: {reason}")


async def test_zero_bytes_in_names_are_refused(common: Stack) -> None:
    client = await common.connect()
    await client.join("room", [binding("to\0dos")], subscribed=False)
    assert (await client.expect("system")).payload["status"] == "error"


@pytest.mark.parametrize(
    ("topic", "token", "reason"),
    [
        ("realtime:", None, "TopicNameRequired: You must provide a topic name"),
        ("room", None, "unmatched topic"),
        ("realtime:room", "", "MalformedJWT: The token provided is not a valid JWT"),
        ("realtime:room", user_token(role=None), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        ("realtime:room", user_token()[:-6] + "aaaaaa", "JwtSignatureError: Failed to validate JWT signature"),
    ],
)
async def test_a_refused_join_says_why(common: Stack, version: str, topic: str, token: str | None, reason: str) -> None:
    client = await common.connect(version)
    ref = await client.send(topic, "phx_join", {"config": {}, "access_token": token})
    reply = await client.expect("phx_reply", topic)
    assert reply.ref == ref
    assert reply.payload == {"status": "error", "response": {"reason": reason}}


async def test_an_expired_token_is_refused_with_its_age(common: Stack) -> None:
    client = await common.connect()
    reply = await client.join("room", token=user_token(seconds=-24))
    reason = reply.payload["response"]["reason"]
    assert reason.startswith("InvalidJWTToken: ")
    assert 24 <= expired_seconds(reason) < 24 + PATIENCE_SECONDS


async def test_joining_again_replaces_the_first_channel(stack: Stack, version: str) -> None:
    client = await stack.connect(version)
    first = await client.join("room", [binding("todos")])
    second = await client.join("room", [binding("todos")])
    closed = await client.expect("phx_close")
    await stack.sql("insert into todos (id) values (1)")
    await client.changes(1)
    await client.join("other", [binding("todos")])

    assert closed.ref == first.ref != second.ref
    assert closed.join_ref == (first.ref if version == "2.0.0" else None)
    assert not client.waiting()


async def test_leaving_is_answered_and_then_closed(stack: Stack, version: str) -> None:
    client = await stack.connect(version)
    join = await client.join("room", [binding("todos")])

    ref = await client.send("realtime:room", "phx_leave", {}, join.ref)
    reply = await client.expect("phx_reply")
    closed = await client.expect("phx_close")
    await client.join("other", [binding("todos")])
    await stack.sql("insert into todos (id) values (1)")
    (change,) = await client.changes(1)

    assert (reply.ref, reply.payload) == (ref, {"status": "ok", "response": {}})
    assert (closed.ref, closed.payload) == (join.ref, {})
    assert (change.topic, client.waiting()) == ("realtime:other", [])


async def test_events_on_an_unjoined_topic_are_answered(common: Stack, version: str) -> None:
    client = await common.connect(version)
    await client.send("realtime:room", "phx_leave", {})
    assert (await client.expect("phx_reply")).payload == {"status": "ok", "response": {}}
    await client.send("realtime:room", "access_token", {"access_token": user_token()}, "1")
    reply = await client.expect("phx_reply")
    assert reply.join_ref is None
    assert reply.payload == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_unknown_events_and_malformed_frames_are_ignored(common: Stack) -> None:
    client = await common.connect()
    await client.join("room")
    await client.send("realtime:room", "nonsense", {})
    for junk in ("", "hello", "[]", "null", '{"topic":"realtime:room"}'):
        await client.ws.send_str(junk)
    await client.ws.send_bytes(b"\x00\x01\x02")
    ref = await client.send("phoenix", "heartbeat", {})
    assert (await client.expect("phx_reply")).ref == ref


async def test_the_hundred_and_first_channel_is_refused(client: BareClient) -> None:
    for number in range(100):
        assert (await client.join(f"room{number}")).payload["status"] == "ok"
    refused = await client.join("one more")
    assert refused.payload["response"] == {"reason": "ChannelRateLimitReached: Too many channels"}
    assert (await client.join("room5")).payload["status"] == "ok"


async def test_a_broadcast_reaches_the_topics_other_members(stack: Stack) -> None:
    one, two = await stack.connect("1.0.0"), await stack.connect("1.0.0")
    join = await one.join("room", broadcast={"ack": True, "self": False})
    await two.join("room")
    message = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}
    ref = await one.send("realtime:room", "broadcast", message, join.ref)
    assert (await two.expect("broadcast")).payload == message
    assert (await one.expect("phx_reply", ref=ref)).payload["status"] == "ok"
    assert not one.waiting("broadcast")


MESSAGES = """
    create schema realtime; grant usage on schema realtime to anon, authenticated;
    create table realtime.messages (
        id uuid default gen_random_uuid(), topic text, extension text, payload jsonb, event text, private boolean,
        updated_at timestamp default now(), inserted_at timestamp default now()) ;
    grant select on realtime.messages to anon, authenticated;
    alter table realtime.messages enable row level security;
    create policy own on realtime.messages for select to authenticated
        using (current_setting('realtime.topic', true) = 'user:' || (select auth.uid()));
"""


async def test_a_private_topic_needs_a_policy(stack: Stack) -> None:
    token = user_token()
    topic = f"user:{jwt.decode(token, JWT_SECRET, algorithms=['HS256'])['sub']}"
    client = await stack.connect()

    without_table = await client.join(topic, [binding("todos")], token=token, private=True, subscribed=False)
    await stack.sql(MESSAGES)
    own = await client.join(topic, [binding("todos")], token=token, private=True)
    foreign = await client.join("user:x", [binding("todos")], token=token, private="true", subscribed=False)

    refusal = "Unauthorized: You do not have permissions to read from this Channel topic: "
    assert without_table.payload["response"] == {"reason": refusal + topic}
    assert own.payload["status"] == "ok"
    assert foreign.payload["response"] == {"reason": refusal + "user:x"}
    assert await stack.sql("select count(*) from realtime.messages") == [(0,)]
    assert json.loads(own.text)
