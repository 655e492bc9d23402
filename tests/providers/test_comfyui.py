"""ComfyUI: workflows are filled safely, jobs are found again, and other clients' jobs go on."""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest
from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED, OPEN, OrderState
from batchgen.providers.base import AccountableProvider, ImageRequest, RemoteImage, Settlement
from batchgen.providers.comfyui import ComfyUIProvider
from tests.providers.comfyui_server import CHECKPOINTS, Age, ComfyUIServer, saved
from tests.providers.local_server import (
    DRIP,
    DROPPED,
    FLOOD,
    FORGOTTEN,
    HTML,
    LOST,
    SILENT,
    TRUNCATED,
    Clock,
    Fault,
    Sleeps,
    answers,
    chain,
)
from tests.support import eventually

TOKEN = "proxy-token-0123456789"
REQUEST = ImageRequest(
    UUID(int=7),
    "a red fox",
    seed=11,
    width=64,
    height=32,
    model="sdxl.safetensors",
    key="order-1",
    inputs={"prompt": "a red fox", "seed": 11, "width": 64, "height": 32, "steps": 4},
)
AGES: tuple[Age, ...] = ("new", "interrupts_by_id", "old")
MakeProvider = Callable[..., ComfyUIProvider]


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncGenerator[ComfyUIServer]:
    async with ComfyUIServer(getattr(request, "param", "new")) as server:
        yield server


