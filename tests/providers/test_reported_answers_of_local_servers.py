"""Answers of ComfyUI, AUTOMATIC1111, Forge and SD.Next that users reported, and their effect on an item."""

from collections.abc import Mapping
from typing import Any

import pytest

from batchgen.errors import ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.providers.automatic1111 import Automatic1111Provider
from batchgen.providers.base import RawImage
from batchgen.providers.comfyui import ComfyUIProvider
from tests.providers.automatic1111_server import Automatic1111Server, a_picture
from tests.providers.comfyui_server import ComfyUIServer
from tests.providers.local_server import Fault, Sleeps, answers
from tests.providers.orders import charge_after, order, outcome

ORDER = order(model="sdxl.safetensors")
INVALID = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": ""}
LOGIN = "<html><title>Sign in</title></html>"


def invalid(kind: str, message: str, details: str, name: str = "", node: str = "KSampler") -> Fault:
    """A workflow that ComfyUI refuses because of one node."""
    fault = {"type": kind, "message": message, "details": details, "extra_info": {"input_name": name}}
    errors = {"3": {"errors": [fault], "dependent_outputs": ["9"], "class_type": node}}
    return answers(400, {"error": INVALID, "node_errors": errors})


def refused(kind: str, message: str, details: str = "") -> Fault:
    """A workflow that ComfyUI refuses as a whole."""
    error: dict[str, Any] = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return answers(400, {"error": error, "node_errors": {}})


# The order is refused: Comfy-Org/ComfyUI #8703, #4105, #9076, #3262; ComfyUI_NetDist_Plus #4; comfyui-mcp #485, #944;
# StableCanvas/comfyui-client #3 (no id); proxies before it: SillyTavern #3922, #5890.
COMFYUI_ORDERS: list[tuple[Fault, type[ProviderError], str, str]] = [
    (refused("prompt_no_outputs", "Prompt has no outputs"), ProviderRejected, "workflow_invalid", "no outputs"),
    (
        refused("invalid_prompt", "Cannot execute because node X does not exist.", "Node ID '#5'"),
        ProviderRejected,
        "workflow_invalid",
        "Node ID '#5'",
    ),
    (
        refused("missing_node_type", "Node 'UnetLoaderGGUF' not found. The custom node may not be installed."),
        ProviderRejected,
        "workflow_invalid",
        "UnetLoaderGGUF",
    ),
    (answers(400, {"error": "no prompt", "node_errors": {}}), ProviderRejected, "workflow_invalid", "no prompt"),
    (
        answers(400, {"error": "Value not in list: ckpt_name: 'x' not in ['y']", "node_errors": []}),
        ProviderRejected,
        "model_not_found",
        "'x' not in",
    ),
    (
        invalid("required_input_missing", "Required input is missing", "bypass_mode", "bypass_mode"),
        ProviderRejected,
        "workflow_invalid",
        "bypass_mode",
    ),
    (
        invalid("return_type_mismatch", "Return type mismatch between linked nodes", "images, LATENT != IMAGE"),
        ProviderRejected,
        "workflow_invalid",
        "LATENT != IMAGE",
    ),
    (
        invalid("exception_during_validation", "Exception when validating node", "'NoneType' has no len()"),
        ProviderRejected,
        "workflow_invalid",
        "NoneType",
    ),
    (
        invalid("value_bigger_than_max", "Value 20000 bigger than max of 16384", "width", "width", "EmptyLatentImage"),
        ProviderRejected,
        "invalid_input",
        "EmptyLatentImage: Value 20000",
    ),
    (
        invalid("value_not_in_list", "Value not in list", "sampler_name: 'none' not in […]", "sampler_name"),
        ProviderRejected,
        "invalid_input",
        "sampler_name",
    ),
    (
        invalid("value_not_in_list", "Value not in list", "unet_name: 'z.gguf' not in []", "", "UnetLoaderGGUF"),
        ProviderRejected,
        "model_not_found",
        "z.gguf",
    ),
    (
        invalid("value_not_in_list", "Value not in list", "clip_name1: 't5' not in []", "clip_name1", "DualCLIPLoader"),
        ProviderRejected,
        "model_not_found",
        "clip_name1",
    ),
    (
        invalid("custom_validation_failed", "Custom validation failed for node", "image - Invalid image file: a.png"),
        ProviderRejected,
        "invalid_input",
        "Invalid image file",
    ),
    (
        answers(200, {"exec_info": {"queue_remaining": 0}}),
        ProviderUnavailable,
        "provider_garbage",
        "without giving its id",
    ),
    (answers(302, LOGIN, Location="/login"), ProviderUnavailable, "provider_garbage", "302"),
    (answers(200, LOGIN), ProviderUnavailable, "provider_garbage", "without giving its id"),
    (answers(401), ProviderBusy, "provider_key_refused", "key"),
    (answers(403, "403: Forbidden"), ProviderBusy, "provider_key_refused", "key"),
    (answers(405, "405: Method Not Allowed"), ProviderUnavailable, "provider_garbage", "not at this address"),
    (answers(404, "404: Not Found"), ProviderUnavailable, "provider_garbage", "not at this address"),
    (answers(413, "Request Entity Too Large"), ProviderRejected, "invalid_input", "refuses"),
    (answers(500, "500 Internal Server Error\n\nServer got itself in trouble"), ProviderUnavailable, "", "500"),
    (answers(503, "loading"), ProviderUnavailable, "provider_unavailable", "503"),
    (answers(429, {"error": "queue is full"}), ProviderBusy, "provider_busy", "queue is full"),
]


