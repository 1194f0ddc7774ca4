"""The service: starts runs, lets readers follow them, cancels them, and drains when the server stops."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from uuid_utils import uuid7

from errors import (
    CursorAhead,
    LocalModelUnavailable,
    ModelUnavailable,
    RunExpired,
    ServerDraining,
    ServerFull,
    UpstreamFailed,
)
from event_logs.base import EventLog
from events import RunStarted
from models import AgentRequest, AgentResponse, OnDisconnect, Run, SimulateRequest
from services.catalog import Catalog
from services.folding import Folded, fold
from services.local_model import LocalModel
from services.run_events import RunEvents
from services.run_task import RunOrder, RunTask, Work
from services.upstreams import Route, Upstreams
from settings import Settings

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
REMEMBERED_RUNS = 10_000
LAST_WORDS_S = 2.0  # what is left of the drain when the readers have to leave
END_S = 2.0  # how long ending the last runs may take


class Agent(Protocol):
    """Answers requests over a route, as `DedalusAgent` does."""

    async def run(self, request: AgentRequest, route: Route, events: RunEvents) -> None:
        """Write the whole run but for its ends. Raise what it failed with."""


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, events: RunEvents) -> None:
        """Write the whole run but for its ends. Raise what it failed with."""


class Readers:
    """How many streams are being read; `none` is set while there are none."""

    def __init__(self) -> None:
        self._count = 0
        self.none = asyncio.Event()
        self.none.set()

    def add(self, change: int) -> None:
        """One more, or one less."""
        self._count += change
        (self.none.clear if self._count else self.none.set)()


class RunStream:
    """A run's frames from some event on. Enter it to read them: from then until it is left, the run has this reader."""

    def __init__(
        self, run_id: str, frames: AsyncGenerator[bytes, None], task: RunTask | None, readers: Readers
    ) -> None:
        self.run_id = run_id
        self.frames = frames
        self._task = task
        self._readers = readers

    async def __aenter__(self) -> AsyncGenerator[bytes, None]:
        """The frames, in pages."""
        self._readers.add(1)
        if self._task is not None:
            self._task.attach()
        return self.frames

    async def __aexit__(self, *_: object) -> None:
        """The reader has left."""
        self._readers.add(-1)
        if self._task is not None:
            self._task.detach()
        await self.frames.aclose()