@pytest.fixture
async def make(server: ComfyUIServer) -> AsyncGenerator[MakeProvider]:
    made: list[ComfyUIProvider] = []

    def make(**options: Any) -> ComfyUIProvider:
        known: dict[str, Any] = {"base_url": server.url, "sleep": Sleeps()}
        made.append(ComfyUIProvider(**known | options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


def with_workflow(**nodes: Any) -> ImageRequest:
    return replace(REQUEST, inputs={**REQUEST.inputs, "workflow": nodes})


async def ordered(server: ComfyUIServer) -> Any:
    """The workflow of the last order."""
    return [body for route, _, body in server.requests if route == "POST /prompt"][-1]["prompt"]


every_age = pytest.mark.parametrize("server", AGES, indirect=True)


@every_age
async def test_a_finished_picture_can_be_fetched(make: MakeProvider, server: ComfyUIServer) -> None:
    provider: AccountableProvider = make()

    picture = await provider.wait(await provider.submit(REQUEST), REQUEST)

    assert isinstance(picture, RemoteImage)
    assert picture.url == f"{server.url}/view?filename=ComfyUI_00001_.png&subfolder=batchgen&type=output"
    assert (picture.seed, picture.order.queued_seconds, picture.order.running_seconds) == (11, 2.0, 3.5)
    async with httpx.AsyncClient() as http:
        assert (await http.get(picture.url)).content.startswith(b"\x89PNG")


async def test_the_job_id_is_derived_from_the_order_key(make: MakeProvider, server: ComfyUIServer) -> None:
    first, again = await make().submit(REQUEST), await make().submit(REQUEST)
    other = await make().submit(replace(REQUEST, key="order-2"))

    assert first == again != other
    assert UUID(first).version == 5


async def test_the_default_workflow_keeps_the_types_of_inputs(make: MakeProvider, server: ComfyUIServer) -> None:
    await make().submit(REQUEST)

    workflow = await ordered(server)
    assert workflow["model"]["inputs"] == {"ckpt_name": "sdxl.safetensors"}
    assert workflow["prompt"]["inputs"]["text"] == "a red fox"
    assert workflow["negative"]["inputs"]["text"] == ""
    assert workflow["canvas"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1}
    sampler = workflow["sampler"]["inputs"]
    assert (sampler["seed"], sampler["steps"], sampler["cfg"], sampler["scheduler"]) == (11, 4, 7, "karras")


async def test_a_models_own_workflow_is_filled(make: MakeProvider, server: ComfyUIServer) -> None:
    node = {
        "class_type": "Text",
        "inputs": {
            "text": "photo of {{prompt}}, {{seed}}",
            "seed": "{{ seed }}",
            "cfg": "{{cfg|1.5}}",
            "link": ["a", 0],
        },
        "_meta": {"title": "Prompt"},
    }

    await make().submit(with_workflow(a=node, b={"class_type": "SaveImage", "inputs": {}}))

    workflow = await ordered(server)
    assert workflow["a"]["inputs"] == {"text": "photo of a red fox, 11", "seed": 11, "cfg": 1.5, "link": ["a", 0]}
    assert workflow["a"]["_meta"] == {"title": "Prompt"}


@pytest.mark.parametrize(
    "prompt", ['", "steps": 9999, "x": "', "{{seed}} {{model}}", "\\u0022}", "%date% \n\t ☃", r"\1 \g<0>"]
)
async def test_no_prompt_can_change_the_workflow(make: MakeProvider, server: ComfyUIServer, prompt: str) -> None:
    node = {"class_type": "Text", "inputs": {"whole": "{{prompt}}", "part": "a {{prompt}}."}}

    await make().submit(replace(REQUEST, inputs={"prompt": prompt, "workflow": {"a": node}}))

    assert (await ordered(server))["a"]["inputs"] == {"whole": prompt, "part": f"a {prompt}."}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "no-such.safetensors"}, "model_not_found"),
        ({"model": None}, "workflow_invalid"),
        ({"inputs": {"steps": 0}}, "invalid_input"),
        ({"inputs": {"workflow": {"a": {"class_type": "MissingNode", "inputs": {}}}}}, "workflow_invalid"),
        ({"inputs": {"workflow": {"a": {"class_type": "A", "inputs": {"x": "{{lora}}"}}}}}, "workflow_invalid"),
        ({"inputs": {"workflow": {"nodes": [], "links": []}}}, "workflow_invalid"),
        ({"inputs": {"workflow": "text"}}, "workflow_invalid"),
    ],
)
async def test_permanent_refusals_are_rejected(
    make: MakeProvider, server: ComfyUIServer, change: dict[str, Any], code: str
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await make().submit(replace(REQUEST, **change))

    assert (caught.value.code, caught.value.order.charged) == (code, False)
    assert server.events("queued") == []


async def test_a_refusal_names_the_invalid_value(make: MakeProvider) -> None:
    with pytest.raises(ProviderRejected, match=r"Value not in list \('no-such.safetensors'\)"):
        await make().submit(replace(REQUEST, model="no-such.safetensors"))


@every_age
@pytest.mark.parametrize("fault", [LOST, FORGOTTEN, TRUNCATED, HTML, FLOOD, answers(504, after=True)])
async def test_an_order_with_a_lost_answer_is_found_again(
    make: MakeProvider, server: ComfyUIServer, fault: Fault
) -> None:
    server.fail("POST /prompt", fault)
    provider = make(order_seconds=0.3 if fault.kind == "hang" else 20)

    job_id = await provider.submit(REQUEST)

    assert job_id in server.history
    assert await provider.find(REQUEST) == job_id
    assert server.events("queued") == ["order-1"]


@every_age
async def test_a_job_is_found_while_waiting_and_while_running(make: MakeProvider, server: ComfyUIServer) -> None:
    server.holds = True
    provider = make()
    second = replace(REQUEST, key="order-2")
    running, waiting = await provider.submit(REQUEST), await provider.submit(second)

    assert await make().find(REQUEST) == running
    assert await make().find(second) == waiting
    assert await make().find(replace(REQUEST, key="order-3")) is None


@pytest.mark.parametrize("fault", [DROPPED, SILENT])
async def test_an_order_that_never_arrived_can_be_sent_again(
    make: MakeProvider, server: ComfyUIServer, fault: Fault
) -> None:
    server.fail("POST /prompt", fault)
    provider = make(order_seconds=0.3 if fault.kind == "hang" else 20)

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.submit(REQUEST)

    assert caught.value.order.charged is False
    assert await provider.find(REQUEST) is None


async def test_an_order_stays_unknown_while_the_server_is_silent(make: MakeProvider, server: ComfyUIServer) -> None:
    server.fail("POST /prompt", LOST)
    server.fail("GET /history/{id}", DROPPED, answers(500), HTML)
    sleeps = Sleeps()

    with pytest.raises(OutcomeUnknown):
        await make(sleep=sleeps).submit(REQUEST)

    assert sleeps.seconds == [0.2, 1.0, 3.0]


async def test_an_unreachable_server_is_reported(make: MakeProvider) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await make(base_url="http://127.0.0.1:9").submit(REQUEST)

    assert caught.value.code == "provider_unreachable"


async def test_pauses_grow_and_start_longer_for_a_slow_model(make: MakeProvider, server: ComfyUIServer) -> None:
    server.holds = True
    quick, slow = Sleeps(), Sleeps()
    job_id = await make().submit(REQUEST)
    slow_request = replace(REQUEST, estimated_seconds=40)
    waits = [
        asyncio.create_task(make(sleep=quick).wait(job_id, REQUEST)),
        asyncio.create_task(make(sleep=slow).wait(job_id, slow_request)),
    ]
    await eventually(lambda: len(quick.seconds) > 15 and len(slow.seconds) > 15)
    server.finish()
    await asyncio.gather(*waits)

    assert quick.seconds[0] == pytest.approx(0.3)
    assert slow.seconds[0] == pytest.approx(2)
    assert quick.seconds == sorted(quick.seconds)
    assert quick.seconds[14] == slow.seconds[14] == 5


@pytest.mark.parametrize(
    "fault", [DROPPED, TRUNCATED, HTML, answers(500), answers(502), answers(200, {"x": 1}), answers(200, []), DRIP]
)
@pytest.mark.parametrize("route", ["GET /history/{id}", "GET /queue"])
async def test_a_failed_status_request_is_repeated(
    make: MakeProvider, server: ComfyUIServer, route: str, fault: Fault
) -> None:
    server.holds = True
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail(route, fault, fault)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await eventually(lambda: server.asked(route) > 3)
    server.finish()

    assert isinstance(await waiting, RemoteImage)
    assert server.events("queued") == ["order-1"]


async def test_a_wait_requested_by_the_server_is_kept(make: MakeProvider, server: ComfyUIServer) -> None:
    sleeps = Sleeps()
    provider = make(sleep=sleeps)
    job_id = await provider.submit(REQUEST)
    server.fail("GET /history/{id}", answers(429, Retry_After="7"))

    await provider.wait(job_id, REQUEST)

    assert sleeps.seconds == [7]


async def test_a_long_wait_is_passed_on_and_the_job_resumed_later(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail("GET /history/{id}", answers(401))

    with pytest.raises(ProviderBusy) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.retry_after_seconds) == ("provider_key_refused", 300)
    assert isinstance(await provider.wait(job_id, REQUEST), RemoteImage)


async def test_a_lasting_silence_of_the_server_ends_the_wait(make: MakeProvider, server: ComfyUIServer) -> None:
    clock = Clock()
    provider = make(sleep=clock.sleep, clock=clock, silence_seconds=60)
    job_id = await provider.submit(REQUEST)
    server.fail("GET /history/{id}", *[answers(500)] * 200)

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.over) == ("provider_unavailable", False)
    assert 60 < clock.now < 70


