"""Programs that use the Python client ask, read, answer and look things up, in both of its forms.

The service is a process of its own. The synchronous client is generated from the asynchronous one, so a rule that both
have is tested with the former.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
from agent_stream import (
    AgentStream,
    ApiError,
    ApprovalRequest,
    ApprovalResponse,
    AsyncAgentStream,
    AsyncRun,
    BudgetResponse,
    Complete,
    PartialOutput,
    PendingCall,
    Run,
    RunFailed,
    StreamEvent,
    Waiting,
)
from agent_stream.tools import described
from client_programs import ANSWER, Service
from fake_dedalus import FakeDedalus
from wire import Done, Finish, Gate, Text, ToolCall, WaitFor, answer

pytest_plugins = "client_fixtures"

SCENARIOS = ("default", "tool_error", "truncated", "progress")


@pytest.fixture
def agent(service: Service) -> Iterator[AgentStream]:
    with httpx2.Client(verify=False, trust_env=False) as http, AgentStream(service.url, http_client=http) as agent:
        yield agent


@pytest.fixture
async def async_agent(service: Service) -> AsyncIterator[AsyncAgentStream]:
    async with (
        httpx2.AsyncClient(verify=False, trust_env=False) as http,
        AsyncAgentStream(service.url, http_client=http) as agent,
    ):
        yield agent


def stored(service: Service, run_id: str) -> list[tuple[str, int]]:
    """The names and numbers of a run's events, as the service has them."""
    return [(event["event"], event["seq"]) for event in service.events(run_id)]


def read(events: list[StreamEvent]) -> list[tuple[str, int]]:
    return [(event.event, event.seq) for event in events]


