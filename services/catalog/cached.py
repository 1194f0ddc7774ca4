"""Caches a list that another server provides, and keeps the last good one while that server fails."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from catalog_models import ListSource
from errors import AgentStreamError
from services.catalog.model_lists import UNREADABLE
from services.outbound.client import HTTP_ERRORS

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0
RETRY_S = 3.0  # after a failed fetch; soon, since a server may just be starting, but callers can't flood one

T = TypeVar("T")


class Cached(Generic[T]):
    """A list that is fetched at most once per `ttl_s` seconds.

    Only the first fetch is waited for. Later ones run in the background, while callers get the list that there is. It
    stays when a fetch fails; `failure` is then the exception.
    """

    def __init__(self, fetch: Callable[[], Awaitable[list[T]]], builtin: list[T], ttl_s: float) -> None:
        self._fetch = fetch
        self._list = builtin
        self._source: ListSource = "builtin"
        self._ttl_s = ttl_s
        self.failure: Exception | None = None
        self._due = 0.0
        self._tried = False
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[list[T], ListSource]:
        """Return the newest list. Wait for a fetch under way only if it is the first, or if the list is empty."""
        self.refresh_if_due()
        if self._refreshing is not None and not (self._tried and self._list):
            await asyncio.shield(self._refreshing)  # the fetch is for all callers, so none may cancel it
        return self._list, self._source

    def refresh_if_due(self) -> list[T]:
        """Start a fetch in the background if one is due. Return the list as it is now."""
        if self._refreshing is None and time.monotonic() >= self._due:
            self._refreshing = asyncio.create_task(self._refresh(), name="catalogue")
        return self._list

    def keep_fresh(self) -> None:
        """Start a fetch in the background if one is due, unless the last one failed."""
        if self.failure is None:
            self.refresh_if_due()

    async def _refresh(self) -> None:
        next_fetch_s = self._ttl_s
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                self._list = await self._fetch()
            self._source, self.failure = "upstream", None
        except (AgentStreamError, TimeoutError, *HTTP_ERRORS, *UNREADABLE) as error:
            logger.warning("a list could not be fetched: %s (%.200r)", error, error.__cause__ or error)
            self.failure = error
            self._source = "builtin" if self._source == "builtin" else "stale"
            next_fetch_s = min(next_fetch_s, RETRY_S)
        finally:
            self._due = time.monotonic() + next_fetch_s
            self._tried = True
            self._refreshing = None

    async def aclose(self) -> None:
        """Cancel a fetch under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})
