"""What is done in a run: by the agent or by the simulator, from the beginning or from where it was left off."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from database.engine import Database
from database.waiting_runs import get_waiting_run
from errors import ErrorDetail, InvalidRequest, LocalModelUnavailable, ModelUnavailable, RunNotWaiting, UpstreamFailed
from events import RunWarning
from models import AgentRequest, Run, SimulateRequest
from services.catalog import Catalog
from services.history import WireMessage, conversation, cut, given, kept, tokens
from services.local_model import LocalModel
from services.run_events import RunEvents
from services.run_task import RunOrder, RunTask, Work
from services.run_wait import Outcomes, Suspension
from services.session_turns import SessionTurns
from services.tools import InvalidArguments
from services.upstreams import Route, Upstreams
from settings import Settings

SMALL_HISTORY_TOKENS = 2048  # what every model's context has room for
MOST_RESERVED_TOKENS = 4096  # kept free for the answer where the request doesn't say how long it may be

State = Mapping[str, Any]


class Agent(Protocol):
    """Outcomes requests over a route, as `DedalusAgent` does."""

    async def check(self, request: AgentRequest, route: Route) -> None:
        """Raise a `RequestError` for what can't be had."""

    async def run(
        self, request: AgentRequest, route: Route, history: Sequence[WireMessage], run: Run, events: RunEvents
    ) -> Suspension | None:
        """Write the whole run but for its ends, or as far as it can go without others. Raise what it failed with."""

    async def resume(
        self, state: Mapping[str, Any], outcomes: Outcomes, route: Route, run: Run, events: RunEvents
    ) -> Suspension | None:
        """Go on from where it came back before. Raise as `run` does."""

    async def check_arguments(
        self, state: Mapping[str, Any], name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Raise `InvalidArguments` for what a call of a waiting run could not be made with."""


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, events: RunEvents) -> Suspension | None:
        """Write the whole run but for its ends, or as far as it can go without others. Raise what it failed with."""

    async def resume(self, state: Mapping[str, Any], outcomes: Outcomes, events: RunEvents) -> Suspension | None:
        """Go on from where it came back before. Raise as `run` does."""


class RunWork:
    """Gives runs their work. What a run that waits was left off with is in the database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        turns: SessionTurns,
        upstreams: Upstreams,
        agent: Agent,
        simulator: Simulator,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._database = database
        self._turns = turns
        self._upstreams = upstreams
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog
        self.simulated_model = simulator.model

    async def route(self, request: AgentRequest) -> Route:
        """The way to the request's model. Raise a `RequestError` for what can't be had, or what asking raises."""
        route = self._route(request, request.model or await self._default_model())
        await self._agent.check(request, route)
        return route

    def asked(self, request: AgentRequest, route: Route, run: Run) -> Work:
        """The work of a run that begins."""
        return partial(self._begin, request, route, run)

    def simulated(self, request: SimulateRequest) -> Work:
        """The work of a scripted run that begins."""
        return partial(self._simulate, request)

    def resuming(self, run: Run) -> Callable[[Outcomes], Work]:
        """The work of a run that has waited, with what it got."""
        return lambda outcomes: partial(self._resume, run, outcomes)

    async def check_arguments(self, run: Run, name: str, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidRequest` for what a call of a waiting run could not be made with."""
        state = await self._left_off(run)
        if "agent" not in state:
            return
        route = self._route(AgentRequest.model_validate(state["agent"]["request"]), run.model)
        try:
            await self._agent.check_arguments(state["agent"], name, arguments, route)
        except InvalidArguments as fault:
            raise InvalidRequest(details=[ErrorDetail("arguments", str(fault))]) from None

    async def _begin(self, request: AgentRequest, route: Route, run: Run, events: RunEvents) -> Suspension | None:
        if run.session_id is None:
            history = given(request.messages or ())
        else:
            history = await self._history(request, run, events)
        return _of("agent", await self._agent.run(request, route, history, run, events))

    async def _simulate(self, request: SimulateRequest, events: RunEvents) -> Suspension | None:
        return _of("simulation", await self._simulator.run(request, events))

    async def _resume(self, run: Run, outcomes: Outcomes, events: RunEvents) -> Suspension | None:
        state = await self._left_off(run)
        if simulation := state.get("simulation"):
            return _of("simulation", await self._simulator.resume(simulation, outcomes, events))
        route = self._route(AgentRequest.model_validate(state["agent"]["request"]), run.model)
        return _of("agent", await self._agent.resume(state["agent"], outcomes, route, run, events))

    async def _left_off(self, run: Run) -> State:
        """Raise `RunNotWaiting`, or `StoreUnavailable`."""
        async with self._database.reading() as connection:
            stored = await get_waiting_run(connection, run.run_id)
        if stored is None:
            raise RunNotWaiting
        return stored.state

    def _route(self, request: AgentRequest, model: str) -> Route:
        route = self._upstreams.route(model)
        if route.upstream.kind == "local" and not LocalModel.installed():
            raise LocalModelUnavailable
        if route.upstream.kind == "local" and request.image_urls():
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


def order(
    settings: Settings,
    run: Run,
    work: Work,
    resume: Callable[[Outcomes], Work],
    request_id: str,
    behind: tuple[RunTask, ...] = (),
) -> RunOrder:
    """What a run is asked to be, with the operator's bounds."""
    return RunOrder(
        run=run,
        work=work,
        resume=resume,
        request_id=request_id,
        timeout_s=settings.run_timeout_s,
        grace_s=settings.disconnect_grace_s,
        wait_s=settings.approval_timeout_s,
        behind=behind,
    )


def _of(whose: str, suspension: Suspension | None) -> Suspension | None:
    """Whose state it is has to be known, too."""
    return suspension and suspension._replace(state={whose: dict(suspension.state)})