async def test_an_out_of_memory_answer_does_not_end_the_job(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail("GET /history/{id}", answers(500, {"error": "out of memory"}))

    assert isinstance(await provider.wait(job_id, REQUEST), RemoteImage)


async def test_a_job_ending_between_two_requests_is_not_lost(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail("GET /history/{id}", answers(200, {}))  # as it was a moment before the end

    assert isinstance(await provider.wait(job_id, REQUEST), RemoteImage)


async def test_a_job_forgotten_by_a_restarted_server_is_lost(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.restart()

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.charged, caught.value.order.over) == ("job_lost", False, True)
    assert await provider.find(REQUEST) is None
    assert await provider.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)


@pytest.mark.parametrize(
    ("job_end", "error", "code", "words"),
    [
        ("error", {"exception_message": "shapes differ", "node_type": "KSampler"}, "job_failed", "KSampler: shapes"),
        ("error", {"exception_type": "torch.OutOfMemoryError", "exception_message": "no"}, "out_of_memory", "no"),
        ("error", {"exception_message": "Allocation: out of memory"}, "out_of_memory", "Allocation"),
        ("interrupted", {}, "job_cancelled", "told to stop"),
    ],
)
async def test_a_failed_job_tells_its_error(
    make: MakeProvider, server: ComfyUIServer, job_end: str, error: dict[str, str], code: str, words: str
) -> None:
    server.holds = True
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.finish(job_end, **error)

    with pytest.raises(ProviderUnavailable, match=words) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.over) == (code, True)
    assert await provider.settle(job_id, REQUEST) == Settlement(OrderState(True, False, 2.0, 3.5))


