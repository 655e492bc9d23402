"""Pictures are checked in child processes with a limit of time and memory."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest
from hostile_pictures import HTML, in_file, picture, png_bomb, svg

from batchgen.pictures.check import CheckedImage, Checker, CheckLimits, CheckUnavailable, PictureDamaged, PictureRefused
from batchgen.pictures.check_process import CheckProcess
from tests.support import eventually

MISBEHAVING = ("-m", "tests.pictures.misbehaving_child")
ROOT = Path(__file__).parents[2]
MEBIBYTE = 1024 * 1024
OF_OTHERS: set[int] = set()
CheckerMaker = Callable[..., Checker]


@pytest.fixture
def checker_with(monkeypatch: pytest.MonkeyPatch, of_others: None) -> Generator[CheckerMaker]:
    """`checker_with(seconds=2)`: a checker whose children do what a picture's first bytes say."""
    monkeypatch.syspath_prepend(str(ROOT))  # pyright: ignore[reportUnknownMemberType]
    made: list[Checker] = []

    def make(**options: object) -> Checker:
        made.append(Checker(**{"program": MISBEHAVING, "at_once": 1, **options}))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield make
    for checker in made:
        checker.close()
    assert children() == []


@pytest.fixture(autouse=True)
def of_others() -> Generator[None]:
    """Children of other tests' checkers in this process; they are not counted."""
    OF_OTHERS.update(child.pid for child in psutil.Process().children())
    yield
    OF_OTHERS.clear()


