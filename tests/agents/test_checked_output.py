"""Tests what the check of outputs gets, text by text, and that nothing is passed on before it."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
import text_checks
from grammar import parse_frames
from hypothesis import given
from hypothesis import strategies as st
from service import only, text
from text_checks import MARK
from wire import Json

from errors import OutputBlocked
from event_data import EventData, PartialOutput, Source, Thinking, ToolResult, ToolUse, ToolUseDelta
from event_logs.memory import MemoryEventLog
from models import AgentRequest
from run_models import ANONYMOUS, Run, RunStatus
from services.agents.budget import NO_BOUNDS, Budget
from services.agents.checked_output import CheckedOutput, OutputRules, unescaped
from services.agents.model_chain import ModelChain
from services.agents.run_context import RunContext
from services.runs.writer import RunWriter
from services.tooling.checks import CheckKind, TextCheck
from services.tooling.threads import ToolThreads

pytestmark = pytest.mark.anyio

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
THREADS = ToolThreads(1)  # none of them is ever started: the check is async
RUN = Run(
    run_id="run_1",
    owner=ANONYMOUS,
    session_id="chat",
    status=RunStatus.RUNNING,
    model="m",
    created_at="",
    last_seq=0,
    on_disconnect="cancel",
    metadata={"team": "red"},
)


class Held:
    """Output that is checked by `text_checks.recorded`, and the events that were committed."""

    def __init__(self, log: MemoryEventLog, writer: RunWriter, window: int, **request: Any) -> None:
        text_checks.heard.clear()
        self._log = log
        asked = AgentRequest(input="?", **request)
        models = ModelChain(asked, (), cast("Any", None), cast("Any", None))
        check = TextCheck("CHECK_OUTPUT", "text_checks:recorded", timeout_s=5, threads=THREADS)
        self.rules = OutputRules(check, window, restarts=False)
        self.context = RunContext(RUN, asked, models, writer, Budget(asked, NO_BOUNDS, None))
        self.passed: dict[CheckKind, str] = {}
        self.output = self.step(1)

    def step(self, number: int) -> CheckedOutput:
        return CheckedOutput(self.rules, self.context, number, self.passed)

    @property
    def heard(self) -> list[tuple[str, str]]:
        """The kind and the text of each call of the check."""
        return [(context.kind, text) for context, text in text_checks.heard]

    async def read(self, *events: EventData) -> None:
        """Put the events of one read."""
        for event in events:
            self.output.put(event)
        await self.output.commit()

    async def read_all(self, texts: Sequence[str]) -> None:
        """Read a text piece by piece, to the end of the turn."""
        for piece in texts:
            await self.read(PartialOutput(content=piece))
        await self.output.finish([])
        await self.context.writer.commit()

    async def committed(self) -> list[Json]:
        return parse_frames(b"".join([page async for page in self._log.read("run_1", 0, follow=False)]))


async def held(window: int, **request: Any) -> Held:
    log = MemoryEventLog(1024 * 1024)
    return Held(log, RunWriter(await log.create("run_1"), 100_000), window, **request)


def written(piece: str, call_id: str = "call_1", name: str = "look") -> ToolUseDelta:
    return ToolUseDelta(tool_call_id=call_id, name=name, arguments_delta=piece, source="hosted")


def used(arguments: Json) -> ToolUse:
    return ToolUse(tool_call_id="call_1", name="look", arguments=arguments, source="hosted")


async def test_a_window_is_checked_with_the_one_before_it() -> None:
    """Once two windows are held, both are checked, and all but the last window passes. The rest waits for the end."""
    checked = await held(10)
    shown = []
    for piece in ("abcdefg", "hijklmn", "opqrstu", "vwxyz01", "2345678"):
        await checked.read(PartialOutput(content=piece))
        shown.append(text(await checked.committed()))
    await checked.output.finish([])
    assert checked.heard == [
        ("text", "abcdefghijklmnopqrstu"),
        ("text", "lmnopqrstuvwxyz012345678"),
        ("text", "z012345678"),
    ]
    assert shown == ["", "", "abcdefghijk", "abcdefghijk", "abcdefghijklmnopqrstuvwxy"]


@given(
    before=st.text(ALPHABET, max_size=80),
    window=st.integers(len(MARK), 30),
    sizes=st.lists(st.integers(1, 40), min_size=1),
)
async def test_nothing_of_what_is_blocked_passes(before: str, window: int, sizes: Sequence[int]) -> None:
    """For any windows and deltas, not even the first character of a match that fits into a window passes."""
    checked = await held(window)
    said = f"{before}{MARK} and more"
    with pytest.raises(OutputBlocked):
        await checked.read_all(pieces(said, sizes))
    assert before.startswith(text(await checked.committed()))


@given(
    said=st.text(ALPHABET, min_size=1, max_size=120),
    window=st.integers(0, 30),
    sizes=st.lists(st.integers(1, 40), min_size=1),
)
async def test_everything_that_is_not_blocked_passes(said: str, window: int, sizes: Sequence[int]) -> None:
    """Each character passes once, in its place."""
    checked = await held(window)
    await checked.read_all(pieces(said, sizes))
    assert text(await checked.committed()) == said


def pieces(said: str, sizes: Sequence[int]) -> list[str]:
    """A text in pieces of these sizes, again and again."""
    cut: list[str] = []
    while said:
        size = sizes[len(cut) % len(sizes)]
        cut.append(said[:size])
        said = said[size:]
    return cut


async def test_a_switch_ends_a_window() -> None:
    """What was said before another part begins passes with it. The part is checked with its end when it continues."""
    checked = await held(10)
    await checked.read(Thinking(content="Let me think."), PartialOutput(content="Well."))
    events = await checked.committed()
    await checked.read(Thinking(content=" Hm."))
    await checked.output.finish([])
    assert text(events, "thinking") == "Let me think."
    assert text(events) == ""
    assert checked.heard == [("thinking", "Let me think."), ("text", "Well."), ("thinking", " me think. Hm.")]


async def test_a_part_continues_in_the_next_step() -> None:
    """Thinking is joined over the steps of a run where it is shown as one text, so the end of a step is kept."""
    checked = await held(10)
    await checked.read(Thinking(content="I have to stop-"))
    await checked.output.finish([])
    checked.output = checked.step(2)
    await checked.read(Thinking(content="here."))
    with pytest.raises(OutputBlocked):
        await checked.output.finish([])
    assert checked.heard[-1] == ("thinking", "e to stop-here.")


async def test_a_new_attempt_does_not_continue_the_one_before() -> None:
    """What was held back is dropped, and the dropped attempt's text isn't checked with the new one's."""
    checked = await held(10)
    await checked.read(PartialOutput(content="a" * 25))
    checked.output.begin()
    await checked.read(PartialOutput(content="b" * 25))
    await checked.output.finish([])
    checked.output.begin()
    await checked.read(PartialOutput(content="c"))
    await checked.output.finish([])
    assert [set(said) for _, said in checked.heard] == [{"a"}, {"b"}, {"b"}, {"c"}]


