"""Providers by name, from settings that may lack any of them."""

from typing import Any

import pytest

from batchgen.errors import ModelUnusable, ProviderBusy
from batchgen.providers.base import AccountableProvider
from batchgen.providers.offline import OfflineProvider
from batchgen.providers.registry import MAKERS, OneProvider, Providers, make_providers
from batchgen.settings import WorkerSettings

ALL: dict[str, Any] = {
    "replicate_api_token": "r8_0123456789",
    "fal_key": "fal-id:0123456789",
    "openai_api_key": "sk-0123456789",
    "comfyui_url": "http://127.0.0.1:8188/",
    "automatic1111_url": "http://127.0.0.1:7860",
    "automatic1111_auth": "me:0123456789",
}


def settings(**given: Any) -> WorkerSettings:
    values = {"supabase_url": "http://project.test", "supabase_secret_key": "sb_secret_test", **given}
    return WorkerSettings.model_validate(values)


@pytest.mark.parametrize("name", MAKERS)
async def test_a_configured_provider_is_created_once(name: str) -> None:
    providers = Providers(settings(**ALL))

    provider = providers.get(name)

    assert provider.name == name
    assert providers.get(name) is provider
    assert isinstance(provider, AccountableProvider) is (name != "offline")
    await providers.aclose()


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"offline"}))
async def test_items_wait_for_a_provider_without_settings(name: str) -> None:
    with pytest.raises(ProviderBusy) as busy:
        Providers(settings()).get(name)

    assert (busy.value.code, busy.value.retry_after_seconds) == ("provider_not_set_up", 60)
    assert name in str(busy.value)


async def test_a_model_of_an_unknown_provider_waits() -> None:
    with pytest.raises(ModelUnusable) as unusable:
        Providers(settings(**ALL)).get("replicat")

    assert (unusable.value.code, unusable.value.order.over) == ("provider_unknown", False)
    assert "replicat" in str(unusable.value)


async def test_an_own_openai_server_needs_no_key() -> None:
    providers = Providers(settings(openai_url="http://127.0.0.1:8080/v1"))

    assert providers.get("openai").name == "openai"
    await providers.aclose()


async def test_each_model_has_its_own_provider_by_default() -> None:
    assert isinstance(make_providers(settings()), Providers)


async def test_an_offline_worker_uses_the_offline_provider_for_all_models() -> None:
    providers = make_providers(settings(provider="offline", **ALL))

    assert isinstance(providers.get("replicate"), OfflineProvider)
    assert providers.get("fal") is providers.get("replicate")
    await providers.aclose()


@pytest.mark.parametrize(
    ("given", "name", "address"),
    [
        ({"comfyui_url": "http://127.0.0.1:8188/"}, "comfyui", "http://127.0.0.1:8188"),
        ({"openai_url": "http://gpu.lan/v1/"}, "openai", "http://gpu.lan/v1"),
        ({"openai_api_key": "sk-0123456789"}, "openai", None),
        (ALL, "replicate", None),
        (ALL, "offline", None),
        (ALL, "replicat", None),
    ],
)
def test_only_a_configured_address_is_a_local_server(given: dict[str, Any], name: str, address: str | None) -> None:
    assert Providers(settings(**given)).local_server(name) == address


async def test_one_provider_can_serve_every_name() -> None:
    one = OfflineProvider()
    providers = OneProvider(one)

    assert providers.get("replicate") is providers.get("fal") is one
    assert providers.local_server("replicate") is None
    await providers.aclose()


def test_keys_are_not_shown_in_reprs() -> None:
    providers = Providers(settings(**ALL))
    made = [providers.get(name) for name in MAKERS]

    shown = repr((providers, made, settings(**ALL), [vars(provider) for provider in made]))

    assert "0123456789" not in shown
