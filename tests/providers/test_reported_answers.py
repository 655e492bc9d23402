"""Answers of Replicate, fal, OpenAI and servers like it that users reported in public, and their classification.

Each row is an answer from a thread, named after the place of the report. `kind` is the worker's reaction: `rejected`
ends an item, `retried` tries it again, `waits` pauses the provider, `model waits` pauses one model, `unknown` is left
to a person.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from batchgen.errors import (
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.order_state import OrderState
from batchgen.providers.base import ImageRequest, RawImage, RemoteImage
from batchgen.providers.fal import FalProvider
from batchgen.providers.openai_images import OpenAIImagesProvider
from batchgen.providers.replicate import ReplicateProvider
from tests.providers import fal_server, openai_server, replicate_server
from tests.providers.fal_server import FalServer
from tests.providers.faulty_server import Fault
from tests.providers.local_server import answers
from tests.providers.openai_server import OpenAIServer, a_picture
from tests.providers.orders import Pauses, charge_after, order, outcome
from tests.providers.replicate_server import JobPlan, ReplicateServer

KINDS: dict[str, type[ProviderError]] = {
    "rejected": ProviderRejected,
    "retried": ProviderUnavailable,
    "waits": ProviderBusy,
    "model waits": ModelUnusable,
    "unknown": OutcomeUnknown,
}
ORDERS = "POST /v1/images/generations"
PACKED = "iVBORw0KGgo="
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Report:
    """An answer and its classification: `kind`, `code` and whether it is charged."""

    source: str
    answer: Any
    kind: str
    code: str
    charged: bool | None = False
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float | None = None

    def check(self, error: ProviderError) -> None:
        assert type(error) is KINDS[self.kind], repr(error)
        assert (error.code, charge_after(error)) == (self.code, self.charged)
        if self.seconds is not None:
            assert getattr(error, "retry_after_seconds", None) == self.seconds

    @property
    def fault(self) -> Fault:
        body = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return Fault(self.status, dict(self.headers), body)


def named(report: Report) -> str:
    return report.source


# Replicate.


THROTTLED = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with a burst"
    " of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~5s."
)
NO_CREDIT = (
    "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to purchase"
    " credit. Once you purchase credit, please wait a few minutes before trying again."
)
NO_VERSION = "The specified version does not exist (or perhaps you don't have permission to use it?)"
INVALID_FIELDS = {
    "title": "Input validation failed",
    "detail": '- input.aspect_ratio: aspect_ratio must be one of the following: "1:1", "16:9"\n',
    "status": 422,
    "invalid_fields": [{"type": "value", "field": "input.aspect_ratio", "description": "must be one of"}],
}

REPLICATE_ORDERS = [
    Report(
        "nodetool 5196: under five dollars",
        {"detail": THROTTLED, "status": 429},
        "waits",
        "provider_busy",
        status=429,
        seconds=5,
    ),
    Report(
        "nodetool 5196: with a field",
        {"detail": "Too many.", "retry_after": 7},
        "waits",
        "provider_busy",
        status=429,
        seconds=7,
    ),
    Report(
        "no credit",
        {"title": "Insufficient credit", "detail": NO_CREDIT, "status": 402},
        "waits",
        "provider_account_empty",
        status=402,
    ),
    Report(
        "spend limit",
        {"title": "Monthly spend limit reached", "detail": "You have reached your monthly spend limit."},
        "waits",
        "provider_account_empty",
        status=402,
    ),
    Report(
        "no token",
        {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token"},
        "waits",
        "provider_key_refused",
        status=401,
    ),
    Report(
        "a private model",
        {"detail": "You do not have permission to perform this action on this model."},
        "model waits",
        "model_not_allowed",
        status=403,
    ),
    Report(
        "version not found",
        {"title": "Invalid version or not permitted", "detail": NO_VERSION, "status": 422},
        "rejected",
        "model_not_found",
        status=422,
    ),
    Report(
        "model is gone",
        {"detail": "The requested resource could not be found.", "status": 404},
        "rejected",
        "model_not_found",
        status=404,
    ),
    Report("bad aspect ratio", INVALID_FIELDS, "rejected", "invalid_input", status=422),
    Report("input too large", {"detail": "Request body too large"}, "rejected", "invalid_input", status=413),
    Report(
        "api is being updated",
        {"detail": "Service Unavailable"},
        "waits",
        "provider_busy",
        status=503,
        headers=(("Retry-After", "30"),),
        seconds=30,
    ),
]


@pytest.fixture
async def replicate() -> AsyncGenerator[tuple[ReplicateServer, ReplicateProvider]]:
    async with ReplicateServer() as server:
        pauses = Pauses()
        provider = ReplicateProvider(
            api_token=SecretStr(replicate_server.TOKEN), base_url=f"{server.url}/v1", sleep=pauses, clock=pauses.clock
        )
        yield server, provider
        await provider.aclose()


def flux() -> ImageRequest:
    return order(model="black-forest-labs/flux-schnell")


@pytest.mark.parametrize("report", REPLICATE_ORDERS, ids=named)
async def test_reported_replicate_order_answers_map_to_errors(
    replicate: tuple[ReplicateServer, ReplicateProvider], report: Report
) -> None:
    server, provider = replicate
    server.fail("order", report.fault)

    report.check(await outcome(provider.submit(flux())))

    assert server.asked["order"] == 1


INTERRUPTED = "Prediction interrupted; please retry (code: PA)"
DIRECTOR = "Director: unexpected error handling prediction (E6716)"
SENSITIVE = "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (4Zx)"

REPLICATE_JOBS = [
    Report("cog-whisper 1: interrupted", JobPlan("failed", INTERRUPTED), "retried", "generation_failed", None),
    Report("director", JobPlan("failed", DIRECTOR), "retried", "generation_failed", None),
    Report(
        "director, flagged",
        JobPlan("failed", "Director: unexpected error handling prediction (E9828)"),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "out of memory",
        JobPlan("failed", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "oom killed",
        JobPlan("failed", "Director: unexpected error handling prediction (E1001)"),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "health check", JobPlan("failed", "Model health check failed (E8765)"), "retried", "generation_failed", None
    ),
    Report(
        "high demand",
        JobPlan("failed", "Service is currently unavailable due to high demand. Please try again later. (E003) (x)"),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "temporarily unavailable",
        JobPlan("failed", "Service is temporarily unavailable. Please try again later. (E004)"),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "a fault that speaks of sensitive things",
        JobPlan("failed", "The safety checker is sensitive today (E004)"),
        "retried",
        "generation_failed",
        None,
    ),
    Report("aiheadshotgene: flagged", JobPlan("failed", SENSITIVE), "rejected", "blocked_by_policy", None),
    Report(
        "old models: NSFW",
        JobPlan("failed", "NSFW content detected. Try running it again, or try a different prompt."),
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report(
        "cog-flux 7: all filtered",
        JobPlan("failed", "All generated images contained NSFW content. Try again."),
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report(
        "safety of a proxied model",
        JobPlan("failed", "Content was flagged by the safety system. Try different prompts."),
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report(
        "invalid input by code",
        JobPlan("failed", "The input was invalid: flagged field `size` (E006)"),
        "rejected",
        "invalid_input",
        None,
    ),
    Report(
        "an unknown argument called moderation",
        JobPlan("failed", "predict() got an unexpected keyword argument 'moderation'"),
        "rejected",
        "invalid_input",
        None,
    ),
    Report("replicate-js 29: nothing came of it", JobPlan(output=None), "rejected", "no_output", True),
    Report("an empty list", JobPlan(output=[]), "rejected", "no_output", True),
    Report(
        "filtered, as the logs say",
        JobPlan(output=[], logs="Potential NSFW content was detected in one or more images."),
        "rejected",
        "blocked_by_policy",
        True,
    ),
    Report("cog 2136: a path of its own machine", JobPlan(output="/src/output.webp"), "rejected", "no_output", True),
    Report("aborted", JobPlan("aborted"), "retried", "provider_timeout", False),
    Report("cancelled there", JobPlan("canceled"), "retried", "provider_cancelled", True),
]


@pytest.mark.parametrize("report", REPLICATE_JOBS, ids=named)
async def test_reported_replicate_job_ends_map_to_errors(
    replicate: tuple[ReplicateServer, ReplicateProvider], report: Report
) -> None:
    server, provider = replicate
    server.job_plans["a red fox"] = report.answer
    request = flux()
    job_id = await provider.submit(request)

    report.check(await outcome(provider.wait(job_id, request)))

    settlement = await provider.settle(job_id, request)
    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, report.charged, None)
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    "output",
    [
        "https://replicate.delivery/a.webp",
        ["https://replicate.delivery/a.webp", "https://replicate.delivery/b.webp"],
        {"image": "https://replicate.delivery/a.webp", "prompt": "https://example.test"},
        {"images": [{"url": "https://replicate.delivery/a.webp"}]},
        [{"output": {"file": "https://replicate.delivery/a.webp"}}],
    ],
)
async def test_reported_replicate_outputs_are_read(
    replicate: tuple[ReplicateServer, ReplicateProvider], output: Any
) -> None:
    server, provider = replicate
    server.job_plans["a red fox"] = JobPlan(output=output)
    request = flux()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RemoteImage)
    assert picture.url == "https://replicate.delivery/a.webp"


DATA_URLS = [
    f"data:image/png;base64,{PACKED}",
    f"data:image/png;base64,\n {PACKED[:6]}\r\n{PACKED[6:]}",
    f"DATA:image/png;charset=utf-8;Base64,{PACKED.rstrip('=')}",
    f"data:;base64,{PACKED}",
    f"data:application/octet-stream;base64,{PACKED.replace('=', '%3D')}",
    "data:image/png,%89PNG%0D%0A%1A%0A",
]


@pytest.mark.parametrize("url", DATA_URLS)
async def test_replicate_data_urls_are_read(replicate: tuple[ReplicateServer, ReplicateProvider], url: str) -> None:
    server, provider = replicate
    server.job_plans["a red fox"] = JobPlan(output=[url])
    request = flux()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RawImage)
    assert picture.content == PNG


async def test_a_late_output_at_replicate_is_waited_for(
    replicate: tuple[ReplicateServer, ReplicateProvider],
) -> None:
    server, provider = replicate
    request = flux()
    job_id = await provider.submit(request)
    server.fail("look", Fault(200, body=json.dumps({"id": job_id, "status": "succeeded", "output": None})))

    assert isinstance(await provider.wait(job_id, request), RemoteImage)
    assert len(server.jobs) == 1


# fal.


def problem(kind: str, msg: str = "It did not work.", **more: Any) -> dict[str, Any]:
    return {"detail": [{"loc": ["body", "prompt"], "msg": msg, "type": kind, "input": "the prompt", **more}]}


LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."

FAL_ORDERS = [
    Report("fal 1112: exhausted balance", {"detail": LOCKED}, "waits", "provider_account_empty", status=403),
    Report(
        "fal 1163: top up", {"detail": "User is locked. Reason: TOP_UP."}, "waits", "provider_account_empty", status=403
    ),
    Report(
        "fal 1168: admin lock",
        {"detail": "User is locked. Reason: Admin lock. Please contact support@fal.ai"},
        "waits",
        "provider_key_refused",
        status=403,
    ),
    Report(
        "no key",
        {"detail": "Cannot access application 'fal-ai/flux'. Authentication is required to access it."},
        "waits",
        "provider_key_refused",
        status=401,
    ),
    Report(
        "a private app",
        {"detail": "You do not have access to this application."},
        "model waits",
        "model_not_allowed",
        status=403,
    ),
    Report("no such app", {"detail": "Application 'flux' not found"}, "rejected", "model_not_found", status=404),
    Report(
        "too many at once",
        {"detail": "You have exceeded the limit of concurrent requests."},
        "waits",
        "provider_busy",
        status=429,
        seconds=10,
    ),
    Report(
        "flagged at once",
        problem("content_policy_violation", categories=["sexual"]),
        "rejected",
        "blocked_by_policy",
        status=422,
    ),
    Report("a field of the wrong type", problem("int_parsing"), "rejected", "invalid_input", status=422),
    Report(
        "a field that is called moderation",
        problem("extra_forbidden", "Extra inputs are not permitted: moderation"),
        "rejected",
        "invalid_input",
        status=422,
    ),
    Report("the gateway fell over", "<html>502 Bad Gateway</html>", "unknown", "outcome_unknown", None, status=502),
    Report("Cloudflare gave up", "error code: 524", "unknown", "outcome_unknown", None, status=524),
]


@pytest.fixture
async def fal() -> AsyncGenerator[tuple[FalServer, FalProvider]]:
    async with FalServer() as server:
        provider = FalProvider(key=SecretStr(fal_server.KEY), base_url=server.url, sleep=Pauses())
        yield server, provider
        await provider.aclose()


@pytest.mark.parametrize("report", FAL_ORDERS, ids=named)
async def test_reported_fal_order_answers_map_to_errors(fal: tuple[FalServer, FalProvider], report: Report) -> None:
    server, provider = fal
    server.fail("order", report.fault)

    report.check(await outcome(provider.submit(order(model="fal-ai/flux/dev"))))

    assert server.asked["order"] == 1


FalJobPlan = fal_server.JobPlan

FAL_JOBS = [
    Report(
        "TanStack 396: completed, and 422 as its result",
        FalJobPlan(422, problem("string_too_long")),
        "rejected",
        "invalid_input",
        None,
    ),
    Report(
        "wavespeed: flagged",
        FalJobPlan(422, problem("content_policy_violation")),
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report(
        "nano-banana: unsafe",
        FalJobPlan(422, problem("no_media_generated", "unsafe content")),
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report(
        "nano-banana: nothing",
        FalJobPlan(422, problem("no_media_generated", "No media was generated.")),
        "rejected",
        "no_output",
        None,
    ),
    Report(
        "vm0 34356: downstream",
        FalJobPlan(422, problem("downstream_service_error")),
        "retried",
        "generation_failed",
        None,
    ),
    Report(
        "downstream, gone", FalJobPlan(500, problem("downstream_service_unavailable")), "retried", "generation_failed"
    ),
    Report(
        "runner lost",
        FalJobPlan(503, {"detail": "Runner disconnected", "error_type": "runner_disconnected"}),
        "retried",
        "generation_failed",
    ),
    Report(
        "runner not reached",
        FalJobPlan(503, {"detail": "…", "error_type": "runner_connection_timeout"}),
        "retried",
        "generation_failed",
    ),
    Report(
        "no runner",
        FalJobPlan(503, {"detail": "…"}, {"X-Fal-Error-Type": "runner_scheduling_failure"}),
        "retried",
        "generation_failed",
    ),
    Report(
        "never started",
        FalJobPlan(504, {"detail": "…", "error_type": "startup_timeout"}),
        "retried",
        "provider_timeout",
    ),
    Report("took too long", FalJobPlan(504, problem("generation_timeout")), "retried", "provider_timeout"),
    Report(
        "not to be tried again",
        FalJobPlan(500, problem("internal_server_error"), {"X-Fal-Retryable": "false"}),
        "rejected",
        "generation_failed",
    ),
    Report(
        "cancelled by somebody",
        FalJobPlan(499, {"detail": "Request was cancelled"}),
        "retried",
        "provider_cancelled",
        None,
    ),
    Report(
        "a black picture",
        FalJobPlan(200, {"images": [{"url": "https://v3.fal.media/x.png"}], "has_nsfw_concepts": [True]}),
        "rejected",
        "blocked_by_policy",
        True,
    ),
    Report(
        "vibedgames 182: completed without a picture",
        FalJobPlan(200, {"images": [], "detail": "moderated"}),
        "rejected",
        "no_output",
        True,
    ),
    Report("an address that is none", FalJobPlan(200, {"images": [{"url": None}]}), "rejected", "no_output", True),
    Report(
        "half a data URL",
        FalJobPlan(200, {"images": [{"url": "data:image/png;base64,a"}]}),
        "rejected",
        "provider_garbage",
        True,
    ),
]


@pytest.mark.parametrize("report", FAL_JOBS, ids=named)
async def test_reported_fal_job_ends_map_to_errors(fal: tuple[FalServer, FalProvider], report: Report) -> None:
    server, provider = fal
    server.job_plans["a red fox"] = report.answer
    request = order(model="fal-ai/flux/dev")
    job_id = await provider.submit(request)

    report.check(await outcome(provider.wait(job_id, request)))

    settlement = await provider.settle(job_id, request)
    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, report.charged, None)
    assert len(server.jobs) == 1


@pytest.mark.parametrize("url", DATA_URLS)
@pytest.mark.parametrize("shape", ["images", "image", "a text", "file_data"])
async def test_fal_data_urls_are_read(fal: tuple[FalServer, FalProvider], url: str, shape: str) -> None:
    shapes: dict[str, Any] = {
        "images": {"images": [{"url": url, "content_type": "image/jpeg"}]},
        "image": {"image": {"url": url}},
        "a text": {"images": [url]},
        "file_data": {"images": [{"file_data": url, "url": None}]},
    }
    server, provider = fal
    server.job_plans["a red fox"] = FalJobPlan(
        200, {**shapes[shape], "seed": 7, "prompt": "https://example.test/x.png"}
    )
    request = order(model="fal-ai/flux/dev")

    picture = await provider.wait(await provider.submit(request), request)

    assert picture == RawImage(PNG, seed=7, order=OrderState(True, running_seconds=3.25))
    assert len(server.jobs) == 1


async def test_a_late_result_at_fal_is_waited_for(fal: tuple[FalServer, FalProvider]) -> None:
    server, provider = fal
    request = order(model="fal-ai/flux/dev")
    server.fail("result", Fault(200, body='{"images": []}'))

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)
    assert len(server.jobs) == 1


# OpenAI and servers like it.


def refused(
    message: str, code: object = None, *, param: str | None = None, kind: str = "invalid_request_error", **more: Any
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code, **more}}


SAFETY = (
    "Your request was rejected by the safety system. If you believe this is an error, contact us. safety_violations=[x]"
)
OLD_SAFETY = (
    "Your request was rejected as a result of our safety system. Your prompt may contain text that is not allowed by"
    " our safety system."
)
AZURE = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
AZURE_BLOCKED = (
    "Your resource has been temporarily blocked because we detected behavior that may violate our content policy."
)
LITELLM = {
    "message": f"litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - {AZURE}",
    "type": None,
    "param": None,
    "code": "400",
    "provider_specific_fields": {"innererror": {"code": "ResponsibleAIPolicyViolation"}},
}
GEMINI_KEY = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
}
GEMINI_QUOTA = {
    "code": 429,
    "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 34.5s.",
    "status": "RESOURCE_EXHAUSTED",
}
LOADING = "failed to load model with internal loader: backend not found: stablediffusion-ggml"
NO_QUOTA = "You exceeded your current quota, please check your plan and billing details."

OPENAI = [
    Report(
        "laravel-ai 255: an unknown parameter",
        refused("Unknown parameter: 'moderation'.", "unknown_parameter", param="moderation"),
        "rejected",
        "invalid_input",
        status=400,
    ),
    Report(
        "the same without a code", refused("Unknown parameter: 'moderation'."), "rejected", "invalid_input", status=400
    ),
    Report(
        "openai-python 2331: a value",
        refused(
            "Invalid value: 'low'. Supported values are: 'auto' and 'content policy'.",
            "invalid_value",
            param="moderation",
        ),
        "rejected",
        "invalid_input",
        status=400,
    ),
    Report(
        "LiteLLM: not supported",
        refused(
            "litellm.UnsupportedParamsError: dall-e-3 does not support parameters: ['moderation']", "400", kind="None"
        ),
        "rejected",
        "invalid_input",
        status=400,
    ),
    Report(
        "param alone",
        refused("The safety system setting is not available.", param="moderation"),
        "rejected",
        "invalid_input",
        status=400,
    ),
    Report(
        "ZJT 480: blocked",
        refused(SAFETY, "moderation_blocked", kind="image_generation_user_error", param=""),
        "rejected",
        "blocked_by_policy",
        status=400,
    ),
    Report(
        "codex 46737: blocked on the way out",
        refused(SAFETY, "moderation_blocked", moderation_details={"moderation_stage": "output"}),
        "rejected",
        "blocked_by_policy",
        None,
        status=400,
    ),
    Report("dall-e: no code", refused(OLD_SAFETY), "rejected", "blocked_by_policy", status=400),
    Report(
        "litellm 16072: Azure",
        {
            "error": {
                "code": "content_policy_violation",
                "message": OLD_SAFETY,
                "inner_error": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "rejected",
        "blocked_by_policy",
        status=400,
    ),
    Report("litellm 16231: handed on", {"error": LITELLM}, "rejected", "blocked_by_policy", status=400),
    Report(
        "openai-python 331: content_filter",
        refused(AZURE, "content_filter", param="prompt"),
        "rejected",
        "blocked_by_policy",
        status=400,
    ),
    Report(
        "pollinations 12446: the account is blocked",
        {"error": {"code": "Forbidden", "message": AZURE_BLOCKED}},
        "waits",
        "provider_key_refused",
        status=403,
    ),
    Report(
        "xAI: moderated",
        {"code": "Client specified an invalid argument", "error": "Generated image rejected by content moderation."},
        "rejected",
        "blocked_by_policy",
        status=400,
    ),
    Report("vercel-ai 19168: moderated in silence", {"data": []}, "rejected", "no_image", None),
    Report(
        "vercel-ai 19168: with a mark",
        {"data": [{"url": "", "respect_moderation": False}]},
        "rejected",
        "blocked_by_policy",
        None,
    ),
    Report("data is null", {"created": 1, "data": None}, "rejected", "no_image", None),
    Report(
        "snapai 9: not verified",
        refused("Your organization must be verified to use the model `gpt-image-1`."),
        "model waits",
        "model_not_allowed",
        status=403,
        seconds=300,
    ),
    Report(
        "no access",
        refused("Project `proj_x` does not have access to model `gpt-image-1`", "model_not_found"),
        "model waits",
        "model_not_allowed",
        status=403,
    ),
    Report(
        "screenshot-to-code 77: no such model",
        refused("The model `gpt-image-1` does not exist or you do not have access to it.", "model_not_found"),
        "rejected",
        "model_not_found",
        status=404,
    ),
    Report(
        "LocalAI: no such model",
        {"error": {"code": 404, "message": 'model "gpt-image-1" not found', "type": ""}},
        "rejected",
        "model_not_found",
        status=404,
    ),
    Report(
        "mulmocast 477: images a minute",
        refused(
            "You've exceeded the rate limit, please slow down and try again after 51.84 seconds.", "rate_limit_exceeded"
        ),
        "waits",
        "provider_busy",
        status=429,
        seconds=51.84,
    ),
    Report(
        "one model's limit",
        refused(
            "Rate limit reached for gpt-image-1 in organization org-x on images per min. Please try again in 6m0s.",
            "rate_limit_exceeded",
        ),
        "model waits",
        "model_busy",
        status=429,
        seconds=360,
    ),
    Report("zerogravity 19", refused("Please try again in 1m12s."), "waits", "provider_busy", status=429, seconds=72),
    Report(
        "PowerShellAI 127: hard limit",
        refused("Billing hard limit has been reached", "billing_hard_limit_reached"),
        "waits",
        "provider_account_empty",
        status=400,
    ),
    Report(
        "no quota",
        refused(NO_QUOTA, "insufficient_quota", kind="insufficient_quota"),
        "waits",
        "provider_account_empty",
        status=429,
    ),
    Report(
        "xAI: no credits",
        {
            "code": "The caller does not have permission",
            "error": "Your team has used all available credits or reached its monthly spending limit.",
        },
        "waits",
        "provider_account_empty",
        status=403,
    ),
    Report(
        "OpenRouter: no credits, with 200",
        {"error": {"code": 402, "message": "Insufficient credits."}},
        "waits",
        "provider_account_empty",
    ),
    Report(
        "OpenRouter: the day's limit",
        {
            "error": {
                "code": 429,
                "message": "Rate limit exceeded: free-models-per-day",
                "metadata": {"headers": {"Retry-After": "90"}},
            }
        },
        "waits",
        "provider_busy",
        status=429,
        seconds=90,
    ),
    Report(
        "a wrong key",
        refused("Incorrect API key provided: sk-abc.", "invalid_api_key"),
        "waits",
        "provider_key_refused",
        status=401,
    ),
    Report(
        "xAI: a wrong key is a 400",
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***"},
        "waits",
        "provider_key_refused",
        status=400,
    ),
    Report("continue 10748: Gemini's wrong key", [{"error": GEMINI_KEY}], "waits", "provider_key_refused", status=400),
    Report("Gemini's quota", [{"error": GEMINI_QUOTA}], "waits", "provider_busy", status=429, seconds=34.5),
    Report(
        "continue 10748: an error in a text",
        {"error": {"message": json.dumps({"error": GEMINI_QUOTA}), "code": 429}},
        "waits",
        "provider_busy",
        status=429,
        seconds=34.5,
    ),
    Report(
        "the server had an error",
        refused("The server had an error while processing your request.", "server_error"),
        "retried",
        "provider_unavailable",
        status=500,
    ),
    Report("overloaded", refused("Overloaded", "overloaded_error"), "retried", "provider_unavailable", status=529),
    Report(
        "LocalAI 1976",
        {"error": {"code": 500, "message": "could not load model (no success)", "type": ""}},
        "retried",
        "provider_unavailable",
        status=500,
    ),
    Report(
        "LocalAI 7900: with 200",
        {"error": {"code": 500, "message": LOADING, "type": ""}},
        "retried",
        "provider_unavailable",
    ),
    Report("with 200 and a text", {"error": "backend died"}, "retried", "provider_unavailable", None),
    Report(
        "chatbox 2937: Cloudflare's 524",
        "<html>524: A timeout occurred</html>",
        "unknown",
        "outcome_unknown",
        None,
        status=524,
    ),
    Report("Cloudflare's 520", "error code: 520", "unknown", "outcome_unknown", None, status=520),
    Report(
        "sub2api 2031: 502",
        {"error": {"message": "Upstream request failed"}},
        "unknown",
        "outcome_unknown",
        None,
        status=502,
    ),
    Report("Cloudflare is in the way", "<html>Just a moment...</html>", "waits", "provider_key_refused", status=403),
    Report("HTML with 200", "<!doctype html><title>Sign in</title>", "unknown", "provider_garbage", None),
    Report("cut off", '{"created": 1, "data": [{"b64_json": "iVBORw0KGg', "unknown", "provider_garbage", None),
    Report("too large", refused("Request too large"), "rejected", "invalid_input", status=413),
    Report("not the API's address", {"detail": "Not Found"}, "retried", "provider_garbage", status=404),
]


@pytest.fixture
async def openai() -> AsyncGenerator[tuple[OpenAIServer, OpenAIImagesProvider]]:
    async with OpenAIServer() as server:
        provider = OpenAIImagesProvider(key=SecretStr(openai_server.KEY), base_url=server.api)
        yield server, provider
        await provider.aclose()


def gpt_image() -> ImageRequest:
    return order(model="gpt-image-1", inputs={"prompt": "a red fox"})


@pytest.mark.parametrize("report", OPENAI, ids=named)
async def test_reported_openai_answers_map_to_errors(
    openai: tuple[OpenAIServer, OpenAIImagesProvider], report: Report
) -> None:
    server, provider = openai
    server.fail(ORDERS, answers(report.status, report.answer))
    request = gpt_image()

    report.check(await outcome(provider.wait(await provider.submit(request), request)))

    assert server.asked(ORDERS) == 1


LONG = "A" * 136
"""In base64: 102 zero bytes."""
EVENT = {"type": "image_generation.completed", "b64_json": PACKED}
STREAM = (
    f'event: image_generation.partial_image\ndata: {{"b64_json": "x"}}\n\ndata: {json.dumps(EVENT)}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize(
    ("told", "content"),
    [
        ({"data": [{"b64_json": PACKED}]}, PNG),
        ({"data": [{"b64_json": f"data:image/png;base64,{PACKED}"}]}, PNG),
        ({"data": [{"b64_json": f"{PACKED[:4]}\n{PACKED[4:]}\n"}]}, PNG),
        (
            {
                "data": [{"b64_json": PACKED, "url": None, "revised_prompt": "https://example.test/x.png"}],
                "usage": None,
            },
            PNG,
        ),
        ({"data": [{"url": f"data:image/png;base64,{PACKED}", "b64_json": None}]}, PNG),
        ({"data": {"b64_json": PACKED}}, PNG),
        ({"images": [{"b64_json": PACKED}]}, PNG),
        ({"images": [LONG]}, bytes(102)),
        ([{"b64_json": PACKED}], PNG),
        (STREAM, PNG),
    ],
)
async def test_reported_openai_pictures_are_read(
    openai: tuple[OpenAIServer, OpenAIImagesProvider], told: Any, content: bytes
) -> None:
    server, provider = openai
    server.fail(ORDERS, answers(200, told))
    request = gpt_image()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RawImage)
    assert picture.content == content


async def test_an_address_is_used_when_litellm_sends_an_empty_picture(
    openai: tuple[OpenAIServer, OpenAIImagesProvider],
) -> None:
    server, provider = openai
    server.fail(ORDERS, answers(200, {"data": [{"b64_json": None, "url": "https://x.test/1.png"}]}))
    request = gpt_image()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RemoteImage)
    assert picture.url == "https://x.test/1.png"


async def test_a_picture_compressed_unasked_is_read(openai: tuple[OpenAIServer, OpenAIImagesProvider]) -> None:
    server, provider = openai
    server.packs = True
    request = gpt_image()

    picture = await provider.wait(await provider.submit(request), request)

    assert isinstance(picture, RawImage)
    assert picture.content == a_picture("32x32")
