"""Tests that output which the check blocks is found nowhere, however it arrives, and how a run ends with it."""

import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool, added, gives, named
from log_files import everything_in
from process import ROOT, Nursery
from restarts import Place
from run_readers import events_url
from service import EXECUTE, STREAM, Service, checked, names, only, service, text
from session_calls import SESSIONS, ask
from text_checks import CANARY
from waiting_runs import RUNS
from wire import (
    Cut,
    Done,
    ErrorData,
    Finish,
    Json,
    McpResults,
    RawBytes,
    RawChunk,
    Status,
    Step,
    Text,
    Thinking,
    ToolCall,
    answer,
)

from errors import CheckFailed, OutputBlocked

pytestmark = pytest.mark.anyio

CHECK = "text_checks:no_canary"
SPLITS = range(1, len(CANARY))
END = [Finish(), Done()]
CALLED = [Finish("tool_calls"), Done()]
ESCAPED = CANARY.replace("n", "\\u006e")
WINDOWS = [0, 20, 200]
LEAD = "It was a sunny day, and nobody expected anything to happen here. "


@pytest.fixture
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture
def upstream() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


def spoken(kind: str, *pieces: str) -> list[Step]:
    """A turn that says these pieces in one of its parts."""
    match kind:
        case "text":
            return [Text(*pieces), *END]
        case "thinking":
            return [Thinking(*pieces), *answer("So.")]
        case "arguments":
            return [ToolCall("call_1", "add", '{"a": "', *pieces, '"}'), *CALLED]
        case _:
            raise AssertionError(kind)


async def shown(agent: Service, *run_ids: str) -> str:
    """All that the service says about runs and their session, as text."""
    paths = [path for run_id in run_ids for path in (events_url(run_id), f"{RUNS}/{run_id}")]
    paths += [RUNS, f"{SESSIONS}/chat", f"{SESSIONS}/chat/messages"]
    return "".join([(await agent.client.get(path)).text for path in paths])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", ["text", "thinking", "arguments"])
