"""Allow connections to public addresses only.

A name is resolved here, once per connection, and the connection goes to the address that was checked. So a name whose
answer changes in between (DNS rebinding) gains nothing. Network backends are httpcore's public way to decide where a
connection goes (its documentation, "Network Backends"). TLS still checks the certificate against the name.
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
"""Resolve a host by name and port; raises OSError if it has no addresses."""
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): as public as the IPv4 address inside."""
SIX_TO_FOUR = IPv6Network("2002::/16")
UNICAST = IPv6Network("2000::/3")
"""All IPv6 addresses that are allocated for the internet."""
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
"""IANA's IPv4 Special-Purpose Address Registry (RFC 6890, as of October 2025) and multicast. Python's `is_global`
differs between versions, and counts some of them as global.
"""
SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")))
"""The same for IPv6 within `UNICAST`: 2001::/23 holds Teredo, ORCHID and benchmarking."""
MADE_UP = IPv4Network("198.18.0.0/15")
"""The answer of proxies such as Clash, mihomo or Surge for every name ("fake IP")."""
LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa")
OPERATOR_SECONDS = 300.0
"""The wait if the operator has to act first."""
Network = IPv4Network | IPv6Network


def is_public(address: Address) -> bool:
    """Whether the address is on the internet: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    inside = _inside(address)
    if inside is not None:
        return is_public(inside)
    return address in UNICAST and not any(address in network for network in SPECIAL_IPV6)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address translates to, if any."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address.ipv4_mapped


@dataclass(frozen=True, slots=True)
class Rule:
    """Which addresses count as public. `networks` are further ones that the operator has named."""

    networks: tuple[Network, ...] = ()

    def allows(self, address: str) -> bool:
        plain = ip_address(address.partition("%")[0])
        return is_public(plain) or any(plain in network for network in self.networks)


PUBLIC = Rule()


def spelled_address(host: str) -> Address | None:
    """The address that a host name spells, in any form that resolvers accept: `127.1`, `0x7f000001`, `2130706433`."""
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
    """Whether a name is one of the local network, or an address that is not public."""
    address = spelled_address(host)
    if address is not None:
        return not is_public(address)
    name = host.lower().rstrip(".")
    return "." not in name or name.endswith(LOCAL_ENDINGS)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve with the system's resolver; every spelling of an address (`127.1`, `0x7f000001`) becomes the address."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only. Raises `ProviderRejected` (`address_refused`) before any connection."""

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
        """The host's addresses. If one is not public, all are refused: no honest host has such a mix."""
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
    """The refusal of a host with these addresses, or None if it is public.

    If DNS gives every name a made-up address, the operator has to correct that, and items wait.
    """
    wrong = [address for address in addresses if not rule.allows(address)]
    if not wrong:
        return None
    if not _is_address(host) and all("." in address and ip_address(address) in MADE_UP for address in wrong):
        return made_up_address(host, wrong[0])
    return refusal(f"{host} is not on the public internet; nothing was fetched from it.")


def _is_address(host: str) -> bool:
    """Whether the host is an IPv4 address in any spelling, so that no resolver made it up."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True


def made_up_address(host: str, address: str) -> ProviderBusy:
    what = (
        f"This machine's DNS answers {host} with {address}, which is not a public address (some proxies make up such "
        "addresses, “fake IP”), so pictures cannot be fetched. Set "
        f"BATCHGEN_PICTURE_NETWORKS={network_of(address)}, or HTTPS_PROXY, or let this machine's DNS answer with real "
        "addresses."
    )
    return ProviderBusy(what, code="network_not_public", retry_after_seconds=OPERATOR_SECONDS)


def network_of(address: str) -> str:
    """The network to set for a DNS answer that is not public."""
    plain = ip_address(address.partition("%")[0])
    return str(MADE_UP if plain in MADE_UP else ip_network(plain))


def refusal(message: str) -> ProviderRejected:
    """The error for an address that is not fetched."""
    return ProviderRejected(message, code="address_refused", order=CHARGED)
