"""Providers' keys are checked before anything is claimed, by calls that cost nothing."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from devstack import StackInfo
from tests.providers.local_server import DROPPED, Fault, LocalServer, answers
from tests.support import Database, WorkerProcess

Start = Callable[..., Awaitable[WorkerProcess]]

pytestmark = pytest.mark.usefixtures("empty_queue")

REFUSED = answers(401, {"error": {"message": "Incorrect API key provided: sk-wr***ng", "code": "invalid_api_key"}})
KEYS = {
    "openai": ("BATCHGEN_OPENAI_URL", "BATCHGEN_OPENAI_API_KEY", "/models", "Bearer the:key"),
    "replicate": ("BATCHGEN_REPLICATE_URL", "BATCHGEN_REPLICATE_API_TOKEN", "/account", "Bearer the:key"),
    "comfyui": ("BATCHGEN_COMFYUI_URL", "BATCHGEN_COMFYUI_KEY", "/system_stats", "Bearer the:key"),
    "automatic1111": ("BATCHGEN_AUTOMATIC1111_URL", "BATCHGEN_AUTOMATIC1111_AUTH", "/sdapi/v1/options", "Basic "),
}


async def _ok(_request: web.Request) -> web.Response:
    return web.json_response({})


@pytest.fixture
async def server() -> AsyncGenerator[LocalServer]:
    """Accepts any key in all free calls."""
    server = LocalServer()
    for _, _, path, _ in KEYS.values():
        server.route("GET", path, _ok)
    async with server:
        yield server


@asynccontextmanager
async def models_of(database: Database, *providers: str) -> AsyncGenerator[None]:
    """A model of each provider, which requests may name."""
    ids: list[uuid.UUID] = []
    for provider in providers:
        row = await (
            await database.execute(
                "insert into batchgen.models (name, provider, provider_model, inputs)"
                " values (%s, %s, 'owner/model', %s::jsonb) returning id",
                [
                    f"tried-{provider}",
                    provider,
                    '{"prompt": "prompt"}' if provider in ("openai", "replicate") else None,
                ],
            )
        ).fetchone()
        assert row
        ids.append(row["id"])
    yield
    await database.execute("delete from public.models where id = any (%s)", [ids])


@pytest.fixture(params=KEYS)
async def provider(request: pytest.FixtureRequest, database: Database) -> AsyncGenerator[str]:
    """A provider with a model."""
    async with models_of(database, request.param):
        yield request.param


@pytest.fixture
async def all_providers(database: Database) -> AsyncGenerator[list[str]]:
    """All of them, each with a model, for one worker: starting a process takes a second of CPU."""
    async with models_of(database, *KEYS):
        yield list(KEYS)


@pytest.fixture
async def start(stack: StackInfo, server: LocalServer) -> AsyncGenerator[Start]:
    workers: list[WorkerProcess] = []

    async def start_one(*providers: str, url: str | None = None, key: str = "the:key") -> WorkerProcess:
        environment = {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "BATCHGEN_PROVIDER": "model",
        }
        for url_name, key_name, _, _ in map(KEYS.__getitem__, providers):
            environment |= {url_name: url or server.url, **({key_name: key} if key else {})}
        workers.append(await WorkerProcess.start(environment, "--once"))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


async def test_a_refused_provider_key_exits_with_2(start: Start, server: LocalServer, provider: str) -> None:
    _, key_name, path, _ = KEYS[provider]
    server.fail(f"GET {path}", REFUSED, REFUSED, REFUSED)

    worker = await start(provider)

    assert await worker.exit_code() == 2
    [line] = [line for line in worker.lines if not line.startswith("{")]
    assert f"{key_name}: {provider} at {server.url}" in line
    assert "sk-wr" not in line
    assert "the:key" not in line
    assert not worker.named("worker starts")


async def test_a_provider_key_refused_once_is_tried_again(
    start: Start, server: LocalServer, all_providers: list[str]
) -> None:
    for provider in all_providers:
        server.fail(f"GET {KEYS[provider][2]}", REFUSED)

    worker = await start(*all_providers)

    assert await worker.exit_code() == 0
    for provider in all_providers:
        _, _, path, authorization = KEYS[provider]
        asked = [headers for route, headers, _ in server.requests if route == f"GET {path}"]
        assert len(asked) == 2, provider
        assert all(headers["Authorization"].startswith(authorization) for headers in asked)


@pytest.mark.parametrize("answer", [answers(404), answers(403), answers(429), answers(500), DROPPED], ids=str)
async def test_other_provider_answers_do_not_stop_the_start(
    start: Start, server: LocalServer, all_providers: list[str], answer: Fault
) -> None:
    for provider in all_providers:
        server.fail(f"GET {KEYS[provider][2]}", answer)

    worker = await start(*all_providers)

    assert await worker.exit_code() == 0
    assert {f"GET {KEYS[provider][2]}" for provider in all_providers} <= {route for route, _, _ in server.requests}


async def test_an_unreachable_provider_is_logged_as_an_outage(start: Start, all_providers: list[str]) -> None:
    worker = await start(*all_providers, url="http://127.0.0.1:9")

    assert await worker.exit_code() == 0
    reasons = [line["reason"] for line in worker.named("provider does not answer, its models wait")]
    assert len(reasons) == len(all_providers)
    for provider in all_providers:
        assert sum(KEYS[provider][0] in reason for reason in reasons) == 1


@pytest.mark.parametrize("provider", ["openai", "comfyui", "automatic1111"], indirect=True)
async def test_a_missing_provider_key_is_named(start: Start, server: LocalServer, provider: str) -> None:
    server.fail(f"GET {KEYS[provider][2]}", REFUSED, REFUSED, REFUSED)

    worker = await start(provider, key="")

    assert await worker.exit_code() == 2
    assert any(f"{KEYS[provider][1]} is missing" in line for line in worker.lines)