def executed(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of POST /api/agent/execute, without what differs between two runs."""
    response = httpx.post(f"{service.url}/api/agent/execute", json=body, trust_env=False).json()
    return {key: value for key, value in response.items() if key not in ("run_id", "duration_ms")}


# Reading


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_events_are_read(scenario: Any, agent: AgentStream, service: Service) -> None:
    """The events are those of the service, each once and in order, also over a connection that breaks."""
    with agent.simulate("Well?", scenario=scenario, delay_ms=0) as run:
        events = list(run)
    assert read(events) == stored(service, run.id)
    assert isinstance(events[-1], Complete)
    assert (run.status, run.usage, run.last_seq) == ("succeeded", events[-1].usage, len(events))


@pytest.mark.anyio
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_all_events_are_read_by_asyncio(scenario: Any, async_agent: AsyncAgentStream, service: Service) -> None:
    """The same with the asynchronous client."""
    async with async_agent.simulate("Well?", scenario=scenario, delay_ms=0) as run:
        events = [event async for event in run]
    assert read(events) == stored(service, run.id)
    assert run.status == "succeeded"


def test_the_answer_is_read_while_it_is_written(agent: AgentStream, upstream: FakeDedalus) -> None:
    """The first piece arrives before the model has written the second, and `text` has what was read."""
    gate = Gate()
    upstream.turn(Text("Hel"), WaitFor(gate), Text("lo"), Finish(), Done())
    texts = []
    with agent.stream("Say hello") as run:
        for event in run:
            if isinstance(event, PartialOutput):
                texts.append(run.text)
                gate.open()
    assert texts == ["Hel", "Hello"]


def test_the_result_is_that_of_execute(agent: AgentStream, service: Service, upstream: FakeDedalus) -> None:
    """`run` returns what POST /api/agent/execute returns: the answer, thinking, calls and usage."""
    turns = [ToolCall("call_1", "current_time", '{"timezone":"UTC"}'), Finish("tool_calls"), Done()]
    for _ in range(2):
        upstream.turn(*turns)
        upstream.turn(*answer("It is late."))
    expected = executed(service, {"input": "How late is it?", "tools": ["current_time"]})
    result = agent.run("How late is it?", tools=["current_time"])
    assert result.output == expected["output"] == "It is late."
    assert [call.name for call in result.tool_calls] == [call["name"] for call in expected["tool_calls"]]
    assert vars(result.usage).items() >= expected["usage"].items()
    for key in ("status", "thinking", "model", "steps", "finish_reason"):
        assert getattr(result, key) == expected[key]


@pytest.mark.anyio
async def test_the_result_by_asyncio(async_agent: AsyncAgentStream, upstream: FakeDedalus) -> None:
    """The asynchronous `run` returns the same."""
    upstream.turn(*answer("Hello"))
    result = await async_agent.run("Say hello", instructions="Be kind.")
    assert (result.status, result.output) == ("succeeded", "Hello")
    assert upstream.chats[-1].body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_a_failed_run_is_an_error(agent: AgentStream) -> None:
    """The loop yields every event and then raises `RunFailed`; another loop and `result` raise it, too."""
    run = agent.simulate(scenario="error", delay_ms=0)
    events: list[StreamEvent] = []
    with pytest.raises(RunFailed) as failed:
        events.extend(run)
    assert isinstance(events[-1], Complete)
    assert (failed.value.code, failed.value.retryable, failed.value.run_id) == ("upstream_failed", True, run.id)
    assert str(failed.value).startswith("upstream_failed: ")
    with pytest.raises(RunFailed):
        list(run)
    with pytest.raises(RunFailed):
        agent.attach(run.id).result()


def entered(run: Run) -> None:
    with run:
        pytest.fail("it was accepted")


@pytest.mark.parametrize("ask", [entered, list, Run.result], ids=["enter", "read", "result"])
def test_a_refusal_is_an_error(ask: Callable[[Run], Any], agent: AgentStream) -> None:
    """A request that the service refuses raises `ApiError` with its status and the field that is not valid."""
    with pytest.raises(ApiError) as refused:
        ask(agent.stream("Hi", temperature=9))
    error = refused.value
    assert (error.code, error.status, error.retryable) == ("invalid_request", 422, False)
    assert [detail.loc for detail in error.details] == ["body.temperature"]
    assert "body.temperature: " in str(error)


def test_a_repeated_script_is_one_run_of_its_session(agent: AgentStream) -> None:
    """A scripted run takes a key, as a real one does, and its session keeps it."""
    runs = [agent.simulate("Cold?", session_id="script", idempotency_key="script-1", delay_ms=0) for _ in range(2)]
    first, again = (run.result() for run in runs)
    assert again.run_id == first.run_id
    messages = agent.sessions.messages("script").messages
    assert [message.content for message in messages if message.content == "Cold?"] == ["Cold?"]
    assert messages[-1].content == first.output


def test_a_run_has_no_id_before_it_starts(agent: AgentStream, service: Service) -> None:
    """Making a run sends nothing: it starts on entering `with`, where it has its id."""
    run = agent.simulate(delay_ms=0)
    with pytest.raises(RuntimeError, match="not started"):
        assert run.id
    with run:
        assert service.run(run.id)["status"] in ("running", "succeeded")


def test_cancel(agent: AgentStream) -> None:
    """A run that is cancelled ends with the status `cancelled` and raises nothing."""
    with agent.simulate(scenario="long", delay_ms=20) as run:
        for event in run:
            if event.seq == 4:
                run.cancel()
    assert isinstance(event, Complete)
    assert (event.status, run.status) == ("cancelled", "cancelled")


@pytest.mark.anyio
async def test_many_runs_at_once(service: Service, upstream: FakeDedalus) -> None:
    """A client reads more than a hundred streams at the same time."""
    gate = Gate()
    upstream.turn(WaitFor(gate), *answer("Hello"))
    async with AsyncAgentStream(service.url) as agent, agent.stream("Say hello") as first:

        async def output() -> str:
            async with agent.attach(first.id) as run:
                async for _ in run:
                    begun.add(run)
                    if len(begun) == 110:
                        gate.open()
                return run.text

        begun: set[AsyncRun] = set()
        assert await asyncio.gather(*(output() for _ in range(110))) == ["Hello"] * 110


# Leaving and coming back


def test_leaving_the_loop_closes_the_connection(agent: AgentStream, service: Service) -> None:
    """After a `break` no connection is open, and another loop reads on after the last event."""
    run = agent.simulate(scenario="long", delay_ms=5)
    first = []
    for event in run:
        first.append(event)
        if event.seq == 5:
            break
    assert connections(agent) == []
    rest = list(run)
    assert read(first + rest) == stored(service, run.id)


def divide(run: Run) -> None:
    with run:
        for event in run:
            assert 1 / (event.seq - 3)


def test_leaving_the_block_closes_the_connection(agent: AgentStream) -> None:
    """`with` closes the connection after an exception in the loop, whose traceback keeps the loop's iterator."""
    run = agent.simulate(scenario="long", delay_ms=5)
    with pytest.raises(ZeroDivisionError) as raised:
        divide(run)
    assert raised.value.__traceback__ is not None
    assert connections(agent) == []


@pytest.mark.anyio
async def test_leaving_the_block_closes_the_connection_by_asyncio(async_agent: AsyncAgentStream) -> None:
    """`async with` closes the connection after a `break`."""
    async with async_agent.simulate(scenario="long", delay_ms=5) as run:
        async for event in run:
            if event.seq == 3:
                break
    assert connections(async_agent) == []


def connections(agent: AgentStream | AsyncAgentStream) -> list[Any]:
    """The connections in a client's pool on which a response is being read."""
    pool = agent._http._transport._pool  # type: ignore[union-attr]
    return [connection for connection in pool.connections if not connection.is_idle()]


def test_attach(agent: AgentStream, service: Service) -> None:
    """A run that has ended can be read again: whole, in part, and past its last event, which ends at once."""
    with agent.simulate("Well?", delay_ms=0) as run:
        events = list(run)
    assert list(agent.attach(run.id)) == events
    assert list(agent.attach(run.id, after=5)) == events[5:]
    past = agent.attach(run.id, after=run.last_seq)
    assert list(past) == []
    assert (past.status, past.usage) == ("succeeded", run.usage)
    assert agent.attach(run.id).result().output == ANSWER
    with pytest.raises(RunFailed, match="incomplete"):
        past.result()
    failed = agent.simulate(scenario="error", delay_ms=0)
    with pytest.raises(RunFailed):
        list(failed)
    for after in (failed.last_seq, failed.last_seq - 1):
        with pytest.raises(RunFailed, match="upstream_failed"):
            list(agent.attach(failed.id, after=after))


def test_attach_to_an_unknown_run(agent: AgentStream) -> None:
    """A run that the service doesn't have is refused, also with characters that are special in a URL."""
    for run_id in ("run_nope", "a?b#c"):
        with pytest.raises(ApiError) as refused:
            list(agent.attach(run_id))
        assert (refused.value.status, refused.value.code) == (404, "run_not_found")


# Runs that wait


@pytest.mark.parametrize("on", [ApprovalRequest, Waiting])
def test_approve(on: type, agent: AgentStream, service: Service) -> None:
    """A call is approved in the loop, at its request or when the run waits. While it waits, no connection is open."""
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        events = []
        for event in run:
            events.append(event)
            if isinstance(event, Waiting):
                was_answered = on is ApprovalRequest
                assert (run.status, run.pending) == (("running", []) if was_answered else ("waiting", event.pending))
                assert len(connections(agent)) == was_answered
            if isinstance(event, on):
                run.approve("call_simulated_1", {"folder": "spam"})
    assert read(events) == stored(service, run.id)
    assert run.text == "I deleted the folder spam."
    [response] = [event for event in events if isinstance(event, ApprovalResponse)]
    assert response.arguments == {"folder": "spam"}


def test_long_numbers_keep_their_digits(agent: AgentStream) -> None:
    """Changed arguments arrive and come back with each digit, and the call of the run has the decision."""
    changed = {"folder": 12345678901234567890123, "share": 1.0}
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        for event in run:
            if isinstance(event, ApprovalRequest):
                run.approve(event.tool_call_id, changed)
    decision = run.result().tool_calls[0].approval_response
    assert decision is not None
    assert repr(decision.arguments) == repr(changed)
    assert run.text == "I deleted the folder 12345678901234567890123."


def test_two_approvals(agent: AgentStream, service: Service, upstream: FakeDedalus) -> None:
    """The answers to two calls arrive one after the other, and the loop resumes after the second."""
    gate = Gate()
    calls = [ToolCall(f"call_{number}", "current_time", "{}", index=number) for number in range(2)]
    upstream.turn(Text("Let me look."), *calls, Finish("tool_calls"), Done())
    upstream.turn(WaitFor(gate), *answer("Late."))
    events, texts = [], []
    with agent.stream("?", tools=["current_time"], require_approval=["current_time"]) as run:
        for event in run:
            events.append(event)
            if isinstance(event, PartialOutput):
                texts.append(run.text)
            if isinstance(event, Waiting):
                assert [run.calls[call.tool_call_id].name for call in run.pending] == ["current_time"] * 2
                run.approve("call_0")
                assert [call.tool_call_id for call in run.pending] == ["call_1"]
            if isinstance(event, ApprovalResponse) and event.tool_call_id == "call_0":
                assert connections(agent) == []
                run.refuse("call_1")
                gate.open()  # `refuse` returns before the run has ended
    assert read(events) == stored(service, run.id)
    assert texts == ["Let me look.", "Late."]


def test_a_wait_that_is_over(agent: AgentStream) -> None:
    """A program that reads a run again sees from `pending` that nobody has to answer."""
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        run.result()
        run.approve("call_simulated_1")
        run.result()
    again = agent.attach(run.id)
    pending = [again.pending for event in again if isinstance(event, Waiting)]
    assert pending == [[]]
    assert again.text == run.text


@pytest.mark.anyio
async def test_refuse_by_asyncio(async_agent: AsyncAgentStream) -> None:
    """Another task refuses while the loop waits without a connection, and the loop goes on at once."""
    waits = asyncio.Event()
    async with async_agent.simulate(scenario="approval", delay_ms=0) as run:

        async def refuse() -> None:
            await waits.wait()
            await asyncio.sleep(0)
            await run.refuse("call_simulated_1", "Not on a Friday.")

        refusing = asyncio.create_task(refuse())
        async for event in run:
            if isinstance(event, Waiting):
                waits.set()
        await refusing
    assert run.text == "I left the folder as it is."


def test_an_answer_from_elsewhere(agent: AgentStream) -> None:
    """The loop notices that another client has answered."""
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        for event in run:
            if isinstance(event, Waiting):
                elsewhere = threading.Timer(0.1, agent.attach(run.id).approve, ["call_simulated_1"])
                elsewhere.start()
    elsewhere.join()
    assert run.text == "I deleted the folder drafts."


def test_the_result_of_a_run_that_waits(agent: AgentStream) -> None:
    """`result` returns where the run waits for a person, and after the answer where it has ended."""
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        waiting = run.result()
        assert (waiting.status, waiting.pending) == ("waiting", run.pending)
        run.approve(run.pending[0].tool_call_id)
        assert run.result().output == "I deleted the folder drafts."


@pytest.mark.parametrize("total", [200, None], ids=["raised", "refused"])
def test_a_spent_budget(total: int | None, agent: AgentStream, service: Service) -> None:
    """A budget is in `run.budget` while the run waits for it. Raised, the run resumes; refused, it fails."""
    with agent.simulate(scenario="budget", delay_ms=0) as run:
        waiting = run.result()
        budget = run.budget
        with pytest.raises(ApiError, match="invalid_request"):
            run.raise_budget(max_total_tokens=64)
        if total is None:
            run.refuse_budget()
            with pytest.raises(RunFailed, match="budget_exceeded"):
                run.result()
        else:
            run.raise_budget(max_total_tokens=total)
            assert run.result().output == "It is 3 °C in Oslo."
    assert budget is not None
    assert (budget.spent_tokens, budget.max_total_tokens, budget.max_cost_usd) == (64, 80, None)
    assert (waiting.status, waiting.pending, run.pending, run.budget) == ("waiting", [budget], [], None)
    [response] = [event for event in agent.attach(run.id) if isinstance(event, BudgetResponse)] if total else [None]
    assert total == (response and response.max_total_tokens)


def test_an_answer_that_is_too_late(agent: AgentStream) -> None:
    """An answer to a call that has another one is refused; the same one again is accepted."""
    with agent.simulate(scenario="approval", delay_ms=0) as run:
        run.result()
        run.approve("call_simulated_1")
        run.approve("call_simulated_1")
        with pytest.raises(ApiError, match="tool_call_answered"):
            run.refuse("call_simulated_1")
        assert run.result().status == "succeeded"


# Tools of the program


def test_client_tools(agent: AgentStream, upstream: FakeDedalus) -> None:
    """A function is offered to the model with its docstring and schema, called once, and its result is sent."""
    made = []

    @agent.tool
    def locate(exact: bool, near: list[str] | None = None) -> dict[str, float]:
        """Where the user is."""
        made.append((exact, near))
        return {"lat": 59.9}

    upstream.turn(ToolCall("call_1", "locate", '{"exact":true}'), Finish("tool_calls"), Done())
    upstream.turn(*answer("In Oslo."))
    assert agent.run("Where am I?").output == "In Oslo."
    assert made == [(True, None)]
    [tool] = upstream.chats[-1].body["tools"]
    assert tool["function"]["description"] == "Where the user is."
    assert tool["function"]["parameters"]["required"] == ["exact"]
    assert upstream.chats[-1].body["messages"][-1]["content"] == '{"lat":59.9}'


@pytest.mark.anyio
async def test_client_tools_by_asyncio(async_agent: AsyncAgentStream, upstream: FakeDedalus) -> None:
    """Functions that are `async`, and others, are called; an exception is the call's error."""

    @async_agent.tool
    async def locate() -> str:
        return "Oslo"

    @async_agent.tool(parameters={"type": "object"})
    def weather(**where: Any) -> str:
        raise LookupError(f"no weather for {where['city']}")

    calls = [ToolCall("call_1", "locate", "{}"), ToolCall("call_2", "weather", '{"city":"Oslo"}', index=1)]
    upstream.turn(*calls, Finish("tool_calls"), Done())
    upstream.turn(*answer("Cold."))
    assert (await async_agent.run("Is it cold?")).output == "Cold."
    results = [message["content"] for message in upstream.chats[-1].body["messages"] if message["role"] == "tool"]
    assert results == ["Oslo", "LookupError: no weather for Oslo"]


def test_a_tool_and_an_approval(agent: AgentStream, upstream: FakeDedalus) -> None:
    """The program's own call is made while another call of the turn waits for a person."""

    @agent.tool
    def locate() -> str:
        """Where the user is."""
        return "Oslo"

    calls = [ToolCall("call_1", "locate", "{}"), ToolCall("call_2", "current_time", "{}", index=1)]
    upstream.turn(*calls, Finish("tool_calls"), Done())
    upstream.turn(*answer("Late in Oslo."))
    with agent.stream("?", tools=["current_time"], require_approval=["current_time"]) as run:
        assert run.result().pending == [PendingCall("call_2", "current_time", "approval")]
        run.approve("call_2")
        assert run.result().output == "Late in Oslo."


def test_a_result_that_is_no_json(agent: AgentStream, upstream: FakeDedalus) -> None:
    """A value that can't be sent is the call's error, and so is one that the service refuses."""

    @agent.tool
    def locate() -> object:
        """Where the user is."""
        return object()

    upstream.turn(ToolCall("call_1", "locate", "{}"), Finish("tool_calls"), Done())
    upstream.turn(*answer("Nowhere."))
    result = agent.run("Where am I?")
    assert result.output == "Nowhere."
    assert result.tool_calls[0].is_error
    assert "not JSON serializable" in (result.tool_calls[0].result or "")


def test_a_call_is_made_by_a_program_that_attaches(agent: AgentStream, upstream: FakeDedalus) -> None:
    """A program that reads a run from its wait on makes the call with its arguments, which it has not read."""
    upstream.turn(ToolCall("call_1", "locate", '{"exact":true}'), Finish("tool_calls"), Done())
    upstream.turn(*answer("In Oslo."))
    with agent.stream("Where am I?", client_tools=[{"name": "locate"}]) as run:
        for event in run:
            if isinstance(event, Waiting):
                break
    made = []

    @agent.tool
    def locate(exact: bool) -> str:
        """Where the user is."""
        made.append(exact)
        return "Oslo"

    rest = list(agent.attach(run.id, after=run.last_seq))
    assert rest[-1].seq == run.last_seq + len(rest)
    assert made == [True]
    assert agent.attach(run.id).result().output == "In Oslo."
    assert made == [True], "a wait that is over calls nothing"


def test_functions_that_are_no_tools(agent: AgentStream) -> None:
    """A function whose arguments have no schema or no names, or that is `async`, is refused when it is registered."""

    def dated(when: complex) -> None: ...

    def several(*things: str) -> None: ...

    async def later() -> None: ...

    for function in (dated, several, later):
        with pytest.raises(TypeError):
            agent.tool(function)


def test_schemas() -> None:
    """Type hints become a JSON schema, and arguments with defaults are optional."""

    def ask(
        text: str, count: int = 1, share: float | None = None, *, tags: list[str], more: dict[str, int], any_: Any
    ) -> None: ...

    assert described(ask).parameters == {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "share": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object"},
            "any_": {},
        },
        "required": ["text", "tags", "more", "any_"],
    }


