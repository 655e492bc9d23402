"""fal's queue API.

Written from fal's documentation: "Inference API" with "Submit", "Get request status", "Get request result" and "Cancel
a request" (fal.ai/docs/inference-api/queue/…), and "Asynchronous Inference", "Common parameters", "Request Error
Types", "Model Errors", "Data Retention" and "FAQ" (fal.ai/docs/documentation/model-apis/…).

Its Python client is not used: `fal_client` (maintained, async) sends a submit up to ten times, after timeouts, cut
connections, 408, 409, 429 and gateway errors, without a key that would make that safe. Only four calls are needed here.

- A model is `owner/app` or `owner/app/path`; questions about a request go to `owner/app` alone. The answer to the order
  contains the request's addresses; their path is the job's id here, since `cancel` gets nothing else.
- fal itself repeats a request up to ten times if a runner failed, and charges for none of these.
- `X-Fal-Request-Start-Timeout`: fal drops a request that no runner took by then. The running time is not limited.
- Results are kept for an hour, those above 10 KB for six minutes if payloads are not stored.
- HTTP 500 and above is never charged; 422 may be, if a runner noticed late.
- An order carries no key of ours, and the list of requests shows only ended ones, without anything to recognize ours.
  So an order whose answer is lost stays unknown.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import ImageRequest, Picture, RawImage, RemoteImage, Settlement
from batchgen.providers.http import inline_pictures, messages
from batchgen.providers.http.client import Answer
from batchgen.providers.http.hosted import (
    AGAIN_SECONDS,
    WITHOUT_A_PICTURE,
    AnswerLost,
    HostedApi,
    Sleep,
    address,
    garbage,
    has_word,
    number,
    poll,
    problems,
    said,
)
from batchgen.providers.http.refusals import POLICY_CODES

NAME = "fal"
RUNNING = frozenset({"IN_QUEUE", "IN_PROGRESS"})
ENDED = frozenset({"COMPLETED", "FAILED", "ERROR", "CANCELED", "CANCELLED"})
GONE = frozenset({404})
OWN_REFUSALS = frozenset(range(400, 600)) - {401, 402, 403, 404}
"""Statuses that may be the model's own answer; the others concern our account, or say that the result is gone."""
BELIEVED = 3
"""Results are kept: a 429 or 5xx that is repeated so often is the model's own and not a passing fault."""
TIMEOUTS = frozenset({"startup_timeout", "request_timeout", "generation_timeout"})
TRANSIENT = frozenset(
    {
        "runner_scheduling_failure",
        "runner_connection_timeout",
        "runner_disconnected",
        "runner_connection_refused",
        "runner_connection_error",
        "runner_incomplete_response",
        "runner_server_error",
        "internal_error",
        "internal_server_error",
        "downstream_service_error",
        "downstream_service_unavailable",
    }
)
"""Passing faults, some of which come with 422."""
NOTHING_MADE = frozenset({"no_media_generated", "no_images_generated"})
PICTURE_FIELDS = ("images", "image", "output", "outputs", "data", "result", "files", "file")
"""Other texts of a result may repeat the prompt, so no picture's address is taken from them."""
FLAGS = ("has_nsfw_concepts", "nsfw_content_detected", "has_nsfw_content")

_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,99}(?:/[A-Za-z0-9][\w.-]{0,99}){1,5}")
_JOB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,99}/){2,4}requests/[A-Za-z0-9-]{1,100}(?:/response)?")

Status = Mapping[str, Any]