@pytest.mark.parametrize("outputs", [{}, {"text": {"text": ["hello"]}}, {"picture": {"images": [{"type": "output"}]}}])
async def test_a_workflow_without_a_saved_picture_is_rejected(
    make: MakeProvider, server: ComfyUIServer, outputs: dict[str, Any]
) -> None:
    server.outputs = outputs
    provider = make()

    with pytest.raises(ProviderRejected) as caught:
        await provider.wait(await provider.submit(REQUEST), REQUEST)

    assert caught.value.code == "no_image"


async def test_the_output_node_wins_over_saved_pictures_and_previews(make: MakeProvider, server: ComfyUIServer) -> None:
    server.outputs = {
        **saved("preview.png", node="1", kind="temp"),
        **saved("a.png", node="2"),
        **saved("b.png", node="3"),
    }
    provider = make()
    job_id = await provider.submit(REQUEST)
    wants_third = replace(REQUEST, inputs={**REQUEST.inputs, "output_node": "3"})

    assert "filename=a.png" in (await provider.wait(job_id, REQUEST)).url
    assert "filename=b.png" in (await provider.wait(job_id, wants_third)).url


PREVIEW: dict[str, Any] = {"class_type": "PreviewImage", "inputs": {}}
SAVES: dict[str, Any] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "mine/%date%"}}
NO_CHECKPOINT: dict[str, Any] = {
    "errors": [
        {
            "type": "value_not_in_list",
            "message": "Value not in list",
            "details": "ckpt_name: 'gone.safetensors' not in ['sdxl.safetensors']",
            "extra_info": {"input_name": "ckpt_name", "received_value": "gone.safetensors"},
        }
    ],
    "dependent_outputs": ["9"],
    "class_type": "SaveImage",
}
NOT_LINKED: dict[str, Any] = {
    "errors": [{"type": "bad_linked_input", "message": "Bad linked input", "details": "images", "extra_info": {}}],
    "dependent_outputs": ["9"],
    "class_type": "SaveImage",
}


async def test_an_order_names_its_client_for_cached_results(make: MakeProvider, server: ComfyUIServer) -> None:
    job_id = await make().submit(REQUEST)

    [body] = [body for route, _, body in server.requests if route == "POST /prompt"]
    assert body["client_id"] == job_id


async def test_an_equal_order_gets_its_own_picture(make: MakeProvider, server: ComfyUIServer) -> None:
    server.cache = []
    provider = make()

    for key in ("order-1", "order-2"):
        request = replace(REQUEST, key=key)
        assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)

    first, second = server.cache
    assert first["sampler"] == second["sampler"]
    prefixes = [workflow["picture"]["inputs"]["filename_prefix"] for workflow in server.cache]
    assert len(set(prefixes)) == 2
    assert all(prefix.startswith("batchgen/picture_") for prefix in prefixes)


async def test_a_cached_job_without_a_picture_is_repeated_uncached(make: MakeProvider, server: ComfyUIServer) -> None:
    server.cache = []
    nodes = {"3": {"class_type": "Sample", "inputs": {"seed": 11}}, "9": {"class_type": "X", "inputs": {"a": ["3", 0]}}}
    provider = make()
    await provider.submit(with_workflow(**nodes))
    second = replace(with_workflow(**nodes), key="order-2")

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(await provider.submit(second), second)
    third = replace(second, key="order-3", retry_count=1)
    picture = await provider.wait(await provider.submit(third), third)

    assert (caught.value.code, caught.value.order.over, caught.value.order.charged) == ("no_image", True, False)
    assert isinstance(picture, RemoteImage)
    workflow = await ordered(server)
    assert (workflow["3"], picture.seed) == (nodes["3"], 11)
    assert workflow["9"]["inputs"].keys() == {"a", "batchgen_order"}


async def test_a_repeated_cached_job_is_the_workflows_error(make: MakeProvider, server: ComfyUIServer) -> None:
    server.outputs = {}
    server.cache = []
    request = replace(with_workflow(a={"class_type": "Image Save", "inputs": {}}), retry_count=1)
    provider = make()
    job_id = await provider.submit(request)
    server.history[job_id]["status"]["messages"].append(["execution_cached", {"nodes": ["a"]}])

    with pytest.raises(ProviderRejected, match="Image Save; a SaveImage node is needed") as caught:
        await provider.wait(job_id, request)

    assert caught.value.code == "no_image"


