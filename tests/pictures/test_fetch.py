"""Pictures are fetched only from public https addresses, within a size and a time."""

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from picture_server import PRIVATE_ADDRESS, PUBLIC_ADDRESS, FakeNetwork, PictureServer, head_of

from batchgen.errors import ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable, StorageError
from batchgen.pictures.fetch import Fetcher, LinkExpired
from batchgen.pictures.public_network import Rule
from batchgen.pictures.temporary_files import in_a_file
from batchgen.providers.base import RemoteImage
from batchgen.settings.proxies import Proxies

URL = "https://pictures.test/one.png?signature=secret-part"
CONTENT = os.urandom(300_000)
GIGABYTES_5 = 5 * 1024**3
NOT_HTTPS = ["http://pictures.test/a", "ftp://pictures.test/a", "file:///etc/passwd", "data:image/png;base64,AA"]
NO_ADDRESS = [
    "",
    "one.png",
    "//pictures.test/a",
    "https://",
    "https:///a",
    "https://[::1/a",
    "https://pictures.test:99999/a",
    "https://pictures.test:0/a",
]
PRIVATE = ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.7", "fe80::1%eth0", "0.0.0.0"]  # noqa: S104
FetcherMaker = Callable[..., Fetcher]


def names_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def fetched(fetcher: Fetcher, url: str = URL, **options: str) -> bytes:
    async with fetcher.fetch(RemoteImage(url), **options) as file:
        return file.read()


async def refused(fetcher: Fetcher, url: str = URL, **options: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await fetched(fetcher, url, **options)
    return caught.value


async def test_a_picture_is_fetched_completely(server: PictureServer, fetcher: Fetcher, network: FakeNetwork) -> None:
    server.gives("/one.png", CONTENT)

    assert await fetched(fetcher) == CONTENT
    assert network.connected == [(PUBLIC_ADDRESS, 443)]
    assert server.seen[0].path == "/one.png?signature=secret-part"
    assert server.seen[0].headers["host"] == "pictures.test"


async def test_the_fetched_file_has_no_name_and_is_closed(
    server: PictureServer, fetcher_with: FetcherMaker, tmp_path: Path, network: FakeNetwork
) -> None:
    server.gives("/one.png", CONTENT)

    async with Fetcher(folder=tmp_path, resolve=network.resolve, network=network) as untrusting:
        assert (await refused(untrusting)).code == "download_failed"  # no known authority signed the certificate
    async with fetcher_with().fetch(RemoteImage(URL)) as file:
        assert names_in(tmp_path) == []
        assert file.tell() == 0
    assert file.closed


async def test_the_checked_address_is_the_one_connected_to(
    server: PictureServer, fetcher: Fetcher, network: FakeNetwork
) -> None:
    server.gives("/one.png", CONTENT)
    network.knows("pictures.test", [PUBLIC_ADDRESS], [PRIVATE_ADDRESS])  # the second answer differs

    assert await fetched(fetcher) == CONTENT

    assert network.looked_up == ["pictures.test"]
    assert network.connected == [(PUBLIC_ADDRESS, 443)]


@pytest.mark.parametrize("address", [PRIVATE_ADDRESS, *PRIVATE])
async def test_a_name_of_a_private_address_is_refused_before_any_connection(
    fetcher: Fetcher, network: FakeNetwork, address: str
) -> None:
    network.knows("pictures.test", [PUBLIC_ADDRESS, address])

    error = await refused(fetcher)

    assert isinstance(error, ProviderRejected)
    assert error.code == "address_refused"
    assert network.connected == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254"],
)
async def test_every_spelling_of_a_private_address_is_refused(network: FakeNetwork, host: str) -> None:
    async with Fetcher(network=network) as fetcher:  # with the system's own resolver
        error = await refused(fetcher, f"https://{host}/one.png")

    assert error.code in ("address_refused", "download_failed")  # some resolvers do not know all spellings
    assert network.connected == []


@pytest.mark.parametrize("url", NOT_HTTPS + NO_ADDRESS)
async def test_only_https_with_a_host_is_fetched(fetcher: Fetcher, network: FakeNetwork, url: str) -> None:
    assert (await refused(fetcher, url)).code == "address_refused"
    assert network.connected == []