class FalProvider:
    """Runs `ImageRequest.model` (`fal-ai/flux/dev`) with `ImageRequest.inputs`; fal has no versions.

    `start_timeout_seconds` is how long a job may wait for a runner. `account_wait_seconds` is how long all items wait
    if the key is refused or the account is empty: no item fails for that.
    """

    name = "fal"

    def __init__(
        self,
        *,
        key: SecretStr,
        base_url: str = "https://queue.fal.run",
        timeout_seconds: float = 30,
        start_timeout_seconds: float = 1800,
        account_wait_seconds: float = 300,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._api = HostedApi(
            name=NAME,
            base_url=base_url,
            key=key,
            scheme="Key",
            timeout_seconds=timeout_seconds,
            account_wait_seconds=account_wait_seconds,
        )
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._start_timeout_seconds = start_timeout_seconds
        self._sleep = sleep

    async def submit(self, request: ImageRequest) -> str:
        """Order the picture. The order is never sent again, even if its answer is lost."""
        model = request.model or ""
        if _MODEL.fullmatch(model) is None:
            raise ProviderRejected(f"{model!r} is not a model at {NAME}.", code="model_not_found")
        headers = {"X-Fal-Request-Start-Timeout": f"{self._start_timeout_seconds:g}"}
        try:
            return self._job_id(await self._api.order(f"/{model}", request.inputs, headers, model=model))
        except AnswerLost as lost:
            raise OutcomeUnknown(str(lost)) from lost

    async def find(self, request: ImageRequest) -> str | None:
        raise OutcomeUnknown(f"{NAME} cannot tell what became of the order of {request.generation_id} without its id.")

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """Return the picture of a job that succeeded, or raise how it ended.

        A result without a picture is fetched once more and then believed: another order might have none either.
        """
        place = _checked(job_id)

        async def look() -> Status | None:
            status = await self._status(place)
            return status if status["status"] in ENDED else None

        estimated = request.estimated_seconds
        status = await poll(look, sleep=self._sleep, estimated_seconds=estimated, job_id=place)
        try:
            return await asyncio.to_thread(self._picture, status, await self._result(place, status, request), request)
        except ProviderRejected as error:
            if error.code not in WITHOUT_A_PICTURE:
                raise
        await self._sleep(AGAIN_SECONDS)
        return await asyncio.to_thread(self._picture, status, await self._result(place, status, request), request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        place = _checked(job_id)
        answer = await self._api.ask("GET", f"{_base(place)}/status", passes=GONE)
        if answer.status in GONE:
            return Settlement(OVER)
        status = _status(answer)
        if status["status"] not in ENDED:
            return Settlement(OPEN)
        result = await self._api.ask("GET", f"/{place}", passes=OWN_REFUSALS | GONE, may_hold_a_picture=True)
        if result.status not in GONE and not _is_the_models(result, status, BELIEVED):
            raise garbage(NAME, "a result")
        try:
            picture, order = await asyncio.to_thread(self._picture, status, result, request), CHARGED
        except ProviderError as error:
            picture, order = None, error.order
        return Settlement(order.merge(_times(status)), picture)

    async def cancel(self, job_id: str) -> None:
        ended = frozenset({400, 404, 409})
        await self._api.ask("PUT", f"{_base(_checked(job_id))}/cancel", passes=ended)

    async def aclose(self) -> None:
        await self._api.aclose()

    def _job_id(self, answer: Answer) -> str:
        """The path of the result's address. Only the path: our key is sent to the base address alone."""
        place = address((answer.as_object() or {}).get("response_url"))
        job_id = "" if place is None else place.path.removeprefix(f"{self._base_path}/")
        if _JOB_ID.fullmatch(job_id) is None:
            problem = f"{NAME} answered the order with something that cannot be understood."
            raise AnswerLost(problem, code="provider_garbage")
        return job_id

    async def _status(self, place: str) -> Status:
        return _status(await self._api.ask("GET", f"{_base(place)}/status"))

    async def _result(self, place: str, status: Status, request: ImageRequest) -> Answer:
        """The result: a picture or the model's own error. Other errors are waited out."""
        times = 0

        async def look() -> Answer | None:
            nonlocal times
            answer = await self._api.ask("GET", f"/{place}", passes=OWN_REFUSALS, may_hold_a_picture=True)
            times += 1
            return answer if _is_the_models(answer, status, times) else None

        try:
            return await poll(look, sleep=self._sleep, estimated_seconds=request.estimated_seconds, job_id=place)
        except OutcomeUnknown as gone:
            raise _gone("ended, but its result has been removed", code="output_expired") from gone

    def _picture(self, status: Status, answer: Answer, request: ImageRequest) -> Picture:
        """Decodes long texts: call this in a thread."""
        if not answer.is_success:
            raise self._failure(status, answer)
        fields = _fields(answer)
        if any(_is_flagged(fields.get(name)) for name in FLAGS):
            problem = f"{NAME} blacked the picture out: it was flagged as not safe for work."
            raise ProviderRejected(problem, code="blocked_by_policy", order=CHARGED)
        place = next(inline_pictures.places({name: fields.get(name) for name in PICTURE_FIELDS}), None)
        if place is None:
            raise self._no_picture(fields)
        seed = fields.get("seed", request.inputs.get("seed"))
        known: Any = {
            "seed": seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
            "order": OVER.merge(_times(status)),
        }
        if inline_pictures.is_address(place):
            return RemoteImage(place, **known)
        content = inline_pictures.unpacked(place, service=NAME)
        if content is None:
            problem = f"The job at {NAME} succeeded, and its picture is damaged."
            raise ProviderRejected(problem, code="provider_garbage", order=CHARGED)
        return RawImage(content, **known)

    def _no_picture(self, fields: Mapping[str, Any]) -> ProviderError:
        """The error of a job without a picture. Final: another order would cost again and may have none either."""
        texts = (fields.get(name) for name in ("detail", "message", "error"))
        said = self._api.words(next((text for text in texts if isinstance(text, str)), ""))
        problem = f"The job at {NAME} succeeded without a picture. {said}".strip()
        return ProviderRejected(problem, code="no_output", order=CHARGED)

    def _failure(self, status: Status, answer: Answer) -> ProviderError:
        kinds, text = _kinds(status, answer), said(answer)
        told = self._api.words(text)
        order = NOT_CHARGED if answer.status >= 500 else OVER
        is_final = answer.headers.get("X-Fal-Retryable", "").strip().lower() == "false"
        if kinds & POLICY_CODES or (not kinds and messages.is_policy(text)) or answer.status == 451:
            return ProviderRejected(f"{NAME} refuses this prompt. {told}", code="blocked_by_policy", order=order)
        if kinds & NOTHING_MADE:
            code = "blocked_by_policy" if messages.is_policy(text) else "no_output"
            return ProviderRejected(f"{NAME} made no picture. {told}", code=code, order=order)
        if answer.status in GONE:
            return _gone("ended, but its result has been removed", code="output_expired")
        if "client_cancelled" in kinds or answer.status == 499:
            return _gone("was cancelled there", code="provider_cancelled")
        if kinds & TIMEOUTS or answer.status in (408, 504):
            return ProviderUnavailable(f"The job at {NAME} took too long. {told}", code="provider_timeout")
        if kinds & TRANSIENT or answer.status == 429 or answer.status >= 500:
            kind = ProviderRejected if is_final else ProviderUnavailable
            return kind(f"The job failed at {NAME}. {told}", code="generation_failed", order=order)
        return ProviderRejected(f"{NAME} refused the request. {told}", code="invalid_input", order=order)


def _checked(job_id: str) -> str:
    if _JOB_ID.fullmatch(job_id) is None:
        raise OutcomeUnknown(f"This is not a job of {NAME}.", code="job_gone")
    return job_id


def _base(place: str) -> str:
    return f"/{place.removesuffix('/response')}"


def _status(answer: Answer) -> Status:
    fields = answer.as_object()
    if not has_word(fields, "status", RUNNING | ENDED):
        raise garbage(NAME, "a job")
    return fields


def _is_the_models(answer: Answer, status: Status, times: int) -> bool:
    """Whether a result is the model's own answer, not an error of a gateway."""
    fields = answer.as_object()
    if answer.is_success:
        return fields is not None or bool(answer.as_json())
    is_told = bool(status.get("error") or status.get("error_type"))
    is_own = "detail" in (fields or {}) or "X-Fal-Error-Type" in answer.headers
    is_plain = answer.status < 500 and answer.status != 429
    return (is_own and (is_plain or is_told)) or ((is_own or is_told) and times >= BELIEVED)


def _kinds(status: Status, answer: Answer) -> frozenset[str]:
    """The names that fal gives this error: in the header, in `error_type`, in the status, and in each problem."""
    fields = answer.as_object() or {}
    named = (answer.headers.get("X-Fal-Error-Type"), fields.get("error_type"), status.get("error_type"))
    return frozenset(str(kind) for kind in (*named, *(problem.get("type") for problem in problems(answer))) if kind)


def _fields(answer: Answer) -> Mapping[str, Any]:
    """The result's object; some models answer with a bare list of pictures."""
    value = answer.as_json()
    return {"images": value} if isinstance(value, list) else answer.as_object() or {}


def _is_flagged(flags: Any) -> bool:
    return flags is True or (isinstance(flags, list) and True in cast("list[Any]", flags)[:1])


def _times(status: Status) -> OrderState:
    metrics: Any = status.get("metrics")
    running = number(cast("dict[str, Any]", metrics).get("inference_time")) if isinstance(metrics, dict) else None
    return OrderState(running_seconds=running)


def _gone(how: str, *, code: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"The job at {NAME} {how}.", code=code, is_provider_fault=False, order=OVER)
