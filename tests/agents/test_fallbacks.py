"""Tests that another model answers in place of one that fails, where it may help, and that only its answer counts."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from local_tools import LocalTool, added, named
from process import Nursery
from restarts import Place
from run_readers import events_url
from service import EXECUTE, NOWHERE, STREAM, Service, checked, names, only, service, settings, text
from session_calls import ask, messages, said
from waiting_runs import DELETE, RUNS, decide, deletes, waiting_run, waits, whole
from wire import (
    Cut,
    Done,
    Finish,
    Gate,
    Head,
    Json,
    McpResults,
    Status,
    Step,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageChunk,
    WaitFor,
    answer,
)

from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.providers import PROVIDERS
from services.upstreams.selection import Upstreams

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

FIVE = ("I ", "was ", "about ", "to ", "say")
DIES = [Thinking("Hm."), Text(*FIVE), ToolCall("call_1", "add", '{"a":'), Cut()]
BUSY = Status(503, {"error": {"message": "overloaded"}}, {"x-should-retry": "false"})
NO_SUCH = Status(404, {"error": {"message": "The model `one` does not exist", "code": "model_not_found"}})
MODELS: dict[str, Any] = {"model": "a/one", "fallback_models": ["b/two", "c/three"]}
ASK = {"input": "Why?", **MODELS}


def by_model(scripts: Mapping[str, Any]) -> Callable[[Json], Sequence[Step]]:
    """Answer each request by its model: always with the same steps, or with the next of an iterator."""

    def steps(body: Json) -> Sequence[Step]:
        script = scripts[body["model"]]
        turn: Sequence[Step] = next(script) if isinstance(script, Iterator) else script
        return turn

    return steps


def models_asked(fake: FakeDedalus) -> list[str]:
    return [request.body["model"] for request in fake.chats]


async def test_only_the_second_answer_counts() -> None:
    """A model dies after five tokens: stream, JSON, replay, history and next turn have the second text alone."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.choose(by_model({"a/one": DIES, "b/two": [Thinking("So."), *answer("Because.", Usage(3, 2, 5))]}))
        events = await ask(agent, "Why?", **MODELS)
        run_id = events[0]["run_id"]
        for after in range(len(events)):
            replay = await agent.client.get(events_url(run_id), headers={"last-event-id": str(after)})
            assert [event["seq"] for event in parse_frames(replay.content)] == [*range(after + 1, len(events) + 1)]
        history = await messages(agent)
        executed = (await agent.post(EXECUTE, ASK)).json()
        run = (await agent.client.get(f"/api/agent/runs/{run_id}")).json()
        await ask(agent, "And?", model="b/two")
        next_turn = fake.chats[-1].body["messages"]
    assert only(events, "step_restarted") == [{"step": 1, "reason": "fallback", "model": "b/two"}]
    assert only(events, "run_started")[0]["model"] == run["model"] == executed["model"] == "a/one"
    assert only(events, "step_started") == [{"step": 1, "model": "a/one"}]
    assert only(events, "step_finished")[0]["model"] == executed["answered_by"] == run["answered_by"] == "b/two"
    assert [message["answered_by"] for message in history] == ["b/two", "b/two"]
    assert only(events, "final_output") == [{"content": "Because."}]
    assert "tool_result" not in names(events)
    assert (executed["output"], executed["thinking"], executed["tool_calls"]) == ("Because.", "So.", [])
    assert said(history) == [("user", "Why?"), ("assistant", "Because.")]
    assert history[1]["thinking"] == "So."
    assert [message["content"] for message in next_turn] == ["Why?", "Because.", "And?"]