@pytest.mark.parametrize(("fault", "kind", "code", "words"), COMFYUI_ORDERS)
async def test_comfyuis_order_answers_map_to_errors(
    fault: Fault, kind: type[ProviderError], code: str, words: str
) -> None:
    async with ComfyUIServer() as server:
        provider = ComfyUIProvider(base_url=server.url, sleep=Sleeps())
        server.fail("POST /prompt", fault)

        error = await outcome(provider.submit(ORDER))
        await provider.aclose()

    assert (type(error), error.code, charge_after(error)) == (kind, code or "provider_unavailable", False)
    assert words in str(error)
    assert server.events("queued") == []


def ended(*messages: tuple[str, Mapping[str, Any]], status: object = "error") -> Mapping[str, Any]:
    """A job's entry in ComfyUI's history."""
    told = {"status_str": status, "completed": False, "messages": [list(message) for message in messages]}
    return {"prompt": [], "outputs": {}, "status": told}


def failed(kind: str, message: str) -> Mapping[str, Any]:
    return ended(("execution_error", {"node_type": "KSampler", "exception_type": kind, "exception_message": message}))


# The job ends: Comfy-Org/ComfyUI #5511, #4852, #6176, #6856, #5905 (memory), #3331 (server died), #2523, #6261, #13751.
COMFYUI_ENDS: list[tuple[object, type[ProviderError], str]] = [
    (failed("torch.OutOfMemoryError", "Allocation on device "), ProviderUnavailable, "out_of_memory"),
    (failed("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried …"), ProviderUnavailable, "out_of_memory"),
    (
        failed("RuntimeError", "[enforce fail] DefaultCPUAllocator: not enough memory"),
        ProviderUnavailable,
        "out_of_memory",
    ),
    (failed("RuntimeError", "MPS backend out of memory"), ProviderUnavailable, "out_of_memory"),
    (failed("RuntimeError", "mat1 and mat2 shapes cannot be multiplied"), ProviderUnavailable, "job_failed"),
    (failed("safetensors_rust.SafetensorError", "header too large\0\ud800"), ProviderUnavailable, "job_failed"),
    (failed("ValueError", "x" * 5_000_000), ProviderUnavailable, "job_failed"),
    (ended(("execution_interrupted", {"node_id": "3"})), ProviderUnavailable, "job_cancelled"),
    (ended(), ProviderUnavailable, "job_failed"),
    ({"prompt": [], "outputs": {}, "status": None}, ProviderRejected, "no_image"),
    (ended(status="success"), ProviderRejected, "no_image"),
    (
        ended(("execution_cached", {"nodes": ["9"], "prompt_id": "x"}), status="success"),
        ProviderUnavailable,
        "no_image",
    ),
    (
        ended(("execution_start", {"timestamp": 10**400}), ("execution_success", {"timestamp": -1}), status="success"),
        ProviderRejected,
        "no_image",
    ),
]


@pytest.mark.parametrize(("entry", "kind", "code"), COMFYUI_ENDS)
async def test_comfyuis_failed_jobs_map_to_errors(entry: object, kind: type[ProviderError], code: str) -> None:
    async with ComfyUIServer() as server:
        provider = ComfyUIProvider(base_url=server.url, sleep=Sleeps())
        job_id = await provider.submit(ORDER)
        server.fail("GET /history/{id}", *[answers(200, {job_id: entry})] * 2)

        error = await outcome(provider.wait(job_id, ORDER))
        settlement = await provider.settle(job_id, ORDER)
        await provider.aclose()

    assert (type(error), error.code, error.order.over) == (kind, code, True)
    assert (settlement.order.over, settlement.picture) == (True, None)
    assert len(str(error)) < 600
    assert str(error).isprintable()


def a1111_error(name: str, errors: str, status: int = 500) -> Fault:
    return answers(status, {"error": name, "detail": "", "body": "", "errors": errors})


NANS = "A tensor with all NaNs was produced in Unet. Use --disable-nan-check commandline argument."

