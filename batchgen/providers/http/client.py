"""Requests to a provider's HTTP API: each is sent once, its answer is bounded, and the key stays secret.

No request is repeated here, and none follows a redirect. Each order gets a connection of its own: if a server closed
an idle connection while an order was sent on it, nobody could tell whether the order was read.
"""

import asyncio
import base64
import json
import zlib
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

import httpx
from pydantic import HttpUrl, SecretStr, ValidationError

from batchgen.errors import ProviderUnavailable
from batchgen.providers.http.memory_budget import MemoryBudget
from batchgen.settings.keys_and_urls import api_url_error, checked_credentials, checked_key

Scheme = Literal["Bearer", "Basic", "Key"]

REFUSAL_BYTES = 64 * 2**10
REFUSAL_SECONDS = 5.0
"""Limits for reading an answer without success: its status tells the most."""
LONG_BODY_BYTES = 2**20
"""Longer bodies are parsed in a thread, once, and only if they can be a picture: few parts, one of them long."""
MOST_PARTS = 200_000
PACKINGS = frozenset({"gzip", "x-gzip", "deflate"})
WINDOW_BITS = 32 + zlib.MAX_WBITS
"""Lets zlib detect which of the two it is."""
MOST_UNPACKED = 1032
"""The most bytes that one compressed byte can expand to, according to zlib's authors."""
NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    _read: list[Any] = field(default_factory=list[Any], repr=False, compare=False)
    """The parsed body, after the first call of `as_json`."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def as_object(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None if it is not one."""
        value = self.as_json()
        return cast("dict[str, Any]", value) if isinstance(value, dict) else None

    def as_json(self) -> Any:
        """The body as JSON; None if it is not JSON, or has more parts than an answer needs."""
        if not self._read:
            self._read.append(_read_json(self.body))
        return self._read[0]

    def served_at(self) -> datetime:
        """The provider's clock, from its `Date` header; ours if there is none."""
        try:
            served = parsedate_to_datetime(self.headers.get("Date", ""))
        except (ValueError, TypeError, IndexError, OverflowError):
            return datetime.now(UTC)
        served = served if served.tzinfo else served.replace(tzinfo=UTC)
        return served if 2000 < served.year < 3000 else datetime.now(UTC)


