"""Tests the contract checker: it accepts valid runs and finds each planted violation."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from grammar import Event, check_grammar, object_in, parse_frames

Pair = tuple[str, Event]
MODEL = "openai/gpt-4.1"
AT = "2026-11-22T10:00:00.000Z"
NOTHING = {"input_tokens": None, "output_tokens": None, "total_tokens": None}
CALL = {"tool_call_id": "call_1", "name": "weather", "source": "python"}


def usage(given: int, made: int, **more: int | None) -> Event:
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made, **more}


def complete(status: str, steps: int, spent: Event) -> Pair:
    return "complete", {"status": status, "usage": spent, "steps": steps, "duration_ms": 12}


def delta(piece: str, call_id: str = "call_1") -> Pair:
    return "tool_use_delta", {**CALL, "tool_call_id": call_id, "arguments_delta": piece}


def use(call_id: str = "call_1", **more: Any) -> Pair:
    return "tool_use", {**CALL, "tool_call_id": call_id, "arguments": {"city": "Oslo"}, **more}


def result(call_id: str = "call_1", *, is_error: bool = False) -> Pair:
    data = {"tool_call_id": call_id, "name": "weather", "content": "3 C", "is_error": is_error, "truncated": False}
    return "tool_result", data


def started(step: int = 1) -> Pair:
    return "step_started", {"step": step, "model": MODEL}


def finished(step: int, reason: str, spent: Event) -> Pair:
    return "step_finished", {"step": step, "model": MODEL, "finish_reason": reason, "usage": spent}


def run(*pairs: Pair) -> list[Event]:
    """Return the events of a run, with its start and numbers."""
    begun: list[Pair] = [("run_started", {"model": MODEL}), *pairs]
    return [
        {
            "event": kind,
            "data": copy.deepcopy(data),
            "run_id": "run_019a",
            "seq": seq,
            "timestamp": f"2026-11-22T10:00:00.{seq:03}Z",
        }
        for seq, (kind, data) in enumerate(begun, start=1)
    ]


def said(*pieces: str) -> list[Pair]:
    return [("partial_output", {"content": piece}) for piece in pieces]


ERROR: Pair = ("error", {"code": "upstream_failed", "message": "…", "retryable": True, "request_id": "req_1"})
WARNING: Pair = ("warning", {"code": "history_cut", "message": "The oldest messages were left out."})
PROGRESS: Pair = ("tool_progress", {"tool_call_id": "call_2", "message": "half", "progress": 0.5, "total": 1})
HELLO = [started(), *said("Hel", "lo"), finished(1, "stop", usage(3, 2)), ("final_output", {"content": "Hello"})]

PLAIN = run(*HELLO, complete("succeeded", 1, usage(3, 2)))
THINKING = run(
    WARNING,
    started(),
    ("thinking", {"content": "Hm. "}),
    ("thinking", {"content": "Ah."}),
    *said("Hi"),
    finished(1, "length", {**usage(3, 2), "reasoning_tokens": 1, "cached_input_tokens": None}),
    ("final_output", {"content": "Hi"}),
    complete("succeeded", 1, {**usage(3, 2), "reasoning_tokens": 1}),
)
TOOLS = run(
    started(),
    *said("Let me see."),
    delta('{"city":'),
    delta("", "call_2"),
    ("thinking", {"content": "Hm."}),
    delta(' "Oslo"}'),
    use(),
    use("call_2", arguments={}),
    PROGRESS,
    result("call_2", is_error=True),
    result(),
    finished(1, "tool_calls", usage(10, 5)),
    WARNING,
    started(2),
    *said("3 ", "C"),
    finished(2, "stop", {**NOTHING, "input_tokens": 20}),
    ("final_output", {"content": "3 C"}),
    complete("succeeded", 2, {**usage(30, 5), "total_tokens": 15}),
)
INVALID = run(
    started(),
    delta('{"city": '),
    use(arguments={}, invalid_arguments='{"city": '),
    result(is_error=True),
    finished(1, "tool_calls", NOTHING),
    started(2),
    finished(2, "stop", NOTHING),
    ("final_output", {"content": ""}),
    complete("succeeded", 2, NOTHING),
)
TORN = run(
    started(),
    *said("Let me see."),
    delta('{"city": "Oslo"}'),
    use(),
    delta('{"ci', "call_2"),
    result(is_error=True),
    ERROR,
    complete("failed", 1, usage(10, 5)),
)
ASKED = run(
    started(),
    delta('{"city": "Oslo"}'),
    use(),
    (
        "approval_request",
        {"tool_call_id": "call_1", "name": "weather", "arguments": {"city": "Oslo"}, "expires_at": AT},
    ),
    ("waiting", {"pending": [{"tool_call_id": "call_1", "name": "weather", "kind": "approval"}]}),
    ("approval_response", {"tool_call_id": "call_1", "approved": True}),
    result(),
    finished(1, "tool_calls", NOTHING),
    started(2),
    finished(2, "stop", NOTHING),
    ("final_output", {"content": ""}),
    complete("succeeded", 2, NOTHING),
)
BUDGET = {"kind": "budget", "spent_tokens": 5, "max_total_tokens": 6, "expires_at": AT}
COST = {**BUDGET, "spent_cost_usd": 0.01, "max_cost_usd": 0.02}
RAISED = run(
    ("waiting", {"pending": [{**BUDGET, "spent_tokens": 0}]}),
    ("budget_response", {"approved": True, "max_total_tokens": 6}),
    started(),
    delta('{"city": "Oslo"}'),
    use(),
    result(),
    finished(1, "tool_calls", usage(3, 2)),
    ("waiting", {"pending": [COST]}),
    ("budget_response", {"approved": True, "max_cost_usd": 0.5, "max_total_tokens": 20}),
    started(2),
    *said("3 "),
    ("waiting", {"pending": [{**BUDGET, "spent_tokens": 21, "max_total_tokens": 20}]}),
    ("budget_response", {"approved": True, "max_total_tokens": 40}),
    ("step_restarted", {"step": 2, "reason": "output_invalid"}),
    *said("3 C"),
    finished(2, "stop", usage(10, 6)),
    ("final_output", {"content": "3 C"}),
    complete("succeeded", 2, usage(13, 8)),
)
SPENT = run(
    started(),
    *said("3 C"),
    ("waiting", {"pending": [BUDGET]}),
    ("budget_response", {"approved": False}),
    ERROR,
    complete("failed", 1, usage(3, 2)),
)
REPEATED = run(
    started(),
    delta('{}{"city":'),
    delta(' "Oslo"}{"city": "Oslo"}'),
    use(),
    result(),
    finished(1, "tool_calls", NOTHING),
    started(2),
    finished(2, "stop", NOTHING),
    ("final_output", {"content": ""}),
    complete("succeeded", 2, NOTHING),
)
RESTARTED = run(
    started(),
    ("thinking", {"content": "Hm."}),
    *said("Hel"),
    delta("{"),
    use("call_2"),
    ("source", {"url": "https://a.example"}),
    ("step_restarted", {"step": 1, "reason": "fallback", "model": "xai/grok-3", "usage": usage(3, 2)}),
    ("source", {"url": "https://a.example", "title": "A"}),
    *said("Hi"),
    use("call_3"),
    ("step_restarted", {"step": 1, "reason": "output_invalid"}),
    *said("Hi!"),
    ("step_finished", {"step": 1, "model": "xai/grok-3", "finish_reason": "stop", "usage": usage(9, 6)}),
    ("final_output", {"content": "Hi!"}),
    complete("succeeded", 1, usage(9, 6)),
)
CANCELLED_EARLY = run(complete("cancelled", 0, NOTHING))
CANCELLED_LATE = run(started(), *said("Hel"), complete("cancelled", 1, NOTHING))
FAILED_BETWEEN = run(
    started(), use(), result(), finished(1, "tool_calls", usage(1, 1)), ERROR, complete("failed", 1, usage(1, 1))
)
GOOD = {
    "plain": PLAIN,
    "thinking": THINKING,
    "tools": TOOLS,
    "invalid arguments": INVALID,
    "repeated arguments": REPEATED,
    "asked for an approval": ASKED,
    "raised budgets": RAISED,
    "a refused budget": SPENT,
    "cancelled while its budget was waited for": run(
        started(), *said("Hi"), ("waiting", {"pending": [BUDGET]}), complete("cancelled", 1, NOTHING)
    ),
    "failed inside a tool call": TORN,
    "restarted step": RESTARTED,
    "failed after a restart": run(
        started(),
        delta("{"),
        use("call_2"),
        ("step_restarted", {"step": 1, "reason": "blocked", "usage": usage(1, 1)}),
        ERROR,
        complete("failed", 1, usage(1, 1)),
    ),
    "cancelled before any step": CANCELLED_EARLY,
    "cancelled inside a step": CANCELLED_LATE,
    "failed between steps": FAILED_BETWEEN,
    "failed inside a step": run(started(), *said("Hel"), ERROR, complete("failed", 1, NOTHING)),
    "failed after a warning": run(started(), delta("{"), WARNING, WARNING, ERROR, complete("failed", 1, NOTHING)),
    "failed with the step closed": run(
        started(), delta("{"), finished(1, "content_filter", NOTHING), ERROR, complete("failed", 1, NOTHING)
    ),
    "cancelled inside a call's arguments": run(started(), delta("{"), complete("cancelled", 1, NOTHING)),
    "cancelled with a call open": run(
        started(), use(), delta("{", "call_2"), result(is_error=True), complete("cancelled", 1, NOTHING)
    ),
    "cancelled after a warning": run(
        started(),
        use(),
        delta("{", "call_2"),
        result(is_error=True),
        WARNING,
        complete("cancelled", 1, NOTHING),
    ),
}

Mutation = Callable[[list[Event]], None]


def nth(events: list[Event], kind: str, n: int) -> int:
    return [index for index, event in enumerate(events) if event["event"] == kind][n]


def renumber(events: list[Event]) -> None:
    for seq, event in enumerate(events, start=1):
        event["seq"] = seq


def outside(kind: str, key: str, value: Any, n: int = 0) -> Mutation:
    """Change a value outside the data."""
    return lambda events: events[nth(events, kind, n)].update({key: value})


def inside(kind: str, n: int = 0, **data: Any) -> Mutation:
    """Change values in the data."""
    return lambda events: events[nth(events, kind, n)]["data"].update(data)


def without_key(kind: str, key: str) -> Mutation:
    def mutate(events: list[Event]) -> None:
        del events[nth(events, kind, 0)]["data"][key]

    return mutate


def without(kind: str, n: int = 0) -> Mutation:
    def mutate(events: list[Event]) -> None:
        del events[nth(events, kind, n)]
        renumber(events)

    return mutate


def before(kind: str, pair: Pair, n: int = 0) -> Mutation:
    """Insert one more event before another."""

    def mutate(events: list[Event]) -> None:
        events[nth(events, kind, n) :] = [*run(pair)[1:], *events[nth(events, kind, n) :]]
        renumber(events)

    return mutate


def moved(kind: str, to: str, n: int = 0) -> Mutation:
    """Move an event before another."""

    def mutate(events: list[Event]) -> None:
        event = events.pop(nth(events, kind, 0))
        events.insert(nth(events, to, n), event)
        renumber(events)

    return mutate


def appended(pair: Pair) -> Mutation:
    def mutate(events: list[Event]) -> None:
        events.extend(run(pair)[1:])
        renumber(events)

    return mutate


BROKEN: dict[str, tuple[list[Event], Mutation, str]] = {
    # around the data
    "seq starts at 0": (PLAIN, outside("run_started", "seq", 0), "seq is 0, not 1"),
    "seq with a gap": (PLAIN, outside("complete", "seq", 99), "seq is 99, not 7"),
    "seq repeated": (PLAIN, outside("partial_output", "seq", 3, 1), "seq is 3, not 4"),
    "seq as text": (PLAIN, outside("run_started", "seq", "1"), "seq is '1'"),
    "another run_id": (PLAIN, outside("complete", "run_id", "run_019b"), "run_id was run_019a before"),
    "run_id of another kind": (PLAIN, outside("run_started", "run_id", "019a"), "run_id isn't"),
    "timestamp without milliseconds": (PLAIN, outside("complete", "timestamp", "2026-11-22T10:00:00Z"), "timestamp"),
    "timestamp with microseconds": (PLAIN, outside("complete", "timestamp", "2026-11-22T10:00:00.123456Z"), "timest"),
    "timestamp with an offset": (PLAIN, outside("complete", "timestamp", "2026-11-22T10:00:00.123+00:00"), "timest"),
    "timestamp that is no date": (PLAIN, outside("complete", "timestamp", "2026-02-30T10:00:00.123Z"), "timestamp"),
    "extra key": (PLAIN, outside("complete", "id", 7), "the keys are"),
    "unknown event": (PLAIN, before("complete", ("bonus", {})), "there is no event 'bonus'"),
    # the data's keys and types
    "data is a list": (PLAIN, outside("complete", "data", []), "data is no object"),
    "key missing": (PLAIN, without_key("run_started", "model"), "run_started lacks"),
    "key unknown": (PLAIN, inside("partial_output", role="assistant"), "unknown keys"),
    "optional key null": (PLAIN, inside("run_started", session_id=None), "session_id is None"),
    "optional number null": (PLAIN, inside("complete", time_to_first_token_ms=None), "time_to_first_token_ms is None"),
    "NaN": (TOOLS, inside("tool_progress", progress=float("nan")), "no clean JSON"),
    "half a surrogate pair": (PLAIN, inside("partial_output", content="\ud83d"), "no clean JSON"),
    "step as a float": (PLAIN, inside("step_started", step=1.0), "step_started.step is 1.0"),
    "is_error as text": (TOOLS, inside("tool_result", is_error="false"), "is_error is 'false'"),
    "unknown source": (TOOLS, inside("tool_use_delta", source="local"), "source is 'local'"),
    "unknown status": (PLAIN, inside("complete", status="done"), "status is 'done'"),
    "usage null": (PLAIN, inside("step_finished", usage=None), "usage is None"),
    "usage without a count": (PLAIN, inside("step_finished", usage={"input_tokens": 3}), "usage is"),
    "usage with another key": (PLAIN, inside("complete", usage=usage(3, 2, cost=1)), "usage is"),
    # the order
    "no run_started": (PLAIN, without("run_started"), r"step_started can't come here \(start\)"),
    "second run_started": (PLAIN, before("complete", ("run_started", {"model": MODEL})), "run_started can't"),
    "output outside a step": (PLAIN, before("step_started", said("Hi")[0]), r"partial_output can't .*between"),
    "step inside a step": (PLAIN, before("step_finished", started(2)), r"step_started can't .*step"),
    "step finished twice": (PLAIN, before("final_output", finished(1, "stop", usage(3, 2))), "step_finished can't"),
    "step never finished": (PLAIN, without("step_finished"), "final_output can't"),
    "warning inside a step": (PLAIN, before("partial_output", WARNING), r"partial_output can't .*broken"),
    "approval before the arguments' end": (
        ASKED,
        before("approval_request", delta("{", "call_2")),
        r"without tool_use: \['call_2'\]",
    ),
    # the budget
    "budget without a total": (SPENT, inside("waiting", pending=[BUDGET | {"max_total_tokens": None}]), "pending is"),
    "budget with another key": (SPENT, inside("waiting", pending=[{**BUDGET, "tool_call_id": "call_1"}]), "pending is"),
    "two budgets": (SPENT, inside("waiting", pending=[BUDGET, BUDGET]), "pending is"),
    "a cost limit without a cost": (SPENT, inside("waiting", pending=[{**BUDGET, "max_cost_usd": 1}]), "pending is"),
    "budget waited for with a call open": (
        ASKED,
        before("approval_request", ("waiting", {"pending": [BUDGET]})),
        "tool_use without tool_result",
    ),
    "budget waited for behind an approval": (ASKED, inside("waiting", pending=[BUDGET]), "waits for these"),
    "calls waited for between steps": (
        RAISED,
        inside("waiting", pending=[{"tool_call_id": "call_1", "name": "weather", "kind": "approval"}]),
        "no step with calls",
    ),
    "raised to what is spent": (RAISED, inside("budget_response", max_total_tokens=0), "too little"),
    "one of two totals raised": (RAISED, inside("budget_response", 1, max_cost_usd=0.01), "too little"),
    "raised by another total": (RAISED, inside("budget_response", max_cost_usd=1), "the run has no max_cost_usd"),
    "raised by no total": (RAISED, without_key("budget_response", "max_total_tokens"), "without a total"),
    "refused with a total": (SPENT, inside("budget_response", max_total_tokens=9), "a refusal with totals"),
    "decision without a wait": (SPENT, without("waiting"), r"budget_response can't .*step"),
    "budget decided twice": (SPENT, before("error", ("budget_response", {"approved": False})), r"can't .*refused"),
    "a call's answer to a budget": (SPENT, before("budget_response", result(is_error=True)), "no tool_use"),
    "budget's answer to a call": (
        ASKED,
        before("approval_response", ("budget_response", {"approved": False})),
        "no decision on a budget",
    ),
    "going on without a decision": (RAISED, without("budget_response"), r"step_started can't .*waiting"),
    "going on after a refusal": (SPENT, before("error", said("x")[0]), r"partial_output can't .*refused"),
    "call left open by a step": (TOOLS, before("step_finished", delta("{", "call_3")), r"step_started can't .*broken"),
    "result among arguments": (TOOLS, before("tool_result", delta("{", "call_3"), 1), r"step_started can't .*broken"),
    "nothing": (PLAIN, list.clear, "ends without complete, after 0 events"),
    "no complete": (PLAIN, without("complete"), "ends without complete"),
    "two complete": (PLAIN, appended(complete("succeeded", 1, usage(3, 2))), r"complete can't .*over"),
    "event after complete": (PLAIN, appended(WARNING), r"warning can't .*over"),
    "two final_output": (PLAIN, before("complete", ("final_output", {"content": "Hello"})), "final_output can't"),
    "error beside final_output": (PLAIN, before("complete", ERROR), r"error can't .*answered"),
    "two errors": (TORN, before("complete", ERROR), r"error can't .*failed"),
    "final_output before a step": (TOOLS, moved("final_output", "step_started", 1), "partial_output is"),
    "warning after the error": (TORN, before("complete", WARNING), r"warning can't .*failed"),
    # how it ended
    "succeeded without final_output": (PLAIN, without("final_output"), "makes the run cancelled"),
    "succeeded with an error": (TORN, inside("complete", status="succeeded"), "makes the run failed"),
    "failed without an error": (CANCELLED_LATE, inside("complete", status="failed"), "makes the run cancelled"),
    "cancelled with final_output": (PLAIN, inside("complete", status="cancelled"), "makes the run succeeded"),
    "cancelled with an error": (TORN, inside("complete", status="cancelled"), "makes the run failed"),
    "answer without a step": (CANCELLED_EARLY, before("complete", ("final_output", {"content": ""})), "without a step"),
    "answer of another wording": (PLAIN, inside("final_output", content="Hello."), "'Hello'"),
    "answer with an earlier step's text": (TOOLS, inside("final_output", content="Let me see.3 C"), "'3 C'"),
    # the steps
    "first step is 2": (PLAIN, inside("step_started", step=2), "step is 2, not 1"),
    "step number repeated": (TOOLS, inside("step_started", 1, step=1), "step is 1, not 2"),
    "finished step is another": (TOOLS, inside("step_finished", 1, step=1), "that is open, 2"),
    "steps miscounted": (TOOLS, inside("complete", steps=1), "2 steps were started"),
    "unfinished step not counted": (TORN, inside("complete", steps=0), "1 steps were started"),
    # a restarted step
    "restart outside a step": (
        PLAIN,
        before("final_output", ("step_restarted", {"step": 1, "reason": "blocked"})),
        r"step_restarted can't .*between",
    ),
    "restart of another step": (RESTARTED, inside("step_restarted", step=2), "that is open, 1"),
    "restart for another reason": (RESTARTED, inside("step_restarted", reason="retry"), "reason is 'retry'"),
    "fallback without its model": (RESTARTED, without_key("step_restarted", "model"), "names its model"),
    "dropped usage not in the step": (RESTARTED, inside("step_restarted", usage=usage(10, 2)), "the dropped attempts"),
    "dropped usage not in the run": (
        GOOD["failed after a restart"],
        inside("complete", usage=NOTHING),
        "usage.input_tokens is None",
    ),
    "dropped text in the answer": (RESTARTED, inside("final_output", content="HelHiHi!"), "'Hi!'"),
    "dropped call continues": (RESTARTED, before("step_finished", delta("}")), "was dropped by a step_restarted"),
    "source twice": (RESTARTED, before("tool_use", ("source", {"url": "https://a.example"}), 1), "second source"),
    "source that is no web page": (RESTARTED, inside("source", url="javascript:alert(1)"), "source.url"),
    "dropped call gets a result": (RESTARTED, before("step_finished", result("call_2")), "was dropped"),
    "dropped call made again": (RESTARTED, before("step_finished", use("call_3")), "was dropped"),
    # usage
    "usage of the last step only": (TOOLS, inside("complete", usage={**NOTHING, "input_tokens": 20}), "sum of the st"),
    "unreported usage as 0": (INVALID, inside("complete", usage=usage(0, 0)), "usage.input_tokens is 0"),
    "reported usage lost": (PLAIN, inside("complete", usage=NOTHING), "usage.input_tokens is None"),
    "usage below the sum": (TOOLS, inside("complete", usage=usage(29, 5)), "usage.input_tokens is 29"),
    # the tool calls
    "tool_use twice": (TOOLS, before("tool_result", use()), "second tool_use"),
    "arguments continue after tool_use": (TOOLS, before("tool_result", delta("}")), "after the call's tool_use"),
    "result twice": (TOOLS, before("step_finished", result()), "has its tool_result already"),
    "result without a call": (PLAIN, before("step_finished", result()), "no tool_use with this"),
    "result before its call": (FAILED_BETWEEN, moved("tool_result", "tool_use"), "no tool_use with this"),
    "result of an unfinished call": (TORN, before("error", result("call_2")), "no tool_use with this"),
    "call without a result": (TOOLS, without("tool_result", 1), r"without tool_result: \['call_1'\]"),
    "call answered in the next step": (TOOLS, moved("tool_result", "partial_output", 1), r"without .*\['call_2'\]"),
    "no result when the run fails": (TORN, without("tool_result"), r"without tool_result: \['call_1'\]"),
    "result under another name": (TOOLS, inside("tool_result", name="time"), "the tool_use's name is weather"),
    "deltas without a call": (TOOLS, without("tool_use", 1), "no tool_use with this"),
    "unfinished call in a good run": (
        TOOLS,
        before("tool_use", delta("{", "call_3")),
        r"step_started can't .*broken",
    ),
    "progress without a call": (PLAIN, before("step_finished", PROGRESS), "no tool_use with this"),
    "progress after the result": (TOOLS, moved("tool_progress", "step_finished"), "has its tool_result already"),
    "deltas of another name": (TOOLS, inside("tool_use_delta", name="time"), "name, source and server were"),
    "call of another source": (TOOLS, inside("tool_use", source="mcp"), "name, source and server were"),
    "call of another server": (TOOLS, inside("tool_use", server="tsion/exa"), "name, source and server were"),
    "arguments other than the deltas": (TOOLS, inside("tool_use", arguments={"city": "Rome"}), "what the deltas say"),
    "arguments of another type": (TOOLS, inside("tool_use", 1, arguments={"n": 1}), "what the deltas say"),
    "arguments beside invalid ones": (INVALID, inside("tool_use", arguments={"city": "Oslo"}), "aren't empty"),
    "invalid arguments that are valid": (INVALID, inside("tool_use", invalid_arguments="{}"), "hold a JSON object"),
    "invalid arguments of another text": (INVALID, inside("tool_use", invalid_arguments="{"), "the text of the deltas"),
    "invalid arguments with a good result": (INVALID, inside("tool_result", is_error=False), "has an error as its"),
}


@pytest.mark.parametrize("events", GOOD.values(), ids=GOOD.keys())
def test_good_run(events: list[Event]) -> None:
    """Valid runs of every shape are accepted, from events and from bytes, and so is each prefix of them."""
    check_grammar(events)
    check_grammar(frames(events))
    for length in range(len(events)):
        check_grammar(events[:length], prefix=True)
        with pytest.raises(AssertionError, match="ends without complete"):
            check_grammar(events[:length])


@pytest.mark.parametrize(("events", "mutate", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_run(events: list[Event], mutate: Mutation, message: str) -> None:
    """Each violation of the contract is found, and the message names it."""
    events = copy.deepcopy(events)
    mutate(events)
    with pytest.raises(AssertionError, match=message):
        check_grammar(events)


def test_prefix_must_be_right() -> None:
    """A stream that was cut must still follow the rules up to the cut."""
    events = copy.deepcopy(PLAIN[:4])
    events[3]["seq"] = 5
    with pytest.raises(AssertionError, match=r"event 3: seq is 5, not 4"):
        check_grammar(events, prefix=True)


def test_unfinished_step_may_add_usage() -> None:
    """The usage of a step that was broken off may be in the run's sum, and can only increase it."""
    check_grammar(run(started(), complete("cancelled", 1, usage(3, 0))))
    events = run(started(), finished(1, "stop", usage(3, 2)), started(2), complete("cancelled", 2, usage(3, 1)))
    with pytest.raises(AssertionError, match=r"usage\.output_tokens is 1"):
        check_grammar(events)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"a": 1}', {"a": 1}),
        (r'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (r'{"a": "\ud83dx"}', {"a": "\ufffdx"}),
        ("[1]", None),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ("[" * 100_000, None),
    ],
)
def test_arguments_text(written: str, meant: Event | None) -> None:
    """Arguments are a JSON object or absent. Lone surrogates become U+FFFD."""
    assert object_in(written) == meant


