"""Tests that an answer is checked against the request's JSON Schema, and asked for again where it doesn't match."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, named
from process import Nursery
from restarts import CALLS, Place
from run_readers import events_url
from service import EXECUTE, SIMULATE, STREAM, Service, checked, names, only, service
from session_calls import SESSIONS, ask, messages, said
from waiting_runs import RUNS
from wire import Done, Finish, Json, Status, Step, Thinking, ToolCall, Usage, answer

from services.upstreams.providers import PROVIDERS

pytestmark = pytest.mark.anyio
pytest_plugins = "shared_service"

SUM: Json = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}
ASK: Json = {"input": "1 + 2?", "output_schema": SUM}
CALL = [ToolCall("call_1", "add", '{"a": 1, "b": 2}'), Finish("tool_calls", Usage(1, 1, 2)), Done()]
PROSE = answer("It is three.", Usage(10, 1, 11))
WRONG = [Thinking("Hm."), *answer('{"sum": "three"}', Usage(20, 2, 22))]
FENCED = 'Here it is:\n```json\n{"sum": 3}\n```'
RIGHT = answer(FENCED, Usage(30, 3, 33))
VALID = '{"sum": 3}'


@pytest.fixture
def upstream() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


def turns(fake: FakeDedalus, *scripts: Sequence[Step]) -> None:
    """Script the next answers of the upstream."""
    for script in scripts:
        fake.turn(*script)


def restarts(events: list[Json]) -> list[Json]:
    return only(events, "step_restarted")


async def test_an_invalid_an_invalid_and_a_valid_answer_over_a_tool_call() -> None:
    """`data` is the value, three attempts are reported, usage is the sum of all, and history has the last text only."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        turns(fake, CALL, PROSE, WRONG, RIGHT)
        events = await ask(agent, "1 + 2?", output_schema=SUM, max_steps=2)
        history = await messages(agent)
        fake.turn(*answer("Four."))
        await ask(agent, "And one?")
    assert only(events, "final_output") == [{"content": FENCED, "data": {"sum": 3}, "attempts": 3}]
    assert [(restart["step"], restart["reason"]) for restart in restarts(events)] == [(2, "output_invalid")] * 2
    assert only(events, "step_finished")[1]["usage"]["total_tokens"] == 66
    complete = only(events, "complete")[0]
    assert (complete["usage"]["total_tokens"], complete["steps"]) == (68, 2)
    assert [text for role, text in said(history) if role == "assistant" and text] == [FENCED]
    assert [(message["data"], message["attempts"]) for message in history if "data" in message] == [({"sum": 3}, 3)]
    assert history[-1]["data"] == {"sum": 3}
    assert "three" not in json.dumps(fake.chats[-1].body["messages"])


async def test_usage_and_cost_are_the_sum_of_all_attempts() -> None:
    """In the step, the run's end, its record, the JSON answer and the session. Each restart has its attempt's usage."""
    prices = {"test/model": {"input_per_million": 10, "output_per_million": 20}}
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added)), model_prices=prices) as agent:
        for _ in range(2):
            turns(fake, CALL, PROSE, WRONG, RIGHT)
        events = await ask(agent, "1 + 2?", output_schema=SUM)
        executed = (await agent.post(EXECUTE, ASK | {"session_id": "chat"})).json()
        run = (await agent.client.get(f"{RUNS}/{events[0]['run_id']}")).json()
        session = (await agent.client.get(f"{SESSIONS}/chat")).json()
    assert [restart["usage"] for restart in restarts(events)] == [spent(10, 1), spent(20, 2)]
    assert [step["usage"] for step in only(events, "step_finished")] == [spent(1, 1), spent(60, 6)]
    [complete] = only(events, "complete")
    assert complete["usage"] == run["usage"] == executed["usage"] == spent(61, 7)
    assert session["usage"] == spent(122, 14)
    assert (executed["data"], executed["attempts"]) == ({"sum": 3}, 3)


def spent(input_tokens: int, output_tokens: int) -> Json:
    """The usage at 10 and 20 dollars a million tokens."""
    cost = (input_tokens * 10 + output_tokens * 20) / 1_000_000
    counts = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return {**counts, "total_tokens": input_tokens + output_tokens, "cost_usd": cost}


async def test_the_model_gets_its_answer_and_the_faults(lend: Lend) -> None:
    """The next request has the conversation so far, unchanged, the invalid answer, and what is wrong with it."""
    async with lend() as (fake, agent):
        turns(fake, WRONG, answer(VALID))
        executed = (await agent.post(EXECUTE, ASK)).json()
    first, second = [request.body["messages"] for request in fake.chats]
    assert second[: len(first)] == first
    reply, question = second[len(first) :]
    assert (reply["role"], reply["content"]) == ("assistant", '{"sum": "three"}')
    assert "\n- sum: must be of type integer\n" in question["content"]
    assert (executed["data"], executed["attempts"], executed["thinking"]) == ({"sum": 3}, 2, "")


