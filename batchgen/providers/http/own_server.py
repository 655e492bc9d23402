"""The API of a server that operators may run themselves, such as ComfyUI or an OpenAI-compatible gateway.

`ask` is for questions, `order` for the one request that makes a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import httpx
from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderUnavailable
from batchgen.providers.http.client import Answer, HttpApi, Scheme, Unanswered, authorization
from batchgen.providers.http.refusals import Reason, Refusal, Refusals, Servers
from batchgen.providers.http.retry_after import retry_after_seconds

QUESTION_SECONDS = 30.0
QUESTION_BYTES = 16 * 2**20
OPERATOR_SECONDS = 300.0
"""The wait if the operator has to act first, for example on a key or an account. No item fails meanwhile."""
BEHIND_A_GATEWAY = frozenset({303, 499, 502, 504, 520, 524, 598, 599})
"""A gateway lost the service, which may have read the request and continued with it. 303 says that it has."""
NOT_REACHED = frozenset({503, 521, 522, 523, 525, 526, 529, 530})
"""The request was not accepted: the service is down or full, or its gateway could not connect to it."""


class OwnServerApi(HttpApi):
    """Calls to one server, each on a connection of its own."""

    def __init__(
        self,
        base_url: str,
        *,
        service: str,
        key: SecretStr | None = None,
        scheme: Scheme = "Bearer",
        question_seconds: float = QUESTION_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(base_url, service=service, key=key, scheme=scheme)
        self._question_seconds = question_seconds
        self._now = now
        self.refusals = Refusals(service, Servers.OWN, OPERATOR_SECONDS, self._key)

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header that authorizes requests to this API. Secret."""
        return {"Authorization": authorization(self._key, self._scheme)} if self._key else {}

    def headers_for(self, url: str) -> Mapping[str, str]:
        """The header that authorizes requests to this API, if the address belongs to it, else nothing."""
        address, own = httpx.URL(url), httpx.URL(self.base_url)
        # Not `host`, which decodes names in other scripts and fails for some of them.
        is_own = (address.scheme, address.raw_host, address.port) == (own.scheme, own.raw_host, own.port)
        return self.authorization if is_own else {}

    async def ask(self, method: str, path: str, *, most_bytes: int = QUESTION_BYTES, **more: Any) -> Answer:
        """Ask something that costs nothing. Raises `ProviderUnavailable` if no whole answer comes."""
        try:
            return await self._send(self._asking, method, path, self._question_seconds, most_bytes, **more)
        except Unanswered as error:
            raise ProviderUnavailable(f"{self._service} {error.reason}.", code=error.code) from error

    async def order(
        self, path: str, body: Mapping[str, Any], *, seconds: float, most_bytes: int, **more: Any
    ) -> Answer:
        """POST an order, once. Raises `OutcomeUnknown` if it was sent and no whole answer came."""
        try:
            answer = await self._send(self._ordering, "POST", path, seconds, most_bytes, json=body, **more)
        except Unanswered as error:
            raise OutcomeUnknown(
                f"{self._service} {error.reason} after the picture was ordered.", code=error.code
            ) from error
        if answer.status in BEHIND_A_GATEWAY:
            raise OutcomeUnknown(f"A gateway before {self._service} answered {answer.status} to the order.")
        if answer.status >= 500 and answer.status not in NOT_REACHED and not gives_a_reason(answer.as_json()):
            # The service itself explains errors as JSON. This answer is from a proxy on the way, or from a crash.
            raise OutcomeUnknown(f"{self._service} answered {answer.status} to the order, and does not say why.")
        return answer

    def error_of(self, answer: Answer, refusal: Refusal) -> ProviderError:
        """The error by the table. A `status` in the refusal counts: some gateways put the real status in the body."""
        return self.refusals.error_of(self.completed(answer, refusal))

    def error(self, reason: Reason, answer: Answer, refusal: Refusal) -> ProviderError:
        """The error for a reason that the provider's own codes give."""
        return self.refusals.error(reason, self.completed(answer, refusal))

    def completed(self, answer: Answer, refusal: Refusal) -> Refusal:
        """The refusal with the answer's status and the wait that it asks for."""
        status = refusal.status or answer.status
        wait = retry_after_seconds(answer.headers, answer.body, now=self._now(), reads_limits=status == 429)
        return replace(refusal, status=status, wait_seconds=wait, asks_to_wait=wait is not None)

    def message(self, what: str, words: object = "") -> str:
        return self.refusals.message(what, words)

    def garbage(self) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self._service} gave an answer that cannot be understood.", code="provider_garbage"
        )


def gives_a_reason(value: Any) -> bool:
    """Whether a JSON answer is an error object, or a list of them, with at least one word in it."""
    parts = cast("list[Any]", value) if isinstance(value, list) else [value]
    return any(isinstance(part, dict) for part in parts) and _has_text(parts)


def _has_text(parts: Sequence[Any]) -> bool:
    waiting = list(parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and part.strip():
            return True
        if isinstance(part, dict):
            waiting += cast("dict[str, Any]", part).values()
        elif isinstance(part, list):
            waiting += cast("list[Any]", part)
    return False
