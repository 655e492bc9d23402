"""AUTOMATIC1111 and Forge: one task at a time, unfinished pictures are recognised, and other clients' tasks go on."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from batchgen.errors import ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED, OPEN, OrderState
from batchgen.providers.automatic1111 import Automatic1111Provider
from batchgen.providers.base import AccountableProvider, ImageRequest, RawImage, Settlement
from tests.providers.automatic1111_server import ADDED_LATER, CHECKPOINT, CREDENTIALS, Automatic1111Server, a_picture
from tests.providers.local_server import (
    DRIP,
    DROPPED,
    FLOOD,
    FORGOTTEN,
    HTML,
    LOST,
    SILENT,
    TRUNCATED,
    Fault,
    answers,
    chain,
)
from tests.providers.orders import MEASURED
from tests.support import eventually

ORDERS = "POST /sdapi/v1/txt2img"
INTERRUPTS = "POST /sdapi/v1/interrupt"
PROGRESS = "POST /internal/progress"
REQUEST = ImageRequest(
    UUID(int=7),
    "a red fox",
    seed=11,
    width=64,
    height=32,
    key="order-1",
    inputs={"prompt": "a red fox", "seed": 11, "width": 64, "height": 32, "steps": 4, "cfg_scale": 7},
)
TEAL = RawImage(
    base64.b64decode(a_picture("teal")), seed=11, version="31e35c80fc", order=OrderState(True, running_seconds=MEASURED)
)
MakeProvider = Callable[..., Automatic1111Provider]


@pytest.fixture
async def server() -> AsyncGenerator[Automatic1111Server]:
    async with Automatic1111Server() as server:
        yield server


@pytest.fixture
async def make(server: Automatic1111Server) -> AsyncGenerator[MakeProvider]:
    made: list[Automatic1111Provider] = []

    def make(**options: Any) -> Automatic1111Provider:
        known: dict[str, Any] = {"base_url": server.url}
        made.append(Automatic1111Provider(**known | options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


async def a_picture_of(provider: AccountableProvider, request: ImageRequest = REQUEST) -> Any:
    return await provider.wait(await provider.submit(request), request)


def answer_seconds_for(fault: Fault) -> float:
    return 0.3 if fault.kind == "hang" else 20


async def test_a_picture_has_its_seed_and_checkpoint(make: MakeProvider, server: Automatic1111Server) -> None:
    provider: AccountableProvider = make()

    job_id = await provider.submit(REQUEST)

    assert server.requests == []
    assert await provider.wait(job_id, REQUEST) == TEAL
    [body] = [body for route, _, body in server.requests if route == ORDERS]
    assert body == {**REQUEST.inputs, "force_task_id": job_id, "send_images": True}


async def test_a_grid_before_the_picture_is_left_out(make: MakeProvider, server: Automatic1111Server) -> None:
    server.has_grid = True

    assert await a_picture_of(make()) == TEAL


@pytest.mark.parametrize(
    "name",
    [
        CHECKPOINT["title"],
        "xl/sdxl.safetensors",
        "xl_sdxl",
        "sdxl.safetensors",
        "sdxl",
        "31e35c80fc",
        "31e35c80fc4829d1",
    ],
)
async def test_a_checkpoint_is_found_by_any_name_the_server_knows(
    make: MakeProvider, server: Automatic1111Server, name: str
) -> None:
    request = replace(REQUEST, model=name, inputs={**REQUEST.inputs, "override_settings": {"CLIP_stop": 2}})
    provider = make()

    await a_picture_of(provider, request)
    await a_picture_of(provider, request)

    body = server.requests[-2][2]
    assert body["override_settings"] == {"CLIP_stop": 2, "sd_model_checkpoint": name}
    assert body["override_settings_restore_afterwards"] is False
    assert server.asked("GET /sdapi/v1/sd-models") == 1


async def test_a_missing_checkpoint_is_refused_before_the_order(
    make: MakeProvider, server: Automatic1111Server
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await make().submit(replace(REQUEST, model="no-such"))

    assert caught.value.code == "model_not_found"
    assert server.asked(ORDERS) == 0


OTHER = {
    "title": "something_else.safetensors [deadbeef00]",
    "model_name": "something_else",
    "hash": "deadbeef00",
    "sha256": "deadbeef0011",
    "filename": "C:\\models\\something_else.safetensors",
}
SDXL = replace(REQUEST, model="xl/sdxl.safetensors")


@pytest.fixture
def forge(server: Automatic1111Server) -> Automatic1111Server:
    """Has another checkpoint loaded, and ignores the checkpoint of an order."""
    server.heeds_overrides = False
    server.listed, server.loaded = [CHECKPOINT, OTHER], OTHER
    return server


async def test_a_server_ignoring_the_orders_checkpoint_is_switched_first(
    make: MakeProvider, forge: Automatic1111Server
) -> None:
    provider = make()

    assert await a_picture_of(provider, SDXL) == TEAL
    assert await a_picture_of(provider, replace(SDXL, model="something_else", key="2")) == replace(
        TEAL, version="deadbeef00"
    )

    set_to = [body for route, _, body in forge.requests if route == "POST /sdapi/v1/options"]
    names = ["xl/sdxl.safetensors", "something_else"]
    assert set_to == [{"sd_model_checkpoint": name} for name in names]
    assert forge.asked(ORDERS) == 3


async def test_two_checkpoints_at_a_switched_server_do_not_mix(make: MakeProvider, forge: Automatic1111Server) -> None:
    provider = make()
    await a_picture_of(provider, SDXL)
    requests = [
        replace(SDXL, model=model, key=f"{model}{number}")
        for number in range(3)
        for model in ("sdxl", "something_else")
    ]

    pictures = await asyncio.gather(*(a_picture_of(provider, request) for request in requests))

    assert [picture.version for picture in pictures] == ["31e35c80fc", "deadbeef00"] * 3
    assert forge.asked(ORDERS) == 2 + len(requests)


async def test_a_picture_of_another_checkpoint_is_refused(make: MakeProvider, forge: Automatic1111Server) -> None:
    forge.heeds_options = False

    with pytest.raises(ProviderUnavailable, match=r"something_else \[deadbeef00\] instead of xl/sdxl") as caught:
        await a_picture_of(make(), SDXL)

    assert (caught.value.code, caught.value.order.charged, caught.value.order.over) == ("wrong_model", False, True)
    assert forge.asked(ORDERS) == 2


@pytest.mark.parametrize("fault", [answers(404), answers(500, {"errors": "model 'sdxl' not found"}), DROPPED])
async def test_a_checkpoint_that_cannot_be_set_fails_the_order(
    make: MakeProvider, forge: Automatic1111Server, fault: Fault
) -> None:
    forge.fail("POST /sdapi/v1/options", fault)

    with pytest.raises(ProviderUnavailable, match="could not be set") as caught:
        await a_picture_of(make(), SDXL)

    assert caught.value.code == "wrong_model"


@pytest.mark.parametrize(
    ("told", "is_taken"),
    [
        ({"sd_model_name": "sdxl", "sd_model_hash": "31e35c80fc"}, True),
        ({"sd_model_name": "sdxl", "sd_model_hash": None}, True),
        ({"sd_model_name": None, "sd_model_hash": "31E35C80"}, True),
        ({"sd_model_name": None, "sd_model_hash": None}, True),
        ({"sd_model_name": 7, "sd_model_hash": []}, True),
        ({"sd_model_name": "sdxl", "sd_model_hash": "deadbeef00"}, False),
        ({"sd_model_name": "something_else", "sd_model_hash": None}, False),
        ({"sd_model_name": None, "sd_model_hash": None, "infotexts": ["x\nSteps: 4, Model: sdxl, Version: f2"]}, True),
        ({"sd_model_name": None, "sd_model_hash": None, "infotexts": ["Model: sdxl\nSteps: 4, Model: other"]}, False),
        ({"sd_model_name": None, "sd_model_hash": None, "infotexts": ["a\nModel hash: deadbeef00, Seed: 1"]}, False),
    ],
)
async def test_the_used_checkpoint_is_checked_against_the_answer(
    make: MakeProvider, server: Automatic1111Server, told: dict[str, Any], is_taken: bool
) -> None:
    server.more_info = told

    if is_taken:
        assert (await a_picture_of(make(), SDXL)).content == TEAL.content
    else:
        with pytest.raises(ProviderUnavailable, match="another checkpoint"):
            await a_picture_of(make(), SDXL)


async def test_a_checkpoint_added_later_is_found(make: MakeProvider, server: Automatic1111Server) -> None:
    server.on_disk = [CHECKPOINT, ADDED_LATER]

    picture = await a_picture_of(make(), replace(REQUEST, model="flux/flux1-dev.safetensors"))

    assert picture.version == "flux1-dev"
    assert server.requests[-2][2]["override_settings"]["sd_model_checkpoint"] == ADDED_LATER["title"]
    assert server.asked("POST /sdapi/v1/refresh-checkpoints") == 1


@pytest.mark.parametrize(
    "name",
    [
        "xl\\sdxl.safetensors",
        "xl\\sdxl.safetensors [31e35c80fc]",
        "XL/SDXL.safetensors",
        "xl/sdxl",
        "xl/sdxl.ckpt",
        "xl/sdxl.safetensors [7460a6fa]",
        "SDXL",
    ],
)
async def test_a_checkpoint_is_found_in_every_spelling(
    make: MakeProvider, server: Automatic1111Server, name: str
) -> None:
    assert await a_picture_of(make(), replace(REQUEST, model=name)) == TEAL
    assert server.requests[-2][2]["override_settings"]["sd_model_checkpoint"] == CHECKPOINT["title"]


@pytest.mark.parametrize("name", ["sd/sdxl", "sdxl_turbo", "xl/sdxl.safetensors [1234567890]"])
async def test_a_missing_checkpoint_is_refused_with_similar_names(
    make: MakeProvider, server: Automatic1111Server, name: str
) -> None:
    with pytest.raises(ProviderRejected, match=r"near names: xl/sdxl.safetensors") as caught:
        await make().submit(replace(REQUEST, model=name))

    assert caught.value.code == "model_not_found"
    assert server.asked("POST /sdapi/v1/refresh-checkpoints") == 1


@pytest.mark.parametrize("fault", [answers(404), answers(500), DROPPED])
async def test_a_failed_checkpoint_refresh_does_not_hide_the_refusal(
    make: MakeProvider, server: Automatic1111Server, fault: Fault
) -> None:
    server.fail("POST /sdapi/v1/refresh-checkpoints", fault)

    with pytest.raises(ProviderRejected):
        await make().submit(replace(REQUEST, model="no-such"))


@pytest.mark.parametrize(
    ("told", "seed"),
    [
        ({"seed": 99}, 99),
        ({"seed": -1, "all_seeds": [77, 78]}, 77),
        ({"seed": None}, None),
        ({"seed": "11", "all_seeds": "x"}, None),
    ],
)
async def test_the_seed_is_the_one_the_server_used(
    make: MakeProvider, server: Automatic1111Server, told: dict[str, Any], seed: int | None
) -> None:
    server.more_info = told

    assert (await a_picture_of(make())).seed == seed


async def test_other_changes_of_the_server_are_logged_and_accepted(
    make: MakeProvider, server: Automatic1111Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.more_info = {"width": 512, "height": 32, "steps": "many"}

    assert await a_picture_of(make()) == TEAL
    assert "'width': (64, 512), 'steps': (4, 'many')" in caplog.text


@pytest.mark.parametrize("fault", [HTML, answers(200, {}), answers(500), DROPPED])
async def test_an_unreadable_checkpoint_list_is_retried(
    make: MakeProvider, server: Automatic1111Server, fault: Fault
) -> None:
    server.fail("GET /sdapi/v1/sd-models", fault)

    with pytest.raises(ProviderUnavailable):
        await make().submit(replace(REQUEST, model="sdxl"))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"sampler_name": "none"}, "model_not_found", "Sampler not found"),
        ({"steps": "many"}, "invalid_input", "body.steps: Input should be a valid integer"),
    ],
)
async def test_invalid_inputs_are_rejected(make: MakeProvider, change: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(ProviderRejected, match=words) as caught:
        await a_picture_of(make(), replace(REQUEST, inputs={**REQUEST.inputs, **change}))

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DROPPED, "provider_unreachable"),
        (LOST, "provider_unreachable"),
        (SILENT, "provider_timeout"),
        (FORGOTTEN, "provider_timeout"),
        (TRUNCATED, "provider_unreachable"),
        (HTML, "provider_garbage"),
        (FLOOD, "provider_garbage"),
        (answers(200, {"images": [], "info": "{}"}), "provider_garbage"),
        (answers(200, {"images": ["§"], "info": "{}"}), "provider_garbage"),
        (answers(200, {"images": [7], "info": 7}), "provider_garbage"),
        (answers(500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory."}), "out_of_memory"),
        (answers(500, {"error": "RuntimeError", "errors": "x"}), "provider_unavailable"),
        (answers(404, {"detail": "Not Found"}), "provider_garbage"),
        (answers(504), "provider_unavailable"),
    ],
)
async def test_a_lost_picture_is_generated_again(
    make: MakeProvider, server: Automatic1111Server, fault: Fault, code: str
) -> None:
    provider = make(answer_seconds=answer_seconds_for(fault), most_bytes=2**20)
    job_id = await provider.submit(REQUEST)
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.charged, caught.value.order.over) == (code, False, True)
    assert await provider.find(REQUEST) is None
    assert await a_picture_of(provider) == TEAL


async def test_a_slow_answer_is_accepted(make: MakeProvider, server: Automatic1111Server) -> None:
    server.fail(ORDERS, DRIP)

    assert await a_picture_of(make()) == TEAL


@pytest.mark.parametrize("fault", [DROPPED, HTML, answers(500)])
async def test_a_picture_is_kept_when_its_progress_cannot_be_read(
    make: MakeProvider, server: Automatic1111Server, fault: Fault
) -> None:
    server.fail("GET /sdapi/v1/progress", fault)

    assert await a_picture_of(make()) == TEAL


async def test_an_interrupted_picture_is_refused(make: MakeProvider, server: Automatic1111Server) -> None:
    server.gate.clear()
    provider = make()
    waiting = asyncio.create_task(a_picture_of(provider))
    await eventually(lambda: server.current != "")
    server.interrupt()  # by a user of the web page

    with pytest.raises(ProviderUnavailable) as caught:
        await waiting

    assert (caught.value.code, caught.value.is_provider_fault) == ("job_cancelled", False)


async def test_cancelling_stops_the_running_task(make: MakeProvider, server: Automatic1111Server) -> None:
    server.gate.clear()
    provider = make()
    job_id = await provider.submit(REQUEST)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await eventually(lambda: server.current == job_id)

    await provider.cancel(job_id)

    with pytest.raises(ProviderUnavailable) as caught:
        await waiting
    assert caught.value.code == "job_cancelled"
    await eventually(lambda: server.events("interrupted") == [job_id])
    assert await provider.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)


async def test_cancelling_a_waiting_task_leaves_the_running_one_alone(
    make: MakeProvider, server: Automatic1111Server
) -> None:
    server.gate.clear()
    provider = make()
    first, second = await provider.submit(REQUEST), await provider.submit(replace(REQUEST, key="order-2"))
    waiting = [asyncio.create_task(provider.wait(first, REQUEST))]
    await eventually(lambda: server.current == first)
    waiting.append(asyncio.create_task(provider.wait(second, REQUEST)))
    await eventually(lambda: server.pending == [second])

    await provider.cancel(second)

    assert server.asked(INTERRUPTS) == 0
    server.gate.set()
    picture, error = await asyncio.gather(*waiting, return_exceptions=True)
    assert picture == TEAL
    assert isinstance(error, ProviderUnavailable)


async def test_the_task_of_another_process_is_stopped_and_repeated(
    make: MakeProvider, server: Automatic1111Server
) -> None:
    server.gate.clear()
    dead, successor = make(), make()
    job_id = await dead.submit(REQUEST)
    waiting = asyncio.create_task(dead.wait(job_id, REQUEST))
    await eventually(lambda: server.current == job_id)

    with pytest.raises(ProviderUnavailable) as caught:
        await successor.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.charged) == ("job_lost", False)
    await eventually(lambda: server.events("interrupted") == [job_id])
    assert await successor.find(REQUEST) is None
    assert await successor.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)
    await dead.aclose()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("route", [PROGRESS, INTERRUPTS])
@pytest.mark.parametrize("fault", [answers(500), answers(429), DROPPED, HTML])
async def test_another_processs_task_is_open_until_the_server_stopped_it(
    make: MakeProvider, server: Automatic1111Server, route: str, fault: Fault
) -> None:
    server.gate.clear()
    dead, successor = make(), make()
    job_id = await dead.submit(REQUEST)
    waiting = asyncio.create_task(dead.wait(job_id, REQUEST))
    await eventually(lambda: server.current == job_id)
    server.fail(route, replace(fault, after=False), replace(fault, after=False))

    for ask in (successor.wait, successor.settle):
        with pytest.raises((ProviderUnavailable, ProviderBusy)) as caught:
            await ask(job_id, REQUEST)
        assert not caught.value.order.over
    settlement = await successor.settle(job_id, REQUEST)

    assert settlement == Settlement(NOT_CHARGED)
    await eventually(lambda: server.events("interrupted") == [job_id])
    await dead.aclose()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("is_its_own", [True, False])
async def test_a_cancelled_waiting_task_is_stopped_when_it_begins(
    make: MakeProvider, server: Automatic1111Server, is_its_own: bool
) -> None:
    server.gate.clear()
    first, second = make(), make()
    running = asyncio.create_task(first.wait(await first.submit(REQUEST), REQUEST))
    await eventually(lambda: server.current)
    job_id = await second.submit(REQUEST)
    waiting = asyncio.create_task(second.wait(job_id, REQUEST))
    await eventually(lambda: server.pending == [job_id])
    successor = second if is_its_own else make()

    await second.cancel(job_id)
    before = await successor.settle(job_id, REQUEST)
    resumed = asyncio.create_task(successor.wait(job_id, REQUEST))
    server.interrupt()
    await asyncio.gather(running, return_exceptions=True)

    assert before == Settlement(OPEN)
    with pytest.raises(ProviderUnavailable) as caught:
        await resumed
    assert caught.value.order.over
    assert await successor.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)
    assert server.events("interrupted")[1:] == [job_id]
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_task_with_a_failed_cancellation_goes_on(make: MakeProvider, server: Automatic1111Server) -> None:
    server.gate.clear()
    provider = make()
    job_id = await provider.submit(REQUEST)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await eventually(lambda: server.current == job_id)
    server.fail(INTERRUPTS, answers(500))

    with pytest.raises(ProviderUnavailable):
        await provider.cancel(job_id)

    assert await provider.settle(job_id, REQUEST) == Settlement(OPEN)
    server.gate.set()
    assert await waiting == TEAL


async def test_giving_up_waiting_leaves_the_task_running(make: MakeProvider, server: Automatic1111Server) -> None:
    server.gate.clear()
    provider = make()
    job_id = await provider.submit(REQUEST)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await eventually(lambda: server.current == job_id)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert await provider.settle(job_id, REQUEST) == Settlement(OPEN)
    assert await provider.find(REQUEST) == job_id
    server.gate.set()
    assert await provider.wait(job_id, REQUEST) == TEAL
    assert (await provider.settle(job_id, REQUEST)).picture == TEAL
    assert server.events("finished") == [job_id]


@pytest.mark.parametrize(
    ("fault", "code", "seconds"),
    [
        (answers(429, Retry_After="8"), "provider_busy", 8),
        (answers(429, {"detail": "Try again in 3 seconds"}), "provider_busy", 3),
        (answers(401, {"detail": "Incorrect username or password"}), "provider_key_refused", 300),
        (answers(403), "provider_key_refused", 300),
    ],
)
async def test_requested_waits_are_passed_on_and_end_the_job_free(
    make: MakeProvider, server: Automatic1111Server, fault: Fault, code: str, seconds: float
) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderBusy) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.retry_after_seconds, caught.value.order.over) == (code, seconds, True)
    assert await a_picture_of(provider) == TEAL


async def test_credentials_are_used_and_never_shown(
    make: MakeProvider, server: Automatic1111Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.credentials = CREDENTIALS
    request = replace(REQUEST, model="sdxl")
    provider = make(credentials=SecretStr(CREDENTIALS))

    assert await a_picture_of(provider, request) == TEAL
    with pytest.raises(ProviderBusy):
        await make(credentials=SecretStr("me:wrong")).submit(request)
    server.fail(ORDERS, LOST)
    with pytest.raises(ProviderError) as caught:
        await a_picture_of(provider, request)

    shown = json.dumps(
        [f"{error!r} {vars(error)}" for error in chain(caught.value)] + [caplog.text, str(vars(provider))]
    )
    assert CREDENTIALS not in shown
    assert base64.b64encode(CREDENTIALS.encode()).decode() not in shown


FAULTS = [None, None, DROPPED, LOST, TRUNCATED, HTML, answers(429, Retry_After="0"), answers(500), answers(504)]


async def test_fifty_orders_under_random_faults_all_get_their_picture(
    make: MakeProvider, server: Automatic1111Server
) -> None:
    random, workers = Random(5), (make(), make())
    for number in range(50):
        for route in (ORDERS, "GET /sdapi/v1/progress", "POST /internal/progress"):
            fault = random.choice(FAULTS)
            server.fail(route, *[fault] if fault else [])
        await _tried_until_it_ends(random.choice(workers), replace(REQUEST, key=f"key-{number}"))

    assert len(server.events("finished")) >= 50
    assert server.events("interrupted") == []


async def _tried_until_it_ends(provider: AccountableProvider, request: ImageRequest) -> None:
    while True:
        try:
            assert await a_picture_of(provider, request) == TEAL
            return
        except (ProviderBusy, ProviderUnavailable):
            continue
