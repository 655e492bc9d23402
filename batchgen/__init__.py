"""Batches of image prompts on Supabase: submit, watch, read, act, download. Start with `BatchgenClient`.

Names are imported on first use, so that `batchgen --version` does not load the whole library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchgen.client.batch_queries import FoundBatch
    from batchgen.client.client import BatchgenClient
    from batchgen.client.credits import CreditEntry, CreditPrice, Credits
    from batchgen.client.details import (
        BatchDetails,
        BatchPage,
        BatchPreview,
        BatchTotalsAndSettings,
        CreditsNeeded,
        ExpectedEnd,
        ExpectedSeconds,
        ItemDetails,
        ItemWait,
        LimitLeft,
        Picture,
        PreviewedBatch,
        PreviewedItem,
        PreviewRefusal,
        RetryRefused,
    )
    from batchgen.client.downloads import SavedImage
    from batchgen.client.exports import ExportReport
    from batchgen.client.imports import ImportedBatch
    from batchgen.client.large_jobs import JobBatch, JobProgress, JobReport
    from batchgen.client.picture_access import SwitchedPictures
    from batchgen.client.project_queries import Costs, KnownWorker, Model, NumberRange
    from batchgen.client.requested_exports import ExportFile, RequestedExport
    from batchgen.client.schedules import (
        MissedRuns,
        RunOutcome,
        Schedule,
        ScheduleRun,
        ScheduleRuns,
        ScheduleState,
        next_runs,
    )
    from batchgen.client.session import Session, SessionStore
    from batchgen.client.storage_check import StorageReport
    from batchgen.client.templates import BatchTemplate, Placeholder
    from batchgen.client.watch import WatchTiming
    from batchgen.errors import (
        BackendUnavailable,
        BatchgenError,
        Conflict,
        CreditsShort,
        InvalidRequest,
        LimitReached,
        NotFound,
        NotSignedIn,
        StorageError,
    )
    from batchgen.exports.build import ExportProgress, MissingPicture
    from batchgen.models import (
        Action,
        ActionDone,
        ActionRefused,
        ActionReport,
        Batch,
        BatchFacts,
        BatchRating,
        BatchRequest,
        BatchSnapshot,
        BatchStatus,
        BatchTotals,
        Choices,
        CreatedBatch,
        Difference,
        EmptiedTrash,
        Generation,
        GenerationStatus,
        Image,
        ItemEdit,
        JobRow,
        NewItemSource,
        Prompt,
        RepeatedBatch,
        SharedSettings,
        TemplateUse,
        TrashedImage,
        TrashEntry,
        TrashPage,
        Variations,
        Wait,
        WaitReason,
    )

    __version__: str

__all__ = [
    "Action",
    "ActionDone",
    "ActionRefused",
    "ActionReport",
    "BackendUnavailable",
    "Batch",
    "BatchDetails",
    "BatchFacts",
    "BatchPage",
    "BatchPreview",
    "BatchRating",
    "BatchRequest",
    "BatchSnapshot",
    "BatchStatus",
    "BatchTemplate",
    "BatchTotals",
    "BatchTotalsAndSettings",
    "BatchgenClient",
    "BatchgenError",
    "Choices",
    "Conflict",
    "Costs",
    "CreatedBatch",
    "CreditEntry",
    "CreditPrice",
    "Credits",
    "CreditsNeeded",
    "CreditsShort",
    "Difference",
    "EmptiedTrash",
    "ExpectedEnd",
    "ExpectedSeconds",
    "ExportFile",
    "ExportProgress",
    "ExportReport",
    "FoundBatch",
    "Generation",
    "GenerationStatus",
    "Image",
    "ImportedBatch",
    "InvalidRequest",
    "ItemDetails",
    "ItemEdit",
    "ItemWait",
    "JobBatch",
    "JobProgress",
    "JobReport",
    "JobRow",
    "KnownWorker",
    "LimitLeft",
    "LimitReached",
    "MissedRuns",
    "MissingPicture",
    "Model",
    "NewItemSource",
    "NotFound",
    "NotSignedIn",
    "NumberRange",
    "Picture",
    "Placeholder",
    "PreviewRefusal",
    "PreviewedBatch",
    "PreviewedItem",
    "Prompt",
    "RepeatedBatch",
    "RequestedExport",
    "RetryRefused",
    "RunOutcome",
    "SavedImage",
    "Schedule",
    "ScheduleRun",
    "ScheduleRuns",
    "ScheduleState",
    "Session",
    "SessionStore",
    "SharedSettings",
    "StorageError",
    "StorageReport",
    "SwitchedPictures",
    "TemplateUse",
    "TrashEntry",
    "TrashPage",
    "TrashedImage",
    "Variations",
    "Wait",
    "WaitReason",
    "WatchTiming",
    "__version__",
    "next_runs",
]

_HOMES = (
    *("errors", "models", "client.session", "client.credits", "client.project_queries", "client.batch_queries"),
    *("client.storage_check", "client.templates", "client.schedules", "client.details", "client.picture_access"),
    "client.large_jobs",
    *("client.downloads", "exports.build", "client.exports", "client.requested_exports", "client.imports"),
    *("client.watch", "client.client"),
)
"""Modules that define the names, the cheapest to import first."""


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
