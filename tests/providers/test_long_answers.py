"""Long answers of one provider share a bounded amount of memory; short ones never wait for them."""

import asyncio
import gc
import gzip
from collections.abc import AsyncGenerator
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen.errors import ProviderError
from batchgen.providers.base import ImageRequest
from batchgen.providers.http.client import LONG_BODY_BYTES, Answer, Unanswered
from batchgen.providers.http.memory_budget import MemoryBudget
from batchgen.providers.http.own_server import OwnServerApi
from batchgen.providers.openai_images import OpenAIImagesProvider
from tests.support import eventually

LONG = LONG_BODY_BYTES + 1
REQUEST = ImageRequest(
    UUID(int=7), "a fox", seed=1, width=64, height=64, model="x", key="1", inputs={"prompt": "a fox"}
)


class SlowServer:
    """Sends the beginning of a long answer, and the rest once `rest` is set."""

    def __init__(self) -> None:
        self.rest = asyncio.Event()
        self.begun = 0
        self.ended = 0
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.path == "/announced":
            response.content_length = LONG + 1
        await response.prepare(request)
        await response.write(b" " * LONG)
        self.begun += 1
        await self.rest.wait()
        await response.write(b"1")
        self.ended += 1
        return response


@pytest.fixture
async def server() -> AsyncGenerator[SlowServer]:
    server = SlowServer()
    app = web.Application()
    app.router.add_get("/long", server.answer)
    app.router.add_get("/announced", server.answer)
    app.router.add_get("/short", _short)
    app.router.add_post("/no-picture/v1/images/generations", _no_picture)
    app.router.add_get("/packed", _packed)
    app.router.add_get("/bomb", _bomb)
    async with TestServer(app) as running:
        server.base = str(running.make_url("")).rstrip("/")
        yield server
        server.rest.set()


async def _short(_: web.Request) -> web.Response:
    return web.Response(text="2")


async def _no_picture(_: web.Request) -> web.Response:
    return web.json_response({"data": ["x" * LONG]})


async def _packed(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"3"), headers={"Content-Encoding": "gzip"})


async def _bomb(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b" " * 200 * 2**20), headers={"Content-Encoding": "gzip"})


@pytest.fixture
async def exchange(server: SlowServer) -> AsyncGenerator[OwnServerApi]:
    exchange = OwnServerApi(server.base, service="slow")
    exchange.memory = MemoryBudget(2 * LONG + 2)
    yield exchange
    await exchange.aclose()


async def test_long_answers_over_the_budget_wait_for_earlier_ones(server: SlowServer, exchange: OwnServerApi) -> None:
    asks = [asyncio.create_task(exchange.ask("GET", "/announced")) for _ in range(3)]
    await eventually(lambda: server.begun == 3 and exchange.memory.left == 0)

    assert [ask.done() for ask in asks] == [False] * 3
    server.rest.set()
    answers = await asyncio.gather(*asks)

    assert [answer.as_json() for answer in answers] == [1, 1, 1]
    assert exchange.memory.left == 2 * LONG + 2


async def test_short_answers_do_not_wait_for_long_ones(server: SlowServer, exchange: OwnServerApi) -> None:
    long = asyncio.create_task(exchange.ask("GET", "/long"))
    await eventually(lambda: exchange.memory.left == 0)

    short = await exchange.ask("GET", "/short")
    packed = await exchange.ask("GET", "/packed")

    assert (short.as_json(), packed.as_json(), long.done()) == (2, 3, False)
    server.rest.set()
    assert (await long).as_json() == 1


async def test_a_cancelled_answer_returns_its_memory(server: SlowServer, exchange: OwnServerApi) -> None:
    long = asyncio.create_task(exchange.ask("GET", "/long"))
    await eventually(lambda: exchange.memory.left == 0)

    long.cancel()
    await asyncio.gather(long, return_exceptions=True)

    assert exchange.memory.left == 2 * LONG + 2


async def test_a_decompression_bomb_is_refused(server: SlowServer, exchange: OwnServerApi) -> None:
    with pytest.raises(Exception, match="more than") as caught:
        await exchange.ask("GET", "/bomb")

    assert isinstance(caught.value.__cause__, Unanswered)
    assert exchange.memory.left == 2 * LONG + 2


async def test_a_failed_order_does_not_keep_its_long_answer(server: SlowServer) -> None:
    provider = OpenAIImagesProvider(key=None, base_url=f"{server.base}/no-picture/v1")
    job_id = await provider.submit(REQUEST)

    with pytest.raises(ProviderError) as caught:
        await provider.wait(job_id, REQUEST)

    assert caught.value.code == "provider_garbage"
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Answer) and len(one.body) > LONG_BODY_BYTES]
    await provider.aclose()
