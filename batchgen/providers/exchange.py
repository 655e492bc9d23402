"""Requests to a provider's HTTP API: each is sent once, its answer is bounded, and every fault becomes one of ours.

No request is repeated here and none follows a redirect. Each gets a connection of its own: where a server closes an
idle one just as a purchase goes out on it, nobody could say whether the purchase was read.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import httpx
from pydantic import SecretStr

from batchgen.errors import (
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.retry_after import retry_after_seconds

Scheme = Literal["Bearer", "Basic"]

QUESTION_SECONDS = 30.0
QUESTION_BYTES = 16 * 2**20
COMPLAINT_BYTES = 64 * 2**10
COMPLAINT_SECONDS = 5.0
"""How much is read of an answer that is no success, and for how long: the status has told the most."""
LONGEST_MESSAGE = 300
BUSY_SECONDS = 10.0
"""The wait where a 429 does not say how long."""
OPERATOR_SECONDS = 300.0
"""The wait where the operator has to do something first: a key, an account. No item fails meanwhile."""
NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
BEHIND_A_GATEWAY = frozenset({502, 504, 520, 524})
"""A gateway lost sight of the service, which may have read the request and gone on with it."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def as_object(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None where it is none."""
        return read_object(self.body)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the body of a refusal says, in the provider's own words."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    """The provider's codes and types, lower case."""
    field: str = ""
    """The input that it is about."""


class _Unanswered(Exception):
    """The request went out, and what came back is no whole answer."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Exchange:
    """One provider's API at `base_url`. `service` is its name in messages.

    `ask` is for questions, `buy` for the one request that makes a picture.
    """

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
        self.base_url = checked_url(base_url)
        self._service = service
        self._key = checked_key(key)
        self._scheme: Scheme = scheme
        self._question_seconds = question_seconds
        self._now = now
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            auth=_Authorization(self._key, scheme) if self._key else None,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "batchgen"},
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=10, pool=10),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header that opens this API. Secret."""
        return {"Authorization": authorization(self._key, self._scheme)} if self._key else {}

    def headers_for(self, url: str) -> Mapping[str, str]:
        """The header that opens this API where the address belongs to it, and nothing where it is another's."""
        address, own = httpx.URL(url), httpx.URL(self.base_url)
        is_own = (address.scheme, address.host, address.port) == (own.scheme, own.host, own.port)
        return self.authorization if is_own else {}

    async def ask(self, method: str, path: str, *, most_bytes: int = QUESTION_BYTES, **more: Any) -> Answer:
        """Ask something that costs nothing. Raises `ProviderUnavailable` where there is no whole answer."""
        try:
            return await self._send(method, path, self._question_seconds, most_bytes, **more)
        except _Unanswered as error:
            raise ProviderUnavailable(f"{self._service} {error.reason}.", code=error.code) from error

    async def buy(self, path: str, body: Mapping[str, Any], *, seconds: float, most_bytes: int, **more: Any) -> Answer:
        """POST a purchase, once. Raises `OutcomeUnknown` where it went out and no whole answer came."""
        try:
            answer = await self._send("POST", path, seconds, most_bytes, json=body, **more)
        except _Unanswered as error:
            raise OutcomeUnknown(
                f"{self._service} {error.reason} after the picture was ordered.", code=error.code
            ) from error
        if answer.status in BEHIND_A_GATEWAY:
            raise OutcomeUnknown(f"A gateway before {self._service} answered {answer.status} to the order.")
        return answer

    def refusal(self, answer: Answer, complaint: Complaint) -> ProviderError:
        """What an answer without success means, where the provider's own codes say nothing else."""
        wait = retry_after_seconds(answer.headers, answer.body, now=self._now())
        match answer.status:
            case 429:
                return self.busy(complaint, wait)
            case 401 | 407:  # the text may hold a part of the key
                return self.key_refused(Complaint())
            case 403:
                return self.key_refused(complaint)
            case 402:
                return self.account_empty(complaint)
            case 503 | 529 if wait is not None:
                return self.busy(complaint, wait)
            case 408 | 409 | 425:
                return self.unavailable(answer, complaint)
            case 404 | 405 | 410:
                return self.misplaced(answer)
            case status if 400 <= status < 500:
                return ProviderRejected(self.says("refuses the request", complaint), code="invalid_input")
            case status if status >= 500:
                return self.unavailable(answer, complaint)
            case _:
                return self.misplaced(answer)

    def busy(self, complaint: Complaint, wait: float | None) -> ProviderBusy:
        seconds = BUSY_SECONDS if wait is None else wait
        return ProviderBusy(self.says("asks to wait", complaint), retry_after_seconds=seconds)

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
        words = " ".join(complaint.message.split())
        if self._key:
            words = words.replace(self._key.get_secret_value(), "[key]")
        words = words if len(words) <= LONGEST_MESSAGE else f"{words[:LONGEST_MESSAGE]}…"
        return f"{self._service} {what}: {words}" if words else f"{self._service} {what}."

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(self, method: str, path: str, seconds: float, most_bytes: int, **more: Any) -> Answer:
        try:
            async with asyncio.timeout(seconds), self._http.stream(method, path, **more) as response:
                return Answer(response.status_code, response.headers, await _read(response, most_bytes))
        except NOT_SENT as error:
            what = f"{self._service} cannot be reached ({type(error).__name__})."
            raise ProviderUnavailable(what, code="provider_unreachable") from error
        except TimeoutError as error:
            raise _Unanswered(f"gave no answer within {seconds:g} seconds", code="provider_timeout") from error
        except httpx.HTTPError as error:
            raise _Unanswered(f"broke off ({type(error).__name__})", code="provider_unreachable") from error


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    """The body, as far as it is wanted: whole where the request succeeded, its beginning where not."""
    if not response.is_success:
        return await _beginning(response)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _Unanswered("packs its answers without being asked", code="provider_garbage")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most_bytes:
            raise _Unanswered(f"answered more than {most_bytes} bytes", code="provider_garbage")
    return bytes(body)


