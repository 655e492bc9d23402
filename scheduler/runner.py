"""Run one item: make its picture, store it, report the outcome to the database."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import structlog

from batchgen.backend.bucket import NameTaken
from batchgen.errors import InvalidRequest, LeaseLost, OutcomeUnknown, ProviderBusy, QueueUnavailable, StorageError
from batchgen.models import GenerationStatus
from batchgen.order_state import CHARGED, NOT_CHARGED, OrderState
from batchgen.pictures.check import CheckedImage
from batchgen.pictures.fetch import LinkExpired
from batchgen.pictures.receive import Receiver
from batchgen.providers.registry import ProvidersByName
from batchgen.queue.faults import CANCELLED, fault_of
from batchgen.queue.picture_store import PictureStore, name_by_content
from batchgen.queue.ports import Queue
from batchgen.queue.types import Claim, Fault, StoredImage
from batchgen.text import printable
from scheduler.completions import Completions
from scheduler.leases import Lease, Stop, Stopped
from scheduler.orders import Delivery, ItemOrder, Orders
from scheduler.retries import RANDOM, RetryPolicy, RetryWrites
from scheduler.storage_gate import StorageGate

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

LARGEST_SEED = 2**63 - 1
"""The largest value of a seed column; ComfyUI has larger seeds."""
LONGEST_VERSION = 200
UPLOAD_SECONDS = 60
"""An upload that was cut off may still arrive within this time."""
THUMBNAIL_SECONDS = 15.0
"""Time limit for storing a thumbnail. The item is completed without one then."""
ANNOUNCED_SECONDS = 3600
"""A file of an announced name is deleted after this time, unless its item still runs or a row of images names it."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    image: StoredImage


@dataclass(frozen=True, slots=True)
class RetryLater:
    fault: Fault
    in_seconds: float | None = None
    """When the item is due again, as the database decided."""


