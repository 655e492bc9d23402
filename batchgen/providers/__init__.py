"""Image providers: `base` says what one is, the others are one each."""

from batchgen.providers.base import Provider
from batchgen.providers.offline import OfflineProvider
from batchgen.settings import WorkerSettings


def make_provider(settings: WorkerSettings) -> Provider:
    """The provider that the settings name. Give its connections back with `aclose`."""
    match settings.provider:
        case "offline":
            return OfflineProvider(
                seconds=settings.offline_seconds,
                commands=settings.offline_commands,
                image_format=settings.offline_format,
            )