@pytest.mark.parametrize("failure", [[BUSY], [NO_SUCH], [Cut()], [Head(), Cut()]], ids=["503", "404", "cut", "empty"])
async def test_a_failure_before_the_first_token_is_a_warning(
    failure: list[Step], fake: FakeDedalus, shared: Service
) -> None:
    """Nothing was said, so nothing is restarted. `step_started` names the model that answers."""
    fake.choose(by_model({"a/one": failure, "b/two": answer("Because.")}))
    events = await shared.stream(ASK)
    assert names(events)[:3] == ["run_started", "warning", "step_started"]
    [warning] = only(events, "warning")
    assert warning["code"] == "model_fallback"
    assert only(events, "step_started") == [{"step": 1, "model": "b/two"}]
    assert only(events, "final_output") == [{"content": "Because."}]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Status(401, {"error": {"message": "Invalid API key"}}), "upstream_auth"),
        (Status(400, {"error": {"message": "max_tokens must be positive", "param": "input"}}), "upstream_rejected"),
    ],
)
async def test_a_failure_that_another_model_has_as_well_is_the_run_s(
    failure: Step, code: str, fake: FakeDedalus, shared: Service
) -> None:
    """A refused key and a refused request are not tried again with another model."""
    fake.choose(by_model({"a/one": [failure]}))
    events = await shared.stream(ASK)
    assert names(events) == ["run_started", "step_started", "error", "complete"]
    assert only(events, "error")[0]["code"] == code
    assert models_asked(fake) == ["a/one"]


async def test_each_model_is_asked_once_and_every_attempt_is_paid_for(fake: FakeDedalus, shared: Service) -> None:
    """If all fail, the run fails with the last error. The usage of each attempt is in `complete`."""
    dies = [Text("x"), UsageChunk(1, 2, 3), Cut()]
    fake.choose(by_model({"a/one": dies, "b/two": [BUSY], "c/three": dies}))
    events = await shared.stream(ASK)
    assert models_asked(fake) == ["a/one", "b/two", "c/three"]
    assert [restart["model"] for restart in only(events, "step_restarted")] == ["b/two", "c/three"]
    assert only(events, "error")[0]["code"] == "upstream_disconnected"
    assert only(events, "complete")[0]["usage"] == {"input_tokens": 2, "output_tokens": 4, "total_tokens": 6}


async def test_a_model_that_is_named_twice_is_asked_once(fake: FakeDedalus, shared: Service) -> None:
    """Repeated names, and the requested model among its fallbacks, are left out."""
    fake.choose(by_model({"a/one": [BUSY], "b/two": [BUSY]}))
    await shared.stream({"input": "?", "model": "a/one", "fallback_models": ["a/one", "b/two", "b/two", "a/one"]})
    assert models_asked(fake) == ["a/one", "b/two"]


async def test_a_dropped_attempt_s_usage_is_part_of_the_step_s(fake: FakeDedalus, shared: Service) -> None:
    """`step_finished` and `complete` count the tokens of both models, `step_restarted` those of the first."""
    dies = [Text("x"), UsageChunk(1, 2, 3), Cut()]
    fake.choose(by_model({"a/one": dies, "b/two": answer("Because.", Usage(3, 2, 5))}))
    events = await shared.stream(ASK)
    total = {"input_tokens": 4, "output_tokens": 4, "total_tokens": 8}
    assert only(events, "step_restarted")[0]["usage"] == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert only(events, "step_finished")[0]["usage"] == only(events, "complete")[0]["usage"] == total


async def test_the_next_step_stays_with_the_model_that_answered() -> None:
    """A fallback in the second step gets calls and results without the first model's reasoning, and keeps the run."""
    call = [ToolCall("call_1", "add", '{"a": 1, "b": 2}', thought_signature="c2ln"), Finish("tool_calls"), Done()]
    again = [ToolCall("call_1", "add", '{"a": 3, "b": 4}'), Finish("tool_calls"), Done()]
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.choose(
            by_model(
                {
                    "a/one": iter([[Thinking("Add."), *call], [Text("So"), Cut()]]),
                    "b/two": iter([again, answer("Seven.")]),
                }
            )
        )
        events = await agent.stream(ASK)
    assert models_asked(fake) == ["a/one", "a/one", "b/two", "b/two"]
    assert "reasoning_content" in fake.chats[1].body["messages"][1]
    for request in fake.chats[2:]:
        assert "reasoning_content" not in str(request.body["messages"])
        assert "c2ln" not in str(request.body["messages"])
    assert [step["model"] for step in only(events, "step_started")] == ["a/one", "a/one", "b/two"]
    assert [step["model"] for step in only(events, "step_finished")] == ["a/one", "b/two", "b/two"]
    assert [result["content"] for result in only(events, "tool_result")] == ["3", "7"]
    assert text(events).endswith("Seven.")


