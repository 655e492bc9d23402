"""Batches of image prompts on Supabase: submit, watch, read, act, download. Start with `BatchgenClient`."""

from importlib.metadata import version

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
    Action,
    ActionDone,
    ActionRefused,
    ActionReport,
    Batch,
    BatchRequest,
    BatchSnapshot,
    BatchStatus,
    BatchTotals,
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

__version__ = version("batchgen")

__all__ = [
    "Action",
    "ActionDone",
    "ActionRefused",
    "ActionReport",
    "BackendUnavailable",
    "Batch",
    "BatchRequest",
    "BatchSnapshot",
    "BatchStatus",
    "BatchTotals",
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
    "__version__",
]
