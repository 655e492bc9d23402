"""Snapshots for tests that need no database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from batchgen.models import Batch, BatchSnapshot, BatchStatus, Generation, GenerationStatus, Image

BEGAN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def an_item(index: int, **changes: Any) -> Generation:
    item = Generation.model_validate(
        {"id": UUID(int=index + 1), "index": index, "prompt": f"prompt {index}", "status": "completed", "seed": index}
    )
    return item.model_copy(update=changes)


def a_failed_item(index: int, reason: str) -> Generation:
    return an_item(index, status=GenerationStatus.FAILED, error_message=reason)


def an_image(item: Generation, **changes: Any) -> Image:
    image = Image(
        id=UUID(int=100 + item.index),
        generation_id=item.id,
        filename=f"{item.id}.png",
        storage_path=f"u/{item.id}.png",
        prompt=item.prompt,
        public_url=f"http://project.test/{item.index}.png",
        format="png",
        width=64,
        height=64,
        file_size=1234,
    )
    return image.model_copy(update=changes)


def a_snapshot(*items: Generation, status: BatchStatus = BatchStatus.COMPLETED, **changes: Any) -> BatchSnapshot:
    done = [item for item in items if item.status is GenerationStatus.COMPLETED]
    batch = Batch(
        id=UUID(int=7),
        status=status,
        total_count=len(items),
        completed_count=len(done),
        failed_count=sum(item.status is GenerationStatus.FAILED for item in items),
        created_at=BEGAN,
        completed_at=BEGAN + timedelta(seconds=4.5) if status.is_final else None,
    )
    return BatchSnapshot(
        batch=batch.model_copy(update=changes), generations=items, images=tuple(an_image(item) for item in done)
    )
