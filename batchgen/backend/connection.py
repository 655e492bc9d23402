"""A supabase-py client with batchgen's timeouts and limits."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import cast

import httpx
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from batchgen.backend.realtime import close_client
from batchgen.settings import Settings

MAX_CONNECTIONS = 64
"""Concurrent requests; further ones wait for a free connection."""

SLOWEST_UPLOAD = 100_000
"""Bytes per second. On slower lines, uploads of pictures time out."""


@dataclass(slots=True)
class WatchedResponse:
    """Facts of an HTTP response that supabase-py's results and errors do not keep."""

    status: int | None = None
    is_json: bool = False
    response: httpx.Response | None = None
    moment: datetime | None = None
    """The server's clock in seconds, from the header `Date`."""


watched_response: ContextVar[WatchedResponse | None] = ContextVar("watched_response", default=None)
"""If set around a call, the call's response is written into it."""


async def connect(settings: Settings, *, key: str) -> AsyncClient:
    """A client of the project that authenticates with `key`. Sends nothing yet. Close it with `disconnect`."""
    timeout = httpx.Timeout(settings.request_timeout_seconds)
    http = httpx.AsyncClient(
        timeout=timeout,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        follow_redirects=True,
        event_hooks={"response": [_record_response]},
    )
    options = AsyncClientOptions(
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_retry=False,
        httpx_client=http,
    )
    return await create_async_client(settings.url, key, options)


def response_timeout(client: AsyncClient, *, sent_bytes: int = 0) -> asyncio.Timeout:
    """Raise `TimeoutError` if the block, one request, takes longer than the client's timeout.

    httpx restarts its own timeout with each byte, so that it would wait for a trickling response forever.
    """
    options = vars(client.options)
    seconds = cast("httpx.AsyncClient", options["httpx_client"]).timeout.read
    return asyncio.timeout(None if seconds is None else seconds + sent_bytes / SLOWEST_UPLOAD)


async def disconnect(client: AsyncClient) -> None:
    """Close the client's Realtime socket and its connections."""
    await close_client(client.realtime)
    http = client.options.httpx_client  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(http, httpx.AsyncClient):
        await http.aclose()


async def _record_response(response: httpx.Response) -> None:
    if (answer := watched_response.get()) is not None:
        answer.status = response.status_code
        answer.response = response
        answer.is_json = "json" in response.headers.get("content-type", "")
        answer.moment = _moment(response.headers.get("date"))


def _moment(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
