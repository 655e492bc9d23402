"""A worker that cannot fetch pictures from its machine says so before it orders one."""

import socket
from typing import Any

import pytest

from batchgen.exit_codes import INVALID, UNREACHABLE
from batchgen.providers.registry import Providers
from batchgen.settings import WorkerSettings
from scheduler.__main__ import main

REAL = socket.getaddrinfo


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_for_this_test")
    monkeypatch.setenv("BATCHGEN_REPLICATE_API_TOKEN", "r8_for_this_test")
    monkeypatch.setenv("BATCHGEN_BACKOFF_SECONDS", "0.05")
    return monkeypatch


@pytest.fixture
def made_up(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """DNS answers one name with an invented address."""

    def answer(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        return REAL("198.18.0.5" if host == "api.replicate.com" else host, port, *more, **options)

    environment.setattr(socket, "getaddrinfo", answer)
    return environment


def test_fake_dns_addresses_are_refused_at_the_start(
    made_up: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--once"]) == INVALID
    assert "BATCHGEN_PICTURE_NETWORKS=198.18.0.0/15" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value"), [("BATCHGEN_PICTURE_NETWORKS", "198.18.0.0/15"), ("BATCHGEN_PROVIDER", "offline")]
)
def test_allowed_networks_and_unused_providers_do_not_stop_the_start(
    made_up: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    made_up.setenv(variable, value)

    assert main(["--once"]) == UNREACHABLE


def test_only_providers_with_picture_links_are_checked(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("BATCHGEN_OPENAI_API_KEY", "sk-for-this-test")
    environment.setenv("BATCHGEN_COMFYUI_URL", "http://10.0.0.7:8188")
    environment.setenv("BATCHGEN_FAL_KEY", "for-this-test")
    environment.setenv("BATCHGEN_FAL_URL", "http://10.0.0.7")

    settings = WorkerSettings()  # pyright: ignore[reportCallIssue]

    assert Providers(settings).apis_with_links() == ["https://api.replicate.com/v1"]
