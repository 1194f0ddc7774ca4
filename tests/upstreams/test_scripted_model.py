"""`simulated/tools` makes the calls that a question lists, over the same path as a model's calls."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import gives, named
from process import ROOT
from service import EXECUTE, NOWHERE, Service, names, only, service, text
from waiting_runs import decide, deletes, send, waiting_run, waits, whole

from services.tooling.registry import ToolRegistry

pytestmark = pytest.mark.anyio

SCRIPT = {"model": "simulated/tools"}
README_TOOL = re.compile(r"```python\n(.*?)```", re.DOTALL)
README_REQUEST = re.compile(r'\{"model": "simulated/tools".*?\}(?=\')')


async def test_a_newcomer_sees_the_tool_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's example works: its five lines in a file and its request, with no key and no other server."""
    readme = (ROOT / "README.md").read_text()
    code, request = README_TOOL.search(readme), README_REQUEST.search(readme)
    assert code is not None
    assert request is not None
    (tmp_path / "newcomer_tools.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    registry = ToolRegistry(["newcomer_tools"], timeout_s=5, threads=1)
    async with service(tools=registry.all, tools_by_default="none") as agent:
        events = await agent.stream(json.loads(request[0]))
    await registry.aclose()
    del sys.modules["newcomer_tools"]
    assert names(events) == [
        *("run_started", "step_started", "tool_use_delta", "tool_use", "tool_result", "step_finished"),
        *("step_started", "partial_output", "step_finished", "final_output", "complete"),
    ]
    assert only(events, "tool_use")[0]["arguments"] == {"sides": 20}
    rolled = int(only(events, "tool_result")[0]["content"])
    assert 1 <= rolled <= 20
    assert text(events, "final_output") == f"The tool returned: {rolled}"


async def test_several_calls_and_wrong_ones() -> None:
    """Each line makes one call, with its arguments as written; the answer lists the result of each."""
    async with service(NOWHERE, named(gives("one", 1), gives("two", 2))) as agent:
        events = await agent.stream({**SCRIPT, "input": "one\nand\ntwo {}\ntwo {oops", "tools": ["one", "two"]})
    assert [call["name"] for call in only(events, "tool_use")] == ["one", "two", "two"]
    assert only(events, "tool_use")[2]["invalid_arguments"] == "{oops"
    first, second, third = text(events, "final_output").splitlines()
    assert (first, second) == ("The tool returned: 1", "The tool returned: 2")
    assert third.startswith("The tool returned: The arguments are not a JSON object")


async def test_calls_are_spelled_in_the_instructions() -> None:
    """A question without a call gets those of the instructions, so that a page can show a plain question."""
    asked = SCRIPT | {"instructions": "one\ntwo", "tools": ["one", "two"]}
    async with service(NOWHERE, named(gives("one", 1), gives("two", 2))) as agent:
        plain = await agent.stream(asked | {"input": "What are they?"})
        spelled = await agent.stream(asked | {"input": "two"})
    assert [call["name"] for call in only(plain, "tool_use")] == ["one", "two"]
    assert [call["name"] for call in only(spelled, "tool_use")] == ["two"]


async def test_arguments_are_the_rest_of_the_line() -> None:
    """The arguments are everything after the name, whatever characters might end a line."""
    question = 'one\t{"t": "a\u2028b"}\n  one   {"t": "\x85"}'
    async with service(NOWHERE, named(gives("one", 1))) as agent:
        events = await agent.stream({**SCRIPT, "input": question})
    assert [call["arguments"] for call in only(events, "tool_use")] == [{"t": "a\u2028b"}, {"t": "\x85"}]


@pytest.mark.parametrize(
    ("tools", "offer"), [(["one"], "The tools are: one."), ([], "The request has no tools. Name them in `tools`.")]
)
async def test_it_says_how_it_is_used(tools: list[str], offer: str) -> None:
    """A question that isn't a call is answered with an explanation of the syntax."""
    async with service(NOWHERE, named(gives("one", 1))) as agent:
        answer = (await agent.post(EXECUTE, {**SCRIPT, "input": "Hello?", "tools": tools})).json()
    assert answer["output"] == f'Name the tools to call, one on each line, such as roll {{"sides": 20}}. {offer}'


async def test_a_person_and_the_page_are_asked() -> None:
    """Approvals and client tools work as with a model; the next question in the session starts afresh."""
    tool = deletes()
    page = {"name": "locate", "description": "Where the user is.", "parameters": {"type": "object"}}
    asked: dict[str, Any] = {
        **SCRIPT,
        "input": 'delete {"folder": "drafts"}\nlocate',
        "client_tools": [page],
        "session_id": "chat",
    }
    async with service(NOWHERE, named(tool)) as agent:
        async with waiting_run(agent, **asked, require_approval=["delete"]) as run_id:
            approval, page_s = (await waits(agent, run_id))["pending"]
            await decide(agent, run_id, approval["tool_call_id"])
            await send(agent, run_id, {"tool_call_id": page_s["tool_call_id"], "content": "Oslo"})
        events = await whole(agent, run_id)
        again = await agent.stream({**SCRIPT, "input": "Thanks.", "session_id": "chat"})
    assert [heard["folder"] for heard in tool.heard] == ["drafts"]
    assert text(events, "final_output").splitlines()[1] == "The tool returned: Oslo"
    assert text(again, "final_output").startswith("Name the tools to call")


async def test_it_is_there_beside_any_upstream() -> None:
    """The model is available beside any upstream, and the upstream is not called."""
    async with FakeDedalus() as fake, service(fake.url, tools=named(gives("one", 1))) as agent:
        events = await agent.stream({**SCRIPT, "input": "one"})
    assert text(events, "final_output") == "The tool returned: 1"
    assert fake.chats == []


async def test_a_question_of_very_many_calls() -> None:
    """100,000 lines are 100,000 calls: the run fails at the limit, and no call beyond the limit is made."""
    async with service(NOWHERE, named(gives("one", 1)), max_calls_per_turn=128) as agent:
        events = await agent.stream({**SCRIPT, "input": "one {}\n" * 100_000, "tools": ["one"]})
    assert [error["code"] for error in only(events, "error")] == ["too_many_calls"]
    assert len(only(events, "tool_use_delta")) == 128


async def test_the_context_of_a_session_is_shown(agent: Service) -> None:
    """`simulated/context` answers with what a model would receive: the second question comes after the first."""
    context = {"model": "simulated/context", "session_id": "chat"}
    first = await agent.stream({**context, "input": "My name is\nAda.", "instructions": "Be brief."})
    second = await agent.stream({**context, "input": "What is my name?"})
    assert text(first, "final_output").splitlines() == [
        "I was sent these messages:",
        "1. system: Be brief.",
        "2. user: My name is Ada.",
    ]
    *_, asked, answered, asks = text(second, "final_output").splitlines()
    assert asked == "1. user: My name is Ada."
    assert answered.startswith("2. assistant: I was sent these messages: 1. system: Be brief.")
    assert asks == "3. user: What is my name?"


async def test_the_context_is_shown_in_short(agent: Service) -> None:
    """A long message is shortened, and an image is left out."""
    picture = {"type": "image", "url": "data:image/png;base64,aGk="}
    events = await agent.stream(
        {
            "model": "simulated/context",
            "messages": [{"role": "assistant", "content": "x" * 5000}],
            "input": [{"type": "text", "text": "What is it?"}, picture],
        }
    )
    assert text(events, "final_output").splitlines()[1:] == [f"1. assistant: {'x' * 200}…", "2. user: What is it?"]
