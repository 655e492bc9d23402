"""Messages about changes: values, columns, old records, errors, and the bindings that match."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from realtime_harness import ALICE, BATCH, OTHER_BATCH, SECRET_KEY, BareClient, Stack, binding, user_token


def raw(text: str, key: str) -> str:
    """A part of a frame before any JSON parser reads it."""
    found = re.search(rf'"{key}": ("[^"]*"|[^,}}]*)', text)
    assert found is not None, text
    return found[1]


async def test_values_have_the_form_of_to_jsonb(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("kinds")])

    await stack.sql(
        """insert into kinds values (1, 9007199254740993, 1.50, 'NaN', 'ab', '2024-01-02 03:04:05.1+02',
            '2024-01-02 03:04:05', '2024-01-02', '1 day 02:00', '\\xdeadbeef', '{1,2}', '{"a b",null}', '{"k": 1.0}',
            'sad', true, '10.0.0.1', '[1,5)')"""
    )
    (change,) = await client.changes(1)

    assert raw(change.text, "big") == "9007199254740993"
    assert raw(change.text, "money") == "1.50"
    assert change.data["record"] == {
        "id": 1, "big": 9007199254740993, "money": 1.5, "ratio": None, "code": "ab   ",
        "stamp": "2024-01-02T01:04:05.1+00:00", "local": "2024-01-02T03:04:05", "day": "2024-01-02",
        "span": "1 day 02:00:00", "raw": "deadbeef", "list": [1, 2], "words": ["a b", None], "doc": {"k": 1.0},
        "feeling": "sad", "flag": True, "address": "10.0.0.1", "period": "[1,5)",
    }  # fmt: skip
    types = {column["name"]: column["type"] for column in change.data["columns"]}
    assert types == {
        "id": "int8", "big": "int8", "money": "numeric", "ratio": "float8", "code": "bpchar", "stamp": "timestamptz",
        "local": "timestamp", "day": "date", "span": "interval", "raw": "bytea", "list": "_int4", "words": "_text",
        "doc": "json", "feeling": "mood", "flag": "bool", "address": "inet", "period": "int4range",
    }  # fmt: skip
    ordered = await stack.sql(
        "select attname from pg_attribute where attrelid = 'kinds'::regclass and attnum > 0 order by attnum"
    )
    assert list(types) == [name for (name,) in ordered]


async def test_nulls_are_sent_as_nulls(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("kinds")])
    await stack.sql("insert into kinds (id) values (1)")
    (change,) = await client.changes(1)
    record = change.data["record"]
    assert record.pop("id") == 1
    assert set(record.values()) == {None}
    assert len(record) == 16


async def test_text_keeps_quotes_newlines_and_every_alphabet(stack: Stack, client: BareClient) -> None:
    text = 'a "b"\n\\ \t€ 漢 🙂 </script> \u2028'
    await client.join("room", [binding("open_full")])
    await stack.sql("insert into open_full (id, text) values (1, %s)", [text])
    (change,) = await client.changes(1)
    assert change.data["record"]["text"] == text


async def test_an_unchanged_toasted_value_is_left_out_of_the_record(stack: Stack, client: BareClient) -> None:
    await stack.sql("insert into blobs values (1, 'a', repeat('x', 5000))")
    await client.join("room", [binding("blobs", event="UPDATE")])
    await stack.sql("update blobs set small = 'b'")
    (change,) = await client.changes(1)
    assert change.data["record"] == {"id": 1, "small": "b"}
    assert [column["name"] for column in change.data["columns"]] == ["id", "small", "large"]


async def test_full_identity_fills_an_unchanged_toasted_value_from_the_old_row(
    stack: Stack, client: BareClient
) -> None:
    await stack.sql("alter table blobs replica identity full")
    await stack.sql("insert into blobs values (1, 'a', repeat('x', 5000))")
    await client.join("room", [binding("blobs", event="UPDATE")])
    await stack.sql("update blobs set small = 'b'")
    (change,) = await client.changes(1)
    assert change.data["record"] == {"id": 1, "small": "b", "large": "x" * 5000}


async def test_the_old_record_has_the_old_key(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("two_keys")])
    await stack.sql("insert into two_keys values (1, 'x', 'v')")
    await stack.sql("update two_keys set b = 'y'")
    await stack.sql("delete from two_keys")
    _, updated, deleted = await client.changes(3)
    assert updated.data["old_record"] == {"a": 1, "b": "x"}
    assert updated.data["record"] == {"a": 1, "b": "y", "v": "v"}
    assert deleted.data["old_record"] == {"a": 1, "b": "y"}
    assert "record" not in deleted.data


async def test_full_identity_without_row_security_sends_the_whole_old_row(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("open_full")])
    await stack.sql("insert into open_full values (1, %s, 'a')", [ALICE])
    await stack.sql("update open_full set text = 'b'")
    await stack.sql("delete from open_full")
    inserted, updated, deleted = await client.changes(3)
    assert "old_record" not in inserted.data
    assert updated.data["old_record"] == {"id": 1, "text": "a", "owner": ALICE}
    assert deleted.data["old_record"] == {"id": 1, "text": "b", "owner": ALICE}


async def test_a_row_without_a_primary_key_is_an_error_and_its_deletion_is_not(
    stack: Stack, client: BareClient
) -> None:
    await client.join("room", [binding("no_key")])
    await stack.sql("insert into no_key values ('a')")
    await stack.sql("delete from no_key")
    inserted, deleted = await client.changes(2)
    assert inserted.data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert (inserted.data["record"], inserted.data["columns"]) == ({}, [])
    assert inserted.data["commit_timestamp"] is None
    assert deleted.data["errors"] is None
    assert deleted.data["old_record"] == {"v": "a"}


async def test_a_role_that_may_not_select_the_key_gets_an_error(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("locked")])
    await stack.sql("insert into locked values (1, 'a')")
    (change,) = await client.changes(1)
    assert change.data["errors"] == ["Error 401: Unauthorized"]
    assert (change.data["record"], change.data["columns"]) == ({}, [])


async def test_columns_hidden_from_the_role_are_left_out(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("secrets")], token=user_token())
    await stack.sql("insert into secrets values (1, 'a', 'b')")
    (change,) = await client.changes(1)
    assert change.data["record"] == {"id": 1, "open": "a"}
    assert change.data["columns"] == [{"name": "id", "type": "int8"}, {"name": "open", "type": "text"}]


async def test_a_record_over_a_megabyte_loses_its_long_values(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("blobs")])
    await stack.sql("insert into blobs values (1, 'a', repeat('x', 1100000))")
    (change,) = await client.changes(1)
    assert change.data["errors"] == ["Error 413: Payload Too Large"]
    assert change.data["record"] == {"id": 1, "small": "a"}


async def test_selected_columns_come_with_the_key(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("todos", select=["title"]), binding("todos")])
    await stack.sql("insert into todos (id, title) values (1, 'a')")
    whole, narrow = sorted(await client.changes(2), key=lambda frame: -len(frame.data["columns"]))
    assert narrow.data["record"] == {"id": 1, "title": "a"}
    assert [column["name"] for column in narrow.data["columns"]] == ["id", "title"]
    assert len(whole.data["record"]) == 8


async def test_one_frame_names_all_matching_bindings_last_first(stack: Stack, client: BareClient) -> None:
    bindings = [
        binding("todos", event="INSERT"),
        binding("todos", event="UPDATE"),
        binding("todos", filter=f"batch_id=eq.{BATCH}"),
        binding("todos", filter=f"batch_id=eq.{OTHER_BATCH}"),
        binding("todos", event="INSERT"),
    ]
    reply = await client.join("room", bindings)
    numbers = [item["id"] for item in reply.payload["response"]["postgres_changes"]]

    await stack.sql("insert into todos (id, batch_id) values (1, %s)", [BATCH])
    (change,) = await client.changes(1)

    assert numbers[0] == numbers[4]
    assert change.payload["ids"] == [numbers[4], numbers[2], numbers[0]]


@pytest.mark.parametrize("wanted", [{"event": "*", "schema": "public"}, {"event": "*", "schema": "*", "table": "*"}])
async def test_a_wildcard_means_all_published_tables(stack: Stack, client: BareClient, wanted: dict[str, Any]) -> None:
    await client.join("room", [wanted])
    await stack.sql("insert into todos (id) values (1)")
    await stack.sql("insert into two_keys values (1, 'x')")
    assert [frame.data["table"] for frame in await client.changes(2)] == ["todos", "two_keys"]


async def test_truncate_is_not_sent(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("todos")])
    await stack.sql("insert into todos (id) values (1)")
    await stack.sql("truncate todos")
    await stack.sql("insert into todos (id) values (2)")
    assert [frame.data["record"]["id"] for frame in await client.changes(2)] == [1, 2]


async def test_an_old_clients_topic_gets_the_bare_change(stack: Stack, version: str) -> None:
    client = await stack.connect(version)
    await client.join_with(f"public:todos:batch_id=eq.{BATCH}", {}, subscribed=True)
    await stack.sql("insert into todos (id, batch_id) values (1, %s)", [BATCH])
    change = await client.expect("INSERT")
    assert change.payload["record"]["id"] == 1
    assert change.payload["table"] == "todos"


async def test_added_columns_and_changed_types_are_followed(stack: Stack, client: BareClient) -> None:
    await client.join("room", [binding("two_keys")])
    await stack.sql("insert into two_keys values (1, 'x', '5')")
    await stack.sql("alter table two_keys add column extra jsonb default '[]'")
    await stack.sql("alter table two_keys alter column v type int using v::int")
    await stack.sql("insert into two_keys values (2, 'x', 6)")
    first, second = await client.changes(2)
    assert first.data["record"] == {"a": 1, "b": "x", "v": "5"}
    assert second.data["record"] == {"a": 2, "b": "x", "v": 6, "extra": []}


async def test_names_that_need_quoting_are_safe(stack: Stack) -> None:
    await stack.sql('create table "Odd ""T%s" ("Key ""1" int primary key, "n" int, "x; drop" text)', [])
    await stack.sql('alter table "Odd ""T%s" enable row level security; grant select on "Odd ""T%s" to anon')
    await stack.sql('create policy p on "Odd ""T%s" for select to anon using (n = 1)')
    await stack.sql('alter publication supabase_realtime add table "Odd ""T%s"')
    client = await stack.connect()
    await client.join("room", [binding('Odd "T%s', filter="x; drop=eq.a'b")])
    await stack.sql("""insert into "Odd ""T%s" values (1, 2, 'a''b'), (2, 1, 'a''b'), (3, 1, 'c')""")
    (change,) = await client.changes(1)
    assert change.data["record"] == {"n": 1, 'Key "1': 2, "x; drop": "a'b"}


async def test_a_service_key_sees_every_row(stack: Stack) -> None:
    client = await stack.connect(key=SECRET_KEY)
    await client.join("room", [binding("notes")])
    await stack.sql("insert into notes values (1, %s, 'a')", [ALICE])
    (change,) = await client.changes(1)
    assert json.loads(json.dumps(change.data["record"])) == {"id": 1, "text": "a", "owner": ALICE}
