"""The costs of providers' answers, with a whole worker."""

import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from tests.money.conftest import FakeProvider, StartFake, Submit
from tests.money.faulty_hosted_servers import FaultyFalServer, FaultyReplicateServer
from tests.money.faulty_local_servers import FaultyOpenAIServer
from tests.money.provider_log import picture_of
from tests.providers.faulty_server import Fault
from tests.providers.local_server import Fault as LocalFault
from tests.providers.local_server import answers
from tests.support import Database, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]
VERIFY = "Your organization must be verified to use the model `gpt-image-1`. Click on Verify Organization."


async def withdraw(database: Database, batch: str) -> None:
    """Ends items that would wait for ever."""
    await database.execute("delete from public.image_generations where batch_id = %s", [batch])


async def ended(database: Database, batch: str) -> list[dict[str, Any]]:
    async def items() -> list[dict[str, Any]]:
        query = "select * from public.image_generations where batch_id = %s order by batch_index"
        rows = await (await database.execute(query, [batch])).fetchall()
        return rows if all(row["status"] in ("completed", "failed") for row in rows) else []

    return await eventually(items, 60, every=0.1, what="all items are final")


def created(fake: FakeProvider) -> int:
    return fake.provider_log.count("created")


async def test_a_provider_asking_for_no_wait_is_not_flooded(
    start_fake: StartFake, submit: Submit, start_worker: StartWorker, pace: Callable[..., Awaitable[None]],
    database: Database,
) -> None:  # fmt: skip
    await pace()
    fake = await start_fake("replicate")
    assert isinstance(fake.server, FaultyReplicateServer)
    times: list[float] = []

    def turn_away(call: str) -> Fault | None:
        if call != "order":
            return None
        times.append(time.monotonic())
        return Fault(429, {"Retry-After": "0"})

    fake.server.fail_by(turn_away)
    await start_worker(fake)

    batch = await submit(fake.model_id, ["a red boat", "a small owl"])

    await eventually(lambda: len(times) >= 5, 60, what="both items were refused twice")
    assert times[2] - times[0] > 0.9
    assert times[4] - times[2] > 0.9
    waits = await (
        await database.execute("select retry_count from public.image_generations where status = 'pending'")
    ).fetchall()
    assert all(row["retry_count"] == 0 for row in waits)
    await withdraw(database, batch)


async def test_a_403_of_one_model_does_not_stop_the_others(
    start_fake: StartFake, submit: Submit, start_worker: StartWorker, pace: Callable[..., Awaitable[None]],
    database: Database, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await pace()
    fake = await start_fake("openai")
    server = fake.server
    assert isinstance(server, FaultyOpenAIServer)
    flux = await replace(fake.setup, model="flux").add_model(database, "fake-flux")
    asked: list[str] = []

    async def next_fault(name: str, request: web.Request, body: Any) -> LocalFault | None:
        asked.append(str(cast("dict[str, Any]", body or {}).get("model")))
        is_closed = asked[-1] == "gpt-image-1"
        return answers(403, {"error": {"message": VERIFY, "type": "invalid_request_error"}}) if is_closed else None

    monkeypatch.setattr(server, "next_fault", next_fault)
    worker = await start_worker(fake)
    closed = await submit(fake.model_id, ["a red boat", "a small owl"])
    await eventually(lambda: "gpt-image-1" in asked, 30, what="the unverified model was ordered")

    items = await ended(database, await submit(flux, ["a glass bird", "an old tree"]))

    assert [item["status"] for item in items] == ["completed", "completed"]
    query = "select count(*) as n from public.image_generations where batch_id = %s and status = 'failed'"
    assert (await (await database.execute(query, [closed])).fetchone() or {})["n"] == 0
    query = "select name from batchgen.providers where name = 'openai' and not_before > now()"
    assert await (await database.execute(query)).fetchall() == []
    breaker = await (
        await database.execute("select reason from batchgen.breakers where model_id = %s", [fake.model_id])
    ).fetchone()
    assert breaker == {"reason": "model_not_allowed"}
    assert any("Verify the organisation" in line for line in worker.lines)
    await withdraw(database, closed)


@pytest.mark.parametrize("times", [1, 5], ids=["once", "for good"])
async def test_a_fal_result_without_a_picture_is_asked_for_once_more(
    times: int, start_fake: StartFake, submit: Submit, start_worker: StartWorker,
    pace: Callable[..., Awaitable[None]], database: Database,
) -> None:  # fmt: skip
    await pace()
    fake = await start_fake("fal")
    assert isinstance(fake.server, FaultyFalServer)
    fake.server.fail("result", *[Fault(200, body='{"images": []}')] * times * 2)
    await start_worker(fake, BATCHGEN_MAX_PARALLEL="2")

    items = await ended(database, await submit(fake.model_id, ["a red boat", "a small owl"]))

    assert created(fake) == 2
    if times > 1:
        assert [(item["status"], item["error_code"]) for item in items] == [("failed", "no_output")] * 2


async def test_pictures_in_fals_answer_are_ordered_once_and_stored(
    start_fake: StartFake, submit: Submit, start_worker: StartWorker, pace: Callable[..., Awaitable[None]],
    database: Database,
) -> None:  # fmt: skip
    await pace()
    fake = await start_fake("fal")
    assert isinstance(fake.server, FaultyFalServer)
    url = f"data:image/png;base64,{base64.b64encode(picture_of('a red boat')).decode()}"
    fake.server.fail("result", *[Fault(200, body=json.dumps({"images": [{"url": url}], "seed": 7}))] * 2)
    await start_worker(fake)

    items = await ended(database, await submit(fake.model_id, ["a red boat", "a small owl"]))

    assert [item["status"] for item in items] == ["completed", "completed"]
    assert created(fake) == 2
    query = "select count(*) as n from public.images where generation_id = any (%s)"
    stored = await (await database.execute(query, [[item["id"] for item in items]])).fetchone()
    assert stored == {"n": 2}