async def test_a_whole_answer_is_checked_at_its_end() -> None:
    """Each part is one text, however often it is interrupted, and nothing passes before all were checked."""
    checked = await held(0)
    await checked.read(Thinking(content="Let me "), PartialOutput(content="We"), written('{"a":'))
    await checked.read(Thinking(content="think."), PartialOutput(content="ll."), written("1}"), used({"a": 1}))
    assert checked.heard == []
    await checked.output.finish([])
    await checked.context.writer.commit()
    assert checked.heard == [
        ("thinking", "Let me think."),
        ("text", "Well."),
        ("tool_name", "look"),
        ("arguments", '{"a":1}'),
        ("arguments", '{"a":1}'),
    ]
    assert [event["event"] for event in await checked.committed()] == [
        *("thinking", "partial_output", "tool_use_delta") * 2,
        "tool_use",
    ]


async def test_arguments_are_checked_without_escapes_as_well() -> None:
    """JSON can hide a text in escapes, so it is checked as written and as read. So is a text that is to be JSON."""
    checked = await held(50, output_schema={"type": "object"})
    await checked.read(written('{"a":"\\u0062"}'), used({"a": 'x"y'}))
    await checked.read(PartialOutput(content='{"b":"\\n"}'))
    await checked.output.finish([])
    assert checked.heard == [
        ("tool_name", "look"),
        ("arguments", '{"a":"\\u0062"}'),
        ("arguments", '{"a":"b"}'),
        ("arguments", '{"a":"x\\"y"}'),
        ("arguments", '{"a":"x"y"}'),
        ("text", '{"b":"\\n"}'),
        ("text", '{"b":"\n"}'),
    ]


async def test_calls_are_texts_of_their_own() -> None:
    """Pieces of parallel calls aren't mixed, and each call's pieces are checked with what came before."""
    checked = await held(10)
    first, second = [{"call_id": call_id, "name": "look"} for call_id in ("call_1", "call_2")]
    await checked.read(written("one", **first), written("two", **second), written("more", **first))
    await checked.output.finish([])
    assert [said for kind, said in checked.heard if kind == "arguments"] == ["one", "two", "onemore"]


async def test_results_and_sources_of_the_model_s_server_are_checked() -> None:
    """They are checked whole, and pass in their place."""
    checked = await held(10)
    result = ToolResult(tool_call_id="call_1", name="look", content="Seen.", is_error=False, truncated=False)
    source = Source(url="https://example.com/", title="Birds", snippet=None)
    await checked.read(used({}), result, source)
    assert checked.heard == [
        ("tool_name", "look"),
        ("arguments", "{}"),
        ("tool_result", "Seen."),
        ("source", "https://example.com/\nBirds"),
    ]
    assert only(await checked.committed(), "source") == [{"url": "https://example.com/", "title": "Birds"}]


async def test_what_the_provider_wants_back_is_checked_where_it_was_not_said() -> None:
    """The database keeps it for the provider. What was said in the turn isn't checked twice."""
    checked = await held(10)
    await checked.read(Thinking(content="Let me think."))
    await checked.output.finish([{"reasoning": "Let me think.", "details": [{"signature": "sig"}]}])
    assert checked.heard[1:] == [("provider_state", "sig")]
    with pytest.raises(OutputBlocked):
        await checked.output.finish([{"deep": [[{"er": MARK}]]}])


async def test_the_check_knows_what_a_text_belongs_to() -> None:
    """The context has the run, its session, the request's metadata, the step and the tool."""
    checked = await held(10)
    await checked.read(written("{}"))
    await checked.output.finish([])
    context = text_checks.heard[-1][0]
    assert (context.kind, context.run_id, context.session_id) == ("arguments", "run_1", "chat")
    assert (context.step, context.tool, context.metadata, context.caller) == (1, "look", {"team": "red"}, None)


@given(st.text())
def test_escapes_are_replaced_by_what_they_mean(said: str) -> None:
    """For any text, the characters between the quotation marks of its JSON become the text again."""
    assert unescaped(json.dumps(said)[1:-1]) == said