async def test_never_after_a_tool_of_the_step_has_run(fake: FakeDedalus, shared: Service) -> None:
    """The model server ran a tool before it failed. Another attempt could run it twice, so the run fails."""
    ran = [ToolCall("call_1", "search", "{}"), McpResults([hosted("search")]), Text("It says"), Cut()]
    fake.choose(by_model({"a/one": ran}))
    events = await shared.stream({**ASK, "mcp_servers": ["tsion/exa"]})
    assert only(events, "error")[0]["code"] == "upstream_disconnected"
    assert models_asked(fake) == ["a/one"]


def hosted(name: str) -> Json:
    return {"tool_name": name, "server_name": "tsion/exa", "arguments": {}, "result": "found", "is_error": False}


@pytest.mark.parametrize(("failure", "asked"), [(BUSY, ["a/one", "b/two"]), (Cut(), ["a/one"])], ids=["503", "cut"])
async def test_with_hosted_servers_only_a_refusal_leads_on(
    failure: Step, asked: list[str], fake: FakeDedalus, shared: Service
) -> None:
    """A server that runs MCP tools may have run one before its first token, unless it has refused the request."""
    fake.choose(by_model({"a/one": [failure], "b/two": answer("Because.")}))
    await shared.stream({**ASK, "mcp_servers": ["tsion/exa"]})
    assert [*dict.fromkeys(models_asked(fake))] == asked  # the SDK repeats a request without a response


@pytest.mark.parametrize(
    ("given", "asked"), [({}, ["a/one", "b/two"]), ({"fallback_models": []}, ["a/one"])], ids=["setting", "none"]
)
async def test_the_setting_counts_where_the_request_has_no_list(given: dict[str, Any], asked: list[str]) -> None:
    """FALLBACK_MODELS has a list for the model; an empty list in the request turns it off."""
    async with FakeDedalus() as fake, service(fake.url, fallback_models={"a/one": ("b/two",)}) as agent:
        fake.choose(by_model({"a/one": [BUSY], "b/two": answer("Because.")}))
        await agent.stream({"input": "Why?", "model": "a/one", **given})
    assert models_asked(fake) == asked


async def test_an_unknown_fallback_is_refused() -> None:
    """A model that no upstream serves is a 422 with its place, which names the key to set."""
    async with service(openai_api_key="sk-test") as agent:
        response = await agent.post(STREAM, {"input": "?", "fallback_models": ["openai/gpt-4.1", "anthropic/claude"]})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "model_unavailable")
    assert "ANTHROPIC_API_KEY" in error["message"]
    assert error["details"][0]["loc"] == "fallback_models.1"


@pytest.mark.parametrize("models", [{"openai/gpt-4.1": ("xai/grok-4",)}, {"xai/grok-4": ("openai/gpt-4.1",)}])
async def test_an_unknown_model_in_the_setting_is_an_error_at_start(models: dict[str, tuple[str, ...]]) -> None:
    """FALLBACK_MODELS may name only models that an upstream serves. The message says what to set."""
    given = settings(openai_api_key="sk-test", fallback_models=models)
    with pytest.raises(ValueError, match=r"FALLBACK_MODELS names xai/grok-4.*XAI_API_KEY"):
        Upstreams(given, EmbeddedModel())


