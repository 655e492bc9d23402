"""Which machines a picture may be fetched from: public ones, and connections go to the very address that was looked at.

A name is resolved once per connection, here, and what is connected to is the address that passed: a name whose answer
changes between the look and the connection (DNS rebinding) gains nothing. Network backends are httpcore's public way
to decide where a connection goes (its documentation, "Network Backends"); TLS still checks the certificate
against the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore

from batchgen.errors import ProviderBusy, ProviderError, ProviderRejected
from batchgen.order_state import CHARGED

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, by name and port; raises OSError where there are none."""
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): as public as the IPv4 address inside."""
SIX_TO_FOUR = IPv6Network("2002::/16")
UNICAST = IPv6Network("2000::/3")
"""All IPv6 that is given out to the internet."""
SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
"""IANA's IPv4 Special-Purpose Address Registry (RFC 6890, as of October 2025) and multicast. `is_global` of Python
differs from one version to the next, and takes some of them as global.
"""
SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")))
"""The same for IPv6, as far as it lies within `UNICAST`: 2001::/23 holds Teredo, ORCHID and benchmarking."""
MADE_UP = IPv4Network("198.18.0.0/15")
"""What proxies such as Clash, mihomo or Surge answer for every name ("fake IP")."""
LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa")
OPERATOR_SECONDS = 300.0
"""The wait where the operator has to do something first."""
Network = IPv4Network | IPv6Network


def is_public(address: Address) -> bool:
    """Whether the address is a machine on the internet: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    inside = _inside(address)
    if inside is not None:
        return is_public(inside)
    return address in UNICAST and not any(address in network for network in SPECIAL_IPV6)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, if any: whoever routes the one reaches the other."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address.ipv4_mapped


@dataclass(frozen=True, slots=True)
class Rule:
    """Which addresses count as the internet's. `networks`: those that the operator has named besides."""

    networks: tuple[Network, ...] = ()

    def allows(self, address: str) -> bool:
        plain = ip_address(address.partition("%")[0])
        return is_public(plain) or any(plain in network for network in self.networks)


PUBLIC = Rule()


def spelled_address(host: str) -> Address | None:
    """The address that a host name spells out, in any way that resolvers take: `127.1`, `0x7f000001`, `2130706433`."""
    plain = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        return ip_address(plain)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(plain))
    except (OSError, ValueError):
        return None


def is_local_name(host: str) -> bool:
    """Whether a name means a machine of the own network, or an address that is not the internet's."""
    address = spelled_address(host)
    if address is not None:
        return not is_public(address)
    name = host.lower().rstrip(".")
    return "." not in name or name.endswith(LOCAL_ENDINGS)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says; every spelling of an address (`127.1`, `0x7f000001`) becomes the address."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone. Raises `ProviderRejected` (`address_refused`) before any connection."""

    def __init__(
        self, network: httpcore.AsyncNetworkBackend, resolve: Resolve = resolve_host, rule: Rule = PUBLIC
    ) -> None:
        self._network = network
        self._resolve = resolve
        self._rule = rule

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
        addresses = await resolved(host, port, self._resolve)
        if (problem := refusal_of(host, addresses, self._rule)) is not None:
            raise problem
        return addresses


async def resolved(host: str, port: int, resolve: Resolve) -> Sequence[str]:
    try:
        return await resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} has no address") from error


def refusal_of(host: str, addresses: Sequence[str], rule: Rule) -> ProviderError | None:
    """Why nothing may be fetched from a host with these addresses; None where it may.

    A machine whose every name gets a made-up address is the operator's to mend: items wait for that.
    """
    wrong = [address for address in addresses if not rule.allows(address)]
    if not wrong:
        return None
    if not _is_address(host) and all("." in address and ip_address(address) in MADE_UP for address in wrong):
        return made_up_address(host, wrong[0])
    return refusal(f"{host} is not on the public internet; nothing was fetched from it.")


def _is_address(host: str) -> bool:
    """Whether the provider named an IPv4 address itself, in whatever spelling, so that no resolver made it up."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True


def made_up_address(host: str, address: str) -> ProviderBusy:
    what = (
        f"This machine's DNS answers {host} with {address}, which is not the internet's (proxies make up such "
        f"addresses, “fake IP”): pictures cannot be fetched. Set BATCHGEN_PICTURE_NETWORKS={network_of(address)}, or "
        "HTTPS_PROXY, or let this machine's DNS answer with real addresses."
    )
    return ProviderBusy(what, code="network_not_public", retry_after_seconds=OPERATOR_SECONDS)


def network_of(address: str) -> str:
    """What to set, for an answer of DNS that is not the internet's."""
    plain = ip_address(address.partition("%")[0])
    return str(MADE_UP if plain in MADE_UP else ip_network(plain))


def refusal(message: str) -> ProviderRejected:
    """The provider names an address that we do not go to."""
    return ProviderRejected(message, code="address_refused", order=CHARGED)