class Unanswered(Exception):
    """The request was sent, and no whole answer came back."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class HttpApi:
    """One provider's API at `base_url`. `service` is its name in messages.

    `kept_connections`: how many are kept open for questions. `reads_refusals_whole`: read refusals like other answers,
    not only their beginning.
    """

    def __init__(
        self,
        base_url: str,
        *,
        service: str,
        key: SecretStr | None,
        scheme: Scheme,
        kept_connections: int = 0,
        reads_refusals_whole: bool = False,
    ) -> None:
        self.base_url = _checked_url(service, base_url)
        self._service = service
        self._key = _checked_key(service, key, scheme)
        self._scheme: Scheme = scheme
        self._reads_refusals_whole = reads_refusals_whole
        self._asking = self._client(kept_connections=kept_connections)
        self._ordering = self._client(kept_connections=0)
        self.memory = MemoryBudget()
        """The memory that long answers may take together."""

    async def aclose(self) -> None:
        await self._asking.aclose()
        await self._ordering.aclose()

    def _client(self, *, kept_connections: int) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.base_url,
            auth=_Authorization(self._key, self._scheme) if self._key else None,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "batchgen"},
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=10, pool=10),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept_connections),
        )

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, seconds: float, most_bytes: int, **more: Any
    ) -> Answer:
        """Raises `ProviderUnavailable` if nothing was sent, `Unanswered` if something was."""
        try:
            async with AsyncExitStack() as memory:
                async with asyncio.timeout(seconds), client.stream(method, path, **more) as response:
                    if response.is_success or self._reads_refusals_whole:
                        body = await self._whole(response, most_bytes, memory)
                    else:
                        body = await _beginning(response)
                answer = Answer(response.status_code, response.headers, body)
                if len(body) > LONG_BODY_BYTES:
                    await asyncio.to_thread(answer.as_json)
                return answer
        except NOT_SENT as error:
            what = f"{self._service} cannot be reached ({type(error).__name__})."
            raise ProviderUnavailable(what, code="provider_unreachable") from error
        except TimeoutError as error:
            raise Unanswered(f"gave no answer within {seconds:g} seconds", code="provider_timeout") from error
        except httpx.HTTPError as error:
            raise Unanswered(f"broke off ({type(error).__name__})", code="provider_unreachable") from error
        except Unanswered:
            raise
        except Exception as error:  # httpx lets some through, such as those of a redirect's address or an odd header
            raise Unanswered("answered with something other than HTTP", code="provider_garbage") from error

    async def _whole(self, response: httpx.Response, most_bytes: int, memory: AsyncExitStack) -> bytes:
        """Read the whole body, decompressing it here: a few compressed bytes must not expand without limit.

        `memory` returns to the provider's budget what a long answer takes of it.
        """
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        is_packed = response.is_success and packing not in ("identity", "", "none")
        if is_packed and packing not in PACKINGS:
            raise Unanswered("compresses its answers without being asked", code="provider_garbage")
        body = bytearray()
        is_long = False
        async for chunk in response.aiter_raw():
            if len(body) + len(chunk) > most_bytes:
                body.clear()  # the error keeps this frame alive after the call
                raise _too_long(most_bytes)
            if not is_long and len(body) + len(chunk) > LONG_BODY_BYTES:
                is_long = True
                await memory.enter_async_context(self.memory.taken(_announced(response, most_bytes)))
            body += chunk
        if not is_packed:
            return bytes(body)
        if not is_long and len(body) * MOST_UNPACKED > LONG_BODY_BYTES:  # a short body may expand to a long one
            await memory.enter_async_context(self.memory.taken(min(most_bytes, len(body) * MOST_UNPACKED)))
        return await asyncio.to_thread(_unpacked, body, most_bytes)


def _unpacked(body: bytearray, most_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(WINDOW_BITS)
    try:
        whole = unpacking.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Unanswered("says that its answer is compressed, but it is not", code="provider_garbage") from error
    if len(whole) > most_bytes:
        raise _too_long(most_bytes)
    if not unpacking.eof:
        raise Unanswered("broke off in a compressed answer", code="provider_garbage")
    return whole


def _announced(response: httpx.Response, most_bytes: int) -> int:
    """The length that an answer announces; the most allowed if it is compressed or announces none."""
    length = response.headers.get("Content-Length", "")
    is_plain = "Content-Encoding" not in response.headers and length.isascii() and length.isdigit()
    return min(int(length[:20]), most_bytes) if is_plain else most_bytes


def _too_long(most_bytes: int) -> Unanswered:
    return Unanswered(f"answered with more than {most_bytes} bytes", code="provider_garbage")


async def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()
    with suppress(httpx.HTTPError, TimeoutError):  # the status is known, and it counts most
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= REFUSAL_BYTES:
                    break
    return bytes(body[:REFUSAL_BYTES])


class _Authorization(httpx.Auth):
    """Adds the key to a request when it is sent, and nowhere else."""

    def __init__(self, key: SecretStr, scheme: Scheme) -> None:
        self._key = key
        self._scheme: Scheme = scheme

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = authorization(self._key, self._scheme)
        yield request


def authorization(key: SecretStr, scheme: Scheme) -> str:
    value = key.get_secret_value()
    return f"{scheme} {base64.b64encode(value.encode()).decode() if scheme == 'Basic' else value}"


def _checked_key(service: str, key: SecretStr | None, scheme: Scheme) -> SecretStr | None:
    """The key or `user:password` without surrounding blanks; None if nothing is left."""
    value = key.get_secret_value().strip() if key else ""
    if not value:
        return None
    try:
        return SecretStr(checked_credentials(value) if scheme == "Basic" else checked_key(value))
    except ValueError as error:
        raise ValueError(f"The key for {service} {error}.") from None


def _checked_url(service: str, url: str) -> str:
    """The address of an API without its last slash. A refused one is not repeated: it may contain a password."""
    try:
        error, address = api_url_error(HttpUrl(url)), httpx.URL(url)
    except (ValidationError, httpx.InvalidURL):
        raise ValueError(f"The address of {service} is not an http(s) address.") from None
    if error:
        raise ValueError(f"The address of {service} {error}.")
    return str(address).rstrip("/")


def read_object(text: str | bytes) -> Mapping[str, Any] | None:
    """A JSON object; None if the text is anything else."""
    value = _read_json(text)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def read_list(text: str | bytes) -> list[Any] | None:
    """A JSON list; None if the text is anything else."""
    value = _read_json(text)
    return cast("list[Any]", value) if isinstance(value, list) else None


def _read_json(text: str | bytes) -> Any:
    if len(text) > LONG_BODY_BYTES and _parts_of(text) > MOST_PARTS:
        return None  # a list of lists takes twenty times its length in memory
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parts_of(text: str | bytes) -> int:
    """An upper bound, close to the number, of the values in a JSON text."""
    if isinstance(text, str):
        return sum(text.count(sign) for sign in ",[{")
    return sum(text.count(sign) for sign in (b",", b"[", b"{"))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """The value if it is a JSON list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """The value if it is text, else an empty text."""
    return value if isinstance(value, str) else ""


def whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
