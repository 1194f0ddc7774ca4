"""Tests that the pages that an answer cites reach the stream, the JSON answer and the session, each once."""

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool, added, named
from run_readers import events_url
from service import EXECUTE, NOWHERE, SIMULATE, checked, names, only, service
from session_calls import ask, messages
from wire import Cut, Done, Finish, Json, RawChunk, Step, Text, ToolCall

from event_data import Source, StepRestarted, StepStarted
from event_logs.memory import MemoryEventLog
from services.runs.writer import MAX_SOURCES, UNBOUNDED, RunWriter

pytestmark = pytest.mark.anyio

A, B, C = "https://a.example/", "https://b.example/", "https://c.example/"


def cites(*urls: str, title: str | None = None) -> RawChunk:
    annotations: list[Json] = [{"type": "url_citation", "url_citation": {"url": url, "title": title}} for url in urls]
    return RawChunk({"choices": [{"index": 0, "delta": {"annotations": annotations}}]})


async def test_sources_are_read_wherever_the_run_is_read() -> None:
    """Stream, replay, JSON answer and messages have each page once, in order; the model's next turn has none."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        calls = [cites(A, title="A"), ToolCall("call_1", "add", '{"a":1,"b":2}'), Finish("tool_calls"), Done()]
        answers = [Text("It is "), cites(A, B), Text("3."), Finish("stop"), RawChunk({"citations": [B, C]}), Done()]
        fake.turn(*calls)
        fake.turn(*answers)
        events = await ask(agent, "Why?")
        replay = checked((await agent.client.get(events_url(events[0]["run_id"]))).content)
        stored = await messages(agent)
        fake.turn(Text("Bye."), Finish("stop"), Done())
        await ask(agent, "And?")
        fake.turn(*calls)
        fake.turn(*answers)
        executed = (await agent.post(EXECUTE, {"input": "Why?"})).json()
    found = [{"url": A, "title": "A"}, {"url": B}, {"url": C}]
    assert only(events, "source") == only(replay, "source") == executed["sources"] == found
    assert names(events).index("source") < names(events).index("tool_use")
    assert [message.get("sources") for message in stored] == [None, found[:1], None, found[1:]]
    assert A not in str(fake.chats[2].body["messages"])


async def test_sources_of_a_broken_attempt_do_not_count() -> None:
    """The sources of an attempt before step_restarted are dropped, and the next attempt can cite the same page."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        broken: list[Step] = [Text("x"), cites(A, B), Cut()]
        answer: list[Step] = [Text("Yes."), cites(B), Finish("stop"), Done()]
        fake.choose(lambda body: broken if body["model"] == "a/one" else answer)
        request: Json = {"model": "a/one", "fallback_models": ["b/two"]}
        events = await ask(agent, "Why?", **request)
        stored = await messages(agent)
        executed = (await agent.post(EXECUTE, {"input": "Why?", **request})).json()
    assert [source["url"] for source in only(events, "source")] == [A, B, B]
    assert executed["sources"] == stored[-1]["sources"] == [{"url": B}]


async def test_the_scenario_cites_pages() -> None:
    """The script `sources` has pages before and after its text, with and without title and snippet."""
    async with service(NOWHERE) as agent:
        events = checked((await agent.post(SIMULATE, {"scenario": "sources", "delay_ms": 0})).content)
    assert [sorted(source) for source in only(events, "source")] == [
        ["snippet", "title", "url"],
        ["title", "url"],
        ["url"],
    ]


async def test_a_run_s_sources_are_bounded_and_dropped_by_their_step() -> None:
    """The writer takes each URL once and MAX_SOURCES in all; a restart frees those of its step alone."""
    log = MemoryEventLog(1_000_000)
    log_writer = await log.create("run_1")
    writer = RunWriter(log_writer, UNBOUNDED)
    writer.put(StepStarted(step=1, model="m"))
    writer.cite(Source(url=A))
    writer.put(StepStarted(step=2, model="m"))
    for number in range(MAX_SOURCES + 5):
        writer.cite(Source(url=f"{B}{number}"))
    await writer.commit()
    assert writer.last_seq == 2 + MAX_SOURCES
    writer.put(StepRestarted(step=2, reason="blocked"))
    for url in (A, f"{B}0", f"{B}0"):
        writer.cite(Source(url=url))
    await writer.commit()
    assert writer.last_seq == 2 + MAX_SOURCES + 2
