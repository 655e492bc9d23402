"""Row level security: policies are evaluated as the subscriber's role, with the subscriber's claims."""

from __future__ import annotations

import asyncio

from realtime_harness import ALICE, BOB, SECRET_KEY, BareClient, Stack, binding, user_token


async def everyone(stack: Stack) -> dict[str, BareClient]:
    """Owner, stranger, anon and service role, each on its own socket and subscribed to `notes`."""
    clients = {
        "owner": await stack.connect(),
        "stranger": await stack.connect("2.0.0"),
        "anon": await stack.connect(),
        "service": await stack.connect(key=SECRET_KEY),
    }
    tokens = {"owner": user_token(ALICE), "stranger": user_token(BOB)}
    for name, client in clients.items():
        await client.join("notes", [binding("notes"), binding("todos")], token=tokens.get(name))
    return clients


async def seen(stack: Stack, clients: dict[str, BareClient]) -> dict[str, list[str]]:
    """Each client's changes of `notes`, up to the next row of `todos`, which everybody sees."""
    await stack.sql("insert into todos default values")
    events: dict[str, list[str]] = {}
    for name, client in clients.items():
        events[name] = []
        while (change := (await client.changes(1))[0]).data["table"] == "notes":
            events[name].append(change.data["type"])
    return events


async def test_a_row_is_sent_only_to_its_owner_and_the_service_role(stack: Stack) -> None:
    clients = await everyone(stack)
    await stack.sql("insert into notes values (1, %s, 'mine')", [ALICE])
    await stack.sql("update notes set text = 'still mine'")
    both = ["INSERT", "UPDATE"]
    assert await seen(stack, clients) == {"owner": both, "stranger": [], "anon": [], "service": both}


async def test_a_deletion_is_sent_to_all_with_only_the_key(stack: Stack) -> None:
    await stack.sql("insert into notes values (1, %s, 'mine')", [ALICE])
    await stack.wait_until_read()
    clients = await everyone(stack)
    await stack.sql("delete from notes")
    for client in clients.values():
        (change,) = await client.changes(1)
        assert change.data["old_record"] == {"id": 1}


async def test_a_row_given_away_is_sent_only_to_its_new_owner(stack: Stack) -> None:
    await stack.sql("insert into notes values (1, %s, 'mine')", [ALICE])
    await stack.wait_until_read()
    clients = await everyone(stack)
    await stack.sql("update notes set owner = %s", [BOB])
    told = await seen(stack, clients)
    assert told == {"owner": [], "stranger": ["UPDATE"], "anon": [], "service": ["UPDATE"]}


async def test_a_row_deleted_before_its_check_is_sent_only_as_a_deletion(stack: Stack) -> None:
    clients = await everyone(stack)
    await stack.sql("do $$ begin insert into notes values (1, null, 'mine'); delete from notes; end $$")
    assert (await seen(stack, clients))["owner"] == ["DELETE"]


async def test_token_claims_cannot_inject_sql(stack: Stack) -> None:
    evil = "'; set role postgres; select set_config('role','postgres',false); --\""
    client = await stack.connect()
    await client.join(
        "room", [binding("notes"), binding("todos")], token=user_token(BOB, name=evil, role="authenticated")
    )
    await stack.sql("insert into notes values (1, %s, 'mine')", [ALICE])
    await stack.sql("insert into notes values (2, %s, 'theirs')", [BOB])
    (change,) = await client.changes(1)
    assert change.data["record"]["id"] == 2


async def test_a_failing_policy_hides_the_row_and_disturbs_nobody(stack: Stack) -> None:
    await stack.sql("create policy broken on notes for select to anon using (1 / (id - 1) = 1)")
    clients = await everyone(stack)
    await stack.sql("insert into notes values (1, %s, 'mine')", [ALICE])
    told = await seen(stack, clients)
    assert (told["anon"], told["owner"]) == ([], ["INSERT"])


async def test_a_role_without_the_schema_sees_no_rows(stack: Stack) -> None:
    await stack.sql("create schema hidden; create table hidden.t (id int primary key)")
    await stack.sql("alter table hidden.t enable row level security")
    await stack.sql("grant select on hidden.t to anon; create policy p on hidden.t for select to anon using (true)")
    await stack.sql("alter publication supabase_realtime add table hidden.t")
    client = await stack.connect()
    await client.join("room", [{"event": "*", "schema": "hidden", "table": "t"}, binding("todos")])
    await stack.sql("insert into hidden.t values (1)")
    await stack.sql("insert into todos (id) values (1)")
    (change,) = await client.changes(1)
    assert change.data["table"] == "todos"


async def test_fifty_subscribers_each_get_only_their_own_rows(stack: Stack) -> None:
    users = [f"00000000-0000-4000-8000-{number:012}" for number in range(50)]

    async def joined(user: str) -> BareClient:
        client = await stack.connect("2.0.0")
        await client.join(f"of {user}", [binding("notes")], token=user_token(user))
        return client

    clients = await asyncio.gather(*map(joined, users))
    for turn in range(5):
        numbers = [turn * 50 + n for n, _ in enumerate(users)]
        await stack.sql("insert into notes select *, 'x' from unnest(%s::int[], %s::uuid[])", [numbers, users])

    for number, client in enumerate(clients):
        got = [frame.data["record"]["id"] for frame in await client.changes(5)]
        assert got == [turn * 50 + number for turn in range(5)]
        assert not client.waiting()
