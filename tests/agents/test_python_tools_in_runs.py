"""Python tools through the whole service: what a model calls, what the stream reports, whatever a function does."""

import asyncio
import json
import re
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from fake_dedalus import FakeDedalus
from hypothesis import given
from hypothesis import strategies as st
from process import ROOT
from pydantic import BaseModel
from service import STREAM, Service, names, only, service
from wire import Done, Finish, Json, ToolCall, answer

from errors import LogUnavailable
from event_logs.base import EventWriter
from event_logs.memory import MemoryEventLog
from json_codec.text import mend_text
from services.agents.progress import Progress
from services.agents.tool_calls import result_of
from services.runs.writer import RunWriter
from services.tooling.base import Tool, ToolContext, ToolError
from services.tooling.decorator import ToolOptions, options_of
from services.tooling.python_tool import PythonTool
from services.tooling.registry import ToolRegistry
from services.tooling.threads import ToolThreads
from services.upstreams.wire_rules import EMPTY_RESULT
from tools import tool

pytestmark = pytest.mark.anyio
END = [Finish("tool_calls"), Done()]


@asynccontextmanager
async def serving(*functions: Callable[..., Any], threads: int = 4) -> AsyncIterator[tuple[FakeDedalus, Service]]:
    """A service with these functions as its tools, and its upstream."""
    pool = ToolThreads(threads)
    tools: Mapping[str, Tool] = {
        function.__name__: PythonTool(function, options_of(function) or ToolOptions(), timeout_s=20, threads=pool)
        for function in functions
    }
    async with FakeDedalus() as fake, service(fake.url, tools) as agent:
        yield fake, agent
    pool.close()


def called(fake: FakeDedalus, name: str, **arguments: Any) -> None:
    """The model calls the tool in its first turn, and answers in its second."""
    fake.turn(ToolCall("c1", name, json.dumps(arguments)), *END)
    fake.turn(*answer("Done."))


def heard(fake: FakeDedalus) -> list[str]:
    """The results in the request of the model's second turn."""
    return [m["content"] for m in fake.chats[1].body["messages"] if m["role"] == "tool"]


async def test_a_newcomer_s_tool_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's five lines in a file are enough: offered with its schema, called, its result sent to the model."""
    source = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert source is not None
    (tmp_path / "newcomer_dice.py").write_text(source[1])
    monkeypatch.syspath_prepend(tmp_path)
    registry = ToolRegistry(["newcomer_dice"], timeout_s=5, threads=1)
    async with FakeDedalus() as fake, service(fake.url, registry.all, tools_by_default="none") as agent:
        called(fake, "roll", sides=1)
        events = await agent.stream({"input": "Roll a die.", "tools": ["roll"]})
    await registry.aclose()
    del sys.modules["newcomer_dice"]
    [offered] = fake.chats[0].body["tools"]
    assert offered["function"]["description"] == "Roll a die with this number of sides."
    assert offered["function"]["parameters"]["properties"] == {"sides": {"type": "integer", "default": 6}}
    life = [name for name in names(events) if "tool" in name]
    assert life == ["tool_use_delta", "tool_use", "tool_result"]
    assert only(events, "tool_use")[0]["arguments"] == {"sides": 1}
    assert heard(fake) == [only(events, "tool_result")[0]["content"]] == ["1"]
    assert only(events, "final_output") == [{"content": "Done."}]


async def test_a_model_can_mend_its_arguments() -> None:
    """A call whose arguments don't fit isn't made: the model receives each error, and calls again."""

    def double(value: int, unit: Literal["m", "km"]) -> str:
        return f"{2 * value} {unit}"

    async with serving(double) as (fake, agent):
        fake.turn(ToolCall("c1", "double", '{"value": "two", "units": "m"}'), *END)
        fake.turn(ToolCall("c2", "double", '{"value": 2, "unit": "m"}'), *END)
        fake.turn(*answer("4 m"))
        events = await agent.stream({"input": "?"})
    wrong, right = only(events, "tool_result")
    assert (wrong["is_error"], right["is_error"], right["content"]) == (True, False, "4 m")
    for fault in ("- value: Input should be a valid integer", "- unit: missing", "- units: not known here"):
        assert fault in wrong["content"]
    assert heard(fake) == [wrong["content"]]


