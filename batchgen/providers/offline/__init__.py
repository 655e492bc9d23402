"""The offline provider: pictures for development and tests, drawn from the request with no model behind them."""

from batchgen.providers.offline.metadata import read_metadata
from batchgen.providers.offline.provider import OfflineProvider

__all__ = ["OfflineProvider", "read_metadata"]