async def test_redirects_are_followed_and_each_hop_is_checked(
    server: PictureServer, fetcher: Fetcher, network: FakeNetwork
) -> None:
    server.redirects("/one.png", "/two.png", status=301)
    server.redirects("/two.png", "https://elsewhere.test/three.png", status=307)
    server.gives("/three.png", CONTENT)

    assert await fetched(fetcher) == CONTENT
    assert network.connected == [(PUBLIC_ADDRESS, 443), (PUBLIC_ADDRESS, 443), ("1.0.0.1", 443)]


@pytest.mark.parametrize(
    "location",
    [
        "https://inside.test/one.png",
        "https://10.0.0.7/one.png",
        "http://169.254.169.254/latest/meta-data",
        "http://pictures.test/one.png",
        "file:///etc/passwd",
        "https://pictures.test:99999/",
    ],
)
async def test_a_redirect_to_a_private_or_plain_address_is_refused(
    server: PictureServer, fetcher: Fetcher, network: FakeNetwork, location: str
) -> None:
    network.knows("inside.test", [PRIVATE_ADDRESS])
    network.knows("10.0.0.7", [PRIVATE_ADDRESS])
    server.redirects("/one.png", location)

    assert (await refused(fetcher)).code == "address_refused"
    assert network.connected == [(PUBLIC_ADDRESS, 443)]  # the first request, and none after it


async def test_endless_redirects_are_refused(server: PictureServer, fetcher_with: FetcherMaker) -> None:
    server.redirects("/one.png", "/one.png")

    error = await refused(fetcher_with(max_redirects=3))

    assert error.code == "too_many_redirects"
    assert isinstance(error, ProviderRejected)
    assert len(server.seen) == 4


async def test_secret_headers_go_only_to_the_first_server(server: PictureServer, fetcher: Fetcher) -> None:
    server.redirects("/one.png", "/two.png")
    server.redirects("/two.png", "https://elsewhere.test/three.png")
    server.gives("/three.png", CONTENT)

    async with fetcher.fetch(RemoteImage(URL, headers={"Authorization": "Bearer secret"})):
        pass

    assert [seen.headers.get("authorization") for seen in server.seen] == ["bearer secret", "bearer secret", None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_an_expired_link_is_its_own_error(server: PictureServer, fetcher: Fetcher, status: int) -> None:
    server.gives("/one.png", b"<Error>ExpiredToken</Error>", status=status)

    error = await refused(fetcher)

    assert isinstance(error, LinkExpired)
    assert error.status == status
    assert not error.is_provider_fault


@pytest.mark.parametrize("status", [204, 206, 304, 429, 500, 503])
async def test_other_error_answers_can_be_retried(server: PictureServer, fetcher: Fetcher, status: int) -> None:
    server.gives("/one.png", b"", status=status)

    error = await refused(fetcher)

    assert isinstance(error, ProviderUnavailable)
    assert error.code == "download_failed"


async def test_five_declared_gigabytes_are_refused_by_the_header(server: PictureServer, fetcher: Fetcher) -> None:
    server.says("/one.png", [head_of(headers={"content-length": str(GIGABYTES_5)})])

    assert (await refused(fetcher)).code == "picture_too_large"


@pytest.mark.parametrize("declared", [{}, {"transfer-encoding": "chunked"}, {"content-length": "nonsense"}])
async def test_five_undeclared_gigabytes_are_cut_off(
    server: PictureServer, fetcher_with: FetcherMaker, declared: dict[str, str]
) -> None:
    block = bytes(65_536)
    piece = b"10000\r\n" + block + b"\r\n" if "transfer-encoding" in declared else block
    count = GIGABYTES_5 // len(block)
    server.says("/one.png", itertools.chain([head_of(headers=declared)], itertools.repeat(piece, count)))

    error = await refused(fetcher_with(max_bytes=1_000_000))

    assert error.code == ("download_failed" if declared.get("content-length") else "picture_too_large")
    assert server.bytes_sent < 20_000_000  # the most that sockets and TLS hold


async def test_bytes_beyond_the_declared_length_are_ignored(server: PictureServer, fetcher: Fetcher) -> None:
    server.says("/one.png", [head_of(headers={"content-length": "5"}), b"12345<script>"])

    assert await fetched(fetcher) == b"12345"


async def test_a_trickling_download_ends_at_the_deadline(server: PictureServer, fetcher_with: FetcherMaker) -> None:
    server.says("/one.png", itertools.chain([head_of()], itertools.repeat(b"x")), pause_seconds=0.01)

    async with asyncio.timeout(30):
        error = await refused(fetcher_with(total_seconds=0.5))

    assert error.code == "download_too_slow"
    assert isinstance(error, ProviderUnavailable)


async def test_an_endless_header_ends_at_the_deadline(server: PictureServer, fetcher_with: FetcherMaker) -> None:
    server.says(
        "/one.png", itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"x: y\r\n")), pause_seconds=0.01
    )

    assert (await refused(fetcher_with(total_seconds=0.5))).code == "download_too_slow"