@dataclass(frozen=True, slots=True)
class Failed:
    fault: Fault


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing was or will be written: the item belongs to another worker, or is handed back next."""

    reason: Stop


Outcome = Succeeded | RetryLater | Failed | Released


class Runner:
    """Runs items; each call of `run` is one item, and many run concurrently."""

    def __init__(
        self,
        *,
        queue: Queue,
        completions: Completions,
        providers: ProvidersByName,
        receiver: Receiver,
        storage: PictureStore,
        retry_policy: RetryPolicy,
        storage_gate: StorageGate | None = None,
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._queue = queue
        self._completions = completions
        self._receiver = receiver
        self._storage = storage
        self._storage_gate = storage_gate or StorageGate(_assume_bucket)
        self._retry_policy = retry_policy
        self._random = random
        self._retry_writes = RetryWrites(retry_policy, random)
        self._orders = Orders(queue, providers, self._retry_writes, retry_policy)

    async def run(self, lease: Lease) -> Outcome:
        """Attempt the item and report the outcome. To stop it, stop its lease; do not cancel this call."""
        clock = asyncio.get_running_loop().time
        began = clock()
        log.info("item started")
        outcome = await self.attempt(lease)
        structlog.contextvars.bind_contextvars(seconds=round(clock() - began, 3))
        lease.is_reporting = True
        end = await self.report(lease, outcome)
        if end == Released(Stop.LOST) and (lease.is_paid or isinstance(outcome, Succeeded)):
            await self._discard(lease.claim, UPLOAD_SECONDS if outcome == end else 0)
        return end

    async def attempt(self, lease: Lease) -> Outcome:
        """Make and store the picture; turn every failure into an outcome."""
        order = ItemOrder.of(lease)
        try:
            return Succeeded(await lease.until_stopped(self._make_and_store(order)))
        except Stopped as stopped:
            return await self._end_early(order, stopped.reason)
        except LeaseLost:
            return Released(Stop.LOST)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must only end its own item
            return _give_up(order, error)
        finally:
            structlog.contextvars.bind_contextvars(provider=order.provider_name)

    async def report(self, lease: Lease, outcome: Outcome) -> Outcome:
        """Write the outcome to the database, which decides on retries; return what became of the item."""
        try:
            match outcome:
                case Succeeded(image):
                    await self._retry_writes(lease, lambda: self._completions.complete(lease.claim, image))
                    log.info("item completed", file_size=image.file_size)
                case RetryLater(fault=fault) | Failed(fault):
                    outcome = await self._report_fault(lease, fault)
                case Released(reason):
                    log.info("item left", reason=reason.value)
        except LeaseLost:
            log.info("result dropped: the lease is lost, or a write whose answer was lost had settled it")
            return Released(Stop.LOST)
        except QueueUnavailable as error:
            log.warning("result not written in time", reason=str(error))
            return Released(lease.stopped or Stop.LOST)
        except InvalidRequest as error:
            return await self._report_refusal(lease, outcome.image if isinstance(outcome, Succeeded) else None, error)
        return outcome

    async def _discard(self, claim: Claim, seconds: float) -> None:
        """Discard a picture that was stored, or may have been, after the lease was lost.

        If this fails, the database still deletes the files of ended items by itself.
        """
        try:
            await self._queue.discard(claim, seconds=seconds)
        except (QueueUnavailable, InvalidRequest) as error:
            log.info("stored files not discarded", reason=str(error))

    async def _make_and_store(self, order: ItemOrder) -> StoredImage:
        delivery = await self._orders.deliver(order)
        order.lease.is_paid = True
        return await self._keep(order, delivery)

    async def _keep(self, order: ItemOrder, delivery: Delivery) -> StoredImage:
        """Store the delivered picture; if its link has expired, ask for a new one, once."""
        try:
            return await self._receive(order.lease.claim, delivery)
        except LinkExpired as error:
            log.info("picture link expired, asking for a new one", reason=str(error))
        delivery = await self._orders.deliver_again(order)
        return await self._receive(order.lease.claim, delivery)

    async def _receive(self, claim: Claim, delivery: Delivery) -> StoredImage:
        async with self._receiver.receive(delivery.picture, local_server=delivery.local_server) as image:
            if image.is_black:
                log.warning("picture is all black: a safety filter may have replaced it")
            return _describe(await self._store(claim, image), delivery, is_black=image.is_black)

    async def _store(self, claim: Claim, image: CheckedImage) -> StoredImage:
        """Store the picture and, at the same time, its thumbnail, which may be missing."""
        thumbnail = asyncio.create_task(self._store_thumbnail(claim, image))
        try:
            stored = await self._store_picture(claim, image)
            return stored.model_copy(update={"thumbnail_path": await thumbnail})
        finally:
            thumbnail.cancel()
            await asyncio.gather(thumbnail, return_exceptions=True)

    async def _store_thumbnail(self, claim: Claim, image: CheckedImage) -> str | None:
        """Try once, and return the path. Whatever fails is logged: `batchgen storage thumbnails` makes up for it."""
        if image.thumbnail is None:
            log.warning("thumbnail not made", reason=image.no_thumbnail)
            return None
        try:
            async with asyncio.timeout(THUMBNAIL_SECONDS):
                return await self._put_thumbnail(claim, image.thumbnail)
        except Exception as error:  # noqa: BLE001 - a thumbnail must not fail its item
            log.warning("thumbnail not stored", reason=str(error) or type(error).__name__)
        await self._discard(claim, UPLOAD_SECONDS)
        return None

    async def _put_thumbnail(self, claim: Claim, content: bytes) -> str:
        user_id, item_id = claim.user_id, claim.generation_id
        if not claim.had_picture:
            try:
                return await self._storage.put_thumbnail(content, user_id=user_id, generation_id=item_id)
            except NameTaken as error:
                log.info("name of a file is taken, storing under another", reason=str(error))
        name = name_by_content(item_id, content, "thumb.webp")
        await self._announce(claim, name)
        return await self._storage.put_thumbnail(content, user_id=user_id, generation_id=item_id, name=name)

    async def _put_picture(self, claim: Claim, image: CheckedImage, *, is_name_taken: bool) -> StoredImage:
        user_id, item_id = claim.user_id, claim.generation_id
        if not is_name_taken:
            return await self._storage.put(image, user_id=user_id, generation_id=item_id)
        name = await asyncio.to_thread(name_by_content, item_id, image.file, image.format)
        await self._announce(claim, name)
        return await self._storage.put(image, user_id=user_id, generation_id=item_id, name=name)

    async def _announce(self, claim: Claim, name: str) -> None:
        """Have a file deleted whose name only this worker knows, unless a row of images names it by then."""
        try:
            await self._queue.discard(claim, seconds=ANNOUNCED_SECONDS, paths=[f"{claim.user_id}/{name}"])
        except QueueUnavailable as error:
            raise StorageError(f"{name}: the file was not announced to the database. {error}") from error

    async def _store_picture(self, claim: Claim, image: CheckedImage) -> StoredImage:
        """Retry the upload for a while: a Storage error is no reason to order the picture again."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._retry_policy.storage_patience_seconds
        is_name_taken = claim.had_picture
        for tries in count(1):
            try:
                return await self._put_picture(claim, image, is_name_taken=is_name_taken)
            except NameTaken as error:
                if is_name_taken:  # nobody else makes such names
                    raise
                log.info("name of a file is taken, storing under another", reason=str(error))
                is_name_taken = True
            except StorageError as error:
                await self._storage_gate.check()
                pause = self._retry_policy.pause(tries, self._random)
                # While Storage is down nothing is ordered, and paid pictures are offered until it is back.
                if clock() + pause > deadline and self._storage_gate.is_open:
                    raise
                if tries == 1:
                    log.warning("picture not stored yet, retrying", reason=str(error))
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _end_early(self, order: ItemOrder, reason: Stop) -> Outcome:
        """End a stopped attempt: cancel the job of a cancelled item, else leave it to the next worker."""
        if reason is Stop.SHUTDOWN and order.is_lost_with_worker:
            return await self._end_with_worker(order)
        if reason is not Stop.CANCELLED:
            return Released(reason)
        settlement = await self._orders.stop(order)
        delivery = self._orders.late_delivery(order, settlement)
        if delivery is None:
            return Failed(_cancelled(settlement.order))
        try:
            return Succeeded(await self._keep(order, delivery))
        except Exception as error:  # noqa: BLE001 - as in `attempt`
            log.warning("picture of a cancelled item not kept", reason=type(error).__name__)
            over = _fault(order, error).order.over
            return Failed(_cancelled(settlement.order.merge(OrderState(over=over))))

    async def _end_with_worker(self, order: ItemOrder) -> Outcome:
        """End an order whose picture only this process can get: keep the picture if it is there, else give it up."""
        settlement = await self._orders.stop(order)
        provider = order.provider_name
        if delivery := self._orders.late_delivery(order, settlement):
            try:
                return Succeeded(await self._keep(order, delivery))
            except Exception as error:  # noqa: BLE001 - as in `attempt`
                return _give_up(order, error)
        if settlement.order.charged is False:
            busy = ProviderBusy("The worker was stopped.", code="worker_stopped", retry_after_seconds=0)
            return RetryLater(fault_of(busy, provider=provider, order=NOT_CHARGED.merge(settlement.order)))
        log.warning(
            "order cut off, its picture may be charged",
            provider=provider,
            remedy="set BATCHGEN_GRACE_SECONDS above the time of a picture",
        )
        lost = OutcomeUnknown(
            f"The worker was stopped before {provider} answered: the outcome of the order is unknown."
        )
        return Failed(fault_of(lost, provider=provider))

    async def _report_fault(self, lease: Lease, fault: Fault) -> Outcome:
        verdict = await self._retry_writes(lease, lambda: self._queue.fail(lease.claim, fault))
        if verdict.status is GenerationStatus.FAILED:
            log.warning("item failed", code=fault.code, reason=fault.message)
            return Failed(fault)
        log.warning(
            "item will be retried",
            code=fault.code,
            reason=fault.message,
            in_seconds=verdict.retry_in_seconds,
        )
        return RetryLater(fault, verdict.retry_in_seconds)

    async def _report_refusal(self, lease: Lease, image: StoredImage | None, error: InvalidRequest) -> Outcome:
        """Fail the item: the database refuses its result, and would refuse it again."""
        log.error("result refused", code=error.code, reason=error.message)
        order = CHARGED.merge(image.order) if image else None
        try:
            return await self._report_fault(lease, fault_of(error, order=order))
        except (LeaseLost, QueueUnavailable, InvalidRequest) as problem:
            log.warning("refusal not written", reason=str(problem))
            return Released(lease.stopped or Stop.LOST)


