"""Makes the work of runs: the agent's or the simulator's, from the beginning or after a wait."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from errors import ErrorDetail, InternalError, InvalidRequest
from event_data import RunWarning, WarningCode
from json_codec.text import dumps
from models import AgentRequest, SimulateRequest
from run_models import Run
from services.access.caller import Caller
from services.agents.conversation import WireMessage, conversation, following, from_request, from_session, tokens
from services.agents.dedalus import DedalusAgent, Plan
from services.agents.output_schema import check_output_schema
from services.agents.simulated import SimulatedAgent
from services.catalog.catalog import Catalog
from services.intake.budget_bounds import bounds_of, check_totals, with_bounds
from services.intake.routing import RouteResolver
from services.runs.spec import Work
from services.runs.suspension import Resumption, Suspension
from services.runs.writer import RunWriter
from services.sessions.turns import SessionTurns
from services.tooling.base import InvalidArguments
from services.upstreams.upstream import Route
from services.upstreams.wire_parameters import check_options
from settings import Settings

SMALL_HISTORY_TOKENS = 2048  # fits into every model's context, so the model's context isn't looked up for it
MOST_RESERVED_TOKENS = 4096  # kept free for the answer if the request doesn't limit its length
MOST_MESSAGES = 4000  # of a history, however short: all of them are joined and encoded without a pause, some µs each
AGENT, SIMULATION = "agent", "simulation"  # the key of a stored request says which of the two runs it

SCENARIO = "scenario"  # a field that each stored request for a script has, and no other

Json = Mapping[str, Any]


class StoredRequest(NamedTuple):
    """The request, as JSON, of a run that a former process left queued."""

    json: Json


@dataclass(slots=True)
class HistorySize:
    """The size of a history as it grows, and its limit in tokens, which is None until it is known."""

    max_tokens: int | None = None
    tokens: int = 0
    messages: int = 0

    async def add(self, turn: Sequence[WireMessage]) -> None:
        """Count one more turn."""
        self.tokens += await tokens(turn)
        self.messages += len(turn)

    @property
    def exceeded(self) -> str | None:
        """The limit that the last turn exceeded, for the warning; None if the turn fits."""
        if self.max_tokens is not None and self.tokens > self.max_tokens:
            return "the model's context is full"
        if self.messages > MOST_MESSAGES:
            return f"at most {MOST_MESSAGES} messages are sent"
        return None


class Preparation(NamedTuple):
    """The model and the work of a run, before the run is recorded."""

    model: str
    request: Plan | SimulateRequest


class RequestedWork:
    """The work of one run. It holds the request until it begins, and not longer, because a run can wait for days."""

    def __init__(
        self, factory: "WorkFactory", run: Run, request: Plan | SimulateRequest | StoredRequest | None
    ) -> None:
        self._factory = factory
        self._run = run
        self._request = request

    async def begin(self, writer: RunWriter) -> Suspension | None:
        """See `Work`."""
        request, self._request = self._request, None
        match request:
            case Plan() as plan:
                return await self._factory.begin(plan, self._run, writer)
            case SimulateRequest() as script:
                return await self._factory.simulate(script, writer)
            case StoredRequest(json):
                return await self._factory.begin_stored(json, self._run, writer)
            case None:
                raise InternalError

    async def resume(self, resumption: Resumption, writer: RunWriter) -> Suspension | None:
        """See `Work`."""
        return await self._factory.resume(resumption, self._run, writer)


class WorkFactory:
    """Makes the work of runs."""

    def __init__(
        self,
        settings: Settings,
        turns: SessionTurns,
        routes: RouteResolver,
        agent: DedalusAgent,
        simulator: SimulatedAgent,
        catalog: Catalog,
    ) -> None:
        self._settings = settings
        self._turns = turns
        self._routes = routes
        self._agent = agent
        self._simulator = simulator
        self._catalog = catalog

    async def allowed(self, request: AgentRequest, caller: Caller) -> AgentRequest:
        """Return the request with the models that its caller may use. Raise as `RouteResolver.allowed` does."""
        return request if isinstance(request, SimulateRequest) else await self._routes.allowed(request, caller)

    async def prepare(self, request: AgentRequest, run_id: str, caller: Caller) -> Preparation:
        """Return the plan of a request: its routes and their tools. A script needs none.

        Raise `InputBlocked` for blocked input, a `RequestError` for what is unavailable, or as
        `RouteResolver.for_request` does.
        """
        await check_output_schema(request)
        if isinstance(request, SimulateRequest):
            return Preparation(self._simulator.model, request)
        await self._agent.check_input(request, run_id, caller.name)
        plan = await self._plan(request)
        return Preparation(plan.route.model, plan)

    async def _plan(self, request: AgentRequest) -> Plan:
        bounds = bounds_of(self._settings)
        check_options(request.provider_options or {}, self._settings.provider_options)
        check_totals(request, bounds)
        routes = await self._routes.for_request(request)
        return await self._agent.plan(with_bounds(request, routes[0], bounds), routes)

    def prepared(self, run: Run, preparation: Preparation) -> Work:
        """Return the work of a run that has been prepared."""
        return RequestedWork(self, run, preparation.request)

    def queued(self, run: Run, request: Json) -> Work:
        """Return the work of a run that a former process left queued, with its stored request."""
        return RequestedWork(self, run, StoredRequest(request))

    def suspended(self, run: Run) -> Work:
        """Return the work of a run that a former process left waiting: it can only be resumed."""
        return RequestedWork(self, run, None)

    async def check_arguments(self, run: Run, stored_request: Json, name: str, arguments: Json) -> None:
        """Check the arguments with which a person wants to approve a call of a waiting run.

        Raise `InvalidRequest` if the tool doesn't accept them, and `McpServerFailed` or `ToolUnavailable` if the tool
        is unavailable now.
        """
        if AGENT not in stored_request:
            return  # the simulator has no schema to check them against
        request = AgentRequest.model_validate(stored_request[AGENT])
        route = self._routes.for_model(request.model or run.model, request)
        try:
            await self._agent.check_arguments(request, name, arguments, route)
        except InvalidArguments as fault:
            raise InvalidRequest(details=[ErrorDetail("arguments", str(fault))]) from None

    async def begin(self, plan: Plan, run: Run, writer: RunWriter) -> Suspension | None:
        """Begin a run of the agent. See `Work`."""
        for warning in plan.warnings:
            writer.put(warning)
        for candidate in plan.candidates:
            self._catalog.keep_prices(candidate.route.upstream)
        if run.session_id is None:
            messages = plan.request.messages
            history = await asyncio.to_thread(from_request, messages) if messages else []
        else:
            history = await self._history(plan.request, plan.route, run, writer)
        return _labelled(AGENT, await self._agent.run(plan, history, run, writer))

    async def begin_stored(self, stored_request: Json, run: Run, writer: RunWriter) -> Suspension | None:
        """Begin a run with its stored request. See `Work`."""
        if SCENARIO in stored_request:
            return await self.simulate(SimulateRequest.model_validate(stored_request), writer)
        request = AgentRequest.model_validate(stored_request)
        model = request.model or run.model  # the run names its model already, and the default may have changed
        plan = await self._plan(request.model_copy(update={"model": model}))
        return await self.begin(plan, run, writer)

    async def simulate(self, request: SimulateRequest, writer: RunWriter) -> Suspension | None:
        """Begin a scripted run. See `Work`."""
        return _labelled(SIMULATION, await self._simulator.run(request, writer))

    async def resume(self, resumption: Resumption, run: Run, writer: RunWriter) -> Suspension | None:
        """Resume a run of the agent or of the simulator. See `Work`."""
        stored, outcomes = resumption
        if (simulated := stored.request.get(SIMULATION)) is not None:
            script = SimulateRequest.model_validate(simulated)
            return _labelled(SIMULATION, await self._simulator.resume(script, outcomes, writer))
        request = AgentRequest.model_validate(stored.request[AGENT])
        resumed = self._agent.resumed(request, stored.state, outcomes)
        routes = await self._routes.after_wait(resumed.models or [run.model], request)
        return _labelled(AGENT, await self._agent.resume(resumed, routes, run, writer))

    async def _history(self, request: AgentRequest, route: Route, run: Run, writer: RunWriter) -> list[WireMessage]:
        """Return the session's latest turns that fit into the model's context, and warn about turns left out."""
        turns: deque[list[WireMessage]] = deque()
        size = HistorySize()
        async with aclosing(self._turns.turns_before(run, route.family)) as stored_turns:
            async for stored in stored_turns:
                turn = from_session(*stored)
                if not turn:
                    continue
                await size.add(turn)
                if size.max_tokens is None and size.tokens > SMALL_HISTORY_TOKENS:
                    size.max_tokens = await self._max_history_tokens(request, run)
                if reason := size.exceeded:
                    await self._report_cut(run, len(turns), reason, writer)
                    break
                turns.appendleft(turn)
        return following(turns)

    async def _max_history_tokens(self, request: AgentRequest, run: Run) -> int:
        """Return the tokens that the model's context has for the history, beside the new input and the answer."""
        context = await self._catalog.context_tokens(run.model) or self._settings.default_context_tokens
        for_answer = request.max_tokens or min(context // 4, MOST_RESERVED_TOKENS)
        schema = [{"role": "system", "content": dumps(request.output_schema)}] if request.output_schema else []
        for_input = await tokens([*conversation(request.instructions, (), request.input), *schema])
        return context - for_answer - for_input

    async def _report_cut(self, run: Run, sent: int, reason: str, writer: RunWriter) -> None:
        turns = await self._turns.count(run)
        message = f"The oldest {turns - sent} of the session's {turns} turns are left out: {reason}."
        writer.put(RunWarning(code=WarningCode.HISTORY_CUT, message=message))
        await writer.commit()


def _labelled(label: str, suspension: Suspension | None) -> Suspension | None:
    """Return the suspension with its request under a key that says what can resume it."""
    return suspension and suspension._replace(request={label: dict(suspension.request)})
