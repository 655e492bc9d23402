"""Batches of image prompts on Supabase: submit, watch, read, download. Start with `BatchgenClient`."""

from batchgen.client import BatchgenClient
from batchgen.download import SavedImage
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    Conflict,
    InvalidRequest,
    LimitReached,
    NotFound,
    NotSignedIn,
    StorageError,
)
from batchgen.models import (
    Batch,
    BatchRequest,
    BatchSnapshot,
    BatchStatus,
    CreatedBatch,
    Generation,
    GenerationStatus,
    Image,
    Prompt,
    SharedSettings,
    Wait,
    WaitReason,
)
from batchgen.session import Session, SessionStore
from batchgen.watch import WatchTiming

__all__ = [
    "BackendUnavailable",
    "Batch",
    "BatchRequest",
    "BatchSnapshot",
    "BatchStatus",
    "BatchgenClient",
    "BatchgenError",
    "Conflict",
    "CreatedBatch",
    "Generation",
    "GenerationStatus",
    "Image",
    "InvalidRequest",
    "LimitReached",
    "NotFound",
    "NotSignedIn",
    "Prompt",
    "SavedImage",
    "Session",
    "SessionStore",
    "SharedSettings",
    "StorageError",
    "Wait",
    "WaitReason",
    "WatchTiming",
]
