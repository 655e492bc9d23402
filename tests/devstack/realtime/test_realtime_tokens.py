"""Tokens of open channels: replaced, refused, expired."""

from __future__ import annotations

import time

import jwt
import pytest
from realtime_harness import (
    ALICE,
    BOB,
    PATIENCE_SECONDS,
    PUBLISHABLE_KEY,
    BareClient,
    Stack,
    binding,
    expired_seconds,
    user_token,
)


async def renew(client: BareClient, token: object, join_ref: str | None) -> None:
    await client.send("realtime:room", "access_token", {"access_token": token}, join_ref)


async def test_rows_are_checked_with_the_new_token(stack: Stack, version: str) -> None:
    client = await stack.connect(version)
    join = await client.join("room", [binding("notes")], token=user_token(ALICE))

    await renew(client, user_token(BOB), join.ref)
    system = await client.expect("system")
    await stack.sql("insert into notes values (1, %s, 'a'), (2, %s, 'b')", [ALICE, BOB])
    (change,) = await client.changes(1)

    assert system.payload["message"] == "Subscribed to PostgreSQL"
    assert change.data["record"]["id"] == 2


async def test_unusable_new_tokens_change_nothing(client: BareClient) -> None:
    token = user_token()
    join = await client.join("room", [binding("notes")], token=token)
    for ignored in (token, None, 5, PUBLISHABLE_KEY):
        await renew(client, ignored, join.ref)
    ref = await client.send("phoenix", "heartbeat", {})
    await client.expect("phx_reply", ref=ref)
    await client.join("other", [binding("notes")])
    assert not client.waiting("system")
    assert not client.waiting("phx_close")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("nonsense", "The token provided is not a valid JWT"),
        (jwt.encode({"role": "anon", "exp": 9999999999}, "x" * 32), ":signature_error"),
        (user_token(role=None), "Fields `role` and `exp` are required in JWT"),
    ],
)
async def test_an_invalid_token_closes_the_channel_but_not_the_socket(
    stack: Stack, version: str, token: str, message: str
) -> None:
    client = await stack.connect(version)
    join = await client.join("room", [binding("notes")])

    await renew(client, token, join.ref)
    system = await client.expect("system")
    closed = await client.expect("phx_close")

    assert system.payload == {"extension": "system", "status": "error", "message": message, "channel": "room"}
    assert closed.ref == join.ref
    assert (await client.join("room", [binding("notes")])).payload["status"] == "ok"


async def test_an_expired_token_is_refused_with_its_age(client: BareClient) -> None:
    join = await client.join("room", [binding("notes")])
    await renew(client, user_token(seconds=-10), join.ref)
    message = (await client.expect("system")).payload["message"]
    assert 10 <= expired_seconds(message) < 10 + PATIENCE_SECONDS


async def test_the_channel_closes_when_its_token_expires(client: BareClient) -> None:
    expires_at = int(time.time()) + 3
    await client.join("room", [binding("todos")], token=user_token(exp=expires_at))
    system = await client.expect("system")
    await client.expect("phx_close")
    assert 0 <= expired_seconds(system.payload["message"]) < PATIENCE_SECONDS
    assert time.time() >= expires_at


async def test_a_token_renewed_in_time_keeps_the_channel_open(stack: Stack, client: BareClient) -> None:
    expires_at = int(time.time()) + 4
    join = await client.join("room", [binding("todos")], token=user_token(exp=expires_at))
    await renew(client, user_token(), join.ref)
    await client.expect("system")
    await client.join("clock", [binding("todos")], token=user_token(exp=expires_at))
    await client.expect("phx_close", "realtime:clock")
    await stack.sql("insert into todos (id) values (1)")
    (change,) = await client.changes(1)
    assert change.topic == "realtime:room"
    assert not client.waiting("phx_close")


async def test_a_new_token_with_an_unknown_role_ends_the_changes(stack: Stack, client: BareClient) -> None:
    join = await client.join("room", [binding("todos")])
    await renew(client, user_token(role="nosuchrole"), join.ref)
    system = await client.expect("system")
    await client.join("other", [binding("todos")])
    await stack.sql("insert into todos (id) values (1)")
    (change,) = await client.changes(1)
    assert system.payload["status"] == "error"
    assert (change.topic, client.waiting()) == ("realtime:other", [])
