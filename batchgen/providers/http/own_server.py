"""The API of a server that one may run oneself: how its refusals and its silence are to be understood.

`ask` is for questions, `buy` for the one request that makes a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import httpx
from pydantic import SecretStr

from batchgen.errors import (
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.providers.http import messages
from batchgen.providers.http.client import BUSY_SECONDS, Answer, HttpApi, Scheme, Unanswered, authorization
from batchgen.providers.http.retry_after import patient, retry_after_seconds

QUESTION_SECONDS = 30.0
QUESTION_BYTES = 16 * 2**20
LONGEST_MESSAGE = 300
OPERATOR_SECONDS = 300.0
"""The wait where the operator has to do something first: a key, an account. No item fails meanwhile."""
BEHIND_A_GATEWAY = frozenset({303, 499, 502, 504, 520, 524, 598, 599})
"""A gateway lost sight of the service, which may have read the request and gone on with it. 303 says that it has."""
NOT_REACHED = frozenset({503, 521, 522, 523, 525, 526, 529, 530})
"""Nobody took the request: the service is down or full, or its gateway could not connect to it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the body of a refusal says, in the provider's own words."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    """The provider's codes and types, lower case."""
    field: str = ""
    """The input that it is about."""


class Exchange(HttpApi):
    """Each request has a connection of its own."""

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

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header that opens this API. Secret."""
        return {"Authorization": authorization(self._key, self._scheme)} if self._key else {}

    def headers_for(self, url: str) -> Mapping[str, str]:
        """The header that opens this API where the address belongs to it, and nothing where it is another's."""
        address, own = httpx.URL(url), httpx.URL(self.base_url)
        # Not `host`, which unfolds names in other scripts and fails at some of them.
        is_own = (address.scheme, address.raw_host, address.port) == (own.scheme, own.raw_host, own.port)
        return self.authorization if is_own else {}

    async def ask(self, method: str, path: str, *, most_bytes: int = QUESTION_BYTES, **more: Any) -> Answer:
        """Ask something that costs nothing. Raises `ProviderUnavailable` where there is no whole answer."""
        try:
            return await self._send(self._asking, method, path, self._question_seconds, most_bytes, **more)
        except Unanswered as error:
            raise ProviderUnavailable(f"{self._service} {error.reason}.", code=error.code) from error

    async def buy(self, path: str, body: Mapping[str, Any], *, seconds: float, most_bytes: int, **more: Any) -> Answer:
        """POST a purchase, once. Raises `OutcomeUnknown` where it went out and no whole answer came."""
        try:
            answer = await self._send(self._buying, "POST", path, seconds, most_bytes, json=body, **more)
        except Unanswered as error:
            raise OutcomeUnknown(
                f"{self._service} {error.reason} after the picture was ordered.", code=error.code
            ) from error
        if answer.status in BEHIND_A_GATEWAY:
            raise OutcomeUnknown(f"A gateway before {self._service} answered {answer.status} to the order.")
        if answer.status >= 500 and answer.status not in NOT_REACHED and not gives_a_reason(answer.as_json()):
            # The service itself says what is wrong, as JSON. This comes from somewhere on the way, or out of a crash.
            raise OutcomeUnknown(f"{self._service} answered {answer.status} to the order, and does not say why.")
        return answer

    def refusal(
        self, answer: Answer, complaint: Complaint, *, status: int | None = None, model: str | None = None
    ) -> ProviderError:
        """What an answer without success means, where the provider's own codes say nothing else.

        `status`: the one that counts, where the body names another. `model`: the one that was ordered. What an answer
        says of it alone concerns no other one.
        """
        status = answer.status if status is None else status
        wait = self.wait_in(answer, status)
        match status:
            case 429:
                return self.busy(complaint, wait, model=model)
            case 401 | 407:  # the text may hold a part of the key
                return self.key_refused(Complaint())
            case 403:
                return self.forbidden(complaint, model=model)
            case 402:
                return self.account_empty(complaint)
            case 503 | 529 if wait is not None:
                return self.busy(complaint, wait, model=model)
            case 400 if messages.KEY.search(complaint.message):
                return self.key_refused(Complaint())
            case 408 | 409 | 425:
                return self.unavailable(answer, complaint)
            case 404 | 410 if messages.speaks_of(complaint.message, model):
                return ProviderRejected(self.says("does not have this model", complaint), code="model_not_found")
            case 404 | 405 | 410:
                return self.misplaced(answer)
            case status if 400 <= status < 500:
                return ProviderRejected(self.says("refuses the request", complaint), code="invalid_input")
            case status if status >= 500:
                return self.unavailable(answer, complaint)
            case _:
                return self.misplaced(answer)

    def wait_in(self, answer: Answer, status: int) -> float | None:
        """How long an answer asks to wait. Some services tell in each answer when their limits are whole again."""
        return retry_after_seconds(answer.headers, answer.body, now=self._now(), reads_limits=status == 429)

    def busy(self, complaint: Complaint, wait: float | None, *, model: str | None = None) -> ProviderError:
        """Of the whole provider, or of the one model whose limit the answer speaks of."""
        seconds = BUSY_SECONDS if wait is None else patient(wait)
        if messages.speaks_of(complaint.message, model):
            what = self.says(f"asks to wait with {model}", complaint)
            return ModelUnusable(what, code="model_busy", retry_after_seconds=seconds)
        return ProviderBusy(self.says("asks to wait", complaint), retry_after_seconds=seconds)

    def forbidden(self, complaint: Complaint, *, model: str | None = None) -> ProviderError:
        """Of the account, of the key, or of the one model that is not for this account."""
        said = complaint.message[: messages.LONGEST_READ]
        if messages.ACCOUNT_BLOCKED.search(said) or messages.KEY.search(said):
            return self.key_refused(complaint)
        if messages.speaks_of(said, model) or (
            model and (complaint.field == "model" or messages.OF_A_MODEL.search(said))
        ):
            return self.model_refused(complaint, model)
        return self.account_empty(complaint) if messages.MONEY.search(said) else self.key_refused(complaint)

    def model_refused(self, complaint: Complaint, model: str | None) -> ModelUnusable:
        """The operator's to mend; other models go on."""
        what = self.says(f"does not let this account use {model}", complaint)
        return ModelUnusable(
            f"{what} {messages.remedy(complaint.message)}.",
            code="model_not_allowed",
            retry_after_seconds=OPERATOR_SECONDS,
        )

    def key_refused(self, complaint: Complaint) -> ProviderBusy:
        """The operator's fault and nobody else's: items wait for it, and no attempt is used up."""
        what = self.says("does not accept the key that it was given", complaint)
        return ProviderBusy(what, code="provider_key_refused", retry_after_seconds=OPERATOR_SECONDS)

    def account_empty(self, complaint: Complaint) -> ProviderBusy:
        what = self.says("sells nothing to this account until it is paid up", complaint)
        return ProviderBusy(what, code="provider_account_empty", retry_after_seconds=OPERATOR_SECONDS)

    def unavailable(self, answer: Answer, complaint: Complaint) -> ProviderUnavailable:
        code = "out_of_memory" if "out of memory" in complaint.message.lower() else "provider_unavailable"
        return ProviderUnavailable(self.says(f"answered {answer.status}", complaint), code=code)

    def misplaced(self, answer: Answer) -> ProviderUnavailable:
        what = f"{self._service} answered {answer.status}: its API is not at this address."
        return ProviderUnavailable(what, code="provider_garbage")

    def garbage(self) -> ProviderUnavailable:
        return ProviderUnavailable(f"{self._service} gave an answer that makes no sense.", code="provider_garbage")

    def says(self, what: str, complaint: Complaint) -> str:
        """A sentence of ours with the provider's own words behind it: one line, not long, and without the key."""
        secret = self._key.get_secret_value() if self._key else ""
        said = messages.shown(complaint.message, LONGEST_MESSAGE, secret=secret)
        return f"{self._service} {what}: {said}" if said else f"{self._service} {what}."


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
