"""Decides which URLs this service may call when a request, a model or a page names them. Does no HTTP.

A name is resolved once, each of its addresses has to be public, and the connection goes to one of these. So the name
can't be resolved to another address in between (DNS rebinding). The refusal is the same for an unknown name and for one
that leads into a private network. Otherwise callers could map that network by asking. The log has the reason.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from errors import UrlRefused
from services.outbound.public_addresses import METADATA, Address, embedded, is_public, translated

logger = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name for a port. Raises `OSError` for an unknown name."""

RESOLVE_TIMEOUT_S = 5.0
LOOKUP_THREADS = 8
MAX_URL_LENGTH = 8192

REFUSED = (
    "This service does not call that URL. Its host must be a known name with public addresses only, or be listed in "
    "URL_ALLOWED, and it must not be listed in URL_DENIED."
)

METADATA_NAMES = {  # of Google's cloud; other clouds have addresses only
    "metadata.google.internal",
    "metadata.goog",
}
# RFC 6761, RFC 6762, RFC 8375, ICANN's private-use name, and a common default of routers.
LOCAL_SUFFIXES = ("localhost", "local", "localdomain", "internal", "home.arpa")

# Stricter than RFC 3986, so that every parser of the URL finds the same host in it.
URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(?:[/?#].*)?", re.IGNORECASE)
AUTHORITY = re.compile(r"(?:\[([0-9a-f]*:[0-9a-f:.]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", re.IGNORECASE)
NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.(?!\Z)|\Z))+")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. `host` is an address, or a name in lower case, in its DNS form, without a dot at its end."""

    scheme: str
    host: Address | str
    port: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection may go: to one of `addresses`, tried in this order, and nowhere else."""

    host: str
    port: int
    addresses: tuple[str, ...]


class HostList:
    """The entries of URL_ALLOWED or URL_DENIED: names, `*.` and a name for all names below it, addresses and networks.

    Raises `ValueError` for an entry that is none of these.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        self._networks: list[Network] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        text = entry.strip().lower().removesuffix(".")
        error = ValueError(
            f"{entry!r} is not a host name (example.com, *.example.com), an address or a network (10.1.0.0/16)"
        )
        if "/" in text or ":" in text or NUMBER.fullmatch(text.rpartition(".")[2]):
            try:
                self._networks.append(ip_network(_bare(text)))
            except ValueError:
                raise error from None
            return
        name = _name(text.removeprefix("*."))
        if name is None:
            raise error
        if text.startswith("*."):
            self._suffixes.append(f".{name}")
        else:
            self._names.add(name)

    def names(self, host: str, *, exactly: bool = False) -> bool:
        """Return whether a name is listed. With `exactly`, wildcards don't count."""
        return host in self._names or (not exactly and any(host.endswith(suffix) for suffix in self._suffixes))

    def holds(self, address: Address, *, exactly: bool = False) -> bool:
        """Return whether an address is listed. With `exactly`, networks of several addresses don't count."""
        return any(address in network and (not exactly or network.num_addresses == 1) for network in self._networks)


