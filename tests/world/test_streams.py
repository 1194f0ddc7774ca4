"""The streams of third-party servers, through the whole service: each leads to its expected answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool
from service import Event, Service, names, only, service, text
from streams import CALL, STREAMS, Stream
from wire import Json, RawBytes, Step, answer

from services.completions.chunks import ChatChunks

pytestmark = pytest.mark.anyio


async def weather(_: Any) -> str:
    return "sunny"


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture(scope="module")
async def agent(fake: FakeDedalus) -> AsyncIterator[Service]:
    async with service(fake.url, {CALL[0]: LocalTool(CALL[0], weather)}) as agent:
        yield agent


def scripted(stream: Stream, body: Json) -> list[Step]:
    """The stream, and a plain answer once a tool's result has come."""
    return answer("It is sunny.") if body["messages"][-1]["role"] == "tool" else list(stream.steps)


def first_step(events: list[Event]) -> list[Event]:
    """The events up to the end of the first model turn."""
    end = next((index for index, name in enumerate(names(events)) if name == "step_finished"), len(events))
    return events[: end + 1]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
async def test_a_server_s_stream_gives_its_answer(stream: Stream, fake: FakeDedalus, agent: Service) -> None:
    """The text, thinking, calls, finish reason and counts, or the error's code, are exactly the expected ones."""
    fake.choose(lambda body: scripted(stream, body))
    events = await agent.stream({"input": "?", "model": stream.model})
    turn = first_step(events)
    assert (text(turn), text(turn, "thinking")) == (stream.text, stream.thinking)
    assert [(use["name"], use["arguments"]) for use in only(turn, "tool_use")] == list(stream.calls)
    assert [error["code"] for error in only(events, "error")] == ([] if stream.error is None else [stream.error])
    assert events[-1]["data"]["status"] == ("succeeded" if stream.error is None else "failed")
    assert only(events, "warning") == []
    if stream.error is None:
        [finished] = only(turn, "step_finished")
        assert finished["finish_reason"] == stream.finish_reason
        assert (finished["usage"]["input_tokens"], finished["usage"]["output_tokens"]) == stream.usage


@pytest.mark.parametrize("stream", [stream for stream in STREAMS if stream.reasoning], ids=lambda stream: stream.name)
def test_reasoning_is_kept_as_it_came(stream: Stream) -> None:
    """Fields that a provider requires are kept with its calls, under their names, with their pieces joined."""
    chunks = ChatChunks()
    for step in stream.steps:
        if isinstance(step, RawBytes):
            chunks.feed(step.data)
    assert chunks.reasoning == stream.reasoning


def test_every_server_has_an_answer_a_call_and_an_error() -> None:
    """Every listed server has been tried in all three ways."""
    for server in {stream.server for stream in STREAMS}:
        streams = [stream for stream in STREAMS if stream.server == server]
        assert any(stream.text and stream.error is None for stream in streams), server
        assert any(stream.calls for stream in streams), server
        assert any(stream.error for stream in streams), server
