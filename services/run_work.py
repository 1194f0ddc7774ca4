"""What is done in a run: by the agent or by the simulator, from the beginning or from where it was left off."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from database.waiting_runs import WaitingRun
from errors import ErrorDetail, InvalidRequest
from events import RunWarning, WarningCode
from models import AgentRequest, Run, SimulateRequest
from services.catalog import Catalog
from services.history import WireMessage, conversation, cut, given, tokens
from services.routes import Routes
from services.run_events import RunEvents
from services.run_task import Work
from services.run_wait import Outcomes, Suspension
from services.session_turns import SessionTurns
from services.tools import InvalidArguments
from services.upstreams import Route
from settings import Settings

SMALL_HISTORY_TOKENS = 2048  # what every model's context has room for
MOST_RESERVED_TOKENS = 4096  # kept free for the answer where the request doesn't say how long it may be
AGENT, SIMULATION = "agent", "simulation"  # whose a stored request is

Json = Mapping[str, Any]


class Plan(NamedTuple):
    """How a request is carried out: over which route, without what that can't serve, and with which warnings."""

    request: AgentRequest
    route: Route
    warnings: Sequence[RunWarning]


class Agent(Protocol):
    """Answers requests over a route, as `DedalusAgent` does."""

    def fitted(self, request: AgentRequest, route: Route) -> tuple[AgentRequest, Sequence[RunWarning]]:
        """The request without what the route can't serve and need not, and a warning about each such thing."""

    async def check(self, request: AgentRequest, route: Route) -> None:
        """Raise a `RequestError` for what can't be had."""

    async def run(
        self, request: AgentRequest, route: Route, history: Sequence[WireMessage], run: Run, events: RunEvents
    ) -> Suspension | None:
        """Write the whole run but for its ends, or as far as it can go without others. Raise what it failed with."""

    async def resume(
        self, request: AgentRequest, state: Json, outcomes: Outcomes, route: Route, run: Run, events: RunEvents
    ) -> Suspension | None:
        """Go on from where it came back before. Raise as `run` does."""

    async def check_arguments(self, request: AgentRequest, name: str, arguments: Json, route: Route) -> None:
        """Raise `InvalidArguments` for what a call of a waiting run could not be made with.

        Raise `McpServerFailed` or `ToolUnavailable` where that can't be told.
        """


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, events: RunEvents) -> Suspension | None:
        """Write the whole run but for its ends, or as far as it can go without others. Raise what it failed with."""

    async def resume(self, request: SimulateRequest, outcomes: Outcomes, events: RunEvents) -> Suspension | None:
        """Go on from where it came back before. Raise as `run` does."""


class RunWork:
    """Gives runs their work."""

    def __init__(
        self,
        settings: Settings,
        turns: SessionTurns,
        routes: Routes,
        agent: Agent,
        simulator: Simulator,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._turns = turns
        self._routes = routes
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog
        self.simulated_model = simulator.model

    async def plan(self, request: AgentRequest) -> Plan:
        """How the request is carried out. Raise a `RequestError` for what can't be had, or as `Routes.of` does."""
        route = await self._routes.of(request)
        request, warnings = self._agent.fitted(request, route)
        await self._agent.check(request, route)
        return Plan(request, route, warnings)

    def asked(self, plan: Plan, run: Run) -> Work:
        """The work of a run that begins."""
        return partial(self._begin, plan, run)

    def queued(self, run: Run, asked: Json) -> Work:
        """The work of a run that a former process left waiting for its turn, with its request."""
        return partial(self._begin_queued, run, asked)

    def simulated(self, request: SimulateRequest) -> Work:
        """The work of a scripted run that begins."""
        return partial(self._simulate, request)

    def resumed(self, run: Run, left_off: WaitingRun, outcomes: Outcomes) -> Work:
        """The work of a run that has waited, from where it was left off, with what it got."""
        return partial(self._resume, run, left_off, outcomes)

    async def check_arguments(self, run: Run, asked: Json, name: str, arguments: Json) -> None:
        """Raise `InvalidRequest` for what a call of a waiting run could not be made with.

        Raise `McpServerFailed` or `ToolUnavailable` where that can't be told.
        """
        if AGENT not in asked:
            return
        request = AgentRequest.model_validate(asked[AGENT])
        try:
            await self._agent.check_arguments(request, name, arguments, self._routes.to(run.model, request))
        except InvalidArguments as fault:
            raise InvalidRequest(details=[ErrorDetail("arguments", str(fault))]) from None

    async def _begin(self, plan: Plan, run: Run, events: RunEvents) -> Suspension | None:
        request, route, warnings = plan
        for warning in warnings:
            events.put(warning)
        if run.session_id is None:
            history = given(request.messages or ())
        else:
            history = await self._history(request, route, run, events)
        return _of(AGENT, await self._agent.run(request, route, history, run, events))

    async def _begin_queued(self, run: Run, asked: Json, events: RunEvents) -> Suspension | None:
        request = AgentRequest.model_validate(asked)
        model = request.model or run.model  # the default model may be another one by now
        return await self._begin(await self.plan(request.model_copy(update={"model": model})), run, events)

    async def _simulate(self, request: SimulateRequest, events: RunEvents) -> Suspension | None:
        return _of(SIMULATION, await self._simulator.run(request, events))

    async def _resume(self, run: Run, left_off: WaitingRun, outcomes: Outcomes, events: RunEvents) -> Suspension | None:
        if (simulated := left_off.request.get(SIMULATION)) is not None:
            script = SimulateRequest.model_validate(simulated)
            return _of(SIMULATION, await self._simulator.resume(script, outcomes, events))
        request = AgentRequest.model_validate(left_off.request[AGENT])
        route = self._routes.to(run.model, request)
        return _of(AGENT, await self._agent.resume(request, left_off.state, outcomes, route, run, events))

    async def _history(self, request: AgentRequest, route: Route, run: Run, events: RunEvents) -> list[WireMessage]:
        """The session's history as far as the model's context has room for it; a warning tells what has to stay out."""
        history = await self._turns.history(run, route.family)
        if tokens(history) <= SMALL_HISTORY_TOKENS:
            return history
        context = await self._catalog.context_tokens(run.model) or self._settings.default_context_tokens
        reserved = request.max_tokens or min(context // 4, MOST_RESERVED_TOKENS)
        room = context - reserved - tokens(conversation(request.instructions, (), request.input))
        history, left_out, turns = cut(history, room)
        if left_out:
            message = f"The oldest {left_out} of the session's {turns} turns are left out: the model's context is full."
            events.put(RunWarning(code=WarningCode.HISTORY_CUT, message=message))
            await events.commit()
        return history


def _of(whose: str, suspension: Suspension | None) -> Suspension | None:
    return suspension and suspension._replace(request={whose: dict(suspension.request)})
