"""Errors of gateways, quotas and clocks during a watch: it waits out the outage."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from fake_worker import FakeWorker, two_prompts

from batchgen import BatchgenClient, BatchStatus, NotSignedIn, WatchTiming
from devstack import StackInfo
from tests.gateway import Gateway, Reply, gateway_before
from tests.support import User

TIMING = WatchTiming(poll_seconds=0.05, retry_seconds=0.01)
REFUSALS = {
    "401 of a clock": Reply(401, json.dumps({"code": "PGRST303", "message": "JWT issued at future"})),
    "401 of a gateway": Reply(401, json.dumps({"message": "Invalid API key"})),
    "403 page": Reply(403, "<html>Sorry, you have been blocked</html>", "text/html"),
    "402": Reply(402, json.dumps({"message": "Service for this project is restricted: exceed_egress_quota."})),
    "404 of a gateway": Reply(404, json.dumps({"message": "no Route matched with those values"})),
    "404 of a schema cache": Reply(404, json.dumps({"code": "PGRST202", "message": "Could not find the function"})),
    "405": Reply(405, json.dumps({"code": "25006", "message": "cannot execute in a read-only transaction"})),
    "429": Reply(429, json.dumps({"message": "API rate limit exceeded"})),
    "57P01": Reply(400, json.dumps({"code": "57P01", "message": "terminating connection"})),
    "200 page": Reply(200, "<html>Captive portal</html>", "text/html"),
    "200 with another object": Reply(200, json.dumps({"message": "ok"})),
    "200 with a list": Reply(200, "[1]"),
}


@pytest.fixture
async def gateway(stack: StackInfo) -> AsyncGenerator[Gateway]:
    async with gateway_before(stack.url) as gateway:
        yield gateway


@pytest.fixture(params=["user", "operator"])
async def behind(
    request: pytest.FixtureRequest, gateway: Gateway, stack: StackInfo, user: User
) -> AsyncGenerator[BatchgenClient]:
    """A client that is connected through the gateway."""
    if request.param == "user":
        client = await BatchgenClient.sign_in(gateway.url, stack.publishable_key, user.email, user.password)
    else:
        client = await BatchgenClient.operator(gateway.url, stack.secret_key)
    async with client:
        yield client


@pytest.mark.parametrize("reply", REFUSALS.values(), ids=REFUSALS)
async def test_a_running_watch_waits_out_passing_refusals(
    behind: BatchgenClient, client: BatchgenClient, gateway: Gateway, worker: FakeWorker, user: User, reply: Reply
) -> None:
    batch = await client.submit(two_prompts())
    gateway.rule = lambda name, count: reply if name == "batch_snapshot" and 2 <= count <= 7 else None
    trouble: list[bool] = []

    last = None
    async with aclosing(behind.watch(batch.id, timing=TIMING, on_outage=lambda one: trouble.append(bool(one)))) as seen:
        async for snapshot in seen:
            if last is None:
                for item, lease in (await worker.start_all(batch)).items():
                    await worker.complete(item, lease, user.id)
            last = snapshot

    assert last
    assert last.batch.status is BatchStatus.COMPLETED
    assert gateway.refused["batch_snapshot"] == 6
    assert trouble[0]
    assert not trouble[-1]


async def test_a_key_refused_at_the_first_look_ends_the_watch(
    stack: StackInfo, gateway: Gateway, client: BatchgenClient
) -> None:
    batch = await client.submit(two_prompts())
    gateway.rule = lambda name, _count: REFUSALS["401 of a gateway"] if name == "batch_snapshot" else None

    async with await BatchgenClient.operator(gateway.url, stack.secret_key) as operator:
        with pytest.raises(NotSignedIn):
            async with aclosing(operator.watch(batch.id, timing=TIMING)) as seen:
                await anext(seen)