def children() -> list[psutil.Process]:
    """This test's child processes, including dead ones that nobody has waited for."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        if child.pid in OF_OTHERS:
            continue
        if child.status() == psutil.STATUS_ZOMBIE or any("child" in word for word in child.cmdline()):
            found.append(child)
    return found


async def check(checker: Checker, content: bytes) -> CheckedImage:
    with in_file(content) as file:
        return await checker.check(file)


async def code_of(checker: Checker, content: bytes) -> str:
    with pytest.raises(PictureRefused) as caught:
        await check(checker, content)
    return caught.value.code


async def test_a_picture_is_checked_in_a_process_and_its_file_rewound() -> None:
    checker = Checker()
    with in_file(picture() + HTML) as file:
        image = await checker.check(file)
        assert (image.format, image.width, image.height) == ("png", 96, 64)
        assert file.tell() == 0
        assert file.read() == picture()
    checker.close()
    assert children() == []


async def test_the_process_returns_the_reason_of_a_refusal() -> None:
    checker = Checker()
    assert await code_of(checker, HTML) == "not_a_picture"
    assert await code_of(checker, png_bomb(30_000, 30_000)) == "picture_too_large"
    assert await code_of(checker, svg("")) == "svg_not_supported"
    with pytest.raises(PictureDamaged):
        await check(checker, picture()[:-20])
    assert len(children()) == 1
    checker.close()


async def test_a_process_is_reused_for_the_next_picture(checker_with: CheckerMaker) -> None:
    checker = checker_with()

    pids = {(await check(checker, b"pid %d" % number)).blurhash for number in range(5)}

    assert len(pids) == 1
    assert pids != {str(os.getpid())}


async def test_no_more_processes_run_than_allowed_at_once(checker_with: CheckerMaker) -> None:
    checker = checker_with(at_once=2)

    await asyncio.gather(*(check(checker, picture()) for _ in range(12)))

    assert len(children()) <= 2


async def test_a_check_over_its_time_is_killed_and_the_others_go_on(checker_with: CheckerMaker) -> None:
    checker = checker_with(seconds=2, at_once=2)

    hanging = asyncio.create_task(code_of(checker, b"hang "))
    others = await asyncio.gather(*(check(checker, picture()) for _ in range(10)))

    assert await hanging == "check_timed_out"
    assert {image.format for image in others} == {"png"}
    assert (await check(checker, picture())).format == "png"


async def test_a_picture_that_crashes_its_process_twice_is_refused(checker_with: CheckerMaker) -> None:
    checker = checker_with()

    assert await code_of(checker, b"crash ") == "check_crashed"
    assert (await check(checker, picture())).format == "png"


async def test_a_check_whose_process_was_killed_is_repeated(checker_with: CheckerMaker) -> None:
    checker = checker_with()
    first = (await check(checker, b"pid ")).blurhash

    second = (await check(checker, b"once ")).blurhash

    assert second != first


async def test_a_process_that_dies_while_idle_costs_no_picture(checker_with: CheckerMaker) -> None:
    checker = checker_with()
    pid = int((await check(checker, b"pid ")).blurhash or 0)
    os.kill(pid, signal.SIGKILL)

    assert (await check(checker, picture())).format == "png"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
async def test_a_picture_that_needs_too_much_memory_is_refused(checker_with: CheckerMaker) -> None:
    checker = checker_with(memory_bytes=512 * MEBIBYTE)

    assert await code_of(checker, b"eat ") == "check_out_of_memory"
    assert (await check(checker, picture())).format == "png"


async def test_the_process_has_no_secrets_of_the_worker(
    checker_with: CheckerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    monkeypatch.setenv("BATCHGEN_FAL_KEY", "y")

    names = ((await check(checker_with(), b"environment ")).blurhash or "").split()

    assert "PYTHONPATH" in names
    assert not [name for name in names if "KEY" in name or name.startswith(("SUPABASE", "BATCHGEN"))]


async def test_the_process_ignores_signals_of_terminal_and_service_manager(checker_with: CheckerMaker) -> None:
    checker = checker_with()
    pid = int((await check(checker, b"pid ")).blurhash or 0)
    assert os.getsid(pid) != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)

    assert (await check(checker, b"pid ")).blurhash == str(pid)


async def test_a_cancelled_check_leaves_other_files_alone(checker_with: CheckerMaker) -> None:
    checker = checker_with(seconds=2)
    with in_file(b"hang ") as file:
        hanging = asyncio.create_task(checker.check(file))
        waiting = asyncio.create_task(checker.check(file))
        await asyncio.sleep(0)
        for task in (hanging, waiting):
            task.cancel()
        await asyncio.wait([hanging, waiting])

    assert (await check(checker, picture())).format == "png"


async def test_closing_ends_running_checks(checker_with: CheckerMaker) -> None:
    checker = checker_with(seconds=600)
    hanging = asyncio.create_task(check(checker, b"hang "))
    await eventually(_a_child, 30, what="a process")

    await asyncio.to_thread(checker.close)

    with pytest.raises((CheckUnavailable, asyncio.CancelledError)):
        await hanging


async def _a_child() -> bool:
    return bool(children())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a child of its parent's death")
async def test_the_process_dies_with_its_parent() -> None:
    code = (
        "import os, sys, threading; from batchgen.pictures.check_process import CheckProcess\n"
        "from batchgen.pictures.check_file import CheckLimits\n"
        "child = CheckProcess(memory_bytes=1 << 30, program=('-m', 'tests.pictures.misbehaving_child'))\n"
        "print(child.pid, flush=True)\n"
        "fd = os.memfd_create('x'); os.write(fd, b'hang ')\n"
        "child.check(fd, CheckLimits(), 600)\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    assert psutil.pid_exists(pid)

    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(is_gone, 30, what="the end of the child")


async def test_a_process_that_cannot_start_blames_no_picture(checker_with: CheckerMaker) -> None:
    checker = checker_with(program=("-c", "raise SystemExit(3)"))

    with pytest.raises(CheckUnavailable) as caught:
        await check(checker, picture())
    assert not caught.value.order.over


def test_a_closed_process_is_gone() -> None:
    child = CheckProcess(memory_bytes=1024 * MEBIBYTE)
    with in_file(picture()) as file:
        assert "picture" in child.check(file.fileno(), CheckLimits(), 60)

    child.close()
    child.close()

    assert not psutil.pid_exists(child.pid)


@pytest.mark.parametrize(
    ("word", "reason"), [(b"later-crash ", "ended the process"), (b"later-hang ", "longer than 2 s")]
)
async def test_a_picture_whose_thumbnail_ends_the_process_is_kept(
    checker_with: CheckerMaker, word: bytes, reason: str
) -> None:
    checker = checker_with(seconds=2)

    image = await check(checker, word)

    assert (image.format, image.thumbnail) == ("png", None)
    assert reason in image.no_thumbnail
    assert (await check(checker, picture())).thumbnail


async def test_a_picture_whose_thumbnail_takes_too_much_memory_is_kept(checker_with: CheckerMaker) -> None:
    checker = checker_with()

    image = await check(checker, b"later-fail ")

    assert (image.thumbnail, image.no_thumbnail) == (None, "drawing it failed (MemoryError)")
    assert (await check(checker, picture())).thumbnail