# The bytes


def frame(event: Event) -> bytes:
    return f"id: {event['seq']}\nevent: {event['event']}\ndata: {json.dumps(event)}\n\n".encode()


def frames(events: list[Event]) -> bytes:
    return b": ping\n\n" + b"".join(frame(event) for event in events)


FIRST = frame(PLAIN[0])
BROKEN_BYTES: dict[str, tuple[bytes, str]] = {
    "CRLF": (FIRST.replace(b"\n", b"\r\n"), "there is a CR"),
    "UTF-8": (FIRST.replace(b"openai", "öpenai".encode()), "aren't ASCII"),
    "end inside a frame": (FIRST[:-1], "ends inside a frame"),
    "no blank line at all": (FIRST[:20], "ends inside a frame"),
    "blank line too many": (FIRST + b"\n" + FIRST, "an id, an event and one data line"),
    "two data lines": (FIRST.replace(b"data: {", b"data: {\ndata: "), "one data line"),
    "no id": (FIRST.partition(b"\n")[2], "an id, an event"),
    "no event": (FIRST.replace(b"event: run_started\n", b""), "an id, an event"),
    "another order": (b"event: run_started\nid: 1\n" + FIRST.split(b"\n", 2)[2], "in this order"),
    "no space after the colon": (FIRST.replace(b"id: ", b"id:"), "in this order"),
    "id padded": (FIRST.replace(b"id: 1", b"id: 01"), "in this order"),
    "id of another seq": (FIRST.replace(b"id: 1", b"id: 2"), "id is 2, seq 1"),
    "event of another name": (FIRST.replace(b"event: run_started", b"event: error"), "event is error, in the data"),
    "no JSON": (FIRST.replace(b"data: {", b"data: "), "data is no JSON"),
    "NaN": (FIRST.replace(b'"seq": 1', b'"seq": NaN'), "data is no JSON: NaN"),
    "no object": (b"id: 1\nevent: a\ndata: [1]\n\n", "data is no object"),
    "comment with an id": (b": ping\nid: 1\n\n", "in this order"),
    "draining with an id": (b"id: 1\nevent: draining\nretry: 1000\n\n", "in this order"),
    "draining without retry": (b"event: draining\n\n", "in this order"),
    "event after draining": (b"event: draining\nretry: 1000\n\n" + FIRST, "after draining"),
}


@pytest.mark.parametrize(("raw", "message"), BROKEN_BYTES.values(), ids=BROKEN_BYTES.keys())
def test_broken_bytes(raw: bytes, message: str) -> None:
    """Each violation of the byte rules is found, and the message names it."""
    with pytest.raises(AssertionError, match=message):
        parse_frames(raw)


@pytest.mark.parametrize(
    "hint",
    [
        b"",
        b": ping\n: pong\n\n",
        b"event: draining\nretry: 1000\n\n",
        b"event: draining\ndata: {}\nretry: 1000\n\n: ping\n\n",
        b"retry: 1000\nevent: draining\n\n",
    ],
)
def test_frames_that_are_no_events(hint: bytes) -> None:
    """Comments and `draining` have no id and are not events."""
    assert parse_frames(frames(PLAIN) + hint) == PLAIN


def test_torn_frame() -> None:
    """A stream cut inside a frame is read up to there if the caller says that it was cut."""
    raw = frames(PLAIN)[:-10]
    assert parse_frames(raw, prefix=True) == PLAIN[:-1]
    check_grammar(raw, prefix=True)
    with pytest.raises(AssertionError, match="ends inside a frame"):
        check_grammar(raw)