# Sessions, runs and lists


def test_sessions(agent: AgentStream, upstream: FakeDedalus) -> None:
    """A session is created, changed, read with its messages and runs, listed and deleted."""
    upstream.turn(*answer("Hello Ada."))
    session = agent.sessions.create("python-1", title="Names", metadata={"user": "ada"})
    run_id = agent.run("I am Ada.", session_id=session.session_id).run_id
    assert agent.sessions.update("python-1", title=None).metadata == {"user": "ada"}
    assert agent.sessions.get("python-1").title is None
    messages = agent.sessions.messages("python-1", tree=True).messages
    assert [(message.role, message.content) for message in messages] == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
    ]
    assert [run.run_id for run in agent.sessions.runs("python-1", status="succeeded").runs] == [run_id]
    assert agent.sessions.list(q="no title has this").sessions == []
    first = agent.sessions.list(q="PYTHON-1", limit=1)
    assert [found.session_id for found in first.sessions] == ["python-1"]
    agent.sessions.delete("python-1")
    with pytest.raises(ApiError, match="session_not_found"):
        agent.sessions.get("python-1")


def test_runs(agent: AgentStream, upstream: FakeDedalus) -> None:
    """A run is started in the background, once for a key, then followed, listed, cancelled and deleted."""
    upstream.turn(*answer("Hello"))
    started = agent.runs.start("Say hello", idempotency_key="python-2", metadata={"for": "test"})
    assert agent.runs.start("Say hello", idempotency_key="python-2", metadata={"for": "test"}).run_id == started.run_id
    events = list(agent.attach(started.run_id))
    assert list(agent.runs.events(started.run_id, after=2)) == events[2:]
    ended = agent.runs.get(started.run_id)
    assert (ended.status, ended.metadata, ended.last_seq) == ("succeeded", {"for": "test"}, len(events))
    assert agent.runs.cancel(started.run_id).status == "succeeded"
    assert ended.run_id in [run.run_id for run in agent.runs.list(status="succeeded").runs]
    agent.runs.delete(started.run_id)
    with pytest.raises(ApiError, match="run_not_found"):
        agent.runs.get(started.run_id)


