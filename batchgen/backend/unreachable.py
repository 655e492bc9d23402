"""Error messages for requests without a response: the address, the reason and the remedy."""

import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_address

import httpx

from batchgen.errors import BackendUnavailable


def no_response(what: str, error: BaseException) -> BackendUnavailable:
    """The error for a request without a response; `what` names the call. Shows no user, password, path or query."""
    url = _url(error)
    reason = _reason(error)
    where = f" from {origin(url)}" if url else ""
    return BackendUnavailable(f"{what}: no answer{where} ({reason}).", remedy=_remedy(error, url))


def origin(url: httpx.URL) -> str:
    """Scheme, host and port."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")


def is_loopback(url: httpx.URL) -> bool:
    if url.host == "localhost" or url.host.endswith(".localhost"):
        return True
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return "the host name cannot be resolved"
            case ssl.SSLCertVerificationError():
                return f"the certificate is not trusted: {getattr(cause, 'verify_message', '') or cause}"
            case ssl.SSLError():
                return f"TLS failed: {getattr(cause, 'reason', '') or cause}"
            case ConnectionRefusedError():
                return "connection refused"
            case ConnectionResetError() | httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
                return "the connection was lost"
            case httpx.ConnectTimeout():
                return "connecting timed out"
            case httpx.PoolTimeout():
                return "too many concurrent requests on this side"
            case httpx.TimeoutException():
                return "timed out"
            case httpx.ProxyError():
                return "the proxy refused"
            case httpx.TooManyRedirects():
                return "too many redirects"
            case _:
                continue
    return type(_root(error)).__name__


def _remedy(error: BaseException, url: httpx.URL | None) -> str:
    causes = tuple(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "Check SUPABASE_URL and the network; a project that is paused or deleted has no address."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "Check SUPABASE_URL (http or https?), this machine's clock and its certificates."
    if url and is_loopback(url):
        return "Is the stack running? Start it with batchgen dev, and check that SUPABASE_URL is its address."
    if any(isinstance(cause, httpx.TimeoutException) for cause in causes):
        return "Try again; BATCHGEN_REQUEST_TIMEOUT_SECONDS is the longest wait for a response."
    return "Check SUPABASE_URL and the network, then try again."


def _url(error: BaseException) -> httpx.URL | None:
    for cause in _causes(error):
        if isinstance(cause, httpx.RequestError):
            try:
                return cause.request.url
            except RuntimeError:  # raised before there was a request
                continue
    return None


def _root(error: BaseException) -> BaseException:
    """The error of httpx, if there is one: the layers around and below it say less."""
    return next((cause for cause in _causes(error) if isinstance(cause, httpx.HTTPError)), error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the deepest first, since it is the most specific."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    return reversed(chain)
