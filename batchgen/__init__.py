"""Batches of image prompts on Supabase: submit, watch, read, act, download. Start with `BatchgenClient`.

Names are imported when they are first used, since the command line needs few of them to answer `--version`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        BatchFacts,
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
    from batchgen.overview import Costs, KnownWorker, Model
    from batchgen.reading import FoundBatch
    from batchgen.session import Session, SessionStore
    from batchgen.storage_check import StorageReport
    from batchgen.watch import WatchTiming

    __version__: str

__all__ = [
    "Action",
    "ActionDone",
    "ActionRefused",
    "ActionReport",
    "BackendUnavailable",
    "Batch",
    "BatchFacts",
    "BatchRequest",
    "BatchSnapshot",
    "BatchStatus",
    "BatchTotals",
    "BatchgenClient",
    "BatchgenError",
    "Conflict",
    "Costs",
    "CreatedBatch",
    "FoundBatch",
    "Generation",
    "GenerationStatus",
    "Image",
    "InvalidRequest",
    "KnownWorker",
    "LimitReached",
    "Model",
    "NotFound",
    "NotSignedIn",
    "Prompt",
    "SavedImage",
    "Session",
    "SessionStore",
    "SharedSettings",
    "StorageError",
    "StorageReport",
    "Wait",
    "WaitReason",
    "WatchTiming",
    "__version__",
]

_HOMES = ("errors", "models", "session", "overview", "reading", "storage_check", "download", "watch", "client")
"""Where the names are defined, the cheapest to import first."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("batchgen")
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"batchgen.{home}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module 'batchgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
