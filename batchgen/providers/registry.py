"""Make the provider that a model's row names, from the worker's settings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from pydantic import SecretStr

from batchgen.errors import ModelUnusable, ProviderBusy
from batchgen.providers.automatic1111 import Automatic1111Provider
from batchgen.providers.base import Provider
from batchgen.providers.comfyui import ComfyUIProvider
from batchgen.providers.fal import FalProvider
from batchgen.providers.offline import OfflineProvider
from batchgen.providers.openai_images import OpenAIImagesProvider
from batchgen.providers.replicate import ReplicateProvider
from batchgen.settings import WorkerSettings

NOT_SET_UP_SECONDS = 60.0
"""How long items wait for a provider that has no key on this worker."""


class ProvidersByName(Protocol):
    """The worker's source of providers, item by item."""

    def get(self, name: str) -> Provider:
        """The provider of this name. Raises `ModelUnusable` for an unknown one, `ProviderBusy` without its key."""
        ...

    def local_server(self, name: str) -> str | None:
        """The address of the provider's server if the operator set one: pictures may come from there as well."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class OneProvider:
    """The same provider for all models."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def get(self, name: str) -> Provider:  # noqa: ARG002 - see the class
        return self._provider

    def local_server(self, name: str) -> str | None:  # noqa: ARG002 - it fetches by itself
        return None

    async def aclose(self) -> None:
        await self._provider.aclose()


class Providers:
    """The providers of the settings, each made when the first model needs it."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._made: dict[str, Provider] = {}

    def get(self, name: str) -> Provider:
        if name not in MAKERS:
            known = ", ".join(MAKERS)
            raise ModelUnusable(f"The model's provider {name} is none of {known}.", code="provider_unknown")
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def apis_with_links(self) -> Sequence[str]:
        """The addresses of the services on the internet that this worker may order from and must fetch from."""
        urls = {"replicate": self._settings.replicate_url, "fal": self._settings.fal_url}
        usable = (name for name in urls if any(self._settings.is_given(variable) for variable in MAKERS[name][0]))
        return [str(urls[name]) for name in usable if self.local_server(name) is None]

    def local_server(self, name: str) -> str | None:
        """The address of the operator's own server or gateway; None for a service at its usual address."""
        field = f"{name}_url"
        if field not in WorkerSettings.model_fields or not self._settings.is_given(field):
            return None
        return str(getattr(self._settings, field)).rstrip("/")

    async def aclose(self) -> None:
        for provider in self._made.values():
            await provider.aclose()

    def _make(self, name: str) -> Provider:
        _, maker = MAKERS[name]
        if name not in usable_providers(self._settings):
            raise ProviderBusy(
                f"This worker has no {name}: set {setting_wanted(name)}.",
                code="provider_not_set_up",
                retry_after_seconds=NOT_SET_UP_SECONDS,
            )
        return maker(self._settings)


def usable_providers(settings: WorkerSettings) -> list[str]:
    """The providers that the settings have a key or an address for."""
    return [
        name
        for name, (variables, _) in MAKERS.items()
        if not variables or any(settings.is_given(variable) for variable in variables)
    ]


def setting_wanted(provider: str) -> str:
    """The variables of which a provider needs one, in words; for an unknown provider, the known ones."""
    if provider not in MAKERS:
        return f"a provider that exists in batchgen.models: {', '.join(MAKERS)}"
    return " or ".join(f"BATCHGEN_{variable.upper()}" for variable in MAKERS[provider][0])


def make_providers(settings: WorkerSettings) -> ProvidersByName:
    """The providers by the settings. Close their connections with `aclose`."""
    return OneProvider(_offline(settings)) if settings.provider == "offline" else Providers(settings)


def _offline(settings: WorkerSettings) -> Provider:
    return OfflineProvider(
        seconds=settings.offline_seconds, commands=settings.offline_commands, image_format=settings.offline_format
    )


def _replicate(settings: WorkerSettings) -> Provider:
    return ReplicateProvider(
        api_token=_given(settings.replicate_api_token),
        base_url=str(settings.replicate_url),
        timeout_seconds=settings.provider_timeout_seconds,
    )


def _fal(settings: WorkerSettings) -> Provider:
    return FalProvider(
        key=_given(settings.fal_key),
        base_url=str(settings.fal_url),
        timeout_seconds=settings.provider_timeout_seconds,
    )


def _openai(settings: WorkerSettings) -> Provider:
    return OpenAIImagesProvider(
        key=settings.openai_api_key,
        base_url=str(settings.openai_url),
        is_free=settings.openai_is_free,
        answer_seconds=settings.item_timeout_seconds,
    )


def _comfyui(settings: WorkerSettings) -> Provider:
    return ComfyUIProvider(base_url=str(settings.comfyui_url), key=settings.comfyui_key)


def _automatic1111(settings: WorkerSettings) -> Provider:
    return Automatic1111Provider(
        base_url=str(settings.automatic1111_url),
        credentials=settings.automatic1111_auth,
        answer_seconds=settings.item_timeout_seconds,
    )


def _given(key: SecretStr | None) -> SecretStr:
    return key or SecretStr("")


MAKERS: Mapping[str, tuple[Collection[str], Callable[[WorkerSettings], Provider]]] = {
    "offline": ((), _offline),
    "replicate": (("replicate_api_token",), _replicate),
    "fal": (("fal_key",), _fal),
    "openai": (("openai_api_key", "openai_url"), _openai),
    "comfyui": (("comfyui_url",), _comfyui),
    "automatic1111": (("automatic1111_url",), _automatic1111),
}
"""For each provider, the settings of which it needs one, and the function that makes it."""
