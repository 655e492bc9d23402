"""Parsing of bindings: the grammar of `filter`, and the text of every error."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.realtime.filters import BindingError, Filter, binding_id, binding_of_topic, parse_binding

TABLE = {"schema": "public", "table": "t"}


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", []),
        ("   ", []),
        ("id=eq.5", [Filter("id", "eq", "5", False)]),
        (" v=eq.c ", [Filter("v", "eq", "c", False)]),
        ("v=eq. c", [Filter("v", "eq", " c", False)]),
        ("v=eq.a.b=c", [Filter("v", "eq", "a.b=c", False)]),
        ("id=in.(1,2)", [Filter("id", "in", "{1,2}", False)]),
        ('v=in.(a,"b,c")', [Filter("v", "in", '{a,"b,c"}', False)]),
        ('v=eq."a,b"', [Filter("v", "eq", "a,b", False)]),
        (r'v=eq."a\"b"', [Filter("v", "eq", 'a"b', False)]),
        ('v=eq."a"b', [Filter("v", "eq", '"a"b', False)]),
        ("id=not.eq.5", [Filter("id", "eq", "5", True)]),
        ("id=gt.0,id=lt.100", [Filter("id", "gt", "0", False), Filter("id", "lt", "100", False)]),
        ("v=like.a%,id=in.(1,2)", [Filter("v", "like", "a%", False), Filter("id", "in", "{1,2}", False)]),
    ],
)
def test_filters_are_read(text: str, filters: list[Filter]) -> None:
    assert list(parse_binding({**TABLE, "filter": text}).filters) == filters


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ({**TABLE, "filter": "a=foo.1"}, 'Error parsing `filter` params: ["foo", "1"]'),
        ({**TABLE, "filter": "undefined"}, 'Error parsing `filter` params: ["undefined"]'),
        (
            {**TABLE, "filter": "a=in.1,2"},
            "Error parsing `filter` params: `in` filter value must be wrapped by parentheses",
        ),
        (
            {**TABLE, "filter": "a=eq.1,,b=eq.2"},
            "Error parsing `filter` params: filter must not contain empty segments (check for extra commas)",
        ),
        (
            {"event": "*"},
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            '%{"event" => "*"}',
        ),
        (
            {**TABLE, "filter": None},
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            '%{"filter" => nil, "schema" => "public", "table" => "t"}',
        ),
        (
            {"schema": "*", "select": ["a"]},
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.",
        ),
    ],
)
def test_an_invalid_binding_gets_the_real_servers_message(binding: dict[str, Any], message: str) -> None:
    with pytest.raises(BindingError) as refused:
        parse_binding(binding)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("event", "action"),
    [("INSERT", "INSERT"), ("update", "UPDATE"), ("nonsense", "*"), (None, "*"), (5, "*")],
)
def test_an_unknown_event_means_all(event: Any, action: str) -> None:
    assert parse_binding({**TABLE, "event": event}).action == action


def test_a_schema_alone_means_all_its_tables_and_a_table_alone_is_in_public() -> None:
    assert (parse_binding({"schema": "s"}).schema, parse_binding({"schema": "s"}).table) == ("s", "*")
    assert (parse_binding({"table": "t"}).schema, parse_binding({"table": "t"}).table) == ("public", "t")


def test_an_old_clients_topic_is_a_binding() -> None:
    assert binding_of_topic("public:t:id=eq.a:b") == {"schema": "public", "table": "t", "filter": "id=eq.a:b"}


def test_equal_bindings_share_a_number_below_two_to_the_27() -> None:
    numbers = {binding_id({"event": "*", "table": str(n)}) for n in range(1000)}
    assert len(numbers) == 1000
    assert all(0 <= number < 2**27 for number in numbers)
    assert binding_id({"a": 1, "b": 2}) == binding_id({"b": 2, "a": 1})


def test_a_binding_is_described_in_elixirs_notation() -> None:
    binding = parse_binding({**TABLE, "filter": 'a=eq."x"', "select": ["b", "a"]})
    assert binding.described() == (
        'event: *, schema: public, table: t, filters: [{"a", "eq", "x", false}], select: ["a", "b"]'
    )
