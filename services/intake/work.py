"""Makes the work of runs: by the agent or by the simulator, from the beginning or after a wait."""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from errors import ErrorDetail, InternalError, InvalidRequest
from events import RunWarning, WarningCode
from models import AgentRequest, Run, SimulateRequest
from services.agents.base import Agent, Plan, Simulator
from services.agents.conversation import WireMessage, conversation, following, from_request, from_session, tokens
from services.catalog.catalog import Catalog
from services.intake.routing import RouteResolver
from services.runs.suspension import Resumption, Suspension
from services.runs.task import Work
from services.runs.writer import RunWriter
from services.sessions.turns import SessionTurns
from services.tooling.base import InvalidArguments
from services.upstreams.selection import Route
from settings import Settings

SMALL_HISTORY_TOKENS = 2048  # what every model's context has room for
MOST_RESERVED_TOKENS = 4096  # kept free for the answer where the request doesn't say how long it may be
MOST_MESSAGES = 4000  # of a history, however short they are: each costs a few microseconds in one go
AGENT, SIMULATION = "agent", "simulation"  # whose a stored request is

Json = Mapping[str, Any]


class StoredRequest(NamedTuple):
    """The request of a run that a former process left queued, as JSON."""

    json: Json


@dataclass(slots=True)
class Room:
    """What the turns of a history have taken so far, and of how many tokens; None where that isn't known yet."""

    tokens: int | None = None
    taken: int = 0
    messages: int = 0

    async def take(self, turn: Sequence[WireMessage]) -> None:
        """Count one more turn."""
        self.taken += await tokens(turn)
        self.messages += len(turn)

    @property
    def exceeded(self) -> str | None:
        """Why the last turn has no place, if it has none."""
        if self.tokens is not None and self.taken > self.tokens:
            return "the model's context is full"
        return f"at most {MOST_MESSAGES} messages are sent" if self.messages > MOST_MESSAGES else None


class RequestedWork:
    """The work of one run. It holds what it begins with until it begins, and nothing of that while it waits."""

    def __init__(self, factory: "WorkFactory", run: Run, asked: Plan | SimulateRequest | StoredRequest | None) -> None:
        self._factory = factory
        self._run = run
        self._asked = asked

    async def begin(self, events: RunWriter) -> Suspension | None:
        """See `Work`."""
        asked, self._asked = self._asked, None
        match asked:
            case Plan() as plan:
                return await self._factory.begin(plan, self._run, events)
            case SimulateRequest() as script:
                return await self._factory.simulate(script, events)
            case StoredRequest(json):
                return await self._factory.begin_stored(json, self._run, events)
            case None:
                raise InternalError

    async def resume(self, resumption: Resumption, events: RunWriter) -> Suspension | None:
        """See `Work`."""
        return await self._factory.resume(resumption, self._run, events)


class WorkFactory:
    """Makes the work of runs."""

    def __init__(
        self,
        settings: Settings,
        turns: SessionTurns,
        routes: RouteResolver,
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
        """Plan how a request is carried out.

        Raise a `RequestError` for what is unavailable, or as `RouteResolver.for_request` does.
        """
        return await self._agent.plan(request, await self._routes.for_request(request))

    def planned(self, run: Run, plan: Plan) -> Work:
        """Return the work of a run of the agent."""
        return RequestedWork(self, run, plan)

    def simulated(self, run: Run, request: SimulateRequest) -> Work:
        """Return the work of a scripted run."""
        return RequestedWork(self, run, request)

    def queued(self, run: Run, asked: Json) -> Work:
        """Return the work of a run that a former process left queued, with its request."""
        return RequestedWork(self, run, StoredRequest(asked))

    def suspended(self, run: Run) -> Work:
        """Return the work of a run that a former process left waiting: it can only be resumed."""
        return RequestedWork(self, run, None)

    async def check_arguments(self, run: Run, asked: Json, name: str, arguments: Json) -> None:
        """Check the arguments with which a person wants to approve a call of a waiting run.

        Raise `InvalidRequest` if the tool doesn't take them, and `McpServerFailed` or `ToolUnavailable` if the tool is
        unavailable now.
        """
        if AGENT not in asked:
            return
        request = AgentRequest.model_validate(asked[AGENT])
        try:
            await self._agent.check_arguments(request, name, arguments, self._routes.for_model(run.model, request))
        except InvalidArguments as fault:
            raise InvalidRequest(details=[ErrorDetail("arguments", str(fault))]) from None

    async def begin(self, plan: Plan, run: Run, events: RunWriter) -> Suspension | None:
        """Begin a run of the agent. See `Work`."""
        for warning in plan.warnings:
            events.put(warning)
        if run.session_id is None:
            history = from_request(plan.request.messages or ())
        else:
            history = await self._history(plan.request, plan.route, run, events)
        return _of(AGENT, await self._agent.run(plan, history, run, events))

    async def begin_stored(self, asked: Json, run: Run, events: RunWriter) -> Suspension | None:
        """Plan the stored request of a run of the agent, and begin it. See `Work`."""
        request = AgentRequest.model_validate(asked)
        model = request.model or run.model  # the default model may be another one by now
        return await self.begin(await self.plan(request.model_copy(update={"model": model})), run, events)

    async def simulate(self, request: SimulateRequest, events: RunWriter) -> Suspension | None:
        """Begin a scripted run. See `Work`."""
        return _of(SIMULATION, await self._simulator.run(request, events))

    async def resume(self, resumption: Resumption, run: Run, events: RunWriter) -> Suspension | None:
        """Resume a run, whoever answers it. See `Work`."""
        stored, outcomes = resumption
        if (simulated := stored.request.get(SIMULATION)) is not None:
            script = SimulateRequest.model_validate(simulated)
            return _of(SIMULATION, await self._simulator.resume(script, outcomes, events))
        request = AgentRequest.model_validate(stored.request[AGENT])
        route = self._routes.for_model(run.model, request)
        return _of(AGENT, await self._agent.resume(request, stored.state, outcomes, route, run, events))

    async def _history(self, request: AgentRequest, route: Route, run: Run, events: RunWriter) -> list[WireMessage]:
        """The session's latest turns that the model's context has room for; a warning reports those that stay out."""
        turns: deque[list[WireMessage]] = deque()
        room = Room()
        async with aclosing(self._turns.turns_before(run, route.family)) as stored_turns:
            async for stored in stored_turns:
                if not (turn := from_session(*stored)):
                    continue
                await room.take(turn)
                if room.tokens is None and room.taken > SMALL_HISTORY_TOKENS:
                    room.tokens = await self._room(request, run)
                if reason := room.exceeded:
                    await self._report_cut(run, len(turns), reason, events)
                    break
                turns.appendleft(turn)
        return following(turns)

    async def _room(self, request: AgentRequest, run: Run) -> int:
        """How many tokens of its context the model has for what was said before."""
        context = await self._catalog.context_tokens(run.model) or self._settings.default_context_tokens
        reserved = request.max_tokens or min(context // 4, MOST_RESERVED_TOKENS)
        return context - reserved - await tokens(conversation(request.instructions, (), request.input))

    async def _report_cut(self, run: Run, told: int, reason: str, events: RunWriter) -> None:
        turns = await self._turns.count(run)
        message = f"The oldest {turns - told} of the session's {turns} turns are left out: {reason}."
        events.put(RunWarning(code=WarningCode.HISTORY_CUT, message=message))
        await events.commit()


def _of(whose: str, suspension: Suspension | None) -> Suspension | None:
    return suspension and suspension._replace(request={whose: dict(suspension.request)})