async def test_an_oversized_header_is_refused(server: PictureServer, fetcher: Fetcher) -> None:
    server.says("/one.png", itertools.chain([b"HTTP/1.1 200 OK\r\nx: "], itertools.repeat(b"x" * 10_000, 10_000)))

    assert (await refused(fetcher)).code == "download_failed"
    assert server.bytes_sent < 20_000_000


async def test_a_silent_server_is_given_up(server: PictureServer, fetcher_with: FetcherMaker) -> None:
    server.says("/one.png", [head_of(headers={"content-length": "9"}), b"1234", b"56789"], pause_seconds=3)

    assert (await refused(fetcher_with(silence_seconds=0.3))).code == "download_too_slow"


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"no HTTP at all\r\n\r\n"],
        [head_of(headers={"content-length": "10"}), b"123"],
        [head_of(headers={"transfer-encoding": "chunked"}), b"5\r\n123"],
        [head_of(headers={"transfer-encoding": "chunked"}), b"zz\r\n123"],
        [head_of(302)],
        [head_of(headers={"content-encoding": "gzip"}), b"\x1f\x8b"],
    ],
)
async def test_a_truncated_or_malformed_answer_is_an_error(
    server: PictureServer, fetcher: Fetcher, pieces: list[bytes]
) -> None:
    server.says("/one.png", pieces)

    assert (await refused(fetcher)).code == "download_failed"


async def test_the_next_address_is_tried_when_the_first_is_dead(
    server: PictureServer, fetcher: Fetcher, network: FakeNetwork
) -> None:
    server.gives("/one.png", CONTENT)
    network.knows("pictures.test", ["1.1.1.1", PUBLIC_ADDRESS])
    network.dead.add("1.1.1.1")

    assert await fetched(fetcher) == CONTENT
    assert network.connected == [("1.1.1.1", 443), (PUBLIC_ADDRESS, 443)]


@pytest.mark.parametrize("addresses", [["1.1.1.1", "1.1.1.2"], []])
async def test_an_unreachable_host_can_be_retried(fetcher: Fetcher, network: FakeNetwork, addresses: list[str]) -> None:
    network.knows("pictures.test", addresses)
    network.dead |= {"1.1.1.1", "1.1.1.2"}

    assert (await refused(fetcher)).code == "download_failed"
    assert (await refused(fetcher, "https://unknown.test/")).code == "download_failed"


async def test_errors_do_not_contain_the_address(server: PictureServer, fetcher: Fetcher) -> None:
    server.gives("/one.png", b"", status=404)

    assert "secret-part" not in str(await refused(fetcher))


async def test_pictures_are_fetched_from_the_configured_local_server(plain_server: PictureServer) -> None:
    plain_server.gives("/view", CONTENT)
    base = f"http://127.0.0.1:{plain_server.port}"

    async with Fetcher() as fetcher:
        assert await fetched(fetcher, f"{base}/view?filename=a.png", local_server=f"{base}/") == CONTENT


@pytest.mark.parametrize(
    "other", ["http://127.0.0.1:{other_port}/view", "https://127.0.0.1:{port}/view", "http://10.0.0.7/"]
)
async def test_pictures_are_not_fetched_from_other_local_servers(plain_server: PictureServer, other: str) -> None:
    base = f"http://127.0.0.1:{plain_server.port}"

    async with Fetcher() as fetcher:
        address = other.format(port=plain_server.port, other_port=plain_server.port - 1)
        error = await refused(fetcher, address, local_server=base)

    assert error.code == "address_refused"
    assert plain_server.seen == []


