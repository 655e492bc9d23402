"""OpenAI's images API, and other servers with the same API: LocalAI, vLLM-Omni, xAI, gateways.

Written from developers.openai.com: API reference, "Create image" (`POST /images/generations`, answers with `url` or
`b64_json`, links live for 60 minutes); the guide "Error codes" (docs/guides/error-codes: billing refusals come as 429
and are told apart by `error.code`); "API overview", "Debugging requests" (`X-Client-Request-Id`). Answers and
parameters from the types of openai-python (commit e43b4224, `types/images_response.py`,
`types/image_generate_params.py`); servers like it from LocalAI (commit 82c191af, `reference/api-errors.md`,
`endpoints/openai/image.go`).

The official client is not used: by default it repeats a POST twice on timeouts, 408, 409, 429 and 5xx, reads answers of
any size and reuses connections. The API has no list of past pictures and no idempotent orders, so an order whose
answer was lost stays unknown.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import httpx
from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED, OVER, OrderState
from batchgen.providers import openai_answers as answers
from batchgen.providers.base import ImageRequest, RawImage, RemoteImage, Settlement
from batchgen.providers.http import inline_pictures
from batchgen.providers.http.client import Answer, mapping, text, whole_number
from batchgen.providers.http.own_server import OwnServerApi, gives_a_reason
from batchgen.providers.http.refusals import SENTENCES, Reason, Refusal
from batchgen.providers.http.synchronous import SynchronousJobs
from batchgen.providers.openai_answers import refusal_of

OPENAI_URL = "https://api.openai.com/v1"
ANSWER_SECONDS = 600.0
ANSWER_BYTES = inline_pictures.LARGEST_ANSWER_BYTES
MOST_PLACES = 10
FORMAT_FIELD = "response_format"
LONGEST_ID = 512
"""Of `X-Client-Request-Id`."""


class OpenAIImagesProvider:
    """Pictures from `POST {base_url}/images/generations`, which answers with the picture itself.

    The body is the request's `inputs`, with model and prompt added if missing. `is_free`: the operator's own server, so
    that a picture whose answer was lost is made again, and a cancelled one is dropped.
    """

    is_synchronous = True

    def __init__(
        self,
        *,
        key: SecretStr | None = None,
        base_url: str = OPENAI_URL,
        name: str = "openai",
        is_free: bool = False,
        answer_seconds: float = ANSWER_SECONDS,
        most_bytes: int = ANSWER_BYTES,
    ) -> None:
        self.name = name
        self._api = OwnServerApi(base_url, service=name, key=key)
        self._is_free = is_free
        self._answer_seconds = answer_seconds
        self._most_bytes = most_bytes
        self._jobs = SynchronousJobs(name, self._order, is_free=is_free)
        self._without_format: set[str | None] = set()
        """Models that refuse `response_format`, such as OpenAI's newer ones, which answer with the picture itself."""

    async def submit(self, request: ImageRequest) -> str:
        """Mint the job's id. The first `wait` sends the order, after the id has been stored."""
        return self._jobs.mint(request)

    async def find(self, request: ImageRequest) -> str | None:
        """The job of this process with the same key. None: nothing can have been ordered under an id that was lost."""
        return self._jobs.find(request)

    async def wait(self, job_id: str, request: ImageRequest) -> RawImage | RemoteImage:
        """Order the picture and wait for it. Raises `OutcomeUnknown` for a job of another process."""
        return await self._jobs.wait(job_id, request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:  # noqa: ARG002 - others need the request
        """What this process knows; nothing is known of other processes' jobs."""
        return self._jobs.settle(job_id)

    async def cancel(self, job_id: str) -> None:
        """Withdraw an order that was not sent yet. A paid one cannot be stopped: `settle` returns its picture."""
        self._jobs.cancel(job_id)

    async def aclose(self) -> None:
        """Close connections. Wait for running orders first: their pictures are lost otherwise."""
        await self._jobs.aclose()
        await self._api.aclose()

    async def _order(self, _job_id: str, request: ImageRequest) -> RawImage | RemoteImage:
        body = {**({"model": request.model} if request.model else {}), "prompt": request.prompt, **request.inputs}
        if request.model in self._without_format:
            body.pop(FORMAT_FIELD, None)
        answer = await self._send_order(body, request)
        if FORMAT_FIELD in body and _refuses_format(answer):
            self._without_format.add(request.model)
            del body[FORMAT_FIELD]
            answer = await self._send_order(body, request)
        if not answer.is_success:
            raise self._refused(answer, request)
        return await asyncio.to_thread(self._picture, answer, request)

    async def _send_order(self, body: Mapping[str, object], request: ImageRequest) -> Answer:
        return await self._api.order(
            "/images/generations",
            body,
            seconds=self._answer_seconds,
            most_bytes=self._most_bytes,
            headers=_names_of(request),
        )

    def _picture(self, answer: Answer, request: ImageRequest) -> RawImage | RemoteImage:
        """Read the picture: CPU work on a text that may be long; call it in a thread."""
        value = answers.value_of(answer)
        if answers.error_in(mapping(value)) or answers.error_of(answer):
            # An error without a word is no reason to order again.
            raise self._refused(answer, request) if gives_a_reason(value) else self._senseless()
        pictures = answers.pictures_in(value)
        if pictures == []:
            what = f"{self.name} answered without a picture, which may mean that its policy blocked it."
            raise ProviderRejected(what, code="no_image", order=self._ended)
        if pictures is None:
            raise self._senseless()
        return self._read(pictures[0])

    def _read(self, picture: object) -> RawImage | RemoteImage:
        fields = mapping(picture)
        seed = whole_number(fields.get("seed"))
        # A picture in the answer is preferred to an address, which may not work.
        places = [*islice(inline_pictures.places(picture, name="image"), MOST_PLACES)]
        place = next((one for one in places if not inline_pictures.is_address(one)), places[0] if places else None)
        if place is None:
            packed = text(fields.get("b64_json"))
            place = packed if packed and not packed.isspace() else None
        if place is None and fields.get("respect_moderation") is False:
            what = f"{self.name} blocked the picture by its policy."
            raise ProviderRejected(what, code="blocked_by_policy", order=self._ended)
        if place is None:
            raise self._senseless()
        if inline_pictures.is_address(place):
            return RemoteImage(place, self._headers_for(place), seed=seed)
        return RawImage(self._unpacked(place), seed=seed)

    def _headers_for(self, url: str) -> Mapping[str, str]:
        try:
            return self._api.headers_for(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise self._senseless() from error

    def _unpacked(self, packed: str) -> bytes:
        content = inline_pictures.unpacked(packed, service=self.name)
        if content is None:
            raise self._senseless()
        return content

    def _refused(self, answer: Answer, request: ImageRequest) -> ProviderError:
        """The error by the answer's codes; if they say nothing, by its status and words."""
        said = refusal_of(answer)
        codes, status = said.codes, answers.status_of(answer, said)
        refusal = replace(said, status=status, model=request.model)
        if codes & answers.ACCOUNT_CODES:
            return self._api.error(Reason.ACCOUNT_EMPTY, answer, refusal)
        if codes & answers.KEY_CODES:
            return self._api.error(Reason.KEY_REFUSED, answer, Refusal())
        if codes & answers.POLICY_CODES or status == 451:
            return self._blocked(answer, refusal)
        if codes & answers.WAIT_CODES:
            return self._api.error(Reason.BUSY, answer, replace(refusal, status=429))
        if codes & answers.MODEL_CODES or (400 <= status < 500 and refusal.field == "model"):
            reason = Reason.MODEL_NOT_ALLOWED if status == 403 else Reason.MODEL_NOT_FOUND
            return self._api.error(reason, answer, refusal)
        if not codes & (answers.INPUT_CODES | answers.FAULT_CODES) and answers.is_policy(status, refusal):
            return self._blocked(answer, refusal)
        if answer.is_success and (status == answer.status or codes & answers.FAULT_CODES):
            what = self._api.message("answered with an error", refusal.message)
            return ProviderUnavailable(what, code="provider_unavailable", order=self._ended)
        return self._api.error_of(answer, refusal)

    def _blocked(self, answer: Answer, refusal: Refusal) -> ProviderRejected:
        stage = text(mapping(answers.error_of(answer).get("moderation_details")).get("moderation_stage"))
        order = self._ended if stage == "output" or answer.is_success else NOT_CHARGED
        what = self._api.message(SENTENCES[Reason.BLOCKED], refusal.message)
        return ProviderRejected(what, code="blocked_by_policy", order=order)

    @property
    def _ended(self) -> OrderState:
        """The state of an order that was answered without a picture."""
        return NOT_CHARGED if self._is_free else OVER

    def _senseless(self) -> ProviderError:
        """The order was answered with something unreadable: it may be charged."""
        return OutcomeUnknown(
            f"{self.name} answered the order with something other than a picture.", code="provider_garbage"
        )


def _refuses_format(answer: Answer) -> bool:
    """Whether an order was refused for `response_format` alone: it can be sent again without that field."""
    if answer.status not in (400, 422):
        return False
    refusal = refusal_of(answer)
    return refusal.field == FORMAT_FIELD or (not refusal.field and FORMAT_FIELD in refusal.message)


def _names_of(request: ImageRequest) -> Mapping[str, str]:
    """Headers by which people can find the order at the provider; some gateways also honour the key."""
    key = request.key if request.key.isascii() and request.key.isprintable() else ""
    return {"X-Client-Request-Id": key[:LONGEST_ID], "Idempotency-Key": key[:LONGEST_ID]} if key else {}
