"""The API of a provider on the internet, such as Replicate and fal.

A call ends in one of three ways. It was **answered**, perhaps with a refusal. It was **never sent**: there was no
connection, so nothing was ordered. Or its **answer is lost**: it was sent, and a timeout, a cut connection, a 5xx or
garbage came back. For a question the last two are the same. For an order they are not: `AnswerLost` says that a job
may exist, and that nobody may send the order again.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeGuard, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import httpx
from pydantic import SecretStr

from batchgen.errors import (
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.order_state import OVER
from batchgen.providers.http import messages
from batchgen.providers.http.client import Answer, HttpApi, Scheme, Unanswered
from batchgen.providers.http.inline_pictures import LARGEST_ANSWER_BYTES
from batchgen.providers.http.refusals import Refusal, Refusals, Servers
from batchgen.providers.http.retry_after import retry_after_seconds

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]

ANSWER_BYTES = 8 * 1024 * 1024
"""Of JSON without a picture in it."""
LONGEST_WORDS = 300
LONGEST_HELD_SECONDS = 60.0
"""For a longer wait the item goes back to the queue and keeps its job, so that it occupies no slot."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
MISSES = 5
"""So many answers in a row that the job is unknown are believed; a few right after its start are a delay."""

AGAIN_SECONDS = 2.0
"""Before asking once more about a job that succeeded without a picture."""
WITHOUT_A_PICTURE = frozenset({"no_output", "provider_garbage"})


class AnswerLost(ProviderUnavailable):
    """The call was sent, and its outcome is not known."""

    def __init__(self, message: str, *, code: str = "answer_lost") -> None:
        super().__init__(message, code=code, order=OVER)


class HostedApi(HttpApi):
    """Calls to one provider. Questions share connections, since jobs are asked about often."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        key: SecretStr,
        scheme: Scheme,
        timeout_seconds: float,
        account_wait_seconds: float,
    ) -> None:
        super().__init__(base_url, service=name, key=key, scheme=scheme, kept_connections=20, reads_refusals_whole=True)
        self._timeout_seconds = timeout_seconds
        self._refusals = Refusals(name, Servers.HOSTED, account_wait_seconds, self._key)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        passes: frozenset[int] = frozenset(),
        may_hold_a_picture: bool = False,
    ) -> Answer:
        """Make a call that may be repeated. Answers with a status in `passes` are returned as they are.

        Raises `ProviderBusy`, `ProviderUnavailable`, and `ProviderRejected` for other refusals.
        """
        most_bytes = LARGEST_ANSWER_BYTES if may_hold_a_picture else ANSWER_BYTES
        answer = await self._call(self._asking, method, path, most_bytes, params=params)
        if not answer.is_success and answer.status not in passes:
            raise self._refusal(answer)
        return answer

    async def order(self, path: str, inputs: Mapping[str, Any], headers: Mapping[str, str], *, model: str) -> Answer:
        """Send an order, the one call that costs money. Raises `AnswerLost` if it may have started a job.

        A refusal that concerns this model alone is a `ModelUnusable`.
        """
        answer = await self._call(self._ordering, "POST", path, ANSWER_BYTES, json=inputs, headers=headers)
        if answer.status == 303 or (answer.status >= 500 and not _asks_to_wait(answer)):
            raise AnswerLost(f"{self._service} answered the order with HTTP {answer.status}.")
        if not answer.is_success:
            raise self._refusal(answer, model)
        return answer

    def words(self, text: object) -> str:
        """The provider's words, safe to show and store: one short line, without our key."""
        return messages.shown(text, LONGEST_WORDS, secret=self._key.get_secret_value() if self._key else "")

    async def _call(self, client: httpx.AsyncClient, method: str, path: str, most_bytes: int, **more: Any) -> Answer:
        try:
            return await self._send(client, method, path, self._timeout_seconds, most_bytes, **more)
        except Unanswered as error:
            if error.code == "provider_garbage":
                raise AnswerLost(f"{self._service} {error.reason}.", code=error.code) from error
            raise AnswerLost(f"{self._service} did not answer ({type(error.__cause__).__name__}).") from error

    def _refusal(self, answer: Answer, model: str | None = None) -> ProviderError:
        wait = retry_after_seconds(
            answer.headers, answer.body, now=answer.served_at(), reads_limits=answer.status == 429
        )
        refusal = Refusal(
            message=said(answer),
            codes=frozenset(str(problem.get("type")) for problem in problems(answer)),
            status=answer.status,
            model=model,
            asks_to_wait=_asks_to_wait(answer),
            wait_seconds=wait,
        )
        return self._refusals.error_of(refusal)