async def test_a_local_server_cannot_redirect_into_the_local_network(plain_server: PictureServer) -> None:
    plain_server.redirects("/view", "http://169.254.169.254/latest/meta-data")
    base = f"http://127.0.0.1:{plain_server.port}"

    async with Fetcher() as fetcher:
        assert (await refused(fetcher, f"{base}/view", local_server=base)).code == "address_refused"


async def test_a_public_address_cannot_redirect_to_the_local_server(
    server: PictureServer, plain_server: PictureServer, fetcher: Fetcher, network: FakeNetwork
) -> None:
    base = f"http://127.0.0.1:{plain_server.port}"
    server.redirects("/one.png", f"{base}/view")

    assert (await refused(fetcher, local_server=base)).code == "address_refused"
    assert plain_server.seen == []
    assert network.connected == [(PUBLIC_ADDRESS, 443)]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1"])
async def test_every_name_of_this_machine_is_the_same_local_server(plain_server: PictureServer, host: str) -> None:
    plain_server.gives("/view", CONTENT)
    base = f"http://localhost:{plain_server.port}/v1"

    async with Fetcher() as fetcher:
        assert await fetched(fetcher, f"http://{host}:{plain_server.port}/view", local_server=base) == CONTENT


@pytest.mark.parametrize(
    "other", ["http://127.0.0.1:{other_port}/view?sig=secret-part", "https://127.0.0.1:{port}/view"]
)
async def test_another_port_of_the_local_server_names_the_setting(plain_server: PictureServer, other: str) -> None:
    base = f"http://127.0.0.1:{plain_server.port}"
    address = other.format(port=plain_server.port, other_port=plain_server.port - 1)

    async with Fetcher() as fetcher:
        error = await refused(fetcher, address, local_server=base)

    assert isinstance(error, ProviderUnavailable)
    assert (error.code, error.order.over) == ("address_refused", False)
    assert "BATCHGEN_PICTURE_PORTS=any" in str(error)
    assert "secret-part" not in str(error)


async def test_any_port_of_the_local_server_is_accepted_when_allowed(plain_server: PictureServer) -> None:
    plain_server.gives("/view", CONTENT)

    async with Fetcher(any_local_port=True) as fetcher:
        url = f"http://127.0.0.1:{plain_server.port}/view"
        assert await fetched(fetcher, url, local_server="https://localhost:1/v1") == CONTENT
        elsewhere = await refused(fetcher, url, local_server="http://10.0.0.7:8080")

    assert elsewhere.code == "address_refused"


async def test_a_link_without_https_is_fetched_by_https(server: PictureServer, fetcher: Fetcher) -> None:
    server.gives("/generated-images/1.png", CONTENT)

    address = "http://pictures.test/generated-images/1.png"
    assert await fetched(fetcher, address, local_server="https://pictures.test/v1") == CONTENT


@pytest.mark.parametrize("addresses", [["198.18.0.5"], ["198.18.0.5", "198.19.1.1"]])
async def test_fake_dns_addresses_wait_for_the_operator(
    fetcher: Fetcher, network: FakeNetwork, addresses: list[str]
) -> None:
    network.knows("pictures.test", addresses)

    error = await refused(fetcher)

    assert isinstance(error, ProviderBusy)
    assert (error.code, error.order.over) == ("network_not_public", False)
    assert network.connected == []


@pytest.mark.parametrize(
    ("addresses", "is_reached"),
    [(["198.18.0.5"], False), (["10.0.0.7"], False), ([PUBLIC_ADDRESS], True), (None, True)],
)
async def test_an_unreachable_picture_network_is_found_before_any_order(
    fetcher: Fetcher, network: FakeNetwork, addresses: list[str] | None, is_reached: bool
) -> None:
    if addresses:
        network.knows("api.test", addresses)

    if is_reached:
        await fetcher.check_reach("https://api.test/v1")
    else:
        with pytest.raises(ProviderBusy, match=rf"{addresses[0] if addresses else ''}.*BATCHGEN_PICTURE_NETWORKS"):
            await fetcher.check_reach("https://api.test/v1")
    assert network.connected == []


