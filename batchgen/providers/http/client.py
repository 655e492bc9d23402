"""Requests to a provider's HTTP API: each is sent once, its answer is bounded, and the key stays secret.

No request is repeated here and none follows a redirect. Each purchase gets a connection of its own: where a server
closes an idle one just as a purchase goes out on it, nobody could say whether the purchase was read.
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
from pydantic import SecretStr

from batchgen.errors import ProviderUnavailable
from batchgen.providers.long_answers import MemoryBudget

Scheme = Literal["Bearer", "Basic", "Key"]

COMPLAINT_BYTES = 64 * 2**10
COMPLAINT_SECONDS = 5.0
"""How much is read of an answer that is no success, and for how long: the status has told the most."""
LONG_BODY_BYTES = 2**20
"""Longer ones are read in a thread, once, and only where they can be a picture: few parts, one of them long."""
MOST_PARTS = 200_000
PACKINGS = frozenset({"gzip", "x-gzip", "deflate"})
WINDOW_BITS = 32 + zlib.MAX_WBITS
"""Lets zlib see by itself which of the two it is."""
MOST_UNPACKED = 1032
"""Bytes that one packed byte can unfold to at most, as zlib's authors say."""
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
    """The body as JSON, once somebody has asked for it."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def as_object(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None where it is none."""
        value = self.as_json()
        return cast("dict[str, Any]", value) if isinstance(value, dict) else None

    def as_json(self) -> Any:
        """The body as JSON, whatever it is; None where it is no JSON, or more of it than an answer needs."""
        if not self._read:
            self._read.append(_read_json(self.body))
        return self._read[0]

    def served_at(self) -> datetime:
        """The provider's own clock, as its `Date` header has it; ours where there is none."""
        try:
            served = parsedate_to_datetime(self.headers.get("Date", ""))
        except (ValueError, TypeError, IndexError, OverflowError):
            return datetime.now(UTC)
        served = served if served.tzinfo else served.replace(tzinfo=UTC)
        return served if 2000 < served.year < 3000 else datetime.now(UTC)


class Unanswered(Exception):
    """The request went out, and what came back is no whole answer."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class HttpApi:
    """One provider's API at `base_url`. `service` is its name in messages. Each kind of provider sorts refusals itself.

    `kept_connections`: so many are kept for the next question. `reads_refusals_whole`: a refusal is worth as much as
    another answer; of others only the beginning is read.
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
        self.base_url = checked_url(base_url)
        self._service = service
        self._key = checked_key(key)
        self._scheme: Scheme = scheme
        self._reads_refusals_whole = reads_refusals_whole
        self._asking = self._client(kept_connections=kept_connections)
        self._ordering = self._client(kept_connections=0)
        self.memory = MemoryBudget()
        """What long answers may take together."""

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
        """Raises `ProviderUnavailable` where nothing went out, `Unanswered` where it did."""
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
        except Exception as error:  # httpx lets some through: of a redirect's address, of a header in odd letters
            raise Unanswered("answered with something that is no HTTP", code="provider_garbage") from error

    async def _whole(self, response: httpx.Response, most_bytes: int, memory: AsyncExitStack) -> bytes:
        """As it came, or unpacked by us: what a few packed bytes unfold to has to be bounded.

        `memory` gives back what a long answer takes of the provider's budget.
        """
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        is_packed = response.is_success and packing not in ("identity", "", "none")
        if is_packed and packing not in PACKINGS:
            raise Unanswered("packs its answers without being asked", code="provider_garbage")
        body = bytearray()
        is_long = False
        async for chunk in response.aiter_raw():
            if len(body) + len(chunk) > most_bytes:
                body.clear()  # the error outlives this call, and its frames with it
                raise _too_long(most_bytes)
            if not is_long and len(body) + len(chunk) > LONG_BODY_BYTES:
                is_long = True
                await memory.enter_async_context(self.memory.taken(_announced(response, most_bytes)))
            body += chunk
        if not is_packed:
            return bytes(body)
        if not is_long and len(body) * MOST_UNPACKED > LONG_BODY_BYTES:  # a short one may hold a long one
            await memory.enter_async_context(self.memory.taken(min(most_bytes, len(body) * MOST_UNPACKED)))
        return await asyncio.to_thread(_unpacked, body, most_bytes)


def _unpacked(body: bytearray, most_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(WINDOW_BITS)
    try:
        whole = unpacking.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Unanswered("says that its answer is packed, and it is not", code="provider_garbage") from error
    if len(whole) > most_bytes:
        raise _too_long(most_bytes)
    if not unpacking.eof:
        raise Unanswered("broke off in a packed answer", code="provider_garbage")
    return whole


def _announced(response: httpx.Response, most_bytes: int) -> int:
    """How long an answer says that it is; as long as it may be where it is packed or does not say so."""
    length = response.headers.get("Content-Length", "")
    is_plain = "Content-Encoding" not in response.headers and length.isascii() and length.isdigit()
    return min(int(length[:20]), most_bytes) if is_plain else most_bytes


def _too_long(most_bytes: int) -> Unanswered:
    return Unanswered(f"answered more than {most_bytes} bytes", code="provider_garbage")


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
        raise ValueError(
            "A provider's key contains control characters or characters outside ASCII; paste only the key."
        )
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
    if len(text) > LONG_BODY_BYTES and _parts_of(text) > MOST_PARTS:
        return None  # a list of lists takes twenty times its length in memory
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parts_of(text: str | bytes) -> int:
    """How many values a JSON text has, or a few more."""
    if isinstance(text, str):
        return sum(text.count(sign) for sign in ",[{")
    return sum(text.count(sign) for sign in (b",", b"[", b"{"))


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