@pytest.mark.parametrize(("fault", "code"), [(NO_CHECKPOINT, "model_not_found"), (NOT_LINKED, "workflow_invalid")])
async def test_a_job_without_its_saving_node_is_cancelled(
    make: MakeProvider, server: ComfyUIServer, fault: dict[str, Any], code: str
) -> None:
    server.holds = True
    server.node_errors = {"9": fault}

    with pytest.raises(ProviderRejected, match=fault["errors"][0]["message"]) as caught:
        await make().submit(with_workflow(**{"9": SAVES, "preview": PREVIEW}))

    assert caught.value.code == code
    assert server.events("interrupted") == server.events("started")


@pytest.mark.parametrize("outputs", [{}, saved("temp_1.png", node="preview", kind="temp")])
async def test_a_preview_is_refused_when_a_saving_node_was_left_out(
    make: MakeProvider, server: ComfyUIServer, outputs: dict[str, Any]
) -> None:
    server.node_errors, server.outputs = {"9": NO_CHECKPOINT}, outputs
    request = with_workflow(**{"8": SAVES, "9": SAVES, "preview": PREVIEW})
    provider = make()

    with pytest.raises(ProviderRejected, match="Value not in list") as caught:
        await provider.wait(await provider.submit(request), request)

    assert caught.value.code == "model_not_found"


async def test_a_saved_picture_is_used_despite_a_node_left_out(
    make: MakeProvider, server: ComfyUIServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.node_errors = {"9": NO_CHECKPOINT}
    provider = make()

    picture = await provider.wait(await provider.submit(REQUEST), REQUEST)

    assert "ComfyUI_00001_" in picture.url
    assert "Value not in list" in caplog.text


@pytest.mark.parametrize(("nodes", "is_taken"), [({"p": PREVIEW}, True), ({"p": PREVIEW, "9": SAVES}, False)])
async def test_a_preview_is_used_only_without_a_saving_node(
    make: MakeProvider, server: ComfyUIServer, nodes: dict[str, Any], is_taken: bool
) -> None:
    server.outputs = saved("temp_1.png", node="p", kind="temp")
    request, provider = with_workflow(**nodes), make()
    job_id = await provider.submit(request)

    if is_taken:
        assert "type=temp" in (await provider.wait(job_id, request)).url
    else:
        with pytest.raises(ProviderRejected):
            await provider.wait(job_id, request)


async def test_a_job_with_a_missing_file_ends_after_one_repeat(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    first = await provider.wait(job_id, REQUEST)
    again = await provider.wait(job_id, REQUEST)
    server.fail("GET /view", answers(404), answers(404), answers(404))

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)

    assert first == again
    assert (caught.value.code, caught.value.order.over, caught.value.order.charged) == ("link_expired", True, False)
    assert not caught.value.is_provider_fault


@pytest.mark.parametrize("fault", [answers(500), answers(401), DROPPED, FLOOD, answers(200)])
async def test_a_file_that_cannot_be_checked_is_not_missing(
    make: MakeProvider, server: ComfyUIServer, fault: Fault
) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    picture = await provider.wait(job_id, REQUEST)
    server.fail("GET /view", answers(404), answers(404), fault)

    assert await provider.wait(job_id, REQUEST) == picture


@pytest.mark.parametrize(
    ("outputs", "filename"),
    [
        ({"9": {"gifs": [{"filename": "a.webp", "type": "output"}]}}, "a.webp"),
        ({"9": {"ui": {"images": [{"filename": "b.png", "type": "output"}]}}}, "b.png"),
        ({"9": {"files": ["text", None, {"filename": "c.JPG", "subfolder": "x", "type": "output"}]}}, "c.JPG"),
        ({"9": {"images": [{"filename": "d", "type": "output"}]}}, "d"),
        ({"9": {"images": [{"filename": "e.png"}]}}, "e.png"),
        ({"9": {"gifs": [{"filename": "v.mp4", "type": "output"}]}, "3": saved("f.png")["picture"]}, "f.png"),
        ({"3": {"images": [{"filename": "in.png", "type": "input"}]}, "9": saved("g.png")["picture"]}, "g.png"),
    ],
)
async def test_still_pictures_are_found_under_any_output_name(
    make: MakeProvider, server: ComfyUIServer, outputs: dict[str, Any], filename: str
) -> None:
    server.outputs = outputs
    provider = make()

    assert f"filename={filename}&" in (await provider.wait(await provider.submit(REQUEST), REQUEST)).url


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "it ends in Image Save; a SaveImage node is needed"),
        ({"a": {"text": ["saved to C:/out"]}}, "Image Save"),
        ({"a": {"gifs": [{"filename": "a.mp4", "type": "output", "format": "video/h264-mp4"}]}}, "a video, a sound"),
        ({"a": {"audio": [{"filename": "a.flac", "type": "output"}]}}, "a video, a sound"),
    ],
)
async def test_a_workflow_without_a_still_picture_gets_a_remedy(
    make: MakeProvider, server: ComfyUIServer, outputs: dict[str, Any], words: str
) -> None:
    server.outputs = outputs
    request = with_workflow(a={"class_type": "Image Save", "inputs": {}})
    provider = make()

    with pytest.raises(ProviderRejected, match=words) as caught:
        await provider.wait(await provider.submit(request), request)

    assert caught.value.code == "no_image"


