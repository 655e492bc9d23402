"""Check delivered files before they are stored, in separate processes.

The worker opens no untrusted picture itself. Child processes (`batchgen.pictures.check_child`) do, each with a limit of
time and memory. A child that exceeds one is killed, and only its current picture fails.
"""

import asyncio
import base64
import io
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from batchgen.errors import ProviderRejected, ProviderUnavailable, StorageError
from batchgen.imaging.limits import MEBIBYTE
from batchgen.order_state import CHARGED, PICTURE_LEFT
from batchgen.pictures.check_child import answer_for, thumbnail_for
from batchgen.pictures.check_file import CheckLimits
from batchgen.pictures.check_process import PROGRAM, CheckProcess, ChildCrashed, ChildTimedOut, ChildUnavailable

__all__ = ["CheckLimits", "CheckedImage", "Checker", "PictureDamaged", "PictureRefused", "checked"]

PICTURES_PER_CHILD = 1000
"""Then a child is replaced: decoders written in C may leak."""
STARTS = 3
"""The number of children that are tried if they end before they open the picture."""


class PictureRefused(ProviderRejected):
    """The file is not stored; `code` names the check that it failed (docs/pictures.md)."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, order=CHARGED)


class PictureDamaged(ProviderUnavailable):
    """The picture did not arrive completely; fetching it again may help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="picture_damaged", is_provider_fault=False, order=PICTURE_LEFT)