# AUTOMATIC1111 #9294, #12921, #15872 (NaN), #9462, #5235, #16136 and forge #1843 (404), sdnext #787 (401), #10191;
# s0md3v/roop #285; open-webui #8065.
A1111_ORDERS: list[tuple[Fault, type[ProviderError], str, str]] = [
    (
        a1111_error("OutOfMemoryError", "CUDA out of memory. Tried to allocate"),
        ProviderUnavailable,
        "out_of_memory",
        "",
    ),
    (a1111_error("OutOfMemoryError", ""), ProviderUnavailable, "out_of_memory", "memory"),
    (
        a1111_error("RuntimeError", "Could not allocate tensor: not enough memory"),
        ProviderUnavailable,
        "out_of_memory",
        "",
    ),
    (a1111_error("NansException", NANS), ProviderUnavailable, "job_failed", "all NaNs"),
    (
        a1111_error("AttributeError", "'NoneType' object has no attribute 'lowvram'"),
        ProviderUnavailable,
        "provider_unavailable",
        "lowvram",
    ),
    (a1111_error("AssertionError", "extra P instances"), ProviderUnavailable, "provider_unavailable", "extra P"),
    (answers(404, {"detail": "Not Found"}), ProviderUnavailable, "provider_garbage", "without --api"),
    (answers(405, {"detail": "Method Not Allowed"}), ProviderUnavailable, "provider_garbage", "without --api"),
    (answers(404, {"detail": "Sampler not found"}), ProviderRejected, "model_not_found", "Sampler not found"),
    (answers(404, {"detail": "Upscaler not found"}), ProviderRejected, "model_not_found", "Upscaler"),
    (answers(400, {"detail": "Sampler not found"}), ProviderRejected, "invalid_input", "Sampler"),
    (
        answers(422, {"detail": "always on script ControlNet not found"}),
        ProviderRejected,
        "invalid_input",
        "ControlNet",
    ),
    (
        answers(422, {"detail": [{"loc": ["body", "steps"], "msg": "none is not allowed", "type": "x"}]}),
        ProviderRejected,
        "invalid_input",
        "body.steps: none is not allowed",
    ),
    (answers(401, {"detail": "Incorrect username or password"}), ProviderBusy, "provider_key_refused", ""),
    (answers(401, {"detail": "Not authenticated"}), ProviderBusy, "provider_key_refused", ""),
    (answers(307, "", Location="/login"), ProviderUnavailable, "provider_garbage", "307"),
    (answers(502, "<html>"), ProviderUnavailable, "provider_unavailable", "502"),
    (answers(200, {"images": [], "parameters": {}, "info": "{}"}), ProviderUnavailable, "provider_garbage", ""),
    (answers(200, {"images": None, "parameters": {}, "info": None}), ProviderUnavailable, "provider_garbage", ""),
    (answers(200, {"detail": "queued"}), ProviderUnavailable, "provider_garbage", ""),
    (answers(200, {"images": [a_picture("teal")], "info": '{"index_of_first_image": 7}'}), ProviderUnavailable, "", ""),
    (answers(500, {"errors": "x" * 5_000_000}), ProviderUnavailable, "provider_unavailable", "500"),
    (answers(500, {"errors": "a\0b\ud800"}), ProviderUnavailable, "provider_unavailable", "500"),
]


@pytest.mark.parametrize(("fault", "kind", "code", "words"), A1111_ORDERS)
async def test_automatic1111s_order_answers_map_to_errors(
    fault: Fault, kind: type[ProviderError], code: str, words: str
) -> None:
    async with Automatic1111Server() as server:
        provider = Automatic1111Provider(base_url=server.url)
        server.fail("POST /sdapi/v1/txt2img", fault)
        request = order()

        error = await outcome(provider.wait(await provider.submit(request), request))
        await provider.aclose()

    assert (type(error), error.code, error.order.charged) == (kind, code or "provider_garbage", False)
    assert words in str(error)
    assert len(str(error)) < 600
    assert str(error).isprintable()
    assert error.order.over


# SD.Next and forks: `info` as an object, data URLs, line breaks in base64, no name of the checkpoint.
PICTURE = a_picture("teal")
A1111_PICTURES: list[Mapping[str, Any]] = [
    {"images": [f"data:image/png;base64,{PICTURE}"], "info": "{}"},
    {"images": ["\n".join(PICTURE[start : start + 76] for start in range(0, len(PICTURE), 76))], "info": None},
    {"images": [PICTURE], "info": {"seed": 5, "sd_model_name": "sdxl", "index_of_first_image": 0}},
    {"images": [PICTURE], "info": "no JSON"},
    {"images": [PICTURE, None, 7], "info": '{"seed": 1e400, "sd_model_hash": NaN, "all_seeds": [{}]}'},
    {"images": ["grid", PICTURE], "info": '{"index_of_first_image": 1, "job_timestamp": []}'},
]


@pytest.mark.parametrize("body", A1111_PICTURES)
async def test_automatic1111_pictures_are_read_in_every_known_form(body: Mapping[str, Any]) -> None:
    async with Automatic1111Server() as server:
        provider = Automatic1111Provider(base_url=server.url)
        server.fail("POST /sdapi/v1/txt2img", answers(200, body))
        request = order(model="sdxl")

        picture = await provider.wait(await provider.submit(request), request)
        await provider.aclose()

    assert isinstance(picture, RawImage)
    assert picture.content.startswith(b"\x89PNG")