async def test_a_missing_output_node_is_named(make: MakeProvider, server: ComfyUIServer) -> None:
    request = replace(REQUEST, inputs={**REQUEST.inputs, "output_node": "77"})
    provider = make()

    with pytest.raises(ProviderRejected, match="no node 77"):
        await provider.wait(await provider.submit(request), request)


@pytest.mark.parametrize("lists_choices", [True, False])
@pytest.mark.parametrize("name", ["flux/flux1-dev.safetensors", "FLUX\\Flux1-dev.safetensors", "flux1-dev", "sdxl"])
async def test_a_checkpoint_is_found_in_every_spelling(
    make: MakeProvider, server: ComfyUIServer, name: str, lists_choices: bool
) -> None:
    server.lists_choices = lists_choices
    request = replace(REQUEST, model=name)
    provider = make()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RemoteImage)
    assert (await ordered(server))["model"]["inputs"]["ckpt_name"] in CHECKPOINTS
    assert server.asked("POST /prompt") == 2


@pytest.mark.parametrize("lists_choices", [True, False])
async def test_a_missing_checkpoint_is_refused_with_similar_names(
    make: MakeProvider, server: ComfyUIServer, lists_choices: bool
) -> None:
    server.lists_choices = lists_choices

    with pytest.raises(ProviderRejected, match=r"does not have sdxl_turbo; near names: sdxl.safetensors") as caught:
        await make().submit(replace(REQUEST, model="sdxl_turbo"))

    assert caught.value.code == "model_not_found"
    assert server.asked("POST /prompt") == 1


async def test_a_picture_of_another_checkpoint_is_refused(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.history[job_id]["prompt"][2]["model"]["inputs"]["ckpt_name"] = "other.safetensors"

    with pytest.raises(ProviderUnavailable, match=r"other.safetensors instead of sdxl.safetensors") as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.order.over) == ("wrong_model", True)


@pytest.mark.parametrize("job_id", ["", "x\0y", "\ud800", "ü", "a" * 300, 7, None, {"id": 1}])
async def test_an_unstorable_job_id_is_refused(make: MakeProvider, server: ComfyUIServer, job_id: object) -> None:
    server.fail("POST /prompt", answers(200, {"prompt_id": job_id}))

    with pytest.raises(ProviderUnavailable) as caught:
        await make().submit(REQUEST)

    assert caught.value.code == "provider_garbage"


async def test_a_file_name_cannot_change_the_address(make: MakeProvider, server: ComfyUIServer) -> None:
    server.outputs = saved("a&type=input#x?.png", subfolder="../../etc")
    provider = make()

    url = httpx.URL((await provider.wait(await provider.submit(REQUEST), REQUEST)).url)

    assert dict(url.params) == {"filename": "a&type=input#x?.png", "subfolder": "../../etc", "type": "output"}
    assert url.path == "/view"


