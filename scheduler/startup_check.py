"""Check the project before the first claim, so that wrong settings are found before anything is ordered."""

import asyncio
from collections.abc import Awaitable, Callable

from batchgen.backend.bucket import CONTENT_TYPES, Bucket
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    BucketMissing,
    InvalidRequest,
    NotSetUp,
    NotSignedIn,
    QueueUnavailable,
    StorageError,
)
from batchgen.imaging.limits import LARGEST_PICTURE_BYTES
from batchgen.queue.types import StartFacts
from scheduler.outages import Outage
from scheduler.retries import RANDOM, RetryPolicy

REFUSALS_BELIEVED = 3
"""Refusals in a row that end the worker: right after a migration one of them may pass."""
REFUSALS_BELIEVED_AFTER_OUTAGE = 20
"""The same where the backend was unreachable before: an API that has just started may not have read the schema yet."""
UNREACHABLE_TRIES_ONCE = 3
REFUSAL_PAUSE_SECONDS = 0.7

BUCKET_REMEDY = "Set BATCHGEN_BUCKET to the bucket of the pictures, or create it in the dashboard"


class WrongSettings(BatchgenError):
    """The worker cannot work with these settings; they must be corrected."""


class StartupCheck:
    """Asks until the project answers or `stopped` is set. Raises `WrongSettings`."""

    def __init__(
        self,
        facts: Callable[[], Awaitable[StartFacts]],
        bucket: Callable[[], Awaitable[Bucket]],
        retry_policy: RetryPolicy,
        *,
        bucket_name: str,
        once: bool,
    ) -> None:
        self._facts = facts
        self._bucket = bucket
        self._retry_policy = retry_policy
        self._bucket_name = bucket_name
        self._once = once
        self._outage = Outage("queue lost, the worker waits for it to begin", "queue recovered")

    async def check(self, stopped: asyncio.Event) -> StartFacts | None:
        """Return what the project holds; None if the worker was stopped first.

        With `once`, raise `QueueUnavailable` after a few unanswered calls.
        """
        refusals = 0
        while not stopped.is_set():
            try:
                facts = await self._facts()
                check_bucket(await self._bucket(), self._bucket_name, facts.pictures)
            except (NotSignedIn, NotSetUp, BucketMissing) as error:
                refusals += 1
                if refusals >= (REFUSALS_BELIEVED_AFTER_OUTAGE if self._outage.is_on else REFUSALS_BELIEVED):
                    raise WrongSettings(self._message(error)) from error
                await _pause(REFUSAL_PAUSE_SECONDS, stopped)
            except (BackendUnavailable, StorageError, InvalidRequest) as error:
                self._outage.begin(error)
                refusals = 0
                if self._once and self._outage.failures >= UNREACHABLE_TRIES_ONCE:
                    raise QueueUnavailable(str(error)) from error
                await _pause(self._retry_policy.pause(self._outage.failures, RANDOM), stopped)
            else:
                self._outage.end()
                return facts
        return None

    def _message(self, error: BatchgenError) -> str:
        match error:
            case NotSignedIn():
                return f"SUPABASE_SECRET_KEY is not accepted as a worker's key: set the project's secret key. {error}"
            case BucketMissing():
                return f"BATCHGEN_BUCKET: the bucket {self._bucket_name} does not exist. {BUCKET_REMEDY}."
            case _:
                return f"The database is not ready for this worker. {error} {getattr(error, 'remedy', None) or ''}"


def check_bucket(bucket: Bucket, name: str, pictures: str = "public") -> None:
    """Raises `WrongSettings` if the bucket could not store or show pictures that are paid for, or shows private ones.

    `pictures` is `public` or `private`, as the project's setting.
    """
    problems: list[str] = []
    if pictures == "public" and not bucket.is_public:
        problems.append("it is private, but the pictures' addresses are public: make it public")
    if pictures == "private" and bucket.is_public:
        problems.append("it is public, but the pictures are private: run batchgen storage private")
    if bucket.file_size_limit is not None and bucket.file_size_limit < LARGEST_PICTURE_BYTES:
        most = LARGEST_PICTURE_BYTES // 2**20
        problems.append(f"it accepts files of at most {bucket.file_size_limit} bytes: raise its limit to {most} MB")
    missing = [content_type for content_type in CONTENT_TYPES.values() if not bucket.takes(content_type)]
    if missing:
        problems.append(f"it does not accept {', '.join(missing)}: allow these MIME types")
    if problems:
        raise WrongSettings(f"BATCHGEN_BUCKET: the bucket {name} is unsuitable: {'; '.join(problems)}.")


async def _pause(seconds: float, stopped: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        pass