class AgentService:
    """Runs and their readers. Make it in a running loop; `aclose` ends what is still going."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        upstreams: Upstreams,
        agent: Agent,
        simulator: Simulator,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._log = log
        self._upstreams = upstreams
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog
        self._live: dict[str, RunTask] = {}
        self._starting = 0
        self._finished: OrderedDict[str, Run] = OrderedDict()
        self._no_runs = asyncio.Event()
        self._no_runs.set()
        self._readers = Readers()
        self.draining = False
        self.readers_must_leave = asyncio.Event()

    async def start(self, request: AgentRequest, request_id: str) -> RunTask:
        """Start a run, which goes on in the background; `run_started` is committed.

        Raise `ModelUnavailable` or `McpUnavailable` for what no upstream can serve, a `CapacityError` for a server
        that is full, draining or can't write.
        """
        with self._admission():
            model = request.model or await self._default_model()
            work = partial(self._agent.run, request, self._route(request, model))
            return await self._launch(model, work, request_id, request.on_disconnect, request.metadata)

    def _route(self, request: AgentRequest, model: str) -> Route:
        route = self._upstreams.route(model, bool(request.mcp_servers))
        if route.upstream.kind == "local" and not LocalModel.installed():
            raise LocalModelUnavailable
        if route.upstream.kind == "local" and request.has_images():
            raise ModelUnavailable(
                "The embedded model reads text only: for images, set DEDALUS_API_KEY or a provider's."
            )
        return route

    async def execute_agent_streaming(self, request: AgentRequest, request_id: str) -> RunStream:
        """Start a run and follow it from its first event. Raise as `start` does."""
        task = await self.start(request, request_id)
        return self._stream(task.run_id, 0)

    async def simulate_streaming_execution(self, request: SimulateRequest, request_id: str) -> RunStream:
        """Start a scripted run and follow it from its first event. Raise a `CapacityError` as `start` does."""
        with self._admission():
            work = partial(self._simulator.run, request)
            task = await self._launch(self._simulator.model, work, request_id, request.on_disconnect, None)
        return self._stream(task.run_id, 0)

    async def execute_agent(self, request: AgentRequest, request_id: str) -> tuple[AgentResponse, Folded]:
        """Run to the end and fold the events. When this call is cancelled, so is the run, unless it may go on alone."""
        task = await self.start(request, request_id)
        try:
            async with self._stream(task.run_id, 0) as frames:
                folded = await fold(frames)
        except asyncio.CancelledError:
            if request.on_disconnect == "cancel":
                task.cancel()
            raise
        return folded.response(task.run_id), folded

    async def follow(self, run_id: str, after: int) -> RunStream | None:
        """A run's frames from event `after + 1` on; None where it has ended and nothing is left.

        Raise `RunNotFound`, `RunExpired`, or `CursorAhead` for an event that does not exist yet.
        """
        position = await self._log.position(run_id)
        if after > position.last_seq:
            raise CursorAhead(f"The run's last event so far is {position.last_seq}.")
        if position.ended and after == position.last_seq:
            return None
        return self._stream(run_id, after)

    async def get(self, run_id: str) -> Run:
        """How a run stands. Raise `RunNotFound` or `RunExpired`."""
        if task := self._live.get(run_id):
            return task.snapshot()
        await self._log.position(run_id)
        if run := self._finished.get(run_id):
            return run
        raise RunExpired

    async def cancel(self, run_id: str) -> Run:
        """Ask a run to end; it does so soon. A run that has ended stays as it is. Raise as `get` does."""
        if task := self._live.get(run_id):
            task.cancel()
        return await self.get(run_id)

    async def ready(self) -> None:
        """Raise a `CapacityError` if a run could not start now."""
        self._admit()
        await self._log.check()
        if self._upstreams.all[0].kind == "local":
            self._upstreams.local.check()

    async def drain(self) -> None:
        """Take no new runs, let those under way end and be read, and tell the readers to leave before time is up."""
        self.draining = True
        logger.info("draining: %d runs are under way", len(self._live))
        for task in self._live.values():
            task.keep_alone()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s - LAST_WORDS_S):
                await self._no_runs.wait()
                await self._readers.none.wait()
        self.readers_must_leave.set()

    async def aclose(self) -> None:
        """End the runs that are still going, as interrupted."""
        self.draining = True
        self.readers_must_leave.set()
        for task in list(self._live.values()):
            task.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._no_runs.wait()

    @contextmanager
    def _admission(self) -> Iterator[None]:
        """Holds a place for the run that is started inside."""
        self._admit()
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def _admit(self) -> None:
        if self.draining:
            raise ServerDraining(retry_after=RETRY_AFTER_S)
        if len(self._live) + self._starting >= self._settings.max_concurrent_runs:
            raise ServerFull(retry_after=RETRY_AFTER_S)

    async def _default_model(self) -> str:
        """The configured model, or the first that the upstream lists."""
        if self._upstreams.default_model:
            return self._upstreams.default_model
        listed = await self._catalog.models()
        if listed.source == "builtin":
            raise UpstreamFailed
        if not listed.models:
            raise ModelUnavailable("Name a model in the request, or set DEFAULT_MODEL: the upstream lists none.")
        return listed.models[0].id

    async def _launch(
        self, model: str, work: Work, request_id: str, on_disconnect: OnDisconnect, metadata: dict[str, str] | None
    ) -> RunTask:
        run_id = f"run_{uuid7().hex}"
        events = RunEvents(await self._log.create(run_id), self._settings.max_output_bytes)
        events.put(RunStarted(model=model))
        await events.commit()
        order = RunOrder(
            run_id=run_id,
            model=model,
            work=work,
            request_id=request_id,
            timeout_s=self._settings.run_timeout_s,
            grace_s=self._settings.disconnect_grace_s,
            on_disconnect=on_disconnect,
            metadata=metadata,
        )
        task = self._live[run_id] = RunTask(order, events, self._ended)
        self._no_runs.clear()
        return task

    def _ended(self, task: RunTask) -> None:
        del self._live[task.run_id]
        self._finished[task.run_id] = task.snapshot()
        if len(self._finished) > REMEMBERED_RUNS:
            self._finished.popitem(last=False)
        if not self._live:
            self._no_runs.set()

    def _stream(self, run_id: str, after: int) -> RunStream:
        return RunStream(run_id, self._log.read(run_id, after), self._live.get(run_id), self._readers)