async def test_pictures_are_fetched_from_the_operators_networks(
    server: PictureServer, network: FakeNetwork, trusted: ssl.SSLContext
) -> None:
    server.gives("/one.png", CONTENT)
    network.knows("pictures.test", ["198.18.0.5"])
    rule = Rule((IPv4Network("198.18.0.0/15"),))

    async with Fetcher(resolve=network.resolve, network=network, certificates=trusted, rule=rule) as fetcher:
        await fetcher.check_reach(URL)
        assert await fetched(fetcher) == CONTENT


@pytest.fixture
async def proxy(server: PictureServer) -> AsyncGenerator[list[str]]:
    """An HTTP proxy; the list holds its requested connections and their passwords."""
    asked: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        asked.append(head[0])
        asked.extend(line for line in head if line.lower().startswith("proxy-authorization"))
        inside, outside = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, outside), _pump(inside, writer))

    listening = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    asked.append(f"http://me:pass@127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    yield asked
    listening.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_pictures_are_fetched_through_the_proxy_of_the_orders(
    server: PictureServer, proxy: list[str], network: FakeNetwork, trusted: ssl.SSLContext
) -> None:
    server.gives("/one.png", CONTENT)
    proxies = Proxies({"https": proxy.pop()}, ("direct.test",))

    async with Fetcher(resolve=network.resolve, certificates=trusted, proxies=proxies) as fetcher:
        await fetcher.check_reach("https://unknown.test")
        assert await fetched(fetcher) == CONTENT

    assert proxy == ["CONNECT pictures.test:443 HTTP/1.1", "Proxy-Authorization: Basic bWU6cGFzcw=="]
    assert network.looked_up == []


@pytest.mark.parametrize(
    "url", ["https://127.1/a", "https://10.0.0.7/a", "https://[::1]/a", "https://db/a", "https://x.internal/a"]
)
async def test_no_proxy_is_asked_for_local_addresses(proxy: list[str], url: str) -> None:
    async with Fetcher(proxies=Proxies({"all": proxy.pop()})) as fetcher:
        assert (await refused(fetcher, url)).code == "address_refused"

    assert proxy == []


async def test_a_refusing_proxy_can_be_retried() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with Fetcher(proxies=Proxies({"https": f"http://127.0.0.1:{port}"})) as fetcher:
        assert (await refused(fetcher)).code == "download_failed"
    listening.close()


async def test_credentials_in_an_address_are_not_sent(server: PictureServer, fetcher: Fetcher) -> None:
    server.redirects("/one.png", "https://user:secret@elsewhere.test/two.png")
    server.gives("/two.png", CONTENT)

    assert await fetched(fetcher, "https://user:secret@pictures.test/one.png") == CONTENT
    assert all("authorization" not in seen.headers for seen in server.seen)
    assert [seen.headers["host"] for seen in server.seen] == ["pictures.test", "elsewhere.test"]


async def test_proxies_of_the_environment_are_not_used_by_default(
    server: PictureServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, network: FakeNetwork
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    server.gives("/one.png", CONTENT)

    assert await fetched(fetcher) == CONTENT
    assert network.connected == [(PUBLIC_ADDRESS, 443)]


async def test_a_cancelled_fetch_leaves_no_connection(server: PictureServer, fetcher: Fetcher) -> None:
    begun = asyncio.Event()

    async def never_ends(writer: asyncio.StreamWriter) -> None:
        await server.send(writer, head_of())
        begun.set()
        while True:
            await server.send(writer, bytes(1000))
            await asyncio.sleep(0.01)

    server.answers["/one.png"] = never_ends
    task = asyncio.create_task(fetched(fetcher))
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    server.gives("/one.png", CONTENT)
    assert await fetched(fetcher) == CONTENT


async def test_a_full_disk_is_a_storage_error(tmp_path: Path, network: FakeNetwork) -> None:
    async with Fetcher(folder=tmp_path / "missing", resolve=network.resolve, network=network) as fetcher:
        with pytest.raises(StorageError):
            await fetched(fetcher)


async def test_given_content_becomes_a_nameless_file(tmp_path: Path) -> None:
    async with in_a_file(CONTENT, tmp_path) as file:
        assert file.read() == CONTENT
        assert names_in(tmp_path) == []
    assert file.closed