@pytest.mark.anyio
async def test_lists(async_agent: AsyncAgentStream) -> None:
    """Models, tools and MCP servers are listed as objects."""
    assert (await async_agent.models()).default_model == "test/model"
    tools = (await async_agent.tools()).tools
    assert "current_time" in [tool.name for tool in tools]
    assert isinstance((await async_agent.mcp_servers()).servers, list)
    with pytest.raises(ApiError, match="mcp_server_not_found"):
        await async_agent.mcp_server_tools("joerup/exa-mcp")


def test_headers_and_urls(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL comes from the environment, a function gives the headers of each request, and a bad URL is refused."""
    monkeypatch.setenv("AGENT_STREAM_URL", f"{service.url}/")
    asked = []

    def headers() -> dict[str, str]:
        asked.append("")
        return {"X-Request-ID": f"python-{len(asked)}"}

    with httpx2.Client(verify=False, trust_env=False) as http:
        agent = AgentStream(headers=headers, http_client=http)
        agent.tools()
        with pytest.raises(ApiError) as refused:
            agent.runs.get("run_nope")
    assert refused.value.request_id == "python-2"
    for url in ("localhost:8000", "ftp://localhost", "http://"):
        with pytest.raises(ValueError, match="is not a URL"):
            AgentStream(url)