async def test_a_thread_reports_its_progress() -> None:
    """Its progress is on the stream before its result, and it knows whose run it is."""

    def index(context: ToolContext) -> str:
        context.progress("half", 1, 2)
        return context.run_id

    async with serving(index) as (fake, agent):
        called(fake, "index")
        events = await agent.stream({"input": "?"})
    [progress] = only(events, "tool_progress")
    assert (progress["message"], progress["progress"], progress["total"]) == ("half", 1, 2)
    assert heard(fake) == [events[0]["run_id"]]


async def test_each_report_is_sent_when_there_is_time() -> None:
    """Also one that comes long after the one before it was reported."""
    seen = asyncio.Queue[str]()

    async def index(context: ToolContext) -> None:
        for count in range(3):
            context.progress(None, count)
            assert f'"progress":{count}.0' in await seen.get()

    async with serving(index) as (fake, agent):
        called(fake, "index")
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:") and "tool_progress" in line:
                    seen.put_nowait(line)
    assert heard(fake) == ["null"]


async def test_many_reports_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest is reported, and what a tool reports in between costs the other runs nothing."""
    wakings: list[Progress] = []
    wake = Progress._start_writing

    def counted(progress: Progress) -> None:
        wakings.append(progress)
        wake(progress)

    monkeypatch.setattr(Progress, "_start_writing", counted)

    async def index(context: ToolContext) -> None:
        for count in range(1000):
            context.progress("file", count, 1000)

    async with serving(index) as (fake, agent):
        called(fake, "index")
        events = await agent.stream({"input": "?"})
    assert only(events, "tool_progress")[-1]["progress"] == 999
    assert len(wakings) == 1


class Refusing(RunWriter):
    """Events whose first commit blocks until it is released, and is refused then."""

    def __init__(self, writer: EventWriter) -> None:
        super().__init__(writer, 1000)
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()
        self.commit = self._refused
        self._commit = writer.commit

    async def _refused(self) -> None:
        self.commit = self._commit
        self.asked.set()
        await self.let_go.wait()
        raise LogUnavailable


async def test_progress_continues_after_the_log_was_unavailable() -> None:
    """Progress that is reported while a commit is refused doesn't silence later reports."""
    writer = await MemoryEventLog(1000).create("run_1")
    events = Refusing(writer)
    progress = Progress("call_1", events)
    progress.report("first", 1, 3)
    await events.asked.wait()
    progress.report("second", 2, 3)
    events.let_go.set()
    while progress._writing is not None:  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(0)
    progress.report("third", 3, 3)
    async with asyncio.timeout(10):
        while writer.last_seq < 2:  # noqa: ASYNC110 - nor this
            await asyncio.sleep(0)
    progress.end()