async def test_a_third_invalid_answer_fails_the_run(lend: Lend) -> None:
    """The model is asked again twice at most. The run keeps the text of the last answer and the usage of all."""
    async with lend() as (fake, agent):
        for _ in range(6):
            fake.turn(*WRONG)
        events = await agent.stream(ASK)
        executed = await agent.post(EXECUTE, ASK)
    assert len(fake.chats) == 6
    assert names(events)[-3:] == ["step_finished", "error", "complete"]
    assert only(events, "error")[0]["code"] == "output_invalid"
    assert only(events, "complete")[0]["usage"]["total_tokens"] == 66
    last = len(names(events)) - names(events)[::-1].index("step_restarted")
    assert "".join(piece["content"] for piece in only(events[last:], "partial_output")) == '{"sum": "three"}'
    assert (executed.status_code, executed.json()["error"]["code"]) == (502, "output_invalid")
    assert "three" not in executed.text


async def test_tools_may_be_called_after_an_invalid_answer() -> None:
    """The step continues with the calls. The attempts are counted over the steps."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        turns(fake, PROSE, CALL, WRONG, answer(VALID))
        events = await agent.stream(ASK)
    assert [restart["step"] for restart in restarts(events)] == [1, 2]
    assert only(events, "final_output") == [{"content": VALID, "data": {"sum": 3}, "attempts": 3}]
    roles = [message["role"] for message in fake.chats[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "tool", "assistant", "user"]


async def test_null_is_a_value(lend: Lend) -> None:
    """A null that the schema allows is `data`, and not a missing key."""
    async with lend() as (fake, agent):
        fake.always(*answer("null"))
        asked = {"input": "?", "output_schema": {"type": ["object", "null"]}}
        events = await agent.stream(asked | {"session_id": "chat"})
        executed = (await agent.post(EXECUTE, asked)).json()
        history = await messages(agent)
    assert only(events, "final_output") == [{"content": "null", "data": None, "attempts": 1}]
    assert executed["data"] is None
    assert (history[-1]["data"], history[-1]["attempts"]) == (None, 1)
    assert "data" not in history[0]


def test_the_attempts_survive_a_wait_and_a_restart(upstream: FakeDedalus, tmp_path: Path, nursery: Nursery) -> None:
    """After an invalid answer, a wait and kill -9, only one more repetition is left."""
    place = Place(tmp_path, upstream, nursery)
    turns(upstream, PROSE, CALLS, WRONG, answer(VALID))
    with place.served() as (process, client), client.stream("POST", STREAM, json=ASK) as response:
        run_id = response.headers["x-run-id"]
        for line in response.iter_lines():
            if line == "event: waiting":
                break
        process.kill()
        process.wait(10)
    with place.served() as (_, client):
        client.post(f"{RUNS}/{run_id}/approvals/call_1", json={"approved": True})
        events = checked(client.get(events_url(run_id)).content)
    assert only(events, "final_output") == [{"content": VALID, "data": {"sum": 3}, "attempts": 3}]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"output_schema": {"properties": {"a": {"type": "text"}}}}, "output_schema.properties.a.type"),
        ({"output_schema": {"items": {"$ref": "https://example.com/a"}}}, "output_schema.items.$ref"),
        ({"output_schema": {"description": "x" * 70_000}}, "output_schema"),
        ({"output_schema": {"default": json.loads("[" * 40 + "]" * 40)}}, "output_schema"),
        ({"output_schema": SUM, "response_format": {"type": "json_object"}}, None),
        ({"output_schema": "object"}, "body.output_schema"),
    ],
    ids=["invalid", "reference", "long", "deep", "two formats", "no schema"],
)
@pytest.mark.parametrize("path", [EXECUTE, SIMULATE])
async def test_an_unusable_schema_is_refused(shared: Service, path: str, body: Json, loc: str | None) -> None:
    """The refusal is a 422 that names the place, also where a script would play."""
    response = await shared.client.post(path, json={"input": "?"} | body, headers={"accept": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert loc is None or [detail["loc"] for detail in error["details"]] == [loc]


async def test_a_strict_mode_is_used_where_the_provider_has_one() -> None:
    """OpenAI gets the schema as its response format. A refusal of it leads to instructions, and nothing is lost."""
    refused = {"error": {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported"}}
    async with FakeDedalus() as openai:
        table = {"openai": PROVIDERS["openai"]._replace(url=f"{openai.url}/v1")}
        async with service(providers=table, openai_api_key="sk-1") as agent:
            turns(openai, answer(VALID), [Status(400, refused)], answer(VALID))
            answers = [(await agent.post(EXECUTE, ASK | {"model": "openai/gpt-4.1"})).json()["data"] for _ in range(2)]
    assert answers == [{"sum": 3}, {"sum": 3}]
    first, second, third = [request.body for request in openai.chats]
    strict = {"type": "json_schema", "json_schema": {"name": "final_answer", "schema": SUM, "strict": True}}
    assert first["response_format"] == second["response_format"] == strict
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert "response_format" not in third
    assert third["messages"][0]["content"].endswith(json.dumps(SUM, separators=(",", ":")))


async def test_the_simulator_shows_a_structured_answer(shared: Service) -> None:
    """The scenario has two invalid answers, a valid one, its value and the attempts."""
    events = await shared.stream({"input": "?", "scenario": "structured", "delay_ms": 0}, SIMULATE)
    [final] = only(events, "final_output")
    assert json.loads(final["content"]) == final["data"] == {"city": "Oslo", "celsius": 3, "sky": "light snow"}
    assert (final["attempts"], len(restarts(events))) == (3, 2)