async def test_a_canary_split_at_every_position_is_found_nowhere(
    kind: str, window: int, fake: FakeDedalus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Log, wire, database, history and the server's log have no canary, wherever deltas and windows split it."""
    caplog.set_level(logging.INFO)
    tools = named(gives("add", 3))
    limits: Json = {"check_output": CHECK, "check_output_window_chars": window, "data_dir": tmp_path}
    said = ""
    async with service(fake.url, tools, **limits) as agent:
        for at in SPLITS:
            lead = LEAD[: (7 * at) % len(LEAD)]
            fake.turn(*spoken(kind, lead, CANARY[:at], CANARY[at:], " sang."), split=40)
            events = await ask(agent, "Which bird?")
            assert only(events, "error")[0]["code"] == "output_blocked"
            said += json.dumps(events)
        fake.turn(*spoken(kind, LEAD, CANARY[:5], CANARY[5:]), split=40)
        executed = await agent.post(EXECUTE, {"input": "Which bird?"})
        said += executed.text + await shown(agent, events[0]["run_id"])
    assert executed.status_code == 502
    assert CANARY not in said + caplog.text
    assert CANARY.encode() not in everything_in(tmp_path)
    assert tools["add"].heard == []


@pytest.mark.parametrize("window", WINDOWS)
async def test_nothing_of_a_short_match_is_shown(window: int, fake: FakeDedalus) -> None:
    """Of what is no longer than a window, not even the beginning is committed before the rest was checked."""
    async with service(fake.url, check_output=CHECK, check_output_window_chars=window) as agent:
        for length in range(0, len(LEAD), 8):
            fake.turn(*spoken("text", *LEAD[:length], *CANARY), split=150)
            events = await agent.stream({"input": "?"})
            assert LEAD[:length].startswith(text(events))
    assert OutputBlocked.default in only(events, "error")[0]["message"]


HOSTED: Json = {"tool_name": "search", "arguments": {"q": "birds"}, "result": f"A {CANARY}.", "is_error": False}
OTHER_THINKING = Thinking(CANARY, key="reasoning")
SIGNED: Json = {"type": "reasoning.encrypted", "data": CANARY, "index": 0}
CITED: Json = {"type": "url_citation", "url_citation": {"url": f"https://example.com/{CANARY}", "title": "Birds"}}


FORMS: dict[str, list[Step]] = {
    "escapes": [ToolCall("call_1", "add", f'{{"a": "{ESCAPED}"}}'), *CALLED],
    "JSON in JSON": [ToolCall("call_1", "add", json.dumps(f'{{"a": "{ESCAPED}"}}')), *CALLED],
    "invalid arguments": [ToolCall("call_1", "add", f'{{"a": {CANARY}'), *CALLED],
    "an unknown tool": [ToolCall("call_1", "remove", f'{{"a": "{CANARY}"}}'), *CALLED],
    "a name": [ToolCall("call_1", CANARY, "{}"), *CALLED],
    "a signature": [ToolCall("call_1", "add", "{}", thought_signature=CANARY), *CALLED],
    "a hosted result": [McpResults([HOSTED]), *answer("It sang.")],
    "a hosted call": [McpResults([HOSTED | {"result": "None.", "arguments": {"q": CANARY}}]), *answer("It sang.")],
    "a source": [Text("It sang."), RawChunk({"choices": [{"index": 0, "delta": {"annotations": [CITED]}}]}), *END],
    "text around thinking": [Text(CANARY[:5]), Thinking("Hm."), Text(CANARY[5:]), *END],
    "thinking around text": [Thinking(CANARY[:5]), Text("Well."), Thinking(CANARY[5:]), *END],
    "a signature of the words between thinking and text": [
        *(Thinking("So " + CANARY[:5]), Text(CANARY[5:])),
        RawChunk({"choices": [{"index": 0, "delta": {"reasoning_details": [SIGNED]}}]}),
        *END,
    ],
    "thinking that is not shown": [Thinking("Hm.", key="reasoning_content"), OTHER_THINKING, *answer("It sang.")],
    "no chunk": [RawBytes(f"data: {CANARY}\n\n".encode()), *END],
    "no JSON": [Text("It sang."), RawBytes(f'data: {{"choices": ["{CANARY}"\n\n'.encode()), *END],
    "an error": [Text("It sang."), ErrorData({"error": {"message": "cut", "failed_generation": CANARY}})],
    "a failed choice": [RawChunk({"choices": [{"delta": {"content": CANARY}, "error": {"code": 500}}]})],
    "an error after the end": [Text("It sang."), Finish(), ErrorData({"error": {"message": CANARY}})],
    "a refusal": [Status(400, {"error": {"message": "tool_use_failed", "failed_generation": CANARY}})],
    "a cut": [Text(CANARY), Cut()],
}


@pytest.mark.parametrize("window", [0, 20])
async def test_a_canary_in_another_form_is_found_nowhere(
    window: int, fake: FakeDedalus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Escapes, names, signatures, hosted results, sources, interleaved pieces, and data that can't be read."""
    caplog.set_level(logging.INFO)
    limits: Json = {"check_output": CHECK, "check_output_window_chars": window, "data_dir": tmp_path}
    async with service(fake.url, named(gives("add", 3)), **limits) as agent:
        fake.always(*answer("It sang."))
        for form, turn in FORMS.items():
            fake.turn(*turn)
            events = await ask(agent, "Which bird?")
            said = json.dumps(events) + await shown(agent, events[0]["run_id"]) + caplog.text
            assert CANARY not in said, form
            assert ESCAPED not in said.replace("\\\\", "\\"), form
    stored = everything_in(tmp_path).decode(errors="replace")
    assert CANARY not in stored
    assert ESCAPED not in stored.replace("\\\\", "\\")


async def test_what_passes_is_streamed_unchanged(fake: FakeDedalus) -> None:
    """With a check, the run has the same text, thinking, calls and order of events as without one."""
    turns = [
        [Thinking("I ", "have to "), Text("Let me "), Thinking("add."), Text("see."), *spoken("arguments", "1")],
        [Thinking("So."), *answer("It is three. " * 20)],
    ]
    runs = []
    for window in (None, *WINDOWS):
        limits: dict[str, Any] = {"check_output": CHECK, "check_output_window_chars": window}
        async with service(fake.url, named(gives("add", 3)), **limits if window is not None else {}) as agent:
            for turn in turns:
                fake.turn(*turn, split=100)
            events = await agent.stream({"input": "?"})
        said = text(events), text(events, "thinking"), _arguments(events), only(events, "tool_use")
        runs.append((_kinds(events), *said))
    assert runs[1:] == [runs[0]] * len(WINDOWS)


def _kinds(events: list[Json]) -> list[str]:
    """The names of the events, each once where it repeats."""
    all_names = names(events)
    return [name for name, before in zip(all_names, ["", *all_names], strict=False) if name != before]


def _arguments(events: list[Json]) -> str:
    return "".join(data["arguments_delta"] for data in only(events, "tool_use_delta"))


async def test_the_step_begins_again_once(fake: FakeDedalus) -> None:
    """With CHECK_OUTPUT_RESTART the step is answered again, and only the second answer counts. Usage counts both."""
    async with service(fake.url, check_output=CHECK, check_output_restart=True) as agent:
        fake.turn(*spoken("text", f"A {CANARY}."))
        fake.turn(*answer("A bird."))
        events = await ask(agent, "Which bird?")
        fake.always(*spoken("text", f"A {CANARY}."))
        failed = await agent.stream({"input": "Which bird?"})
    assert only(events, "step_restarted") == [{"step": 1, "reason": "blocked"}]
    assert only(events, "final_output")[0]["content"] == "A bird."
    assert names(failed)[-3:] == ["step_restarted", "error", "complete"]
    assert only(failed, "error")[0]["code"] == "output_blocked"
    assert len(fake.chats) == 4


async def test_each_step_can_begin_again(fake: FakeDedalus) -> None:
    """A step after a tool's result can be answered again, too, and the tool runs once."""
    tools = named(LocalTool("add", added))
    async with service(fake.url, tools, check_output=CHECK, check_output_restart=True) as agent:
        fake.turn(*spoken("arguments", CANARY))
        fake.turn(ToolCall("call_1", "add", '{"a": 1, "b": 2}'), *CALLED)
        fake.turn(*spoken("text", CANARY))
        fake.turn(*answer("Three."))
        events = await agent.stream({"input": "?"})
    assert [restart["step"] for restart in only(events, "step_restarted")] == [1, 2]
    assert only(events, "final_output")[0]["content"] == "Three."
    assert len(tools["add"].heard) == 1


async def test_no_other_model_takes_over(fake: FakeDedalus) -> None:
    """Blocked output is no failure of the model's server."""
    async with service(fake.url, check_output=CHECK) as agent:
        fake.always(*spoken("text", CANARY))
        events = await agent.stream({"input": "?", "fallback_models": ["b/two"]})
    assert only(events, "error")[0]["code"] == "output_blocked"
    assert len(fake.chats) == 1


@pytest.mark.parametrize("window", WINDOWS)
async def test_the_value_of_a_structured_answer_is_checked(window: int, fake: FakeDedalus) -> None:
    """Escapes in the JSON hide nothing, neither in the text, which clients parse while it arrives, nor in `data`."""
    schema = {"type": "object", "properties": {"bird": {"type": "string"}}}
    async with service(fake.url, check_output=CHECK, check_output_window_chars=window) as agent:
        fake.always(Text(f'{{"bird": "{ESCAPED}"}}'), *END)
        events = await agent.stream({"input": "?", "output_schema": schema})
        executed = await agent.post(EXECUTE, {"input": "?", "output_schema": schema})
    assert only(events, "error")[0]["code"] == "output_blocked"
    assert ESCAPED not in json.dumps(events).replace("\\\\", "\\") + executed.text


async def test_a_failing_check_lets_nothing_pass(fake: FakeDedalus, caplog: pytest.LogCaptureFixture) -> None:
    """The run ends with `check_failed`, and neither its events nor the log quote the answer."""
    async with service(fake.url, check_output="text_checks:failing") as agent:
        fake.always(*answer(LEAD))
        events = await agent.stream({"input": "?"})
    assert names(events) == ["run_started", "step_started", "error", "complete"]
    assert only(events, "error")[0] | {"request_id": ""} == {
        "code": "check_failed",
        "message": CheckFailed.default,
        "retryable": True,
        "request_id": "",
    }
    assert "CHECK_OUTPUT raised ValueError" in caplog.text
    assert LEAD.strip() not in caplog.text


async def test_what_is_held_back_counts_as_output(fake: FakeDedalus) -> None:
    """An endless answer that is checked whole is not gathered beyond MAX_OUTPUT_BYTES."""
    limits: dict[str, Any] = {"check_output": CHECK, "check_output_window_chars": 0, "max_output_bytes": 1024}
    async with service(fake.url, **limits) as agent:
        fake.turn(*[Text("x" * 100)] * 11, *END)
        events = await agent.stream({"input": "?"})
    assert only(events, "error")[0]["code"] == "output_limit"
    assert text(events) == ""


async def test_the_document_s_example_works_as_it_stands(
    fake: FakeDedalus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions of docs/checks.md work when they are copied unchanged into a module."""
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs/checks.md").read_text(), re.DOTALL)
    assert source is not None
    (tmp_path / "my_checks.py").write_text(source[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    limits: Json = {"check_input": "my_checks:on_topic", "check_output": "my_checks:no_card_numbers"}
    async with service(fake.url, **limits) as agent:
        refused = await agent.post(EXECUTE, {"input": "Any stock tips?"})
        fake.turn(*answer("Call 4111 1111."))
        fake.turn(Text("Pay with 4111 1111 ", "1111 1111."), *END)
        passed = await agent.stream({"input": "?"})
        blocked = await agent.stream({"input": "?"})
    del sys.modules["my_checks"]
    assert refused.json()["error"]["message"].endswith("Reason: this assistant gives no stock tips")
    assert text(passed) == "Call 4111 1111."
    assert text(blocked) == ""
    assert only(blocked, "error")[0]["message"] == f"{OutputBlocked.default} Reason: it has a card number"


def test_a_checkpoint_has_nothing_that_was_blocked(upstream: FakeDedalus, tmp_path: Path, nursery: Nursery) -> None:
    """Over a wait and a restart: the canary, begun before the wait, is not completed after it. The log is clean."""
    place = Place(tmp_path, upstream, nursery, CHECK_OUTPUT=CHECK, CHECK_OUTPUT_RESTART="true")
    upstream.turn(ToolCall("call_0", "delete", f'{{"folder": "{CANARY}"}}'), *CALLED)
    begins = [Thinking(LEAD, CANARY[:6]), ToolCall("call_1", "delete", '{"folder": "drafts"}'), *CALLED]
    upstream.turn(*begins)
    upstream.turn(Thinking(CANARY[6:]), *answer("Done."))
    upstream.turn(Thinking("Hm."), *answer("Done."))
    with place.served() as (process, client):
        asked = {"input": "?", "session_id": "chat"}
        with client.stream("POST", STREAM, json=asked) as response:
            run_id = response.headers["x-run-id"]
            waited = next(line for line in response.iter_lines() if line == "event: waiting")
        process.kill()
        process.wait(10)
    assert waited
    assert CANARY.encode() not in everything_in(tmp_path / "data")
    with place.served() as (process, client):
        client.post(f"{RUNS}/{run_id}/approvals/call_1", json={"approved": True})
        events = checked(client.get(events_url(run_id)).content)
        history = client.get(f"{SESSIONS}/chat/messages").text
    assert [restart["step"] for restart in only(events, "step_restarted")] == [1, 2]
    assert only(events, "final_output")[0]["content"] == "Done."
    assert text(events, "thinking").endswith("Hm.")
    assert CANARY not in history + json.dumps(events) + "".join(process.log)
    assert CANARY.encode() not in everything_in(tmp_path / "data")
    assert place.marks == ["drafts"]