async def test_settling_reports_waiting_running_and_finished_jobs(make: MakeProvider, server: ComfyUIServer) -> None:
    server.holds = True
    provider = make()
    job_id = await provider.submit(REQUEST)
    waiting = await provider.submit(replace(REQUEST, key="order-2"))

    assert [await provider.settle(job, REQUEST) for job in (job_id, waiting)] == [Settlement(OPEN)] * 2

    server.finish()
    settled = await provider.settle(job_id, REQUEST)
    assert (settled.order.over, settled.order.charged) == (True, False)
    assert isinstance(settled.picture, RemoteImage)
    assert (settled.order.queued_seconds, settled.order.running_seconds) == (2.0, 3.5)


@every_age
async def test_cancelling_stops_the_running_job(make: MakeProvider, server: ComfyUIServer) -> None:
    server.holds = True
    provider = make()
    job_id = await provider.submit(REQUEST)

    await provider.cancel(job_id)

    assert server.events("interrupted") == [job_id]
    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)
    assert caught.value.code == "job_cancelled"


@every_age
async def test_cancelling_a_waiting_job_leaves_the_running_one_alone(make: MakeProvider, server: ComfyUIServer) -> None:
    server.holds = True
    provider = make()
    await provider.submit(REQUEST)
    waiting = await provider.submit(replace(REQUEST, key="order-2"))

    await provider.cancel(waiting)

    assert server.events("interrupted") == []
    assert server.running is not None
    assert server.queue == []


@every_age
async def test_cancelling_an_ended_or_unknown_job_stops_no_other(make: MakeProvider, server: ComfyUIServer) -> None:
    provider = make()
    finished = await provider.submit(REQUEST)
    server.holds = True
    await provider.submit(replace(REQUEST, key="order-2"))

    await provider.cancel(finished)
    await provider.cancel(str(uuid5(UUID(int=0), "unknown")))
    await provider.cancel("../../interrupt")

    assert server.events("interrupted") == []


async def test_a_proxy_token_is_sent_with_orders_and_downloads() -> None:
    async with ComfyUIServer(token=TOKEN) as server:
        provider = ComfyUIProvider(base_url=server.url, key=SecretStr(TOKEN), sleep=Sleeps())
        picture = await provider.wait(await provider.submit(REQUEST), REQUEST)
        async with httpx.AsyncClient() as http:
            answer = await http.get(picture.url, headers=picture.headers)
        await provider.aclose()

    assert answer.status_code == 200
    assert TOKEN not in repr(picture)


@pytest.mark.parametrize("fault", [answers(401), LOST, HTML, answers(500), answers(429)])
async def test_the_token_is_not_in_errors_or_logs(
    make: MakeProvider, server: ComfyUIServer, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = make(key=SecretStr(TOKEN))
    server.fail("POST /prompt", fault)
    server.fail("GET /history/{id}", *[answers(500)] * 3)

    with pytest.raises(ProviderError) as caught:
        await provider.submit(REQUEST)

    shown = [f"{error!r} {error} {vars(error)}" for error in chain(caught.value)]
    assert TOKEN not in json.dumps([*shown, caplog.text, str(vars(provider))])


FAULTS = [
    None,
    None,
    DROPPED,
    LOST,
    TRUNCATED,
    HTML,
    answers(429, Retry_After="0"),
    answers(500),
    answers(504, after=True),
]


@every_age
async def test_fifty_orders_under_random_faults_are_never_queued_twice(
    make: MakeProvider, server: ComfyUIServer
) -> None:
    random, workers = Random(5), (make(), make())
    for number in range(50):
        for route in ("POST /prompt", "GET /history/{id}", "GET /queue"):
            fault = random.choice(FAULTS)
            server.fail(route, *[fault] if fault else [])
        await _tried_until_it_ends(workers, replace(REQUEST, key=f"key-{number}"))

    assert sorted(server.events("queued")) == sorted(f"key-{number}" for number in range(50))


async def _tried_until_it_ends(workers: Sequence[AccountableProvider], request: ImageRequest) -> None:
    """As if the worker died in between: another provider object waits than the one that ordered."""
    for first, second in itertools.cycle(itertools.permutations(workers)):
        try:
            job_id = await first.find(request) or await first.submit(request)
            await second.wait(job_id, request)
            return
        except (ProviderBusy, ProviderUnavailable, OutcomeUnknown):
            continue
