"""Fetch a finished picture from the address that its provider gave, trusting neither the address nor the answer.

The picture goes to an unnamed file, piece by piece: memory stays flat, and a worker that is killed leaves nothing
behind. If orders go through an HTTP proxy, so do pictures. Then the proxy resolves names: names and addresses of the
local network are refused here, and the proxy decides where other names lead.
"""

import asyncio
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import httpcore
import httpx

from batchgen.errors import ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.imaging.limits import LARGEST_DELIVERY_BYTES, MEBIBYTE
from batchgen.order_state import CHARGED, PICTURE_LEFT
from batchgen.pictures.public_network import (
    PUBLIC,
    PublicOnly,
    Resolve,
    Rule,
    is_local_name,
    made_up_address,
    refusal,
    refusal_of,
    resolve_host,
    resolved,
    spelled_address,
)
from batchgen.pictures.temporary_files import unnamed_file, write
from batchgen.providers.base import RemoteImage
from batchgen.settings.proxies import Proxies

PIECE_BYTES = MEBIBYTE
"""The bytes gathered in memory before they are written."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({400, 401, 403, 404, 410})
"""The answers of object stores for an expired link: some give 400 or 401 for an old signature."""

FAULTS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, httpcore.ProxyError)

Origin = tuple[str, str, int]


class LinkExpired(ProviderUnavailable):
    """The picture's link has expired: ask the provider for another one, or the picture is lost."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(
            f"{host} no longer delivers the picture (HTTP {status}).",
            code="link_expired",
            is_provider_fault=False,
            order=PICTURE_LEFT,
        )
        self.status = status


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The limits of a fetch."""

    max_bytes: int = LARGEST_DELIVERY_BYTES
    total_seconds: float = 120
    """From the first name resolution to the last byte, including redirects."""
    connect_seconds: float = 10
    silence_seconds: float = 30
    """The longest wait for the next bytes."""
    max_redirects: int = 4
    max_at_once: int = 64


class Fetcher:
    """Fetches pictures over its own connections. Closed by `async with` or `aclose`.

    Raises `LinkExpired`; `ProviderRejected` for what must not be fetched (`address_refused`, `picture_too_large`,
    `too_many_redirects`); `ProviderUnavailable` for what may work next time (`download_failed`, `download_too_slow`);
    `StorageError` if this machine has no room. Messages name the host and never the URL, which may be secret.
    """

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        folder: Path | None = None,
        resolve: Resolve = resolve_host,
        network: httpcore.AsyncNetworkBackend | None = None,
        certificates: ssl.SSLContext | None = None,
        rule: Rule = PUBLIC,
        proxies: Proxies | None = None,
        any_local_port: bool = False,
    ) -> None:
        """`rule` and `proxies` determine which addresses are reached, and how. `any_local_port`: a named local server
        may deliver pictures from any port of its host, by http or https.

        `folder` holds the unnamed files (default: the system's temporary folder); each takes up to `max_bytes`.

        `network` and `certificates` are for tests and for private certificate authorities.
        """
        self._limits = limits or FetchLimits()
        self._folder = folder
        inner = network or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._inner = inner
        self._resolve = resolve
        self._certificates = certificates
        self._rule = rule
        self._proxies = proxies or Proxies()
        self._any_local_port = any_local_port
        self._public = self._pool(PublicOnly(inner, resolve, rule), certificates)
        self._local = self._pool(inner, certificates)
        self._by_proxy: dict[str, httpcore.AsyncHTTPProxy] = {}

    @asynccontextmanager
    async def fetch(self, image: RemoteImage, *, local_server: str | None = None) -> AsyncGenerator[io.FileIO]:
        """The picture as an open file, at its start; gone when the block ends.

        Every hop must be `https` and a public address. The exception is the origin of `local_server`, the base URL of a
        provider that an operator runs in the local network.
        """
        with unnamed_file(self._folder) as file:
            await self._within_time(image, file, local_server)
            file.seek(0)
            yield file

    async def check_reach(self, api_url: str) -> None:
        """Check, before anything is ordered, that pictures of a provider with this API can be fetched from here.

        Raises `ProviderBusy` (`network_not_public`) if this machine's DNS gives the API an address that is not public.
        No answer from DNS is an outage, which the first order will notice.
        """
        url = parsed(api_url)
        if self._proxies.proxy_for(url) is not None:
            return
        try:
            addresses = await resolved(url.host, _port(url), self._resolve)
        except httpcore.ConnectError:
            return
        problem = refusal_of(url.host, addresses, self._rule)
        if problem is not None and not isinstance(problem, ProviderBusy):
            problem = made_up_address(url.host, next(a for a in addresses if not self._rule.allows(a)))
        if problem is not None:
            raise problem

    async def aclose(self) -> None:
        for pool in self._by_proxy.values():
            await pool.aclose()
        await self._public.aclose()
        await self._local.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _pool(
        self, network: httpcore.AsyncNetworkBackend, certificates: ssl.SSLContext | None
    ) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=certificates,
            max_connections=self._limits.max_at_once,
            keepalive_expiry=30,
            network_backend=network,
        )

    async def _within_time(self, image: RemoteImage, file: io.FileIO, local_server: str | None) -> None:
        url, local = parsed(image.url), parsed(local_server) if local_server else None
        if local is not None:
            url = self._at_the_local_server(url, local)
        deadline = asyncio.timeout(self._limits.total_seconds)
        try:
            async with deadline:
                await self._follow(url, image.headers, file, local)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _too_slow(url, f"did not arrive within {self._limits.total_seconds:g} s") from None
        except httpcore.TimeoutException as error:
            raise _too_slow(url, "stopped coming") from error
        except FAULTS as error:
            raise _failed(url, type(error).__name__) from error

    def _at_the_local_server(self, url: httpx.URL, local: httpx.URL) -> httpx.URL:
        """The URL to fetch: https if the server is reached by https and its links say http."""
        is_the_same = _host(url) == _host(local)
        if is_the_same and (url.scheme, local.scheme) == ("http", "https") and url.port in (None, local.port):
            return url.copy_with(scheme="https", port=local.port)
        if is_the_same and _origin(url) != _origin(local) and not self._any_local_port and is_local_name(url.host):
            raise ProviderUnavailable(
                f"The server at {_shown(local)} names a picture at {_shown(url)}. Set BATCHGEN_PICTURE_PORTS=any to "
                "allow pictures from other ports of its host, or correct the address that the server names.",
                code="address_refused",
                order=PICTURE_LEFT,
            )
        return url

    async def _follow(
        self, url: httpx.URL, headers: Mapping[str, str], file: io.FileIO, local: httpx.URL | None
    ) -> None:
        first = _origin(url)
        # A redirect from a public address to the local server is refused.
        is_first_local = local is not None and self._is_of_the_local_server(url, local)
        local_origin = first if is_first_local else None
        for _ in range(self._limits.max_redirects + 1):
            origin = _origin(url)
            pool = self._pool_for(url, is_local=origin == local_origin)
            next_url = await self._hop(pool, url, headers if origin == first else {}, file)
            if next_url is None:
                return
            url = next_url
        raise ProviderRejected(
            f"{url.host} redirects more than {self._limits.max_redirects} times.",
            code="too_many_redirects",
            order=CHARGED,
        )

    def _is_of_the_local_server(self, url: httpx.URL, local: httpx.URL) -> bool:
        return _origin(url) == _origin(local) or (self._any_local_port and _host(url) == _host(local))

    def _pool_for(self, url: httpx.URL, *, is_local: bool) -> httpcore.AsyncConnectionPool:
        if not is_local and url.scheme != "https":
            raise refusal(f"A picture is only fetched over https, and {url.host or 'this address'} is not.")
        proxy = self._proxies.proxy_for(url)
        if proxy is None:
            return self._local if is_local else self._public
        if not is_local and is_local_name(url.host):
            raise refusal(f"{url.host} is not on the public internet; nothing was fetched from it.")
        return self._by_proxy.get(proxy) or self._proxied(proxy)

    def _proxied(self, proxy: str) -> httpcore.AsyncHTTPProxy:
        url = httpx.URL(proxy)
        self._by_proxy[proxy] = httpcore.AsyncHTTPProxy(
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
            proxy_auth=(url.username.encode(), url.password.encode()) if url.userinfo else None,
            ssl_context=self._certificates,
            max_connections=self._limits.max_at_once,
            keepalive_expiry=30,
            network_backend=self._inner,
        )
        return self._by_proxy[proxy]

    async def _hop(
        self, pool: httpcore.AsyncConnectionPool, url: httpx.URL, headers: Mapping[str, str], file: io.FileIO
    ) -> httpx.URL | None:
        """Fetch from one address; return the next one if it redirects."""
        limits = self._limits
        waits = {"connect": limits.connect_seconds, "read": limits.silence_seconds, "write": limits.silence_seconds}
        own = {"host": url.netloc.decode("ascii"), "accept": "image/*", "accept-encoding": "identity"}
        async with pool.stream(
            "GET",
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=list({**{name.lower(): value for name, value in headers.items()}, **own}.items()),
            extensions={"timeout": {**waits, "pool": limits.total_seconds}},
        ) as response:
            answer = _headers(response)
            if response.status in REDIRECTS:
                return _next(url, answer)
            _check_status(url, response.status, answer)
            await self._save(url, _declared_bytes(answer), response.aiter_stream(), file)
        return None

    async def _save(self, url: httpx.URL, declared: int | None, stream: AsyncIterable[bytes], file: io.FileIO) -> None:
        """Write the stream to the file, and stop as soon as it is too large, whatever was declared."""
        if declared is not None and declared > self._limits.max_bytes:
            raise self._too_large(url)
        piece, received = bytearray(), 0
        async for data in stream:
            received += len(data)
            if received > self._limits.max_bytes:
                raise self._too_large(url)
            piece += data
            if len(piece) >= PIECE_BYTES:
                await asyncio.to_thread(write, file, piece)
                piece.clear()
        await asyncio.to_thread(write, file, piece)

    def _too_large(self, url: httpx.URL) -> ProviderRejected:
        most = self._limits.max_bytes / MEBIBYTE
        return ProviderRejected(
            f"The picture at {url.host} is larger than {most:g} MiB.", code="picture_too_large", order=CHARGED
        )


def parsed(url: str) -> httpx.URL:
    """An absolute http(s) URL. Raises `ProviderRejected`."""
    try:
        address = httpx.URL(url)
        host = address.host  # a name in other scripts is decoded only here, and may be invalid
    except (httpx.InvalidURL, ValueError) as error:
        raise refusal("The picture's address is not a URL.") from error
    has_port = address.port is None or 0 < address.port < 65_536
    if address.scheme not in ("https", "http") or not host or not has_port:
        raise refusal("The picture's address is not an https URL with a host.")
    return address


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, _host(url), _port(url)


def _port(url: httpx.URL) -> int:
    return url.port or {"https": 443, "http": 80}[url.scheme]


def _host(url: httpx.URL) -> str:
    """The host name, or the address that it spells; all names of this machine become localhost."""
    name = url.host.lower().rstrip(".")
    address = spelled_address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return "localhost"
    return str(address or name)


def _shown(url: httpx.URL) -> str:
    """The URL without its path, which may be secret."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _headers(response: httpcore.Response) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _next(url: httpx.URL, answer: Mapping[str, str]) -> httpx.URL:
    location = answer.get("location")
    if not location:
        raise _failed(url, "a redirect without an address")
    try:
        return parsed(str(url.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise refusal(f"{url.host} redirects to an address that is not a URL.") from error


def _check_status(url: httpx.URL, status: int, answer: Mapping[str, str]) -> None:
    if status in GONE:
        raise LinkExpired(url.host, status)
    if status != 200:
        raise _failed(url, f"HTTP {status}")
    if answer.get("content-encoding", "identity").lower() != "identity":
        raise _failed(url, "compressed, which the request did not allow")


def _declared_bytes(answer: Mapping[str, str]) -> int | None:
    text = answer.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _too_slow(url: httpx.URL, what: str) -> ProviderError:
    problem = f"The picture from {url.host} {what}."
    return ProviderUnavailable(problem, code="download_too_slow", order=PICTURE_LEFT)


def _failed(url: httpx.URL, why: str) -> ProviderError:
    problem = f"The picture could not be fetched from {url.host}: {why}."
    return ProviderUnavailable(problem, code="download_failed", order=PICTURE_LEFT)