async def test_the_fallback_keeps_the_run_through_a_wait() -> None:
    """A run whose fallback made a call that waits for approval is resumed with the fallback."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.choose(by_model({"a/one": [BUSY], "b/two": iter([DELETE, [BUSY]]), "c/three": answer("Done.")}))
        async with waiting_run(agent, STREAM, require_approval=["delete"], **ASK) as run_id:
            await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert models_asked(fake) == ["a/one", "b/two", "b/two", "c/three"]
    assert only(events, "final_output") == [{"content": "Done."}]


@pytest.fixture
def upstream() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


def begun(client: httpx.Client, shown: str, headers: Mapping[str, str] = {}, **more: str) -> str:
    """Start a run, read it until this text is shown, and return its id."""
    seen = b""
    with client.stream("POST", STREAM, json=ASK | more, headers=headers) as response:
        for piece in response.iter_raw():
            seen += piece
            if shown.encode() in seen and seen.endswith(b"\n\n"):
                break
        return response.headers["x-run-id"]


@pytest.mark.parametrize("second", ["", "Because"], ids=["nothing", "some text"])
def test_kill_9_after_the_restart(second: str, upstream: FakeDedalus, tmp_path: Path, nursery: Nursery) -> None:
    """The interrupted run's replays, record, JSON, history and next turn have the second model's text alone."""
    place = Place(tmp_path, upstream, nursery)
    slow = [*([Text(second)] if second else []), WaitFor(Gate()), *answer("Never.")]
    upstream.choose(by_model({"a/one": DIES, "b/two": slow, "c/three": answer("Yes.")}))
    last_shown = f'"content":"{second}"' if second else "event: step_restarted"
    key = {"Idempotency-Key": "once"}
    with place.served() as (process, client):
        run_id = begun(client, last_shown, key, session_id="chat")
        process.kill()
        process.wait(10)
    with place.served() as (_, client):
        events = checked(client.get(events_url(run_id)).content)
        for after in range(len(events)):
            replay = client.get(events_url(run_id), headers={"last-event-id": str(after)})
            assert parse_frames(replay.content) == events[after:]
        executed = client.post(EXECUTE, json=ASK | {"session_id": "chat"}, headers=key)
        run = client.get(f"{RUNS}/{run_id}").json()
        history = client.get("/api/agent/sessions/chat/messages").json()["messages"]
        client.post(STREAM, json={"input": "And?", "session_id": "chat", "model": "c/three"})
    since_restart = names(events)[names(events).index("step_restarted") :]
    assert since_restart == ["step_restarted", *(["partial_output"] if second else []), "error", "complete"]
    assert only(events, "error")[0]["code"] == executed.json()["error"]["code"] == "interrupted"
    assert (run["status"], run["model"], run["answered_by"]) == ("failed", "a/one", "b/two")
    answered = [("assistant", second)] if second else []
    assert said(history) == [("user", "Why?"), *answered]
    asked = upstream.chats[-1].body["messages"]
    assert "about" not in str(asked) + str(history) + executed.text
    assert [message["content"] for message in asked if message["role"] == "assistant"] == [text for _, text in answered]


async def test_changed_arguments_are_checked_for_the_model_that_answered(tmp_path: Path) -> None:
    """After a restart without the first model's key, the fallback's call is still approved with other arguments."""
    async with FakeDedalus() as openai, FakeDedalus() as mistral:
        table = {
            "openai": PROVIDERS["openai"]._replace(url=f"{openai.url}/v1"),
            "mistral": PROVIDERS["mistral"]._replace(url=f"{mistral.url}/v1"),
        }
        given: dict[str, Any] = {"providers": table, "mistral_api_key": "k", "data_dir": str(tmp_path)}
        openai.turn(BUSY)
        mistral.turn(*DELETE)
        mistral.turn(*answer("Done."))
        tool = deletes()
        models = {"model": "openai/gpt-4.1", "fallback_models": ["mistral/mistral-small-latest"]}
        async with service(tools=named(tool), openai_api_key="k", **given) as agent:
            asked = {"input": "Tidy up.", "require_approval": ["delete"], **models}
            run_id = (await agent.post(RUNS, asked)).json()["run_id"]
            await waits(agent, run_id)
        async with service(tools=named(tool), **given) as agent:
            accepted = await decide(agent, run_id, arguments={"folder": "spam"})
            assert accepted.status_code == 202, accepted.text
            events = await whole(agent, run_id)
    assert tool.heard == [{"folder": "spam"}]
    assert only(events, "final_output") == [{"content": "Done."}]


async def test_another_provider_gets_the_request_in_its_own_form() -> None:
    """OpenAI fails and Mistral answers: with its model's name, its parameters, its ids, and its own key."""
    async with FakeDedalus() as openai, FakeDedalus() as mistral:
        table = {
            "openai": PROVIDERS["openai"]._replace(url=f"{openai.url}/v1"),
            "mistral": PROVIDERS["mistral"]._replace(url=f"{mistral.url}/v1"),
        }
        keys = {"openai_api_key": "sk-openai", "mistral_api_key": "sk-mistral"}
        tools = named(LocalTool("add", added))
        async with service(providers=table, tools=tools, **keys) as agent:
            openai.turn(ToolCall("call_1", "add", '{"a": 1, "b": 2}'), Finish("tool_calls"), Done())
            openai.turn(Text("So"), Cut())
            mistral.turn(*answer("Three."))
            models = {"model": "openai/gpt-4.1", "fallback_models": ["mistral/mistral-small-latest"]}
            events = await agent.stream({"input": "1 + 2?", "max_tokens": 50, "seed": 7, **models})
    assert only(events, "final_output") == [{"content": "Three."}]
    [first, _], [request] = openai.chats, mistral.chats
    assert (first.body["max_completion_tokens"], first.body["seed"]) == (50, 7)
    assert (request.body["model"], request.body["max_tokens"]) == ("mistral-small-latest", 50)
    assert request.body["random_seed"] == 7
    assert not {"max_completion_tokens", "seed", "stream_options"} & set(request.body)
    assert re.fullmatch("[A-Za-z0-9]{9}", request.body["messages"][1]["tool_calls"][0]["id"])
    assert request.headers["authorization"] == "Bearer sk-mistral"


