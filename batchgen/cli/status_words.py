"""Status words for people, which also tell cancelled and deleted items apart; the data have only four states."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from batchgen.models import (
    Batch,
    BatchFacts,
    BatchSnapshot,
    BatchStatus,
    BatchTotals,
    Generation,
    GenerationStatus,
    Image,
)

CANCELLED = "cancelled"
DELETED = "deleted"


NO_FACTS = BatchFacts()


def facts_of(snapshot: BatchSnapshot, reopened_at: datetime | None = None) -> BatchFacts:
    pictures = images_by_item(snapshot)
    return BatchFacts(
        cancelled=sum(is_cancelled(item) for item in snapshot.generations),
        deleted=sum(is_deleted(item, pictures) for item in snapshot.generations),
        reopened_at=reopened_at,
    )


def images_by_item(snapshot: BatchSnapshot) -> Mapping[UUID, Image]:
    return {image.generation_id: image for image in snapshot.images if image.generation_id}


def is_cancelled(item: Generation) -> bool:
    return item.status is GenerationStatus.FAILED and item.error_code == CANCELLED


def is_deleted(item: Generation, pictures: Mapping[UUID, Image]) -> bool:
    return item.status is GenerationStatus.COMPLETED and item.id not in pictures


def item_word(item: Generation, pictures: Mapping[UUID, Image] | None = None) -> str:
    if is_cancelled(item):
        return CANCELLED
    return DELETED if pictures is not None and is_deleted(item, pictures) else str(item.status)


def batch_word(batch: Batch | BatchTotals, facts: BatchFacts = NO_FACTS) -> str:
    """The batch's status; `cancelled` if all failed items were cancelled, `deleted` if no picture is left."""
    if not batch.status.is_final:
        return str(batch.status)
    if facts.cancelled and facts.cancelled >= batch.failed_count:
        return CANCELLED
    is_empty = facts.deleted and facts.deleted >= batch.completed_count
    return DELETED if is_empty and batch.status is BatchStatus.COMPLETED else str(batch.status)


def counts(batch: Batch | BatchTotals, facts: BatchFacts = NO_FACTS) -> str:
    """`3 of 5 done, 1 failed, 1 cancelled`."""
    failed = max(0, batch.failed_count - facts.cancelled)
    there = max(0, batch.completed_count - facts.deleted)
    done = "done" if not facts.deleted else "left"
    parts = [f"{there} of {batch.total_count} {done}"]
    parts += [
        f"{count} {word}"
        for count, word in ((facts.deleted, DELETED), (failed, "failed"), (facts.cancelled, CANCELLED))
        if count
    ]
    return ", ".join(parts)


def took_seconds(batch: Batch, facts: BatchFacts = NO_FACTS) -> float | None:
    """Seconds from the submission or the last retry until the end; None before the end."""
    if batch.completed_at is None:
        return None
    began = batch.created_at
    if facts.reopened_at and facts.reopened_at <= batch.completed_at:
        began = max(began, facts.reopened_at)
    return (batch.completed_at - began).total_seconds()
