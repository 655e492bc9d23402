"""Conversations recorded with supabase/realtime v2.129.8, repeated with this server.

`frames_v1.jsonl` and `frames_v2.jsonl` are our recordings: frames of the client (`c2s`) and of the server (`s2c`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from realtime_harness import ALICE, BATCH, BareClient, Stack, user_token

HERE = Path(__file__).parent
ROW = f"(id, batch_id, owner, title) values (5, '{BATCH}', '{ALICE}', 'mine')"
STATEMENTS = {
    "INSERT": "insert into {} " + ROW,
    "UPDATE": "update {} set done = true, title = 'changed' where id = 5",
    "DELETE": "delete from {} where id = 5",
}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def recorded(version: str) -> list[tuple[str, Any]]:
    lines = (HERE / f"frames_v{version[0]}.jsonl").read_text().splitlines()
    return [(item["dir"], json.loads(item["text"])) for item in map(json.loads, lines)]


def parts(version: str, frame: Any) -> tuple[str, str, dict[str, Any]]:
    """Topic, event and payload of a frame."""
    if version == "2.0.0":
        return frame[2], frame[3], frame[4]
    return frame["topic"], frame["event"], frame["payload"]


def steady(frame: Any) -> Any:
    """The frame without values that differ between servers and days: numbers of bindings, and times."""
    text = re.sub(r'"id": \d{5,}', '"id": "number"', json.dumps(frame, sort_keys=True))
    text = re.sub(r'"ids": \[\d+\]', '"ids": "numbers"', text)
    text = re.sub(r'"commit_timestamp": "[^"]*"', '"commit_timestamp": "time"', text)
    return json.loads(re.sub(r'"created_at": "[^"]*"', '"created_at": "time"', text))


async def provoke(stack: Stack, version: str, frame: Any) -> None:
    _, event, payload = parts(version, frame)
    if event == "postgres_changes":
        await stack.sql(STATEMENTS[payload["data"]["type"]].format(payload["data"]["table"]))


async def answer(client: BareClient, version: str, frame: Any) -> Any:
    topic, event, _ = parts(version, frame)
    return json.loads((await client.expect(event, topic)).text)


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_recorded_conversations_are_reproduced(stack: Stack, version: str) -> None:
    client = await stack.connect(version)
    lifetimes = iter(range(1000, 2000))

    for direction, frame in recorded(version):
        if direction == "c2s":
            token = user_token(seconds=next(lifetimes))
            await client.ws.send_str(json.dumps(frame).replace("<jwt>", token))
        else:
            await provoke(stack, version, frame)
            assert steady(await answer(client, version, frame)) == steady(frame)

    assert not client.waiting()


async def test_commit_times_are_utc_with_milliseconds_and_ids_those_of_the_reply(stack: Stack) -> None:
    client = await stack.connect()
    reply = await client.join("room", [{"event": "*", "schema": "public", "table": "todos"}])

    await stack.sql("insert into todos (id) values (1)")
    (change,) = await client.changes(1)

    assert TIME.match(change.data["commit_timestamp"])
    assert change.payload["ids"] == [item["id"] for item in reply.payload["response"]["postgres_changes"]]