async def _assume_bucket() -> None:
    """Stand in for the check of the bucket in workers that have none."""


def _give_up(order: ItemOrder, error: Exception) -> Outcome:
    fault = _fault(order, error)
    if fault.code in ("internal_error", "timeout"):
        log.warning("attempt failed", code=fault.code, exc_info=error)
    return RetryLater(fault) if fault.retryable else Failed(fault)


def _fault(order: ItemOrder, error: Exception) -> Fault:
    state = order.left_as
    if isinstance(error, InvalidRequest):  # an unusable picture is charged all the same
        state = CHARGED if order.lease.is_paid else order.state
    fault = fault_of(error, provider=order.provider_name, order=state)
    if order.lease.claim.is_late and fault.order.over:  # it is not ordered again
        fault = fault.model_copy(update={"retryable": False, "retry_after_seconds": None})
    return fault


def _cancelled(order: OrderState) -> Fault:
    return CANCELLED.model_copy(update={"order": order})


def _describe(image: StoredImage, delivery: Delivery, *, is_black: bool = False) -> StoredImage:
    """Add to a stored image what is known of how it was made."""
    picture = delivery.picture
    seed = picture.seed if picture.seed is not None and abs(picture.seed) <= LARGEST_SEED else None
    return image.model_copy(
        update={
            "seed": seed,
            "model_version": printable(picture.version, LONGEST_VERSION) if picture.version else None,
            "is_black": is_black,
            "order": delivery.order,
        }
    )