async def test_other_models_of_a_server_that_can_t_be_reached_are_skipped() -> None:
    """No connection to OpenAI: its second model isn't tried, and Mistral answers."""
    async with FakeDedalus() as mistral:
        table = {
            "openai": PROVIDERS["openai"]._replace(url=NOWHERE),
            "mistral": PROVIDERS["mistral"]._replace(url=f"{mistral.url}/v1"),
        }
        async with service(providers=table, openai_api_key="sk-openai", mistral_api_key="sk-mistral") as agent:
            mistral.turn(*answer("Three."))
            others = ["openai/gpt-4.1-mini", "mistral/mistral-small-latest"]
            events = await agent.stream({"input": "?", "model": "openai/gpt-4.1", "fallback_models": others})
    assert [warning["code"] for warning in only(events, "warning")] == ["model_fallback"]
    assert only(events, "step_started") == [{"step": 1, "model": "mistral/mistral-small-latest"}]


def test_the_fallback_keeps_the_run_through_a_restart(upstream: FakeDedalus, tmp_path: Path, nursery: Nursery) -> None:
    """After kill -9 during the wait, the next process asks the model that had taken over, and then its own fallback."""
    place = Place(tmp_path, upstream, nursery)
    upstream.choose(by_model({"a/one": [BUSY], "b/two": iter([DELETE, [BUSY]]), "c/three": answer("Done.")}))
    with place.served() as (process, client):
        run_id = begun(client, "event: waiting")
        process.kill()
        process.wait(10)
    with place.served() as (_, client):
        client.post(f"{RUNS}/{run_id}/approvals/call_1", json={"approved": True})
        events = checked(client.get(events_url(run_id)).content)
    assert models_asked(upstream) == ["a/one", "b/two", "b/two", "c/three"]
    assert [step["model"] for step in only(events, "step_finished")] == ["b/two", "c/three"]
    assert only(events, "final_output") == [{"content": "Done."}]
