"""A queue in memory. It passes the same contract tests as the real one (tests/contract/test_queue.py)."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from batchgen.errors import LeaseLost, QueueUnavailable
from batchgen.models import GenerationStatus, Outlook
from batchgen.queue.types import Claim, Completed, FailureVerdict, Fault, NewOrder, Renewal, StoredImage


@dataclass
class Item:
    prompt: str
    id: UUID = field(default_factory=uuid4)
    batch_id: UUID = field(default_factory=uuid4)
    user_id: UUID = field(default_factory=uuid4)
    status: GenerationStatus = GenerationStatus.PENDING
    due_at: float = 0
    lease_id: UUID | None = None
    lease_ends_at: float = 0
    retry_count: int = 0
    crash_count: int = 0
    provider: str | None = None
    provider_job_id: str | None = None
    model_provider: str = "scripted"
    input_spec: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt": "text", "seed": {"name": "seed"}})
    order_key: UUID | None = None
    order: NewOrder | None = None
    is_late: bool = False
    cancel_requested: bool = False
    image: StoredImage | None = None
    fault: Fault | None = None


class QueueState:
    """The items, shared by the queues of several workers."""

    def __init__(self) -> None:
        self.items: dict[UUID, Item] = {}
        self.max_retries = 3
        self.retry_delay_seconds = 0.0
        self.not_before = 0.0
        """The provider is paused until then: no item is claimed before."""

    def add(self, *prompts: str) -> list[Item]:
        new = [Item(prompt) for prompt in prompts]
        self.items |= {item.id: item for item in new}
        return new


class FakeQueue:
    """`is_down` makes every call fail; calls in `loses_answers_of` take effect and then lose their answer."""

    def __init__(self, state: QueueState | None = None, *, lease_seconds: float = 60) -> None:
        self.state = state or QueueState()
        self.lease_seconds = lease_seconds
        self.calls: list[str] = []
        self.requests: list[str] = []
        """Like `calls`, with one entry for a call that does two things."""
        self.claimed_limits: list[int] = []
        self.renewed: list[list[UUID]] = []
        self.released: list[list[UUID]] = []
        self.discarded: list[tuple[UUID, float]] = []
        self.announced: list[str] = []
        self._is_inside = False
        self.is_down = False
        self.down_calls: set[str] = set()
        self.loses_answers_of: list[str] = []

    async def claim(self, limit: int) -> Sequence[Claim]:
        await self._called("claim")
        self.claimed_limits.append(limit)
        self._take_back_expired()
        pending = [i for i in self.state.items.values() if i.status is GenerationStatus.PENDING]
        due = [i for i in pending if max(i.due_at, self.state.not_before) <= _now()]
        for item in due[:limit]:
            item.status, item.lease_id, item.lease_ends_at = (
                GenerationStatus.PROCESSING,
                uuid4(),
                _now() + self.lease_seconds,
            )
        self._lose_answer("claim")
        return [_claim(item) for item in due[:limit]]

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        await self._called("renew")
        self.renewed.append(list(lease_ids))
        held = [item for item in self.state.items.values() if item.lease_id in lease_ids and self._holds(item)]
        for item in held:
            item.lease_ends_at = _now() + self.lease_seconds
        return [
            Renewal(lease_id=i.lease_id, lease_expires_at=_wall(i.lease_ends_at), cancel_requested=i.cancel_requested)
            for i in held
            if i.lease_id
        ]

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        await self._called("begin_order")
        item = self._held(claim)
        item.order_key, item.order = item.order_key or uuid4(), order
        item.provider = item.provider_job_id = None
        self._lose_answer("begin_order")
        return item.order_key

    async def attach_provider_job(self, claim: Claim, provider: str, job_id: str) -> None:
        await self._called("attach")
        item = self._held(claim)
        item.provider, item.provider_job_id = provider, job_id
        self._lose_answer("attach")

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        await self._called("complete")
        item = self._held(claim)
        item.status, item.image, item.lease_id = GenerationStatus.COMPLETED, image, None
        self._lose_answer("complete")

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        self.requests.append("complete_and_claim")
        self._is_inside = True
        try:
            written: set[UUID] = set()
            for claim, image in results:
                with suppress(LeaseLost):
                    await self.complete(claim, image)
                    written.add(claim.lease_id)
            return Completed(lease_ids=frozenset(written), claims=tuple(await self.claim(limit)) if limit else ())
        finally:
            self._is_inside = False

    async def fail(self, claim: Claim, fault: Fault) -> FailureVerdict:
        await self._called("fail")
        item = self._held(claim)
        item.fault, item.lease_id, item.status = fault, None, GenerationStatus.PENDING
        wait = fault.retry_after_seconds if fault.retryable else None
        is_over = fault.order.over if fault.order.over is not None else wait is None
        if fault.retryable and wait is None and item.retry_count < self.state.max_retries:
            item.retry_count += 1
            wait = self.state.retry_delay_seconds
        if fault.retryable and fault.retry_after_seconds and not fault.model_fault:
            self.state.not_before = max(self.state.not_before, _now() + fault.retry_after_seconds)
        if wait is None:
            item.status = GenerationStatus.FAILED
        else:
            item.due_at = _now() + wait
        if is_over:
            item.provider = item.provider_job_id = item.order_key = item.order = None
        self._lose_answer("fail")
        return FailureVerdict(status=item.status, retry_count=item.retry_count, retry_in_seconds=wait)

    async def release(self, lease_ids: Sequence[UUID]) -> Sequence[UUID]:
        await self._called("release")
        self.released.append(list(lease_ids))
        held = [item for item in self.state.items.values() if item.lease_id in lease_ids and self._holds(item)]
        released = [item.lease_id for item in held if item.lease_id]
        for item in held:
            item.status, item.lease_id = GenerationStatus.PENDING, None
        return released

    async def discard(self, claim: Claim, *, seconds: float, paths: Sequence[str] | None = None) -> None:
        await self._called("discard")
        if paths is None:
            self.discarded.append((claim.generation_id, seconds))
        else:
            self.announced += paths

    async def outlook(self) -> Outlook:
        await self._called("outlook")
        items = self.state.items.values()
        due = [max(i.due_at, self.state.not_before) - _now() for i in items if i.status is GenerationStatus.PENDING]
        later = [seconds for seconds in due if seconds > 0]
        return Outlook(
            due_in_seconds=min(later, default=None),
            delayed=len(later),
            waiting=len(due) - len(later),
            running=sum(i.status is GenerationStatus.PROCESSING for i in items),
        )

    async def return_expired(self) -> int:
        await self._called("return_expired")
        return self._take_back_expired()

    def expire(self, claim: Claim) -> None:
        self.state.items[claim.generation_id].lease_ends_at = 0

    def _take_back_expired(self) -> int:
        expired = [i for i in self.state.items.values() if i.lease_id and not self._holds(i)]
        for item in expired:
            item.status, item.lease_id, item.crash_count = GenerationStatus.PENDING, None, item.crash_count + 1
        return len(expired)

    def _held(self, claim: Claim) -> Item:
        item = self.state.items[claim.generation_id]
        if item.lease_id != claim.lease_id or not self._holds(item):
            raise LeaseLost(f"item {claim.generation_id} no longer has lease {claim.lease_id}")
        return item

    def _holds(self, item: Item) -> bool:
        return item.lease_id is not None and item.lease_ends_at > _now()

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if not self._is_inside:
            self.requests.append(name)
        await asyncio.sleep(0)
        if self.is_down or name in self.down_calls:
            raise QueueUnavailable("the fake queue is down")

    def _lose_answer(self, name: str) -> None:
        if name in self.loses_answers_of:
            self.loses_answers_of.remove(name)
            raise QueueUnavailable("the fake queue lost its answer")


def _claim(item: Item) -> Claim:
    assert item.lease_id
    return Claim(
        generation_id=item.id,
        lease_id=item.lease_id,
        lease_expires_at=_wall(item.lease_ends_at),
        attempt=item.retry_count + item.crash_count + 1,
        retry_count=item.retry_count,
        user_id=item.user_id,
        batch_id=item.batch_id,
        batch_index=0,
        prompt=item.prompt,
        seed=1,
        width=64,
        height=64,
        model=item.order.model if item.order else "a-model",
        model_version=item.order.version if item.order else "v1",
        provider=item.provider or (item.order.provider if item.order else None),
        provider_job_id=item.provider_job_id,
        model_provider=item.model_provider,
        input_spec=item.input_spec,
        estimated_seconds=4,
        order_key=item.order_key,
        ordered_inputs=item.order.inputs if item.order else None,
        ordered_seconds_ago=100 if item.order else None,
        is_late=item.is_late,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _wall(loop_time: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=loop_time - _now())
