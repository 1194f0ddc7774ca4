"""A service that one test of a module after another borrows, by the fixture `lend` of `shared_service`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from fake_dedalus import FakeDedalus
from service import Service, service
from session_calls import SESSIONS

from services.tooling.base import Tool


class Lend(Protocol):
    """Lends a service with these tools and settings, and its upstream, to one test at a time."""

    def __call__(
        self, tools: Mapping[str, Tool] = {}, **settings: Any
    ) -> AbstractAsyncContextManager[tuple[FakeDedalus, Service]]: ...


@dataclass
class Lent:
    """A service that one test after another borrows. It has the tools of the test."""

    fake: FakeDedalus
    agent: Service
    tools: dict[str, Tool]
    close: AsyncExitStack

    def begin(self, tools: Mapping[str, Tool]) -> None:
        """Get ready for a test. (At its end, it still looks at the requests that came.)"""
        self.fake.forget()
        self.tools.clear()
        self.tools.update(tools)

    async def is_as_new(self) -> bool:
        """Delete the sessions, and return whether nothing of the test is left but the records of runs that ended."""
        while found := (await self.agent.client.get(SESSIONS)).json()["sessions"]:
            for session in found:
                deleted = await self.agent.client.delete(f"{SESSIONS}/{session['session_id']}")
                if deleted.status_code != 204:
                    return False
        return not self.agent.app.state.live.tasks


async def started(settings: Mapping[str, Any]) -> Lent:
    tools: dict[str, Tool] = {}
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeDedalus())
        agent = await stack.enter_async_context(service(fake.url, tools, **settings))
        return Lent(fake, agent, tools, stack.pop_all())


class Lender:
    """Starts a service for settings that no test has had yet, and else lends the one that it has."""

    def __init__(self) -> None:
        self._idle: dict[str, Lent] = {}

    @asynccontextmanager
    async def lend(self, tools: Mapping[str, Tool] = {}, **settings: Any) -> AsyncIterator[tuple[FakeDedalus, Service]]:
        """See `Lend`."""
        key = repr(sorted(settings.items()))
        lent = self._idle.pop(key, None) or await started(settings)
        lent.begin(tools)
        reusable = False
        try:
            yield lent.fake, lent.agent
            lent.fake.check()
            reusable = await lent.is_as_new()
        finally:
            if reusable:
                self._idle[key] = lent
            else:
                await lent.close.aclose()

    async def aclose(self) -> None:
        """Close the services."""
        for lent in self._idle.values():
            await lent.close.aclose()