class UrlGuard:
    """Checks URLs that callers and models name. Raises `UrlRefused`, or `ValueError` for invalid entries.

    A name or wildcard in `allowed` allows any address of that name, by https and http. An address or network allows the
    addresses in it. `denied` wins over `allowed`. A cloud's metadata address needs an entry for that address alone.
    """

    def __init__(
        self,
        allowed: Sequence[str] = (),
        denied: Sequence[str] = (),
        resolve: Resolve | None = None,
        timeout_s: float = RESOLVE_TIMEOUT_S,
    ) -> None:
        self._allowed, self._denied = HostList(allowed), HostList(denied)
        self._resolve = resolve or system_resolver()
        self._timeout_s = timeout_s

    def check(self, url: str) -> Target:
        """Parse the URL and check its scheme and host, without resolving a name."""
        target = parse(url)
        self._check_host(target.host)
        if target.scheme == "http" and not self._is_allowed(target.host):
            raise UrlRefused("Send an https URL: http goes only to hosts that URL_ALLOWED names.")
        return target

    async def resolve(self, url: str) -> Destination:
        """Check the URL, and return where a connection for it may go."""
        target = self.check(url)
        return await self._locate(target.host, target.port)

    async def locate(self, host: str, port: int) -> Destination:
        """Return where a connection to this host may go, for a client that has passed the URL to `check`."""
        parsed = _host(host)
        self._check_host(parsed)
        return await self._locate(parsed, port)

    async def check_image(self, url: str) -> None:
        """Raise unless the URL may be passed to the model server, which fetches the image itself.

        A data URL passes, because it holds the image. So does a name that this machine can't resolve, because the
        model server has its own resolver.
        """
        if url[:5].lower() == "data:":
            return
        target = self.check(url)
        if isinstance(target.host, str):
            self._check_addresses(target.host, await self._look_up(target.host, target.port))

    async def _locate(self, host: Address | str, port: int) -> Destination:
        if not isinstance(host, str):
            return Destination(str(host), port, (str(host),))
        addresses = await self._look_up(host, port)
        if not addresses:
            raise _refusal(host, "it has no address")
        self._check_addresses(host, addresses)
        return Destination(host, port, tuple(map(str, addresses)))

    def _check_host(self, host: Address | str) -> None:
        if not isinstance(host, str):
            self._check_addresses(host, [host])
        elif self._denied.names(host):
            raise _refusal(host, "it is in URL_DENIED")
        elif not self._allowed.names(host, exactly=host in METADATA_NAMES) and _is_local(host):
            raise _refusal(host, "it is a name of the local network")

    def _check_addresses(self, host: Address | str, addresses: Iterable[Address]) -> None:
        listed = isinstance(host, str) and self._allowed.names(host)
        for address in addresses:
            forms = (address, *embedded(address))
            if any(map(self._denied.holds, forms)):
                raise _refusal(host, f"{address} is in URL_DENIED")
            if not METADATA.isdisjoint(forms):
                if not any(self._allowed.holds(form, exactly=True) for form in forms):
                    raise _refusal(host, f"{address} serves a cloud's metadata")
            elif not (listed or self._is_allowed(address) or is_public(address)):
                raise _refusal(host, f"{address} is not public")

    def _is_allowed(self, host: Address | str) -> bool:
        if isinstance(host, str):
            return self._allowed.names(host)
        return self._allowed.holds(host) or self._allowed.holds(translated(host))

    async def _look_up(self, name: str, port: int) -> list[Address]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return [ip_address(address) for address in dict.fromkeys(await self._resolve(name, port))]
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            logger.info("the name %s of a URL was not resolved: %r", name, error)
            return []


def system_resolver() -> Resolve:
    """Return the machine's resolver.

    It has its own threads, because slow names must not take the threads of the event loop that flush files to disk.
    """
    threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="url-guard")

    def look_up(name: str, port: int) -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]

    async def resolve(name: str, port: int) -> Sequence[str]:
        return await asyncio.get_running_loop().run_in_executor(threads, look_up, name, port)

    return resolve


def parse(url: str) -> Target:
    """Parse a URL strictly. Refuse one that other parsers could read differently, instead of correcting it."""
    if len(url) > MAX_URL_LENGTH or not url.isprintable() or " " in url or "\\" in url:
        raise UrlRefused(f"Send a URL of at most {MAX_URL_LENGTH} characters, without spaces and backslashes.")
    split = URL.fullmatch(url)
    if split is None or (scheme := split[1].lower()) not in ("https", "http"):
        raise UrlRefused("Send an absolute https URL, such as https://example.com/page.")
    if "@" in split[2]:
        raise UrlRefused("Send the URL without a user name or password.")
    authority = AUTHORITY.fullmatch(split[2])
    if authority is None:
        raise UrlRefused("The URL's host is not valid: send a name such as example.com, or an address.")
    port = int(authority[3] or {"https": 443, "http": 80}[scheme])
    if not 0 < port < 65536:
        raise UrlRefused("The URL's port is not valid: send one between 1 and 65535.")
    return Target(scheme, _host(authority[1] or authority[2]), port)


def _host(text: str) -> Address | str:
    host = text.lower().removesuffix(".")
    try:
        if ":" in host and "%" not in host:
            return IPv6Address(host)
        if NUMBER.fullmatch(host.rpartition(".")[2]):  # browsers, too, read this as an address
            return IPv4Address(host)
    except ValueError:
        raise UrlRefused("The URL's host is not a valid address: write it as 192.0.2.1 or [2001:db8::1].") from None
    if (name := _name(host)) is None:
        raise UrlRefused("The URL's host is not a valid host name. Send an international name in its xn--… form.")
    return name


def _name(text: str) -> str | None:
    """Return a name in its DNS form. Return None if letters in it stand for others, as full-width ones do."""
    name = text
    if len(text) <= 253 and not text.isascii():
        try:
            name = text.encode("idna").decode()
            if name.encode().decode("idna") != text:
                return None
        except UnicodeError:
            return None
    return name if NAME.fullmatch(name) else None


def _bare(entry: str) -> str:
    """Return an entry without brackets. Raise ValueError for a zone ("%"), which no list can hold."""
    if "%" in entry:
        raise ValueError(entry)
    return entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry


def _is_local(name: str) -> bool:
    return "." not in name or name in METADATA_NAMES or any(name.endswith(f".{suffix}") for suffix in LOCAL_SUFFIXES)


def _refusal(host: Address | str, reason: str) -> UrlRefused:
    logger.info("the URL guard refuses %s: %s", host, reason)
    return UrlRefused(REFUSED)
