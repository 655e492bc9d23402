"""Filters on real changes: every operator, nulls, types, UPDATEs that enter or leave the filter, DELETEs."""

from __future__ import annotations

import pytest
from realtime_harness import ALICE, BATCH, OTHER_BATCH, BareClient, Stack, binding, user_token

ROWS = """
    insert into kinds (id, money, flag, words, feeling, stamp, code) values
        (1, 1.50, true, '{a,b}', 'sad', '2024-01-01 00:00+00', 'x'), (2, 2, false, null, 'glad', '2024-06-01', 'y'),
        (3, null, null, '{}', null, null, null), (4, 10, true, null, null, null, 'NULL');
    insert into kinds (id) values (99);
"""


async def passing(stack: Stack, client: BareClient, table: str, filter_: str, rows: str) -> list[int]:
    """The ids of the rows that a filter passes, up to row 99, which a second binding passes."""
    reply = await client.join("room", [binding(table, filter=filter_), binding(table, filter="id=eq.99")])
    first = reply.payload["response"]["postgres_changes"][0]["id"]
    await stack.sql(rows)
    passed: list[int] = []
    while True:
        (change,) = await client.changes(1)
        row = change.data.get("record") or change.data["old_record"]
        if row["id"] == 99:
            return passed + [99] * (first in change.payload["ids"])
        passed.append(row["id"])


@pytest.mark.parametrize(
    ("filter_", "ids"),
    [
        ("id=eq.2", [2]),
        ("id=neq.2", [1, 3, 4, 99]),
        ("money=lt.10", [1, 2]),
        ("money=lte.1.5", [1]),
        ("money=gt.9", [4]),
        ("money=gte.2.0", [2, 4]),
        ("money=neq.2", [1, 4]),
        ("id=in.(1,3,5)", [1, 3]),
        ('code=in.("x","y")', [1, 2]),
        ("flag=eq.t", [1, 4]),
        ("feeling=gt.glad", [1]),
        ("stamp=gte.2024-01-01T00:00:00Z", [1, 2]),
        ('words=eq."{a,b}"', [1]),
        ("code=eq.null", []),
        ("flag=is.null", [3, 99]),
        ("flag=not.is.null", [1, 2, 4]),
        ("flag=is.true", [1, 4]),
        ("money=isdistinct.2", [1, 3, 4, 99]),
        ("money=not.isdistinct.2", [2]),
        ("id=not.eq.2", [1, 3, 4, 99]),
        ("money=not.eq.2", [1, 4]),
        ("code=like.x%", [1]),
        ("code=ilike.X%", [1]),
        ("code=match.^[xy]", [1, 2]),
        ("code=imatch.^X", [1]),
        ("id=gt.1,id=lt.4", [2, 3]),
        ("id=not.in.(1,2)", [3, 4, 99]),
        ("", [1, 2, 3, 4, 99]),
    ],
)
async def test_a_filter_lets_its_rows_through(common: Stack, filter_: str, ids: list[int]) -> None:
    await common.sql("truncate kinds")
    await common.wait_until_read()
    client = await common.connect()
    passed = await passing(common, client, "kinds", filter_, ROWS)
    await client.close()
    assert passed == ids


async def test_updates_are_filtered_by_the_new_row(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("open_full", filter="text=eq.in"), binding("open_full", filter="id=eq.99")])
    await stack.sql("insert into open_full values (1, null, 'in'), (2, null, 'out')")
    await stack.sql("update open_full set text = 'out' where id = 1")
    await stack.sql("update open_full set text = 'in' where id = 2")
    await stack.sql("insert into open_full values (99)")
    events = [(frame.data["type"], frame.data["record"]["id"]) for frame in await client.changes(3)]
    assert events == [("INSERT", 1), ("UPDATE", 2), ("INSERT", 99)]


async def test_deletes_pass_only_filters_on_the_old_identity(stack: Stack, client: BareClient) -> None:
    await stack.sql("insert into todos (id, batch_id) values (1, %s), (2, %s)", [BATCH, BATCH])
    await stack.wait_until_read()
    await client.join("by batch", [binding("todos", filter=f"batch_id=eq.{BATCH}")])
    await client.join("by key", [binding("todos", filter="id=eq.1")])
    await client.join("all", [binding("todos")])
    await stack.sql("delete from todos where id = 1")
    await stack.sql("delete from todos where id = 2")
    topics = [frame.topic for frame in await client.changes(3)]
    assert sorted(topics[:2]) == ["realtime:all", "realtime:by key"]
    assert topics[2] == "realtime:all"


async def test_deletes_with_full_identity_are_filtered_by_the_old_row(stack: Stack, client: BareClient) -> None:
    await stack.sql(
        "insert into todos_full (id, batch_id, owner) values (1, %s, %s), (2, %s, %s)",
        [OTHER_BATCH, ALICE, BATCH, ALICE],
    )
    await stack.wait_until_read()
    await client.join("room", [binding("todos_full", filter=f"batch_id=eq.{BATCH}")], token=user_token())
    await stack.sql("delete from todos_full where id = 1")
    await stack.sql("delete from todos_full where id = 2")
    (change,) = await client.changes(1)
    assert change.data["old_record"] == {"id": 2}


async def test_a_filter_without_an_operator_for_its_type_disturbs_nobody(stack: Stack, client: BareClient) -> None:
    """`json` has no equality, which ends the real server's stream; here such a filter passes nothing."""
    await client.join("wrong", [binding("kinds", filter='doc=eq."{}"')])
    await client.join("right", [binding("kinds")])
    await stack.sql("insert into kinds (id, doc) values (1, '{}')")
    await stack.sql("insert into kinds (id, doc) values (2, '{}')")
    assert [frame.topic for frame in await client.changes(2)] == ["realtime:right"] * 2
