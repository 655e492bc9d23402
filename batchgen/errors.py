"""Every error that batchgen raises. A class exists because somebody reacts differently to it.

BatchgenError
├── InvalidRequest            the caller can mend it; the command line exits with 2
│   ├── NotFound              no such batch, or not yours
│   ├── Conflict              the same client_key with another body
│   └── LimitReached          a limit of the user; send again when it resets
├── NotSignedIn               log in again; exits with 2
├── BackendUnavailable        the project cannot be reached; exits with 3
│   └── NotSetUp              the migrations are missing or older; a worker does not start
├── ProviderError
│   ├── ProviderRejected      permanent: the item fails
│   ├── ProviderBusy          wait as told, then again; no attempt is used up
│   ├── ProviderUnavailable   back off, then again
│   ├── ModelUnusable         the operator has to mend the model's row; its items wait
│   └── OutcomeUnknown        may be paid already: it is not ordered again; a person decides
├── StorageError              back off, then again, without generating again
│   └── BucketMissing         the same, and nothing is ordered until the bucket is there
└── QueueError
    ├── QueueUnavailable      the worker pauses; running items are fine
    │   └── KeyRefused        the same, unless it goes on for minutes: then the key is wrong
    └── LeaseLost             drop the result: another worker owns the item
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchgen.orders import NOT_CHARGED, OPEN, OVER, OrderState

_OF_A_PROMPT = re.compile(r"prompts\[(\d{1,9})\](?:\.(.+?)(?:\[(\d{1,9})\])?)?", re.DOTALL)


class BatchgenError(Exception):
    """Base of all errors raised on purpose."""


class InvalidRequest(BatchgenError):
    """The request breaks a rule; nothing was written.

    `code` is stable and meant for programs; `index` is the prompt's place in the batch (from 0), where one is meant,
    and `field` the path in the request's JSON, such as `prompts[2].text`. `message` and `remedy` are for people: they
    count prompts from 1, whoever refused the request.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        index: int | None = None,
        field: str | None = None,
        limit: Any = None,
        remedy: str | None = None,
    ) -> None:
        path, words = _for_people(field, code)
        self.message = _with_words(message, path, words)
        super().__init__(self.message)
        self.code = code
        self.index = index
        self.field = field
        self.limit = limit
        self.remedy = _with_words(remedy, path, words) if remedy else remedy

    def as_dict(self) -> Mapping[str, Any]:
        """The error as JSON for machines; the same keys as the database's own error detail."""
        return {
            "code": self.code,
            "message": self.message,
            "index": self.index,
            "field": self.field,
            "limit": self.limit,
            "remedy": self.remedy,
        }


def _for_people(field: str | None, code: str) -> tuple[str, str]:
    """A path of a prompt and what people call it: `prompts[2].text` is the text of prompt 3; empty for other fields."""
    match = _OF_A_PROMPT.fullmatch(field or "")
    if match is None:
        return "", ""
    number, name, place = int(match[1]) + 1, match[2], match[3]
    if name is None:
        return match[0], f"prompt {number}"
    if place is not None:
        return match[0], f"{name.removesuffix('s')} {int(place) + 1} of prompt {number}"
    return match[0], f"{'' if code == 'unknown_field' else 'the '}{name} of prompt {number}"


def _with_words(sentence: str, path: str, words: str) -> str:
    if not path or path not in sentence:
        return sentence
    before, after = sentence.split(path, 1)
    if after.startswith(" has "):  # the prompt has too many tags, and not its tags
        words = "prompt" + words.rpartition("prompt")[2]
    is_name = words.partition(" ")[0] not in ("the", "prompt", "tag")
    return before + (words if before or is_name else words[0].upper() + words[1:]) + after


class NotFound(InvalidRequest):
    """No such row, or not one that the caller may see."""


class Conflict(InvalidRequest):
    """The same `client_key` was used before for another request."""


class LimitReached(InvalidRequest):
    """The user has used up a limit; nothing was written. `field` is the limit's name, `code` which kind it is.

    `resets_at` and `retry_after_seconds` are None where no time helps, but only fewer waiting items.
    """

    def __init__(
        self,
        message: str,
        *,
        resets_at: datetime | None = None,
        retry_after_seconds: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.resets_at = resets_at
        self.retry_after_seconds = retry_after_seconds

    def as_dict(self) -> Mapping[str, Any]:
        return {
            **super().as_dict(),
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
            "retry_after_seconds": self.retry_after_seconds,
        }


class NotSignedIn(BatchgenError):
    """No session, one that ended, or a key or password that is refused. `code` says which; `remedy` what to do."""

    def __init__(
        self, message: str, *, code: str = "not_signed_in", remedy: str = "Sign in with batchgen login."
    ) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class BackendUnavailable(BatchgenError):
    """The project's API did not answer, or answered with a fault of its own."""

    def __init__(self, message: str, *, code: str = "backend_unavailable", remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class NotSetUp(BackendUnavailable):
    """A function or table is not there: the migrations were not applied, or older ones were."""


class ProviderError(BatchgenError):
    """A provider could not make the picture. `code` is stored on the item, beside the message.

    `order` is the state in which this leaves the order.
    """

    def __init__(self, message: str, *, code: str, order: OrderState = NOT_CHARGED) -> None:
        super().__init__(message)
        self.code = code
        self.order = order


class OutcomeUnknown(ProviderError):
    """An order was sent, no answer came, and the provider cannot say what became of it."""

    def __init__(self, message: str, *, code: str = "outcome_unknown") -> None:
        super().__init__(message, code=code, order=OVER)


class ProviderRejected(ProviderError):
    """Permanent: the same request would be refused again (bad input, blocked by policy)."""


class ProviderBusy(ProviderError):
    """The provider asks to wait (HTTP 429); the wait uses up no attempt.

    A job that was asked about goes on, unless `order` is over: then the order itself was turned away.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "provider_busy",
        retry_after_seconds: float,
        order: OrderState = OPEN,
    ) -> None:
        super().__init__(message, code=code, order=order)
        self.retry_after_seconds = retry_after_seconds


class ModelUnusable(ProviderError):
    """Nothing can be ordered of this model for now: the operator has to mend its row (`batchgen.model_providers`) or
    to be let in by the provider, or the provider wants fewer orders of this very model.

    Its items wait, and no attempt is used up; other models go on. `order` as in `ProviderBusy`.
    """

    def __init__(self, message: str, *, code: str, retry_after_seconds: float = 60, order: OrderState = OPEN) -> None:
        super().__init__(message, code=code, order=order)
        self.retry_after_seconds = retry_after_seconds


class ProviderUnavailable(ProviderError):
    """A fault that may pass: timeout, connection, HTTP 5xx.

    `is_provider_fault` says that it speaks of the provider, not of this request alone: such faults open the breaker.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        is_provider_fault: bool = True,
        order: OrderState = NOT_CHARGED,
    ) -> None:
        super().__init__(message, code=code, order=order)
        self.is_provider_fault = is_provider_fault


class StorageError(BatchgenError):
    """Storage did not take or give a file. The picture itself is fine."""


class BucketMissing(StorageError):
    """Storage answers, and has no such bucket."""


class QueueError(BatchgenError):
    """The queue could not do what was asked."""


class QueueUnavailable(QueueError):
    """The database or its API cannot be reached at present."""


class KeyRefused(QueueUnavailable):
    """The worker's key was refused. Gateways do that in passing, so that a worker that was accepted goes on."""


class LeaseLost(QueueError):
    """The lease ended or was taken over: drop the result, write nothing."""
