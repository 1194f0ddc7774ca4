"""Fetches an issuer's public keys, and keeps the last good ones while the issuer fails or hangs.

Fetches run in the background. A request waits for one only if its token's key is unknown, and only while the fetch is
young.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from errors import IssuerUnavailable, UrlRefused
from json_codec.text import loads
from services.access.jwt_keys import VerificationKey, candidates, read_key_set
from services.outbound.client import GuardedClient
from services.outbound.fetch import FetchFailed, fetch

logger = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
MAX_DOCUMENT_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 10.0  # for a document
RETRY_AFTER_S = 2  # the value of the header Retry-After

Load = Callable[[], Awaitable[list[VerificationKey]]]


class Pace(NamedTuple):
    """When keys are fetched again, and how long a request waits for that."""

    refetch_pause_s: float = 5.0
    """Between two fetches because of unknown keys."""
    unknown_key_s: float = 60.0
    """How long a key counts as unknown after a fetch that didn't bring it."""
    max_wait_s: float = 1.0
    """How long a request waits for a fetch, counted from the fetch's beginning."""
    retries_s: Sequence[float] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    """After failed fetches."""


PACE = Pace()


class KeySource:
    """Where an issuer's key set is: at `keys_url`, or where the issuer's OpenID configuration says."""

    def __init__(self, issuer: str, keys_url: str | None, algorithms: frozenset[str]) -> None:
        self._issuer = issuer
        self._keys_url = keys_url
        self._algorithms = algorithms

    async def load(self) -> list[VerificationKey]:
        """Fetch the key set. Raise `FetchFailed`, `UrlRefused` or ValueError.

        The URLs are the operator's, so they may lead into a private network.
        """
        async with GuardedClient(None, trust_env=True) as client:
            url = self._keys_url or await self._discovered(client)
            return read_key_set(await _document(client, url), self._algorithms)

    async def _discovered(self, client: GuardedClient) -> str:
        configuration = await _document(client, self._issuer.rstrip("/") + DISCOVERY)
        return keys_url_of(configuration, self._issuer)


def keys_url_of(configuration: Any, issuer: str) -> str:
    """Return where an issuer's OpenID configuration says that its keys are.

    Raise ValueError for the configuration of another issuer (OpenID Connect Discovery, section 4.3), and if it leads
    from TLS to a URL without.
    """
    match configuration:
        case {"issuer": str(other)} if other != issuer:
            raise ValueError(f"the configuration's issuer is {other[:200]!r}, and JWT_ISSUER must be written like that")
        case {"issuer": str(), "jwks_uri": str(url)}:
            if url.startswith("https://") or not issuer.startswith("https://"):
                return url
            raise ValueError("the configuration names a URL without TLS")
    raise ValueError("the document is not an OpenID configuration")


async def _document(client: GuardedClient, url: str) -> Any:
    """Fetch a JSON document. Raise `FetchFailed`, `UrlRefused` or ValueError."""
    fetched = await fetch(client, url, max_bytes=MAX_DOCUMENT_BYTES, timeout_s=FETCH_TIMEOUT_S)
    if fetched.status != 200:
        raise FetchFailed(f"The server's status is {fetched.status}.")
    if fetched.truncated:
        raise FetchFailed(f"The document exceeds {MAX_DOCUMENT_BYTES} bytes.")
    document, _ = loads(fetched.body)
    return document


class IssuerKeys:
    """An issuer's keys. Create it in a running event loop: it starts to fetch them.

    They are fetched again every `ttl_s` seconds, and for a token whose key is unknown: at most once a minute for the
    same key, and every five seconds for all of them.
    """

    def __init__(self, load: Load, ttl_s: float, pace: Pace = PACE) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._pace = pace
        self._keys: list[VerificationKey] = []
        self._failures = 0
        self._unknown: dict[str, float] = {}  # when a fetch was asked for; the pause between fetches bounds it
        self._begun = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fetch_now()

    async def candidates(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that a token may be signed with; none if the issuer has no such key.

        Raise `IssuerUnavailable` if that isn't known, because the latest fetch has failed or takes long.
        """
        found = candidates(self._keys, kid, algorithm)
        if not found:
            await self._refetched(kid)
            found = candidates(self._keys, kid, algorithm)
        if not found and (self._failures or self._fetching is not None or not self._keys):
            raise IssuerUnavailable(retry_after=RETRY_AFTER_S)
        return found

    async def aclose(self) -> None:
        """End the fetches."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
        if self._timer is not None:
            self._timer.cancel()

    async def _refetched(self, kid: str | None) -> None:
        """Fetch the keys because of an unknown one, unless that was done lately. Wait for a fetch while it is young."""
        if self._fetching is None and self._may_refetch(kid or ""):
            self._fetch_now()
        left_s = self._begun + self._pace.max_wait_s - time.monotonic()
        if self._fetching is not None and left_s > 0:
            await asyncio.wait({self._fetching}, timeout=left_s)

    def _may_refetch(self, kid: str) -> bool:
        now = time.monotonic()
        self._unknown = {other: at for other, at in self._unknown.items() if at > now - self._pace.unknown_key_s}
        if kid in self._unknown or now < self._begun + self._pace.refetch_pause_s:
            return False
        self._unknown[kid] = now
        return True

    def _fetch_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._begun = time.monotonic()
        self._fetching = asyncio.create_task(self._fetch(), name="issuer keys")

    async def _fetch(self) -> None:
        next_s = self._ttl_s
        try:
            self._keys = await self._load()
            self._failures = 0
        except (FetchFailed, UrlRefused, ValueError, RecursionError) as error:
            next_s = min(next_s, self._retry_s())
            self._failures += 1
            logger.warning("the keys of JWT_ISSUER could not be fetched (%s): %s", self._state(), error)
        finally:
            self._fetching = None
            self._timer = asyncio.get_running_loop().call_later(next_s, self._fetch_now)

    def _retry_s(self) -> float:
        """Return the time to the next fetch after a failed one: longer each time."""
        return self._pace.retries_s[min(self._failures, len(self._pace.retries_s) - 1)]

    def _state(self) -> str:
        return "the former ones stay in use" if self._keys else "no token can be checked"
