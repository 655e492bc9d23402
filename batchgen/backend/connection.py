"""A supabase-py client, set up the way that batchgen needs it."""

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
"""Requests in flight at once; more wait for a free connection."""


SLOWEST_UPLOAD = 100_000
"""Bytes a second: a line on which a worker's pictures still arrive."""


@dataclass(slots=True)
class Answer:
    """What supabase-py's results and errors do not keep of an answer."""

    status: int | None = None
    is_json: bool = False
    response: httpx.Response | None = None
    moment: datetime | None = None
    """The server's clock, to the second."""


watched_answer: ContextVar[Answer | None] = ContextVar("watched_answer", default=None)
"""Set it around a call, and the head of the call's answer is written into it."""


async def connect(settings: Settings, *, key: str) -> AsyncClient:
    """A client of the project that speaks with `key`; nothing is sent yet. Give it back with `disconnect`."""
    timeout = httpx.Timeout(settings.request_timeout_seconds)
    http = httpx.AsyncClient(
        timeout=timeout,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        follow_redirects=True,
        event_hooks={"response": [_remember_head]},
    )
    options = AsyncClientOptions(
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_retry=False,
        httpx_client=http,
    )
    return await create_async_client(settings.url, key, options)


def whole_answer(client: AsyncClient, *, sent_bytes: int = 0) -> asyncio.Timeout:
    """Raises `TimeoutError` where the block, one request, takes longer than the client's timeout.

    httpx counts its timeout anew with each byte: an answer that trickles would be waited for without end.
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


async def _remember_head(response: httpx.Response) -> None:
    if (answer := watched_answer.get()) is not None:
        answer.status = response.status_code
        answer.response = response
        answer.is_json = "json" in response.headers.get("content-type", "")
        answer.moment = _moment(response.headers.get("date"))


def _moment(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
