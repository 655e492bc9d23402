"""Settings with units, bounds and defaults. Values come from the environment and a `.env` file."""

from batchgen.settings.from_environment import load
from batchgen.settings.project import Settings
from batchgen.settings.worker import WorkerSettings

__all__ = ["Settings", "WorkerSettings", "load"]
