"""Replicate's predictions API.

Written from Replicate's documentation: "HTTP API reference" (replicate.com/docs/reference/http: creating, reading,
cancelling and listing predictions), "Create a prediction", "Prediction lifecycle", "Data retention" and "Rate limits"
(replicate.com/docs/topics/predictions/…), "Billing" (replicate.com/docs/billing), and the changelog entries "Set
deadlines for predictions" (2025-10-16) and "Official models" (2025-01-29).

Its Python client is not used: it repeats a POST after timeouts, 409, 429 and 5xx unless each call says otherwise,
follows redirects with the key, and reads answers of any size. Only four calls are needed here.

- Official models run by name, all others by version. A job's id is the prediction's.
- Deadlines: `Cancel-After` ends a job that nobody waits for. A job stopped before it ran ends as `aborted` and costs
  nothing; a `canceled` one costs.
- Inputs, outputs, logs and files are removed after an hour.
- Orders carry no key of ours, but the list of predictions shows their inputs. So `find` looks for a prediction with
  this model and exactly these inputs, including the seed.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import ImageRequest, Picture, RawImage, RemoteImage, Settlement
from batchgen.providers.http import inline_pictures, messages
from batchgen.providers.http.client import Answer
from batchgen.providers.http.hosted import (
    AGAIN_SECONDS,
    LONGEST_HELD_SECONDS,
    WITHOUT_A_PICTURE,
    AnswerLost,
    HostedApi,
    Sleep,
    address,
    garbage,
    has_word,
    moment,
    number,
    pause_seconds,
    poll,
    seconds_between,
)

NAME = "Replicate"
RUNNING = frozenset({"starting", "processing"})
ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
GONE = frozenset({404})
KEPT = timedelta(hours=1)
"""How long Replicate keeps the inputs of a prediction."""
MARGIN = timedelta(seconds=30)
"""How much older than its order a prediction may appear."""
MOST_PAGES = 50
"""Of a hundred predictions each."""
MOST_REMEMBERED = 10_000
LIST_TRIES = 4
LONGEST_LOGS = 20_000

_MODEL = re.compile(r"(?P<model>[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9][\w.-]{0,99})(?::(?P<version>[A-Za-z0-9]{1,100}))?")
_VERSION = re.compile(r"[A-Za-z0-9]{1,100}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CODE = re.compile(r"\bE[0-9]{3,4}\b|\(code: [A-Z]{2}\)")
"""`(E005)` is a model's own code, `(E6716)` and `(code: PA)` are of Replicate's runtime."""
POLICY_CODES = frozenset({"E005"})
INPUT_CODES = frozenset({"E006"})
FAULT_CODES = frozenset(
    {
        *(
            "E001",
            "E002",
            "E003",
            "E004",
            "E1000",
            "E1001",
            "E4875",
            "E6716",
            "E8367",
            "E8765",
            "E9243",
            "E9825",
            "E9828",
        ),
        "(code: PA)",
    }
)
"""Passing faults, from Replicate's page "Error codes" and from public reports."""
_POLICY = re.compile(r"nsfw|flagged|sensitive|moderat(?:ion|ed)|prohibited", re.IGNORECASE)
_BAD_INPUT = re.compile(
    r"invalid input|input was invalid|input validation|must be (?:less|greater|one of)", re.IGNORECASE
)
_NSFW = re.compile(r"nsfw content|potential nsfw|safety checker", re.IGNORECASE)
_SEED = re.compile(r"(?:using seed|random seed|seed)\s*[:=]\s*(\d{1,19})\b", re.IGNORECASE)

Prediction = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some predictions, newest first."""

    served_at: datetime
    """By Replicate's clock."""
    predictions: Sequence[Prediction]
    following: Mapping[str, str] | None
    """The parameters of the next page. Its address is not followed, since requests carry our key."""