class CheckUnavailable(ProviderUnavailable):
    """This machine cannot check pictures at present; the picture is not to blame."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="check_unavailable", is_provider_fault=False, order=PICTURE_LEFT)


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """A picture that may be stored, in an open file that the caller closes. Fields as in `CheckResult`."""

    file: io.FileIO
    format: str
    width: int
    height: int
    file_size: int
    blurhash: str
    is_black: bool
    changes: Sequence[str] = ()
    thumbnail: bytes | None = None
    """A small WebP; None if it could not be made."""
    no_thumbnail: str = ""
    """Why there is none, for the log."""


class Checker:
    """Checks pictures in child processes, one at a time in each.

    The children start with the first pictures and are kept. There are only `at_once`, because decoded pictures fill
    memory. `seconds` and `memory_bytes` limit each picture.
    """

    def __init__(
        self,
        limits: CheckLimits | None = None,
        *,
        at_once: int = 2,
        seconds: float = 60,
        memory_bytes: int = 1536 * MEBIBYTE,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._limits = limits or CheckLimits()
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._program = program
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="check")
        self._lock = threading.Lock()
        self._idle: list[CheckProcess] = []
        self._children: set[CheckProcess] = set()
        self._is_closed = False
        # No process is left behind if nobody calls close().
        weakref.finalize(self, _close_all, self._children)

    async def check(self, file: io.FileIO, *, keeps_metadata: bool = False) -> CheckedImage:
        """Check the picture in `file`, and leave only the picture in it, at its start.

        `keeps_metadata` leaves a file that the worker itself wrote as it is. Raises `PictureRefused` or
        `PictureDamaged`, `CheckUnavailable`, or `StorageError` if this machine has no room.
        """
        # A cancelled call closes its file, and the number may then belong to another picture's file.
        fd = os.dup(file.fileno())
        limits = replace(self._limits, keeps_metadata=keeps_metadata)
        work = self._threads.submit(self._answer, fd, limits)

        def done(_: Future[Mapping[str, Any]]) -> None:
            os.close(fd)

        work.add_done_callback(done)
        try:
            answer = await asyncio.wrap_future(work)
        except ChildUnavailable as error:
            raise CheckUnavailable(str(error)) from error
        image = _image(file, answer)
        file.seek(0)
        return image

    def close(self) -> None:
        """End the processes, including busy ones."""
        with self._lock:
            self._is_closed = True
            children = list(self._children)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.close()
        self._threads.shutdown(wait=True)

    def _answer(self, fd: int, limits: CheckLimits) -> Mapping[str, Any]:
        """Check a picture, and once more in a fresh child if the picture may not be to blame.

        The child may have been killed by the system for lack of memory, or be full of leftovers of earlier pictures.
        """
        lost, is_second = 0, False
        while True:
            child: CheckProcess | None = None
            try:
                child = self._child(fresh=is_second)
                answer = child.check(fd, limits, self._seconds)
            except ChildUnavailable:
                self._drop(child)
                lost += 1
                if lost == STARTS or self._is_closed:
                    raise
                continue
            except ChildTimedOut:
                self._drop(child)
                return _refusal("check_timed_out", f"Checking the picture took longer than {self._seconds:g} s.")
            except ChildCrashed as error:
                self._drop(child)
                if self._is_closed:
                    raise ChildUnavailable("The worker ends.") from error
                if is_second:
                    return _refusal("check_crashed", f"The picture ended the process that checked it ({error}).")
            else:
                if "picture" in answer:
                    return {**answer, **self._thumbnail(child)}
                if "out_of_memory" not in answer:
                    self._give_back(child)
                    return answer
                was_fresh = child.checked == 1
                self._drop(child)
                if was_fresh:
                    most = self._memory_bytes / MEBIBYTE
                    return _refusal("check_out_of_memory", f"Checking the picture took more than {most:g} MiB.")
            is_second = True

    def _thumbnail(self, child: CheckProcess) -> Mapping[str, Any]:
        """The thumbnail of the picture that the child has just accepted, or why there is none."""
        try:
            answer = child.thumbnail(self._seconds)
        except ChildTimedOut:
            self._drop(child)
            return {"no_thumbnail": f"drawing it took longer than {self._seconds:g} s"}
        except ChildCrashed as error:
            self._drop(child)
            return {"no_thumbnail": f"drawing it ended the process ({error})"}
        self._give_back(child)
        return answer

    def _child(self, *, fresh: bool) -> CheckProcess:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is not None and not fresh:
            return child
        self._drop(child)
        child = CheckProcess(memory_bytes=self._memory_bytes, program=self._program)
        with self._lock:
            self._children.add(child)
            is_closed = self._is_closed
        if is_closed:
            self._drop(child)
            raise ChildUnavailable("The worker ends.")
        return child

    def _give_back(self, child: CheckProcess) -> None:
        with self._lock:
            is_kept = not self._is_closed and child.checked < PICTURES_PER_CHILD
            if is_kept:
                self._idle.append(child)
        if not is_kept:
            self._drop(child)

    def _drop(self, child: CheckProcess | None) -> None:
        if child is not None:
            child.close()
            with self._lock:
                self._children.discard(child)


def checked(file: io.FileIO, limits: CheckLimits) -> CheckedImage:
    """Check like `Checker.check`, but in this process and without its limits."""
    answer, result = answer_for(file, limits)
    image = _image(file, answer if result is None else {**answer, **thumbnail_for(result)})
    file.seek(0)
    return image


def _image(file: io.FileIO, answer: Mapping[str, Any]) -> CheckedImage:
    match answer:
        case {"picture": picture, "thumbnail": str(content)}:
            return CheckedImage(file, **picture, thumbnail=base64.b64decode(content))
        case {"picture": picture}:
            return CheckedImage(file, **picture, no_thumbnail=str(answer.get("no_thumbnail", "")))
        case {"refused": message, "code": code}:
            raise PictureRefused(message, code=code)
        case {"damaged": message}:
            raise PictureDamaged(message)
        case {"no_room": message}:
            raise StorageError(message)
        case {"out_of_memory": True}:
            raise PictureRefused("Checking the picture took more memory than there is.", code="check_out_of_memory")
        case _:
            raise CheckUnavailable("The process that checks pictures gave an invalid answer.")


def _close_all(children: set[CheckProcess]) -> None:
    for child in list(children):
        child.close()


def _refusal(code: str, message: str) -> Mapping[str, Any]:
    return {"refused": message, "code": code}
