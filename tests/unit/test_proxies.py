"""The environment's proxies are read as httpx, which all other requests use, reads them."""

import httpx
import pytest

from batchgen.client.client import BatchgenClient
from batchgen.errors import InvalidRequest
from batchgen.settings import Settings, load
from batchgen.settings.proxies import Proxies

PROXY = "http://proxy.test:3128"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("excepted", ["", "*", "a.test", ".a.test", "b.test, a.test", "10.0.0.7", "localhost", "::1"])
@pytest.mark.parametrize(
    "url",
    [
        "https://a.test/",
        "https://x.a.test/",
        "https://ba.test/",
        "http://10.0.0.7/",
        "https://localhost/",
        "http://[::1]/",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
async def test_each_address_uses_the_same_proxy_as_httpx(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, excepted: str
) -> None:
    monkeypatch.setenv(variable, PROXY)
    monkeypatch.setenv("NO_PROXY", excepted)
    async with httpx.AsyncClient() as client:
        direct = client._transport_for_url(httpx.URL(url)) is client._transport  # pyright: ignore[reportPrivateUsage]

    assert Proxies.of_environment().proxy_for(httpx.URL(url)) == (None if direct else PROXY)


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:7890", "ftp://proxy.test", "http://"])
def test_an_unsupported_proxy_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")

    with pytest.raises(InvalidRequest, match="ALL_PROXY names a") as caught:
        load(Settings, warn=print)

    assert caught.value.code == "invalid_settings"


def test_proxy_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret-part@127.0.0.1:7890")
    proxies = Proxies.of_environment()

    assert "secret-part" not in f"{proxies!r} {proxies.error()}"


async def test_the_library_blames_an_unusable_proxy_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:7890")

    with pytest.raises(InvalidRequest, match="ALL_PROXY names a socks5 proxy") as refused:
        await BatchgenClient.operator("http://127.0.0.1:1", "sb_secret_x")

    assert (refused.value.code, refused.value.field) == ("invalid_settings", "ALL_PROXY")
