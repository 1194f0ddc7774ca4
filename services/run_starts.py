"""How a run starts: its route, its place in its session, what of it is recorded before, and what its model is told."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from uuid_utils import uuid7

from errors import LocalModelUnavailable, ModelUnavailable, UpstreamFailed
from events import RunWarning
from models import AgentRequest, OnDisconnect, Run, RunStatus, SimulateRequest, now
from services.catalog import Catalog
from services.history import WireMessage, conversation, cut, given, kept, tokens
from services.idempotency import IdempotencyKeys
from services.live_runs import LiveRuns
from services.local_model import LocalModel
from services.run_events import RunEvents
from services.run_records import RunRecords
from services.run_task import RunOrder, RunTask, Work
from services.session_turns import SessionTurns, Turn
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


class RunStarts:
    """Starts runs, each whole or not at all; `under_way` are those that are being started."""

    def __init__(
        self,
        settings: Settings,
        records: RunRecords,
        live: LiveRuns,
        turns: SessionTurns,
        keys: IdempotencyKeys,
        upstreams: Upstreams,
        agent: Agent,
        simulator: Simulator,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._records = records
        self._live = live
        self._turns = turns
        self._keys = keys
        self._upstreams = upstreams
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog
        self.under_way: set[asyncio.Task[str]] = set()

    def begin(self, request: AgentRequest, request_id: str, key: str | None, *, alone: bool) -> asyncio.Task[str]:
        """Start a run in a task of its own, which gives its id: who leaves in the middle leaves nothing half begun.

        See `AgentService.start` for `key`, `alone` and what the task raises.
        """
        beginning = asyncio.create_task(self._begin(request, request_id, key, alone), name=f"begin {request_id}")
        self.under_way.add(beginning)
        beginning.add_done_callback(self._begun)
        return beginning

    def _begun(self, beginning: asyncio.Task[str]) -> None:
        self.under_way.discard(beginning)
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
        if lonely and (task := self._live.get(run_id)):
            task.keep_alone()
        return run_id

    async def simulate(self, request: SimulateRequest, request_id: str) -> str:
        """Start a scripted run; its id. Raise a `CapacityError`."""
        with self._live.admission():
            run = _new_run(_new_id(), self._simulator.model, request.on_disconnect)
            await self._live.launch(self._order(run, partial(self._simulator.run, request), request_id))
        return run.run_id

    async def _start(self, run_id: str, request: AgentRequest, request_id: str, lonely: bool) -> None:
        with self._live.admission():
            model = request.model or await self._default_model()
            route = self._route(request, model)
            run = _new_run(run_id, model, "continue" if lonely else request.on_disconnect, request)
            async with self._recorded(request, run) as turn:
                work = partial(self._work, request, route, turn.run)
                await self._live.launch(self._order(turn.run, work, request_id, turn.behind))

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
