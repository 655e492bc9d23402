"""HTTP proxies from the environment, read as httpx reads them, for requests that httpx does not route by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.request import getproxies

import httpx

SUPPORTED_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Proxies:
    """`by_scheme`: proxy URLs for `http`, `https` and `all`. `exempt`: the entries of `NO_PROXY`."""

    by_scheme: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    exempt: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls) -> "Proxies":
        """`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case."""
        found = getproxies()
        named = {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
        urls = {scheme: url if "://" in url else f"http://{url}" for scheme, url in named.items()}
        exempt = tuple(filter(None, (host.strip() for host in found.get("no", "").split(","))))
        return cls({} if "*" in exempt else urls, exempt)

    def proxy_for(self, url: httpx.URL) -> str | None:
        """The URL of the proxy for this address; None for a direct connection."""
        proxy = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        return None if proxy is None or any(_covers(name, url) for name in self.exempt) else proxy

    def error(self) -> str | None:
        """Why the proxies cannot be used, without their passwords; None if they can."""
        for scheme, text in self.by_scheme.items():
            variable = f"{scheme.upper()}_PROXY"
            try:
                url = httpx.URL(text)
            except (httpx.InvalidURL, ValueError):
                return f"{variable} is not the URL of a proxy; it must be http://host:port"
            if url.scheme not in SUPPORTED_SCHEMES or not url.host:
                return (
                    f"{variable} names a {url.scheme or 'nameless'} proxy, but only http and https proxies are "
                    "supported; use the proxy's HTTP port, or unset the variable for batchgen"
                )
        return None


def _covers(name: str, url: httpx.URL) -> bool:
    """Whether an entry of `NO_PROXY` covers this host: the name and its subdomains; `.name` covers only those."""
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
