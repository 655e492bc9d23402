"""Which machines a picture may be fetched from: public ones, and connections go to the very address that was looked at.

A name is resolved once per connection, here, and what is connected to is the address that passed: a name whose answer
changes between the look and the connection (DNS rebinding) gains nothing. Network backends are httpcore's public way
to decide where a connection goes (its documentation, "Network Backends"); TLS still checks the certificate
against the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpcore

from batchgen.errors import ProviderRejected

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, by name and port; raises OSError where there are none."""
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): as public as the IPv4 address inside."""
NEVER_PUBLIC = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"), IPv6Network("::/96"))
"""Local use of NAT64 (RFC 8215), site-local and IPv4-compatible addresses, which older Pythons take as global."""


def is_public(address: Address) -> bool:
    """Whether the address is a machine on the internet: not private, loopback, link-local, multicast or reserved."""
    inside = _inside(address)
    if inside is not None:
        return is_public(inside)
    if isinstance(address, IPv6Address) and any(address in network for network in NEVER_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_link_local)


def _inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, if any: whoever routes the one reaches the other."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says; every spelling of an address (`127.1`, `0x7f000001`) becomes the address."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone. Raises `ProviderRejected` (`address_refused`) before any connection."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, resolve: Resolve = resolve_host) -> None:
        self._network = network
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in await self._public_addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _public_addresses(self, host: str, port: int) -> Sequence[str]:
        """All of the host's addresses; one that is not public spoils the others, for no honest host has such a mix."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        for address in addresses:
            if not is_public(ip_address(address.partition("%")[0])):
                raise refusal(f"{host} is not on the public internet; nothing was fetched from it.")
        return addresses


def refusal(message: str) -> ProviderRejected:
    """The provider names an address that we do not go to."""
    return ProviderRejected(message, code="address_refused", is_charged=True)
