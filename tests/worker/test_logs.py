"""Log lines: their keys, their form, and content that must never be in them."""

import asyncio
import io
import json
import logging
import os
import pty
import termios
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

import pytest
import structlog

from batchgen.settings import WorkerSettings
from scheduler.logs import configure_logs, redact
from scheduler.ticks import Tick, Ticks
from tests.support import eventually
from tests.worker.worker_harness import worker_harness

SECRET = "sb_secret_0123456789abcdef"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def configured() -> Generator[Callable[..., None]]:
    """`configure_logs`, undone at the end of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(stream: TextIO, **settings: Any) -> None:
        values = {"supabase_url": "http://127.0.0.1:1", "supabase_secret_key": SECRET, **settings}
        configure_logs(WorkerSettings.model_validate(values), stream=stream)

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("scheduler", "batchgen", "realtime", "apscheduler.scheduler"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


async def test_every_line_about_an_item_has_its_ids(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    configured(stream)
    structlog.contextvars.bind_contextvars(worker="host:1:abc")
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    await harness.worker.run_once()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    about_items = [line for line in lines if line["event"].startswith("item ")]
    assert [line["event"] for line in about_items] == ["item started", "item completed"]
    for line in about_items:
        assert line["worker"] == "host:1:abc"
        assert (line["batch_id"], line["generation_id"]) == (str(item.batch_id), str(item.id))
        assert line["lease_id"]
        assert line["attempt"] == 1
        assert {"level", "timestamp", "logger"} <= line.keys()


async def test_the_completed_line_has_user_provider_model_and_seconds(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    configured(stream)
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    await harness.worker.run_once()

    [line] = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"].endswith("completed")]
    assert line["user_id"] == str(item.user_id)
    assert line["provider"]
    assert line["seconds"] >= 0
    assert "model" in line


async def test_an_items_log_fields_do_not_leak_to_the_next_item(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    configured(stream)
    harness = worker_harness(slots=1)
    harness.queue.state.add("a")
    harness.queue.state.add("b")

    await harness.worker.run_once()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    started = [line for line in lines if line["event"] == "item started"]
    assert len(started) == 2
    assert not [line for line in started if "seconds" in line]


@pytest.mark.parametrize(
    "reason", ["it is busy", "it is busy " * 40, "two\nlines \x1b[31m", f"{'x' * 18} fal-id:0123456789"]
)
async def test_text_about_an_item_is_one_line_of_at_most_100_columns(
    configured: Callable[..., None], reason: str
) -> None:
    stream = Terminal()
    configured(stream, fal_key="fal-id:0123456789")

    with about_an_item():
        structlog.stdlib.get_logger("scheduler.test").warning("item failed", code="busy", reason=reason)

    [line] = stream.getvalue().splitlines()
    assert len(line) <= 100
    assert ' warning item failed item=0190c2c1 code=busy reason="' in line
    assert "\x1b" not in line
    assert "fal-id" not in line


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_text_fits_the_terminal(configured: Callable[..., None], columns: int) -> None:
    watched, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, columns))
    log = structlog.stdlib.get_logger("scheduler.test")
    remedy = "Set BATCHGEN_REPLICATE_API_TOKEN, or switch these models off in the table of models."

    with os.fdopen(terminal, "w") as stream, closing_file(watched):
        configured(stream)
        with about_an_item():
            log.info("item completed", seconds=2.0834, provider="replicate", model="owner/" + "long" * 20)
            log.warning("item failed", code="busy", provider="replicate", reason="it is busy " * 20)
        log.warning("models wait: their provider is not set up here", provider="replicate", remedy=remedy)
        log.info("the end")
        lines = until_the_end(watched).splitlines()[:-1]

    assert max(map(len, lines)) <= columns
    completed, failed, *told = lines
    assert completed.startswith("info    item completed item=0190c2c1", 9)
    assert "seconds=2.08" in completed
    assert ("provider=replicate" in completed) == (columns >= 80)
    assert failed.startswith("warning item failed item=0190c2c1", 9)
    assert "code=busy" in failed
    assert f'provider=replicate remedy="{remedy}"' in " ".join(line.strip() for line in told)


@contextmanager
def about_an_item() -> Generator[None]:
    item = "0190c2c1-1111-7111-8111-111111111111"
    with structlog.contextvars.bound_contextvars(worker="host:1:abc", generation_id=item, lease_id=item):
        yield


def until_the_end(terminal: int) -> str:
    """A terminal may deliver a line in pieces."""
    shown = b""
    while not shown.endswith(b"the end\r\n"):
        shown += os.read(terminal, 65536)
    return shown.decode()


@contextmanager
def closing_file(number: int) -> Generator[None]:
    try:
        yield
    finally:
        os.close(number)


async def test_a_terminal_gets_readable_text(configured: Callable[..., None]) -> None:
    stream = Terminal()
    configured(stream)

    structlog.stdlib.get_logger("scheduler.test").info("worker starts", slots=3)

    assert "worker starts" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_secrets_are_redacted_even_in_exceptions(configured: Callable[..., None], log_format: str) -> None:
    stream = io.StringIO()
    configured(stream, log_format=log_format)

    error = RuntimeError(f"GET http://x/?apikey={SECRET} Authorization: Bearer eyJh.eyJi.c2ln")
    structlog.stdlib.get_logger("scheduler.test").error("tick failed", key=SECRET, exc_info=error)

    assert "RuntimeError" in stream.getvalue()
    for secret in (SECRET, "eyJh", "0123456789abcdef"):
        assert secret not in stream.getvalue()


async def test_provider_keys_are_redacted(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    keys = {"fal_key": "fal-id:0123456789", "automatic1111_auth": "me:0123456789"}
    configured(stream, **keys)

    structlog.stdlib.get_logger("scheduler.test").error("order failed", reason=" ".join(keys.values()))

    assert "order failed" in stream.getvalue()
    assert "0123456789" not in stream.getvalue()


async def test_libraries_log_only_warnings_and_errors(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    configured(stream, log_level="debug")

    logging.getLogger("httpx").info("HTTP Request: POST")
    logging.getLogger("websockets.client").warning("connection closed, key %s", SECRET)

    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert line["logger"] == "websockets.client"
    assert SECRET not in line["event"]


async def test_skipped_ticks_are_not_logged(configured: Callable[..., None]) -> None:
    stream = io.StringIO()
    configured(stream)
    beats: list[str] = []

    async def beat(name: str, seconds: float) -> None:
        beats.append(name)
        await asyncio.sleep(seconds)

    ticks = Ticks(
        [Tick("slow", partial(beat, "slow", 60), 0.02), Tick("quick", partial(beat, "quick", 0), 0.02, at_start=True)]
    )
    ticks.start()
    await eventually(lambda: beats.count("quick") >= 8 and "slow" in beats)
    ticks.stop()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert beats.count("slow") == 1
    assert [line["event"] for line in lines if line["logger"] in ("apscheduler.scheduler", "scheduler.ticks")] == []


def test_a_redacted_json_line_is_still_json() -> None:
    line = json.dumps({"header": "Bearer abc.def", "other": 1})

    redacted = redact(line)

    assert json.loads(redacted) == {"header": "[secret]", "other": 1}