def _asks_to_wait(answer: Answer) -> bool:
    is_told = "Retry-After" in answer.headers or "Retry-After-Ms" in answer.headers
    return answer.status == 429 or (answer.status in (503, 529) and is_told)


async def poll(
    look: Callable[[], Awaitable[T | None]], *, sleep: Sleep, estimated_seconds: float | None, job_id: str
) -> T:
    """Call `look` until it returns a result, with growing pauses.

    A failed question says nothing about the job, so it is asked again until the caller cancels. Raises `ProviderBusy`
    if the provider asks for a long wait, and `OutcomeUnknown` if it no longer knows the job.
    """
    misses = 0
    for tries in count():
        pause = pause_seconds(tries, estimated_seconds)
        try:
            found = await look()
            misses = 0
        except ProviderBusy as busy:
            if busy.retry_after_seconds > LONGEST_HELD_SECONDS:
                raise
            pause, found = max(pause, busy.retry_after_seconds), None
        except ProviderUnavailable:
            found = None
        except ProviderRejected as gone:
            misses, found = misses + 1, None
            if misses >= MISSES:
                raise OutcomeUnknown(f"The job {job_id} is no longer known. {gone}", code="job_gone") from gone
        if found is not None:
            return found
        await sleep(pause)
    raise AssertionError("the loop above returns or raises")


def pause_seconds(tries: int, estimated_seconds: float | None) -> float:
    """The pause after so many looks: at first a tenth of the usual time, then half as long again each time."""
    first = min(max(FIRST_PAUSE_SECONDS, (estimated_seconds or 0.0) / 10), LONGEST_PAUSE_SECONDS)
    return min(first * 1.5 ** min(tries, 20), LONGEST_PAUSE_SECONDS)


def has_word(fields: Mapping[str, Any] | None, name: str, words: Set[str]) -> TypeGuard[Mapping[str, Any]]:
    """Whether an answer is an object whose field `name` is one of these words."""
    word = None if fields is None else fields.get(name)
    return isinstance(word, str) and word in words


def address(text: object) -> SplitResult | None:
    """The parts of an address that a provider sent; None if it is not an ASCII address."""
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None


def garbage(name: str, what: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"{name} sent {what} that cannot be understood.", code="provider_garbage")


def seconds_between(start: object, end: object) -> float | None:
    """The seconds between two ISO 8601 times of a provider; None if one of them is not such a time."""
    first, last = moment(start), moment(end)
    return None if first is None or last is None else max(0.0, (last - first).total_seconds())


def moment(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def number(value: object) -> float | None:
    """A provider's duration; None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 else None


def problems(answer: Answer) -> Iterator[Mapping[str, Any]]:
    """The single problems of a refusal, if `detail` lists them."""
    detail = (answer.as_object() or {}).get("detail")
    if isinstance(detail, list):
        yield from (cast("Mapping[str, Any]", part) for part in cast("list[Any]", detail) if isinstance(part, dict))


def said(answer: Answer) -> str:
    """The sentences in a refusal, without the parts of the request that it repeats."""
    fields = answer.as_object() or {}
    listed = "; ".join(str(problem["msg"]) for problem in problems(answer) if problem.get("msg"))
    error = fields.get("error")
    inner = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
    texts = (listed, fields.get("detail"), fields.get("message"), inner, fields.get("title"))
    return next((text for text in texts if text and isinstance(text, str)), "")[: messages.LONGEST_READ]
