"""A complete worker that uses the paid provider: `python -m tests.chaos.chaos_worker`."""

import os
import sys
from typing import cast

from batchgen.providers.registry import Provider
from batchgen.settings import WorkerSettings
from scheduler.__main__ import main
from tests.chaos.chaos_provider import ChaosProvider, Keys


def paid_provider(_settings: WorkerSettings) -> Provider:
    return ChaosProvider(os.environ["CHAOS_PROVIDER_URL"], cast("Keys", os.environ["CHAOS_KEYS"]))


if __name__ == "__main__":
    sys.exit(main(provider_for=paid_provider))
