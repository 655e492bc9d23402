"""Arbitrary bytes of a signed-in user to create_batch over HTTP: never a 5xx, never half a batch."""

import asyncio
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack import StackInfo
from tests.fuzzing import BROKEN, CASES, corpus, fuzzed, json_texts
from tests.support import Database, User

CORPUS = corpus()
TYPES = ("application/json", "application/json; charset=utf-8", "text/plain", "application/octet-stream", "a/b", "")
HALVES = """
  select b.id from public.batch_generations b left join public.image_generations g on g.batch_id = b.id
  where b.user_id = %s
  group by b.id having count(g.id) <> b.total_count
"""

bodies = st.one_of(
    json_texts.map(lambda text: f'{{"p_request": {text}}}'.encode(errors="replace")),
    json_texts.map(lambda text: f'{{"p_request": {text}}}'.encode(errors="replace")),
    json_texts.map(lambda text: text.encode(errors="replace")),
    st.sampled_from(BROKEN).map(str.encode),
    st.binary(max_size=40),
    st.binary(max_size=8).map(lambda junk: b'{"p_request": {"prompts": [{"text": "' + junk + b'"}]}}'),
)


class Sender:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.accepted: set[str] = set()

    def post(self, body: bytes, content_type: str = "application/json") -> httpx.Response:
        headers = {"content-type": content_type} if content_type else {}
        return self._http.post("/rest/v1/rpc/create_batch", content=body, headers=headers)

    def accept(self, body: bytes) -> Any:
        answer = self.post(body)
        assert answer.is_success, answer.text
        return answer.json()["batch"]

    def refused(self, body: bytes) -> dict[str, Any]:
        answer = self.post(body)
        assert answer.status_code == 422, answer.text
        return json.loads(answer.json()["details"])

    def send(self, body: bytes, content_type: str = "application/json") -> None:
        answer = self.post(body, content_type)
        assert answer.status_code < 500, f"{answer.status_code} {answer.text[:300]} for {body[:300]!r}"
        if answer.is_success:
            batch = answer.json()["batch"]
            assert len(batch["generations"]) == batch["total_count"]
            self.accepted.add(batch["id"])
        else:
            refusal: dict[str, Any] = answer.json()
            assert {"code", "message"} <= set(refusal)
            assert not refusal["code"].startswith("PT") or json.loads(refusal["details"])["code"]


@contextmanager
def sender(stack: StackInfo, user: User) -> Generator[Sender]:
    headers = {"apikey": stack.publishable_key, "authorization": f"Bearer {user.token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:
        yield Sender(http)


async def check_what_is_written(database: Database, user: User, accepted: set[str]) -> None:
    assert await (await database.execute(HALVES, [user.id])).fetchall() == []
    rows = await database.execute("select id::text from public.batch_generations where user_id = %s", [user.id])
    assert {row["id"] for row in await rows.fetchall()} == accepted
    await database.execute("delete from public.image_generations where user_id = %s", [user.id])


@pytest.fixture
async def no_limits(database: Database, user: User) -> None:
    await database.execute(
        "insert into public.user_rate_limits (user_id, daily_generations_limit, hourly_generations_limit)"
        " values (%s, 1000000, 1000000)",
        [user.id],
    )


@pytest.mark.timeout(max(120, CASES))
async def test_no_request_body_causes_a_server_error_or_half_a_batch(
    stack: StackInfo, user: User, database: Database, no_limits: None
) -> None:
    def send_all() -> set[str]:
        with sender(stack, user) as one:

            @fuzzed(150)
            @given(bodies, st.sampled_from(TYPES) if CASES else st.just(TYPES[0]))
            def send(body: bytes, content_type: str) -> None:
                one.send(body, content_type)

            send()
            return one.accepted

    accepted = await asyncio.to_thread(send_all)

    assert accepted
    await check_what_is_written(database, user, accepted)


async def test_no_corpus_request_causes_a_server_error(
    stack: StackInfo, user: User, database: Database, no_limits: None
) -> None:
    def send_all() -> set[str]:
        with sender(stack, user) as one:
            for text in CORPUS.values():
                one.send(b'{"p_request": ' + text().encode(errors="replace") + b"}")
            return one.accepted

    accepted = await asyncio.to_thread(send_all)

    assert accepted
    await check_what_is_written(database, user, accepted)


HUGE = {
    "200,000 zeros": "1" + "0" * 200_000,
    "400 zeros": "1" + "0" * 400,
    "250 digits and an exponent": "1" * 250 + "e90",
    "exponent": "1e999999",
    "exponent with zeros": "-1E+000400",
}


@pytest.mark.parametrize("number", HUGE.values(), ids=HUGE)
async def test_a_number_too_large_is_refused_by_its_field(stack: StackInfo, user: User, number: str) -> None:
    two = '[{"text": "a"}, {"text": "b"}]'

    def refusals() -> list[dict[str, Any]]:
        with sender(stack, user) as one:
            return [
                one.refused(b'{"p_request": ' + request.encode() + b"}")
                for request in (
                    f'{{"prompts": [{{"text": "a \\" 1e999 \\\\"}}, {{"text": "b", "seed": {number}}}]}}',
                    f'{{"prompts": {two}, "shared_settings": {{"width": {number}}}}}',
                    f'{{"prompts": {two}, "shared_settings": {{"guidance_scale": {number}}}}}',
                )
            ]

    found = await asyncio.to_thread(refusals)

    assert {refusal["code"] for refusal in found} == {"out_of_range"}
    assert [refusal["field"] for refusal in found] == [
        "prompts[1].seed",
        "shared_settings.width",
        "shared_settings.guidance_scale",
    ]


async def test_numbers_in_texts_and_small_numbers_are_kept(stack: StackInfo, user: User) -> None:
    text = 'a \\ "1e999" fox, ' + "1" * 400 + " \\"
    seeds = ["-0", "1e-400000", "1.0", "1e2", "9007199254740991"]
    prompts = ", ".join(f'{{"text": {json.dumps(text)}, "seed": {seed}}}' for seed in seeds)

    def send() -> Any:
        with sender(stack, user) as one:
            return one.accept(f'{{"p_request": {{"prompts": [{prompts}], "batch_name": "1e999"}}}}'.encode())

    batch = await asyncio.to_thread(send)

    assert [item["seed"] for item in batch["generations"]] == [0, 0, 1, 100, 9007199254740991]
    assert {item["prompt"] for item in batch["generations"]} == {text}


async def test_a_body_of_50_megabytes_is_refused_and_the_next_accepted(stack: StackInfo, user: User) -> None:
    def send() -> tuple[int, str, Any]:
        with sender(stack, user) as one:
            answer = one.post(b'{"p_request": {"prompts": [' + b"1," * 25_000_000 + b"1]}}")
            batch = one.accept(b'{"p_request": {"prompts": [{"text": "a"}, {"text": "b"}]}}')
            return answer.status_code, answer.json()["code"], batch

    status, code, batch = await asyncio.to_thread(send)

    assert (status, code) == (413, "too_large")
    assert batch["total_count"] == 2


@pytest.mark.parametrize("content_type", TYPES)
async def test_no_content_type_causes_a_server_error(stack: StackInfo, user: User, content_type: str) -> None:
    def send_all() -> None:
        with sender(stack, user) as one:
            for body in (
                b"",
                b"{}",
                b"null",
                b"[]",
                b'{"p_request": null}',
                b'{"p_request": {}}',
                b'{"other": 1}',
                b"\xff\xfe",
            ):
                one.send(body, content_type)

    await asyncio.to_thread(send_all)
