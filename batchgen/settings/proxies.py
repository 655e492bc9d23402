"""Which HTTP proxy a request goes through: what the environment says, read as httpx reads it for all other requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.request import getproxies

import httpx

SPOKEN = ("http", "https")


@dataclass(frozen=True, slots=True)
class Proxies:
    """`by_scheme`: a proxy's URL for `http`, `https` and `all`. `excepted`: the hosts of `NO_PROXY`."""

    by_scheme: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    excepted: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls) -> "Proxies":
        """`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case."""
        found = getproxies()
        named = {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
        urls = {scheme: url if "://" in url else f"http://{url}" for scheme, url in named.items()}
        excepted = tuple(filter(None, (host.strip() for host in found.get("no", "").split(","))))
        return cls({} if "*" in excepted else urls, excepted)

    def of(self, url: httpx.URL) -> str | None:
        """The proxy for this address; None where it is reached directly."""
        proxy = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        return None if proxy is None or any(_covers(name, url) for name in self.excepted) else proxy

    def fault(self) -> str | None:
        """What keeps us from using them, without their passwords; None where nothing does."""
        for scheme, text in self.by_scheme.items():
            variable = f"{scheme.upper()}_PROXY"
            try:
                url = httpx.URL(text)
            except (httpx.InvalidURL, ValueError):
                return f"{variable} is no URL of a proxy; it has to be http://host:port"
            if url.scheme not in SPOKEN or not url.host:
                return (
                    f"{variable} names a {url.scheme or 'nameless'} proxy, and only http and https ones are spoken to; "
                    "use the proxy's HTTP port, or unset the variable for the worker"
                )
        return None


def _covers(name: str, url: httpx.URL) -> bool:
    """Whether an entry of `NO_PROXY` means this host: itself and what is below it; with a dot first only the latter."""
    if "://" in name:
        scheme, _, name = name.partition("://")
        if scheme not in ("all", url.scheme):
            return False
        return name.partition(":")[0].lower() == url.host.lower()
    host, entry = url.host.lower(), name.lower().strip("[]")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or (not _is_address(entry) and entry != "localhost" and host.endswith(f".{entry}"))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