@pytest.mark.parametrize("text", ["é" * 10**7, "\ud83d\ude00" * 10**7], ids=["letters", "halved pairs"])
def test_of_a_huge_text_only_what_is_reported_is_looked_at(text: str) -> None:
    """All of it would take memory, and the loop's time."""
    tracemalloc.start()
    result = result_of("c1", "read", text, max_bytes=100_001)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.truncated
    assert result.content == mend_text(text[:2]) * (100_000 // len(mend_text(text[:2]).encode()))
    assert peak < 5_000_000


@given(st.text(st.characters(exclude_categories=[])), st.integers(0, 30))
def test_a_result_is_cut_where_the_mended_text_would_be(text: str, max_bytes: int) -> None:
    """Whatever characters the cut falls between, and only where it is too long."""
    whole = mend_text(text).encode()
    result = result_of("c1", "read", text, max_bytes)
    assert result.content == whole[:max_bytes].decode(errors="ignore")
    assert result.truncated is (len(whole) > max_bytes)


class Row(BaseModel):
    name: str


def model() -> Row:
    return Row(name="ä")


def nothing() -> None: ...


def huge() -> list[int]:
    return [1] * 500_000


def binary() -> bytes:
    return b"\xff"


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def strange() -> object:
    return object()


def endless() -> Iterator[int]:
    return iter(int, 1)


def leaves() -> None:
    sys.exit(1)


def raises() -> None:
    raise ValueError("secret")


def says() -> None:
    raise ToolError("There is no such city.")


@tool(timeout=0.05)
async def late() -> None:
    await asyncio.Event().wait()


@tool(timeout=0.3)
def late_thread(context: ToolContext) -> None:
    context.stopped.wait(20)


@pytest.mark.parametrize(
    ("function", "is_error", "content"),
    [
        (model, False, '{"name":"ä"}'),
        (nothing, False, "null"),
        (huge, False, "[1,1,1,"),
        (binary, False, '{"base64":"_w=="}'),
        (cyclic, True, "The tool's result is not JSON: it contains itself"),
        (strange, True, "The tool's result is not JSON: it contains a value of type object."),
        (endless, True, "The tool's result contains an iterator, which may have no end"),
        (leaves, True, "The tool failed with RuntimeError."),
        (raises, True, "The tool failed with ValueError."),
        (says, True, "There is no such city."),
        (late, True, "late did not finish within 0.05 s."),
        (late_thread, True, "late_thread did not finish within 0.3 s."),
    ],
)
async def test_whatever_a_function_does_its_call_has_one_result(
    function: Callable[..., Any], is_error: bool, content: str
) -> None:
    """Well-formed, bounded, the same for the stream and the model; and the run continues."""
    async with serving(function) as (fake, agent):
        called(fake, function.__name__)
        events = await agent.stream({"input": "?"})
    [result] = only(events, "tool_result")
    assert result["is_error"] is is_error
    assert result["content"].startswith(content)
    assert len(result["content"].encode()) <= 256 * 1024
    assert result["truncated"] is (function is huge)
    assert heard(fake) == [result["content"]]
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_threads_run_at_the_same_time_and_results_keep_the_model_s_order() -> None:
    """Each of four calls waits until all have begun."""
    begun = threading.Barrier(4)

    def nap(name: str) -> str:
        begun.wait(timeout=10)
        return name

    async with serving(nap) as (fake, agent):
        calls = [ToolCall(f"c{n}", "nap", json.dumps({"name": n * "x"}), index=n) for n in range(4)]
        fake.turn(*calls, *END)
        fake.turn(*answer("Done."))
        events = await agent.stream({"input": "?"})
    assert heard(fake) == [EMPTY_RESULT, "x", "xx", "xxx"]
    assert len(only(events, "tool_result")) == 4


async def test_tools_that_block_every_thread_hold_up_no_other_run() -> None:
    """A run without tools starts, streams, ends and is on the disk while the pool is full and a call waits for it."""
    full, release = threading.Barrier(3), threading.Event()

    def block(wait: bool) -> bool:
        if wait:
            full.wait(20)
        return release.wait(20)

    async with serving(block, threads=2) as (fake, agent):
        arguments: list[Json] = [{"wait": True}, {"wait": True}, {"wait": False}]
        calls = [ToolCall(f"c{n}", "block", json.dumps(a), index=n) for n, a in enumerate(arguments)]
        fake.turn(*calls, *END)
        fake.turn(*answer("Hello"))
        blocked = asyncio.create_task(agent.stream({"input": "?"}))
        await asyncio.to_thread(full.wait, 20)
        other = await agent.stream({"input": "?"})
        assert only(other, "final_output") == [{"content": "Hello"}]
        assert not blocked.done()
        fake.turn(*answer("Done."))
        release.set()
        events = await blocked
    assert [data["content"] for data in only(events, "tool_result")] == ["true"] * 3


class Unspeakable(ToolError):
    """Its message fails, in each way that it can."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    def __str__(self) -> str:
        raise self.failure


async def test_an_error_without_a_message_fails_its_call_only() -> None:
    """The model receives a useful message, and the run continues."""

    @tool
    def empty() -> None:
        raise ToolError("")

    @tool
    async def blank() -> None:
        raise ToolError(" \n")

    @tool
    def unspeakable() -> None:
        raise Unspeakable(ValueError("secret"))

    @tool
    async def unspeakable_exit() -> None:
        raise Unspeakable(SystemExit("secret"))

    @tool
    def other() -> None:
        raise ToolError(5, "and more")

    tools = (empty, blank, unspeakable, unspeakable_exit, other)
    async with serving(*tools) as (fake, agent):
        fake.turn(*(ToolCall(f"c{i}", t.__name__, "{}", index=i) for i, t in enumerate(tools)), *END)
        fake.turn(*answer("Done."))
        events = await agent.stream({"input": "?", "tools": [t.__name__ for t in tools]})
        results = heard(fake)
    assert names(events)[-2:] == ["final_output", "complete"]
    assert results == [
        "The tool failed without a message.",
        "The tool failed without a message.",
        "The tool failed with ValueError.",
        "The tool failed with SystemExit.",
        "(5, 'and more')",
    ]
