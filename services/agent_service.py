"""The service: starts runs, lets readers follow them, looks at them, cancels them and lets them go."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol

from uuid_utils import uuid7

from database.engine import Database
from database.runs import delete_run
from errors import (
    CursorAhead,
    LocalModelUnavailable,
    ModelUnavailable,
    RunActive,
    RunExpired,
    RunNotFound,
    UpstreamFailed,
)
from event_logs.base import EventLog
from events import RunWarning
from models import AgentRequest, AgentResponse, OnDisconnect, Run, RunList, RunStatus, SimulateRequest, now
from services.catalog import Catalog
from services.folding import Folded, fold
from services.history import WireMessage, conversation, cut, given, kept, tokens
from services.idempotency import IdempotencyKeys
from services.live_runs import LiveRuns, RunStream
from services.local_model import LocalModel
from services.run_events import RunEvents
from services.run_records import RunRecords
from services.run_task import RunOrder, RunTask, Work
from services.session_turns import SessionTurns, Turn
from services.sessions import Sessions
from services.upstreams import Route, Upstreams
from settings import Settings

SMALL_HISTORY_TOKENS = 2048  # what every model's context has room for
MOST_RESERVED_TOKENS = 4096  # kept free for the answer where the request doesn't say how long it may be


class Agent(Protocol):
    """Answers requests over a route, as `DedalusAgent` does."""

    async def run(self, request: AgentRequest, route: Route, history: Sequence[WireMessage], events: RunEvents) -> None:
        """Write the whole run but for its ends. Raise what it failed with."""


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, events: RunEvents) -> None:
        """Write the whole run but for its ends. Raise what it failed with."""


class AgentService:
    """What callers can do with runs. It owns nothing: what it is made of is opened and closed by the app."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        log: EventLog,
        records: RunRecords,
        live: LiveRuns,
        upstreams: Upstreams,
        agent: Agent,
        simulator: Simulator,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._database = database
        self._log = log
        self._records = records
        self.live = live
        self._turns = SessionTurns(database, records, live)
        self.sessions = Sessions(database, log, records, live, self._turns)
        self._keys = IdempotencyKeys(database, log)
        self._upstreams = upstreams
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog
        self._beginnings: set[asyncio.Task[str]] = set()

    # Starting

    async def start(
        self, request: AgentRequest, request_id: str, key: str | None = None, *, alone: bool = False
    ) -> str:
        """Start a run, which goes on in the background; `run_started` is committed. Give back its id.

        With an idempotency `key` that has started a run before, it is that run. A run that is started `alone` goes on
        without a reader unless the request says otherwise.

        Raise `ModelUnavailable` or `McpUnavailable` for what no upstream can serve, a `CapacityError` for a server
        that is full, draining or can't write, `SessionBusy` or `InvalidParent`, and `IdempotencyKeyReused`.
        """
        return await asyncio.shield(self._beginning(request, request_id, key, alone))

    def _beginning(self, request: AgentRequest, request_id: str, key: str | None, alone: bool) -> asyncio.Task[str]:
        """Start a run in a task of its own: a caller who leaves in the middle leaves nothing half begun."""
        beginning = asyncio.create_task(self._begin(request, request_id, key, alone), name=f"begin {request_id}")
        self._beginnings.add(beginning)
        beginning.add_done_callback(self._begun)
        return beginning

    def _begun(self, beginning: asyncio.Task[str]) -> None:
        self._beginnings.discard(beginning)
        if not beginning.cancelled():
            beginning.exception()  # which nobody may be there to take

    async def _begin(self, request: AgentRequest, request_id: str, key: str | None, alone: bool) -> str:
        run_id = _new_id()
        lonely = alone and "on_disconnect" not in request.model_fields_set
        start = partial(self._start, run_id, request, request_id, lonely)
        if key is None:
            await start()
            return run_id
        run_id = await self._keys.once(key, request, run_id, start)
        if lonely and (task := self.live.get(run_id)):
            task.keep_alone()
        return run_id

    async def start_alone(self, request: AgentRequest, request_id: str, key: str | None) -> Run:
        """Start a run that nobody reads yet. Raise as `start` does."""
        return await self.get(await self.start(request, request_id, key, alone=True))

    async def execute_agent_streaming(self, request: AgentRequest, request_id: str, key: str | None) -> RunStream:
        """Start a run and follow it from its first event. Raise as `start` does."""
        run_id = await self.start(request, request_id, key)
        if key is not None:
            await self._log.position(run_id)  # the run may be an old one
        return self.live.stream(run_id, 0)

    async def execute_agent(
        self, request: AgentRequest, request_id: str, key: str | None
    ) -> tuple[AgentResponse, Folded]:
        """Run to the end and fold the events.

        When this call is cancelled, so is the run, unless it may go on alone or another caller reads it.
        """
        beginning = self._beginning(request, request_id, key, alone=False)
        try:
            run_id = await asyncio.shield(beginning)
            async with self.live.stream(run_id, 0) as pages:
                folded = await fold(pages)
        except asyncio.CancelledError:
            beginning.add_done_callback(self._give_up)
            raise
        return folded.response(run_id), folded

    def _give_up(self, beginning: asyncio.Task[str]) -> None:
        """Who has begun a run has left, and has no way to come back to it."""
        if not beginning.cancelled() and beginning.exception() is None and (task := self.live.get(beginning.result())):
            task.give_up()

    async def simulate_streaming_execution(self, request: SimulateRequest, request_id: str) -> RunStream:
        """Start a scripted run and follow it from its first event. Raise a `CapacityError` as `start` does."""
        with self.live.admission():
            run = _new_run(_new_id(), self._simulator.model, request.on_disconnect)
            await self.live.launch(self._order(run, partial(self._simulator.run, request), request_id))
        return self.live.stream(run.run_id, 0)

    async def _start(self, run_id: str, request: AgentRequest, request_id: str, lonely: bool) -> None:
        with self.live.admission():
            model = request.model or await self._default_model()
            route = self._route(request, model)
            run = _new_run(run_id, model, "continue" if lonely else request.on_disconnect, request)
            async with self._recorded(request, run) as turn:
                work = partial(self._work, request, route, turn.run)
                await self.live.launch(self._order(turn.run, work, request_id, turn.behind))

    @asynccontextmanager
    async def _recorded(self, request: AgentRequest, run: Run) -> AsyncGenerator[Turn, None]:
        """What the log does not hold of a run is recorded before it begins."""
        if run.session_id is not None:
            async with self._turns.turn(request, run) as turn:
                yield turn
        elif run.metadata is not None:
            async with self._records.recorded(run):
                yield Turn(run, ())
        else:
            yield Turn(run, ())

    def _order(self, run: Run, work: Work, request_id: str, behind: tuple[RunTask, ...] = ()) -> RunOrder:
        settings = self._settings
        return RunOrder(run, work, request_id, settings.run_timeout_s, settings.disconnect_grace_s, behind)

    def _route(self, request: AgentRequest, model: str) -> Route:
        route = self._upstreams.route(model, bool(request.mcp_servers))
        if route.upstream.kind == "local" and not LocalModel.installed():
            raise LocalModelUnavailable
        if route.upstream.kind == "local" and request.has_images():
            raise ModelUnavailable(
                "The embedded model reads text only: for images, set DEDALUS_API_KEY or a provider's."
            )
        return route

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

    async def _work(self, request: AgentRequest, route: Route, run: Run, events: RunEvents) -> None:
        if run.session_id is None:
            history = given(request.messages or ())
        else:
            history = await self._history(request, run, events)
        await self._agent.run(request, route, history, events)

    async def _history(self, request: AgentRequest, run: Run, events: RunEvents) -> list[WireMessage]:
        """The session's history as far as the model's context has room for it; a warning tells what has to stay out."""
        history = kept(await self._turns.history(run))
        if tokens(history) <= SMALL_HISTORY_TOKENS:
            return history
        context = await self._catalog.context_tokens(run.model) or self._settings.default_context_tokens
        reserved = request.max_tokens or min(context // 4, MOST_RESERVED_TOKENS)
        room = context - reserved - tokens(conversation(request.instructions, (), request.input))
        history, left_out, turns = cut(history, room)
        if left_out:
            message = f"The oldest {left_out} of the session's {turns} turns are left out: the model's context is full."
            events.put(RunWarning(code="history_cut", message=message))
            await events.commit()
        return history

    # Looking, following, ending

    async def follow(self, run_id: str, after: int) -> RunStream | None:
        """A run's frames from event `after + 1` on; None where it has ended and nothing is left.

        Raise `RunNotFound`, `RunExpired`, or `CursorAhead` for an event that does not exist yet.
        """
        return self.live.stream(run_id, after) if await self._is_more(run_id, after) else None

    async def read(self, run_id: str, after: int) -> AsyncGenerator[bytes, None] | None:
        """The same without waiting for what does not exist yet. Raise as `follow` does."""
        return self._log.read(run_id, after, follow=False) if await self._is_more(run_id, after) else None

    async def _is_more(self, run_id: str, after: int) -> bool:
        try:
            position = await self._log.position(run_id)
        except RunNotFound:
            await self._records.get(run_id)
            raise RunExpired from None  # there has been one
        if after > position.last_seq:
            raise CursorAhead(f"The run's last event so far is {position.last_seq}.")
        return not position.ended or after < position.last_seq

    async def get(self, run_id: str) -> Run:
        """How a run stands. Raise `RunNotFound`, `RunExpired` or `StoreUnavailable`."""
        if task := self.live.get(run_id):
            return task.snapshot()
        return await self._records.get(run_id)

    async def runs(self, session_id: str | None, status: RunStatus | None, before: str | None, limit: int) -> RunList:
        """A page of runs, the latest first. Raise `SessionNotFound` or `StoreUnavailable`."""
        page = await self._records.page(session_id, status, before, limit)
        if session_id is not None and not page.runs:
            await self.sessions.get(session_id)
        live = {run.run_id: task.snapshot() for run in page.runs if (task := self.live.get(run.run_id))}
        return page.model_copy(update={"runs": [live.get(run.run_id, run) for run in page.runs]})

    async def cancel(self, run_id: str) -> Run:
        """Ask a run to end; it does so soon. A run that has ended stays as it is. Raise as `get` does."""
        if task := self.live.get(run_id):
            task.cancel()
        return await self.get(run_id)

    async def delete(self, run_id: str) -> None:
        """Let go of a run that has ended, with its events and messages.

        Raise `RunActive`, `RunContinued`, `LogUnavailable`, or as `get` does.
        """
        if self.live.get(run_id):
            raise RunActive(run_id=run_id)
        run = await self._records.get(run_id)
        await self._records.flush()
        if run.session_id is not None:
            await self.sessions.delete_run(run)
            return
        with suppress(RunNotFound, RunExpired):
            await self._log.delete(run_id)
        async with self._database.writing() as connection:
            await delete_run(connection, run_id)

    async def ready(self) -> None:
        """Raise a `CapacityError` if a run could not start now."""
        self.live.admit()
        await self._log.check()
        await self._database.check()
        if self._upstreams.all[0].kind == "local":
            self._upstreams.local.check()


def _new_id() -> str:
    return f"run_{uuid7().hex}"


def _new_run(run_id: str, model: str, on_disconnect: OnDisconnect, request: AgentRequest | None = None) -> Run:
    """A run that has not begun."""
    return Run(
        run_id=run_id,
        session_id=request and request.session_id,
        status=RunStatus.QUEUED,
        model=model,
        created_at=now(),
        last_seq=0,
        on_disconnect=on_disconnect,
        metadata=request and request.metadata,
    )