async def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()
    with suppress(httpx.HTTPError, TimeoutError):  # the status is known, and that is what counts
        async with asyncio.timeout(COMPLAINT_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= COMPLAINT_BYTES:
                    break
    return bytes(body[:COMPLAINT_BYTES])


class _Authorization(httpx.Auth):
    """Puts the key into a request when it is sent, and nowhere else."""

    def __init__(self, key: SecretStr, scheme: Scheme) -> None:
        self._key = key
        self._scheme: Scheme = scheme

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = authorization(self._key, self._scheme)
        yield request


def authorization(key: SecretStr, scheme: Scheme) -> str:
    value = key.get_secret_value()
    return f"{scheme} {base64.b64encode(value.encode()).decode() if scheme == 'Basic' else value}"


def checked_key(key: SecretStr | None) -> SecretStr | None:
    """The key without blanks around it; None where nothing is left. HTTP's own error would print a malformed one."""
    value = key.get_secret_value().strip() if key else ""
    if not value.isascii() or not value.isprintable():
        raise ValueError("A provider's key has characters that no key has; was it pasted whole and alone?")
    return SecretStr(value) if value else None


def checked_url(url: str) -> str:
    """An http(s) address of an API without its last slash. One with a password in it is refused and not repeated."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"A provider's address cannot be read: {error}.") from None
    if parts.userinfo or parts.query or parts.fragment:
        raise ValueError(
            "A provider's address holds no user, password, query or fragment; keys are settings of their own."
        )
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError(f"{url} is no http(s) address of a provider.")
    return str(parts).rstrip("/")


def read_object(text: str | bytes) -> Mapping[str, Any] | None:
    """A JSON object; None where the text is none, whatever it is."""
    value = _read_json(text)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def read_list(text: str | bytes) -> list[Any] | None:
    """A JSON list; None where the text is none, whatever it is."""
    value = _read_json(text)
    return cast("list[Any]", value) if isinstance(value, list) else None


def _read_json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is a JSON object; an empty one where not."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """The value where it is a JSON list; an empty one where not."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """The value where it is text; none where not."""
    return value if isinstance(value, str) else ""


def whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
