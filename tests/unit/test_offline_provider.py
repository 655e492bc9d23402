"""The offline provider for the worker: jobs, time, commands, and an event loop that stays free."""

import asyncio
import io
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from batchgen.errors import ProviderBusy, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import ImageRequest, Provider
from batchgen.providers.offline import OfflineProvider, read_metadata

SMALL = ImageRequest(UUID(int=7), "a red fox in a snowy forest", seed=11, width=96, height=96)


class Clock:
    """A clock that only its own sleep advances."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def a_provider(clock: Clock, **options: Any) -> OfflineProvider:
    return OfflineProvider(clock=clock, sleep=clock.sleep, **options)


async def test_the_offline_provider_delivers_the_requested_picture() -> None:
    provider: Provider = OfflineProvider(seconds=0)

    image = await provider.wait(await provider.submit(SMALL), SMALL)

    assert provider.name == "offline"
    assert (image.seed, image.keeps_metadata) == (11, True)
    with Image.open(io.BytesIO(image.content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (96, 96))
    await provider.cancel("offline-1-ab")
    await provider.aclose()


async def test_a_webp_provider_delivers_webp() -> None:
    provider = OfflineProvider(seconds=0, image_format="webp")

    image = await provider.wait(await provider.submit(SMALL), SMALL)

    with Image.open(io.BytesIO(image.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (96, 96))


async def test_a_job_id_contains_its_start_time() -> None:
    clock = Clock(1_800_000_000.25)

    job_id = await a_provider(clock).submit(SMALL)

    assert job_id.startswith("offline-1800000000250-")
    assert clock.slept == []


async def test_a_picture_takes_the_configured_time() -> None:
    clock = Clock()
    provider = a_provider(clock, seconds=2.5)

    await provider.wait(await provider.submit(SMALL), SMALL)

    assert clock.slept == [pytest.approx(2.5, abs=0.01)]


async def test_another_process_resumes_a_job_for_its_remaining_time() -> None:
    clock = Clock()
    job_id = await a_provider(clock, seconds=10).submit(SMALL)
    first = await a_provider(clock, seconds=0).wait(job_id, SMALL)
    clock.now += 7

    resumed = await a_provider(clock, seconds=10).wait(job_id, SMALL)

    assert clock.slept[-1] == pytest.approx(3, abs=0.01)
    assert resumed.content == first.content


async def test_an_overdue_job_is_drawn_at_once() -> None:
    clock = Clock()
    provider = a_provider(clock, seconds=10)
    job_id = await provider.submit(SMALL)
    clock.now += 3600

    await provider.wait(job_id, SMALL)

    assert clock.slept == [0]


@pytest.mark.parametrize("job_id", ["offline-1900000000000-abcdef", "from-somewhere-else", ""])
async def test_no_job_takes_longer_than_the_configured_time(job_id: str) -> None:
    clock = Clock()

    await a_provider(clock, seconds=4).wait(job_id, SMALL)

    assert clock.slept == [4]


async def test_the_blocked_command_is_refused_at_submit() -> None:
    with pytest.raises(ProviderRejected) as refused:
        await OfflineProvider(commands=True).submit(replace(SMALL, prompt="a cat #blocked"))

    assert refused.value.code == "blocked_by_policy"


async def test_the_fail_command_fails_for_good() -> None:
    clock = Clock()
    provider = a_provider(clock, commands=True, seconds=2)
    request = replace(SMALL, prompt="a cat #fail", retry_count=9)
    job_id = await provider.submit(request)

    with pytest.raises(ProviderRejected) as failed:
        await provider.wait(job_id, request)

    assert failed.value.code == "offline_failed"
    assert clock.slept == [pytest.approx(2, abs=0.01)]


async def test_the_fail_command_with_a_count_fails_that_often() -> None:
    provider = OfflineProvider(commands=True, seconds=0)
    request = replace(SMALL, prompt="a cat #fail:2")

    for retry_count in (0, 1):
        again = replace(request, retry_count=retry_count)
        with pytest.raises(ProviderUnavailable):
            await provider.wait(await provider.submit(again), again)
    last = replace(request, retry_count=2)
    image = await provider.wait(await provider.submit(last), last)

    assert image.content.startswith(b"\x89PNG")


async def test_the_busy_command_asks_to_wait_until_its_time_is_over() -> None:
    clock = Clock()
    provider = a_provider(clock, commands=True)
    request = replace(SMALL, prompt=f"{SMALL.prompt} #busy:8")
    job_id = await provider.submit(request)
    clock.now += 3

    with pytest.raises(ProviderBusy) as busy:
        await provider.wait(job_id, request)

    assert busy.value.retry_after_seconds == pytest.approx(5)
    clock.now += 5
    assert read_metadata((await provider.wait(job_id, request)).content)["prompt"] == request.prompt


@pytest.mark.parametrize(("word", "seconds"), [("#slow:5", 5), ("#slow:0.25", 0.25), ("#SLOW:2", 2)])
async def test_the_slow_command_sets_the_time_of_one_picture(word: str, seconds: float) -> None:
    clock = Clock()
    provider = a_provider(clock, commands=True)
    request = replace(SMALL, prompt=f"a cat {word}")

    await provider.wait(await provider.submit(request), request)

    assert clock.slept == [pytest.approx(seconds, abs=0.01)]


async def test_command_words_are_plain_text_when_commands_are_off() -> None:
    clock = Clock()
    provider = a_provider(clock)
    request = replace(SMALL, prompt="#fail #blocked #slow:99 a cat")

    image = await provider.wait(await provider.submit(request), request)

    assert clock.slept == [pytest.approx(1, abs=0.01)]
    assert read_metadata(image.content)["prompt"] == "#fail #blocked #slow:99 a cat"


@pytest.mark.parametrize(
    "prompt", ["#failure", "#fail:x", "#fail:2.5", "#slow", "say#fail", "#fail-safe2#blocked", "##fail"]
)
async def test_similar_words_are_not_taken_for_commands(prompt: str) -> None:
    clock = Clock()
    provider = a_provider(clock, commands=True)
    request = replace(SMALL, prompt=prompt)

    await provider.wait(await provider.submit(request), request)

    assert clock.slept == [pytest.approx(1, abs=0.01)]


async def test_commands_do_not_change_the_drawing_and_stay_in_the_metadata() -> None:
    provider = OfflineProvider(commands=True, seconds=0)
    told = replace(SMALL, prompt=f"#slow:0 {SMALL.prompt} #fail:0")

    plain = await provider.wait(await provider.submit(SMALL), SMALL)
    steered = await provider.wait(await provider.submit(told), told)

    with Image.open(io.BytesIO(plain.content)) as one, Image.open(io.BytesIO(steered.content)) as other:
        assert one.tobytes() == other.tobytes()
    assert read_metadata(steered.content)["prompt"] == told.prompt


@pytest.mark.parametrize("size", [(15, 512), (512, 4097), (0, 0)])
async def test_an_undrawable_size_is_refused_at_submit(size: tuple[int, int]) -> None:
    with pytest.raises(ProviderRejected) as refused:
        await OfflineProvider().submit(replace(SMALL, width=size[0], height=size[1]))

    assert refused.value.code == "invalid_size"


async def test_drawing_does_not_block_the_event_loop() -> None:
    provider = OfflineProvider(seconds=0)
    large = replace(SMALL, width=1024, height=1024)
    drawing = asyncio.create_task(provider.wait(await provider.submit(large), large))

    ticks = 0
    while not drawing.done():
        await asyncio.sleep(0.002)
        ticks += 1

    assert ticks >= 5
    with Image.open(io.BytesIO((await drawing).content)) as picture:
        assert picture.width == 1024