class ReplicateProvider:
    """Runs `ImageRequest.model` (`owner/name` or `owner/name:version`) with `ImageRequest.inputs`.

    `deadline_seconds` is how long a job may take in all before Replicate ends it; longer than a worker waits.
    `account_wait_seconds` is how long all items wait if the key is refused or the account is empty: no item fails for
    that. `settle_seconds` is how long a lost order gets to appear in the list of predictions.
    `clock` is the one of `ImageRequest.ordered_at`.
    """

    name = "replicate"

    def __init__(
        self,
        *,
        api_token: SecretStr,
        base_url: str = "https://api.replicate.com/v1",
        timeout_seconds: float = 30,
        deadline_seconds: int = 1800,
        account_wait_seconds: float = 300,
        settle_seconds: float = 5,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = HostedApi(
            name=NAME,
            base_url=base_url,
            key=api_token,
            scheme="Bearer",
            timeout_seconds=timeout_seconds,
            account_wait_seconds=account_wait_seconds,
        )
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        self._clock = clock
        self._orders = _Memory()

    async def submit(self, request: ImageRequest) -> str:
        """Order the picture. An order whose answer is lost is searched for and never sent again."""
        path, body = _order(request)
        ordered_at = self._clock()
        try:
            cancel_after = {"Cancel-After": f"{self._deadline_seconds}s"}
            answer = await self._api.order(path, body, cancel_after, model=request.model or "")
            job_id = _job_id(answer.as_object())
        except AnswerLost as lost:
            job_id = await self._recover(request, ordered_at, lost)
        self._orders[job_id] = _key(request)
        return job_id

    async def find(self, request: ImageRequest) -> str | None:
        """The job of an order that this or another process sent within the last hour.

        A worker may have sent it just before it died, so None is believed only when no answer can arrive any more. An
        older order may be removed from the list, which looks the same as an order that never arrived.
        """
        ordered_at, now = request.ordered_at, self._clock()
        if ordered_at is None or now - ordered_at > KEPT.total_seconds():
            raise OutcomeUnknown(f"{NAME} lists no job for this order, which may be older than the list.")
        on_its_way_seconds = ordered_at + self._timeout_seconds + self._settle_seconds - now
        return await self._look_for(request, ordered_at, on_its_way_seconds)

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """Return the picture of a job that succeeded, or raise how it ended.

        A job without a picture is asked about once more and then believed: another order might have none either.
        """
        try:
            return await asyncio.to_thread(self._picture, await self._ended(job_id, request), request)
        except ProviderRejected as error:
            if error.code not in WITHOUT_A_PICTURE:
                raise
        await self._sleep(AGAIN_SECONDS)
        return await asyncio.to_thread(self._picture, await self._ended(job_id, request), request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        answer = await self._api.ask("GET", f"/predictions/{_checked(job_id)}", passes=GONE, may_hold_a_picture=True)
        if answer.status in GONE:
            return Settlement(OVER)
        prediction = _prediction(answer)
        if prediction["status"] not in ENDED:
            return Settlement(OPEN)
        try:
            picture, order = await asyncio.to_thread(self._picture, prediction, request), CHARGED
        except ProviderError as error:
            picture, order = None, error.order
        return Settlement(order.merge(_times(prediction)), picture)

    async def cancel(self, job_id: str) -> None:
        ended = frozenset({400, 404, 409, 422})
        await self._api.ask("POST", f"/predictions/{_checked(job_id)}/cancel", passes=ended)

    async def aclose(self) -> None:
        await self._api.aclose()

    async def _ended(self, job_id: str, request: ImageRequest) -> Prediction:
        async def look() -> Prediction | None:
            prediction = await self._look(job_id)
            return prediction if prediction["status"] in ENDED else None

        return await poll(
            look, sleep=self._sleep, estimated_seconds=request.estimated_seconds, job_id=self._api.words(job_id)
        )

    async def _look(self, job_id: str) -> Prediction:
        return _prediction(await self._api.ask("GET", f"/predictions/{_checked(job_id)}", may_hold_a_picture=True))

    async def _recover(self, request: ImageRequest, ordered_at: float, lost: AnswerLost) -> str:
        try:
            job_id = await self._look_for(request, ordered_at, self._settle_seconds)
        except OutcomeUnknown:
            raise
        except ProviderError as error:
            problem = f"{lost} The list of jobs could not be read either: {error}"
            raise OutcomeUnknown(problem) from error
        if job_id is None:
            raise ProviderUnavailable(f"{lost} No job came of it.", code="order_lost") from lost
        return job_id

    async def _look_for(self, request: ImageRequest, ordered_at: float, pause: float) -> str | None:
        """Search once, and again after the pause if the job may still appear."""
        job_id = await self._newest_of(request, ordered_at)
        if job_id is None and pause > 0:
            await self._sleep(pause)
            job_id = await self._newest_of(request, ordered_at)
        return job_id

    async def _newest_of(self, request: ImageRequest, ordered_at: float) -> str | None:
        """The newest job of this order, not counting jobs of other orders of this process."""
        may_be_hidden = False
        async with aclosing(self._recent(ordered_at)) as predictions:
            async for prediction in predictions:
                if self._is_another_orders(prediction, request):
                    continue
                if not _is_of(prediction, request):
                    may_be_hidden = may_be_hidden or _hides_its_inputs(prediction, request)
                    continue
                if "seed" not in request.inputs:
                    raise OutcomeUnknown(f"{NAME} lists a job like this, but without a seed it may be another order's.")
                # Claimed at once: an equal order of another item, lost at the same time, must find the other job.
                job_id = _job_id(prediction)
                self._orders[job_id] = _key(request)
                return job_id
        if may_be_hidden:
            raise OutcomeUnknown(f"{NAME} lists a job of this model whose inputs are removed: it may be this order's.")
        return None

    def _is_another_orders(self, prediction: Prediction, request: ImageRequest) -> bool:
        return self._orders.get(str(prediction.get("id")), _key(request)) != _key(request)

    async def _recent(self, ordered_at: float) -> AsyncGenerator[Prediction]:
        """The predictions since the order, newest first, by Replicate's clock."""
        params: Mapping[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = await self._page(params)
            since = page.served_at - timedelta(seconds=self._clock() - ordered_at) - MARGIN
            for prediction in page.predictions:
                if _is_older(prediction, since):
                    return
                yield prediction
            if page.following is None:
                return
            params = page.following
        raise OutcomeUnknown(f"{NAME} lists too many jobs to find this one.")

    async def _page(self, params: Mapping[str, Any]) -> Page:
        """Try a few times: the fault that lost the order's answer may pass in a moment."""
        for tries in range(LIST_TRIES - 1):
            try:
                return _page(await self._api.ask("GET", "/predictions", params=params))
            except ProviderUnavailable:
                await self._sleep(pause_seconds(tries, None))
            except ProviderBusy as busy:
                await self._sleep(min(busy.retry_after_seconds, LONGEST_HELD_SECONDS))
        return _page(await self._api.ask("GET", "/predictions", params=params))

    def _picture(self, prediction: Prediction, request: ImageRequest) -> Picture:
        match prediction["status"]:
            case "succeeded":
                return self._output(prediction, request)
            case "canceled":
                raise _ended("was cancelled there", code="provider_cancelled", order=CHARGED)
            case "aborted":
                raise _ended("did not start in time", code="provider_timeout", order=NOT_CHARGED)
            case _:
                raise self._failure(prediction)

    def _output(self, prediction: Prediction, request: ImageRequest) -> Picture:
        place = next(inline_pictures.places(prediction.get("output")), None)
        if place is None and prediction.get("data_removed") is True:
            raise _ended("made a picture that has been removed", code="output_expired", order=CHARGED)
        if place is None:
            raise self._no_picture(prediction)
        if inline_pictures.is_address(place):
            return _with_details(RemoteImage(place), prediction, request)
        content = inline_pictures.unpacked(place, service=NAME)
        if content is None:
            problem = f"The job at {NAME} succeeded, and its picture is damaged."
            raise ProviderRejected(problem, code="provider_garbage", order=CHARGED)
        return _with_details(RawImage(content), prediction, request)

    def _no_picture(self, prediction: Prediction) -> ProviderError:
        """The error of a job without a picture. Final: another order would cost again and may have none either.

        Old models leave out pictures that their filter flagged, and say so in their logs.
        """
        logs = str(prediction.get("logs") or "")[:LONGEST_LOGS]
        if _NSFW.search(logs):
            problem = f"{NAME} withheld the picture: it was flagged as not safe for work."
            return ProviderRejected(problem, code="blocked_by_policy", order=CHARGED)
        error = prediction.get("error")
        told = self._api.words(error) if error else ""
        problem = f"The job at {NAME} succeeded without a picture. {told}".strip()
        return ProviderRejected(problem, code="no_output", order=CHARGED)

    def _failure(self, prediction: Prediction) -> ProviderError:
        """The error of a failed job. Replicate does not tell whether it costs: models differ."""
        said = self._api.words(prediction.get("error") or "It does not say why.")
        match _kind_of(said):
            case "policy":
                what, code = f"{NAME} refuses this prompt. {said}", "blocked_by_policy"
            case "input":
                what, code = f"{NAME} refused the request. {said}", "invalid_input"
            case _:
                what = f"The job failed at {NAME}. {said}"
                return ProviderUnavailable(what, code="generation_failed", order=OVER)
        return ProviderRejected(what, code=code, order=OVER)


class _Memory(OrderedDict[str, str]):
    """Remembers the newest entries only."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        if len(self) > MOST_REMEMBERED:
            self.popitem(last=False)


def _order(request: ImageRequest) -> tuple[str, Mapping[str, Any]]:
    """The path and the body of the order.

    A version may come from the user's request: it is always sent as a version of this model, since a bare version
    would run any model that it belongs to, at any price.
    """
    model = _MODEL.fullmatch(request.model or "")
    if model is None:
        raise ProviderRejected(f"{request.model!r} is not a model at {NAME}.", code="model_not_found")
    version = (request.model_version or model["version"] or "").removeprefix(f"{model['model']}:")
    if not version:
        return f"/models/{model['model']}/predictions", {"input": request.inputs}
    if _VERSION.fullmatch(version) is None:
        raise ProviderRejected(f"{model['model']} has no such version.", code="model_not_found")
    return "/predictions", {"version": f"{model['model']}:{version}", "input": request.inputs}


def _key(request: ImageRequest) -> str:
    return request.key or str(request.generation_id)


def _kind_of(error: str) -> str:
    """The kind of a job's error, by its code if that is known, else by its words."""
    codes = frozenset(_CODE.findall(error))
    for kind, known in (("policy", POLICY_CODES), ("input", INPUT_CODES)):
        if codes & known:
            return kind
    if codes & FAULT_CODES:
        return "fault"
    if _BAD_INPUT.search(error) or messages.PARAMETER.search(error):
        return "input"
    if messages.is_policy(error) or _POLICY.search(error):
        return "policy"
    return "fault"


def _checked(job_id: str) -> str:
    if _JOB_ID.fullmatch(job_id) is None:
        raise OutcomeUnknown(f"This is not a job of {NAME}.", code="job_gone")
    return job_id


def _job_id(fields: Mapping[str, Any] | None) -> str:
    job_id = (fields or {}).get("id")
    if not isinstance(job_id, str) or _JOB_ID.fullmatch(job_id) is None:
        problem = f"{NAME} answered the order with something that cannot be understood."
        raise AnswerLost(problem, code="provider_garbage")
    return job_id


def _prediction(answer: Answer) -> Prediction:
    fields = answer.as_object()
    if not has_word(fields, "status", RUNNING | ENDED):
        raise garbage(NAME, "a job")
    return fields


def _page(answer: Answer) -> Page:
    fields = answer.as_object() or {}
    results, following = fields.get("results"), address(fields.get("next"))
    if not isinstance(results, list) or (following is None and fields.get("next") is not None):
        raise garbage(NAME, "a list of jobs")
    rows = [cast("Prediction", row) for row in cast("list[Any]", results) if isinstance(row, dict)]
    return Page(answer.served_at(), rows, dict(parse_qsl(following.query)) or None if following else None)


def _is_older(prediction: Prediction, since: datetime) -> bool:
    created = moment(prediction.get("created_at"))
    return created is not None and created < since


def _is_of(prediction: Prediction, request: ImageRequest) -> bool:
    """Whether a prediction was made with this model and these inputs; it may list defaults besides."""
    shown: Any = prediction.get("input")
    if not isinstance(shown, dict) or prediction.get("source", "api") != "api":
        return False
    inputs = cast("dict[str, Any]", shown)
    is_same = all(name in inputs and inputs[name] == value for name, value in request.inputs.items())
    return bool(request.inputs) and is_same and _is_of_model(prediction, request)


def _is_of_model(prediction: Prediction, request: ImageRequest) -> bool:
    return prediction.get("model") == (request.model or "").partition(":")[0]


def _hides_its_inputs(prediction: Prediction, request: ImageRequest) -> bool:
    """Whether the inputs of a prediction are removed, which accounts may have done at once."""
    return prediction.get("data_removed") is True and _is_of_model(prediction, request)


def _with_details(picture: Picture, prediction: Prediction, request: ImageRequest) -> Picture:
    seed, version = _seed(prediction, request), _version(prediction)
    return replace(picture, seed=seed, version=version, order=OVER.merge(_times(prediction)))


def _seed(prediction: Prediction, request: ImageRequest) -> int | None:
    """The seed that the model reports, else the one it was given."""
    said = _SEED.search(str(prediction.get("logs") or "")[:LONGEST_LOGS])
    if said is not None:
        return int(said[1])
    given = request.inputs.get("seed")
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _version(prediction: Prediction) -> str | None:
    version = prediction.get("version")
    return version if isinstance(version, str) and version not in ("", "hidden") else None


def _times(prediction: Prediction) -> OrderState:
    metrics: Any = prediction.get("metrics")
    measured = number(cast("dict[str, Any]", metrics).get("predict_time")) if isinstance(metrics, dict) else None
    started = prediction.get("started_at")
    running = seconds_between(started, prediction.get("completed_at")) if measured is None else measured
    queued = seconds_between(prediction.get("created_at"), started)
    return OrderState(queued_seconds=queued, running_seconds=running)


def _ended(how: str, *, code: str, order: OrderState) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The job at {NAME} {how}.", code=code, is_provider_fault=code != "provider_cancelled", order=order
    )
