"""The contract of the native event stream (v1) as one checker, which every test of a run uses.

It is written from the contract alone and imports nothing of the service, so that both can't have the same mistake.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

Event = dict[str, Any]

# The event that may follow each event. States: before the run; between steps; inside a step, where a call's deltas may
# come among anything else until its tool_use. A run that fails or is cancelled can leave calls without their tool_use:
# its step is broken, and only warnings and the end may follow. Torn: a run that ends adds results for its open calls.
# Asking: approvals are requested. Waiting: only answers may follow; the last leads back into the step, or to the end.
# A run waits for its budget between steps, or in a step before it is restarted; refused, it has failed or is cancelled.
NEXT = {
    "start": {"run_started": "between"},
    "between": {
        "step_started": "step",
        "waiting": "waiting",
        "warning": "between",
        "final_output": "answered",
        "error": "failed",
        "complete": "over",
    },
    "step": {
        "thinking": "step",
        "partial_output": "step",
        "tool_use_delta": "step",
        "tool_use": "step",
        "tool_progress": "step",
        "tool_result": "step",
        "source": "step",
        "approval_request": "asking",
        "waiting": "waiting",
        "step_restarted": "step",
        "step_finished": "between",
        "warning": "broken",
        "error": "failed",
        "complete": "over",
    },
    "asking": {"approval_request": "asking", "waiting": "waiting"},
    "waiting": {
        "approval_response": "waiting",
        "budget_response": "waiting",
        "tool_result": "waiting",
        "error": "failed",
        "complete": "over",
    },
    "refused": {"error": "failed", "complete": "over"},
    "torn": {
        "tool_result": "torn",
        "step_finished": "broken",
        "warning": "broken",
        "error": "failed",
        "complete": "over",
    },
    "broken": {"warning": "broken", "error": "failed", "complete": "over"},
    "answered": {"complete": "over"},
    "failed": {"complete": "over"},
    "over": {},
}

END_OF = {"answered": "succeeded", "failed": "failed"}  # state before complete: status; else "cancelled"

COUNTS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("reasoning_tokens", "cached_input_tokens", "cache_write_input_tokens"),
)
COST = "cost_usd"

MAX_DEPTH = 64  # deeper nesting is refused, like anything but a JSON object


def text(value: Any) -> bool:
    return isinstance(value, str)


def name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def anything(value: Any) -> bool:
    """Any JSON value, null included."""
    return True


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def count(value: Any) -> bool:
    return type(value) is int and value >= 0


def number(value: Any) -> bool:
    return type(value) in (int, float)


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def source(value: Any) -> bool:
    return value in ("python", "mcp", "hosted", "client")


def pending(value: Any) -> bool:
    """The calls that `waiting` waits for, or the one budget."""
    if not isinstance(value, list) or value == []:
        return False
    return (len(value) == 1 and budget(value[0])) or all(map(pending_call, value))


def pending_call(value: Any) -> bool:
    return set(value) == {"tool_call_id", "name", "kind"} and value["kind"] in ("approval", "client")


def budget(value: Any) -> bool:
    """A budget has at least one total, and what is spent of it."""
    totals = set(value) & {"max_cost_usd", "max_total_tokens"}
    return (
        value["kind"] == "budget"
        and totals != set()
        and set(value) - totals - {"spent_cost_usd"} == {"kind", "spent_tokens", "expires_at"}
        and all(count(value.get(key, 0)) for key in ("spent_tokens", "max_total_tokens"))
        and all(amount(value.get(key, 0)) for key in ("spent_cost_usd", "max_cost_usd"))
        and ("max_cost_usd" not in value or "spent_cost_usd" in value)
        and time(value["expires_at"])
    )


def amount(value: Any) -> bool:
    return number(value) and value >= 0


def time(value: Any) -> bool:
    return is_timestamp(value)


def status(value: Any) -> bool:
    return value in ("succeeded", "failed", "cancelled")


def link(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"https?://[^\s\"<>@\\]{1,2040}", value) is not None


def reason(value: Any) -> bool:
    return value in ("fallback", "output_invalid", "blocked", "owner_lost")


def token_usage(value: Any) -> bool:
    """The first three counts, null if the upstream reports none; the others and the cost may also be absent."""
    return (
        isinstance(value, dict)
        and set(COUNTS[:3]) <= set(value) <= {*COUNTS, COST}
        and all(tokens is None or count(tokens) for key, tokens in value.items() if key != COST)
        and number(value.get(COST, 0))
    )


CALL = {"tool_call_id": name, "name": name}

# The keys of each event's data; those that end in ? may be absent.
DATA: dict[str, dict[str, Callable[[Any], bool]]] = {
    "run_started": {"model": name, "session_id?": name, "owner?": name},
    "step_started": {"step": count, "model": name},
    "thinking": {"content": text},
    "partial_output": {"content": text},
    "tool_use_delta": {**CALL, "arguments_delta": text, "source": source, "server?": name},
    "tool_use": {**CALL, "arguments": mapping, "source": source, "server?": name, "invalid_arguments?": text},
    "approval_request": {**CALL, "arguments": mapping, "expires_at": time},
    "waiting": {"pending": pending},
    "approval_response": {"tool_call_id": name, "approved": flag, "arguments?": mapping, "reason?": text},
    "budget_response": {"approved": flag, "max_cost_usd?": amount, "max_total_tokens?": count},
    "tool_progress": {"tool_call_id": name, "message?": text, "progress?": number, "total?": number},
    "tool_result": {**CALL, "content": text, "is_error": flag, "duration_ms?": count, "truncated": flag},
    "source": {"url": link, "title?": name, "snippet?": name},
    "step_restarted": {"step": count, "reason": reason, "model?": name, "usage?": token_usage},
    "step_finished": {"step": count, "model": name, "finish_reason": name, "usage": token_usage},
    "warning": {"code": name, "message": name},
    "final_output": {"content": text, "data?": anything, "attempts?": count},
    "error": {"code": name, "message": name, "retryable": flag, "request_id": name, "retry_after?": count},
    "complete": {
        "status": status,
        "finish_reason?": name,
        "usage": token_usage,
        "steps": count,
        "duration_ms": count,
        "time_to_first_token_ms?": count,
    },
}


def check_grammar(events: Sequence[Event] | bytes, *, prefix: bool = False) -> None:
    """Raise AssertionError, with the event's index, if `events` (or a raw body) break the contract.

    `prefix` accepts a stream that was cut off: what has arrived must be right, but it needn't reach `complete`.
    """
    if isinstance(events, bytes):
        events = parse_frames(events, prefix=prefix)
    run = _Run()
    for index, event in enumerate(events):
        with _located(f"event {index}", event):
            run.take(event)
    need(prefix or run.place == "over", f"the stream ends without complete, after {len(events)} events")


def need(condition: bool, broken: str) -> None:
    if not condition:
        raise AssertionError(broken)


@contextmanager
def _located(where: str, what: object) -> Iterator[None]:
    try:
        yield
    except AssertionError as broken:
        raise AssertionError(f"{where}: {broken}\n  in {what!r}") from None


@dataclass
class _Call:
    """A tool call as far as its events have arrived. Its label is its name, source and server."""

    label: tuple[str, str, str | None]
    deltas: list[str] = field(default_factory=list)
    used: bool = False
    invalid: bool = False
    answered: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    asked: bool = False
    refused: bool = False


class _Run:
    """The state of the run after the events so far."""

    def __init__(self) -> None:
        self.place = "start"
        self.run_id: str | None = None
        self.seq = 0
        self.steps = 0
        self.step_open = False
        self.output: list[str] = []
        self.calls: dict[str, _Call] = {}
        self.earlier_calls: set[str] = set()  # those of the steps before the present one
        self.dropped_calls: set[str] = set()  # those of attempts before a step_restarted
        self.earlier_urls: set[str] = set()  # those of the sources of the steps before the present one
        self.urls: set[str] = set()
        self.pending: dict[str, str] = {}  # the kind of answer that each call waits for
        self.budget: Event | None = None  # that the run waits for
        self.place_after_wait = "step"
        self.usage: dict[str, int | None] = dict.fromkeys(COUNTS)
        self.dropped: dict[str, int] = {}  # the usage of the step's dropped attempts
        self.costs: list[Decimal | None] = []

    def take(self, event: Event) -> None:
        """Check the next event."""
        self._check_frame(event)
        kind, data = event["event"], event["data"]
        check_data(kind, data)
        before, allowed = self.place, NEXT[self.place]
        need(kind in allowed, f"{kind} can't come here ({before}), only {', '.join(allowed) or 'nothing'}")
        self.place = allowed[kind]
        match kind:
            case "step_started":
                self._start_step(data)
            case "partial_output":
                self.output.append(data["content"])
            case "tool_use_delta":
                self._add_delta(data)
            case "tool_use":
                self._use_tool(data)
            case "approval_request":
                self._ask(data)
            case "waiting":
                self._wait(data, before)
            case "approval_response":
                self._decide(data)
            case "budget_response":
                self._decide_budget(data)
            case "tool_progress":
                self._running(data)
            case "tool_result":
                self._answer_call(data, before)
            case "source":
                need(data["url"] not in self.urls, "second source with this URL")
                self.urls.add(data["url"])
            case "step_restarted":
                self._restart_step(data)
            case "step_finished":
                self._finish_step(data)
            case "final_output":
                self._conclude(data)
            case "complete":
                self._complete(data, END_OF.get(before, "cancelled"))

    def _check_frame(self, event: Event) -> None:
        """Check the fields that all events have."""
        keys = {"event", "data", "run_id", "seq", "timestamp"}
        need(set(event) == keys, f"the keys are {sorted(event)}, not {sorted(keys)}")
        try:
            json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as refused:
            raise AssertionError(f"no clean JSON (NaN, or half a surrogate pair): {refused}") from None
        self.seq += 1
        need(type(event["seq"]) is int and event["seq"] == self.seq, f"seq is {event['seq']!r}, not {self.seq}")
        self.run_id = self.run_id or event["run_id"]
        need(re.fullmatch(r"run_[\w-]+", str(event["run_id"])) is not None, "run_id isn't run_…")
        need(event["run_id"] == self.run_id, f"the run_id was {self.run_id} before")
        need(is_timestamp(event["timestamp"]), "the timestamp isn't like 2026-11-22T10:00:00.123Z")

    def _start_step(self, data: Event) -> None:
        self.steps += 1
        need(data["step"] == self.steps, f"step is {data['step']}, not {self.steps}")
        self.step_open, self.output, self.dropped = True, [], {}
        self.earlier_calls, self.earlier_urls = set(self.calls), set(self.urls)

    def _restart_step(self, data: Event) -> None:
        need(data["step"] == self.steps, f"this isn't the step that is open, {self.steps}")
        need(data["reason"] != "fallback" or "model" in data, "a fallback names its model")
        self.output = []
        for key, tokens in data.get("usage", {}).items():
            if key in COUNTS:
                self.dropped[key] = self.dropped.get(key, 0) + (tokens or 0)
        self.urls = set(self.earlier_urls)
        self.dropped_calls |= set(self.calls) - self.earlier_calls
        self.calls = {call_id: call for call_id, call in self.calls.items() if call_id in self.earlier_calls}

    def _add_delta(self, data: Event) -> None:
        call = self._called(data)
        need(not call.used, "tool_use_delta after the call's tool_use")
        call.deltas.append(data["arguments_delta"])

    def _use_tool(self, data: Event) -> None:
        call = self._called(data)
        need(not call.used, "second tool_use with this tool_call_id")
        call.used, call.invalid, call.arguments = True, "invalid_arguments" in data, data["arguments"]
        check_arguments(data, "".join(call.deltas) if call.deltas else None)

    @property
    def torn(self) -> list[str]:
        """The calls that have had deltas but no tool_use yet."""
        return [call_id for call_id, call in self.calls.items() if not call.used]

    def _called(self, data: Event) -> _Call:
        """Return the call of a delta or a tool_use, which must all have the same label."""
        need(data["tool_call_id"] not in self.dropped_calls, "this call was dropped by a step_restarted")
        label = (data["name"], data["source"], data.get("server"))
        call = self.calls.setdefault(data["tool_call_id"], _Call(label))
        need(call.label == label, f"the call's name, source and server were {call.label} before")
        return call

    def _running(self, data: Event) -> _Call:
        """Return the call of a progress report or a result: it has been made and has no result yet."""
        need(data["tool_call_id"] not in self.dropped_calls, "this call was dropped by a step_restarted")
        call = self.calls.get(data["tool_call_id"])
        if call is None or not call.used:
            raise AssertionError("there is no tool_use with this tool_call_id before")
        need(not call.answered, "the call has its tool_result already")
        return call

    def _ask(self, data: Event) -> None:
        call = self._running(data)
        need(call.label[:2] in ((data["name"], "python"), (data["name"], "mcp")), "this call is none of the service's")
        need(not call.asked, "second approval_request for this call")
        need(not self.torn, f"tool_use_delta without tool_use: {self.torn}")
        need(not call.invalid and call.arguments == data["arguments"], "the arguments aren't those of the tool_use")
        call.asked = True

    def _wait(self, data: Event, before: str) -> None:
        self.place_after_wait = "step"
        if data["pending"][0]["kind"] == "budget":
            need(before != "asking", "a run that asks for approvals waits for these")
            self._check_answered()
            self.budget, self.place_after_wait = data["pending"][0], before
            return
        need(before != "between", "there is no step with calls")
        self.pending = {call["tool_call_id"]: call["kind"] for call in data["pending"]}
        unanswered = {call_id for call_id, call in self.calls.items() if call.used and not call.answered}
        need(set(self.pending) == unanswered, f"the calls without a result are {sorted(unanswered)}")
        need(not self.torn, f"tool_use_delta without tool_use: {self.torn}")
        for call in data["pending"]:
            known = self.calls[call["tool_call_id"]]
            need(known.label[0] == call["name"], f"the tool_use's name is {known.label[0]}")
            need(known.asked is (call["kind"] == "approval"), "approval_request and the kind disagree")
            need((known.label[1] == "client") is (call["kind"] == "client"), "the source and the kind disagree")

    def _decide(self, data: Event) -> None:
        call = self._running(data)
        need(self.pending.pop(data["tool_call_id"], "") == "approval", "no approval of this call is waited for")
        need(data["approved"] or "arguments" not in data, "a refusal with arguments")
        call.refused = not data["approved"]
        self._gone_on()

    def _decide_budget(self, data: Event) -> None:
        totals = {"max_cost_usd": "spent_cost_usd", "max_total_tokens": "spent_tokens"}
        if self.budget is None:
            raise AssertionError("no decision on a budget is waited for")
        need(data["approved"] or not set(data) & set(totals), "a refusal with totals")
        need(not data["approved"] or bool(set(data) & set(totals)), "an approval without a total")
        for total, spent in totals.items():
            known = total in self.budget
            need(total not in data or known, f"the run has no {total}")
            need(not (data["approved"] and known) or {**self.budget, **data}[total] > self.budget[spent], "too little")
        self.budget = None
        self.place = self.place_after_wait if data["approved"] else "refused"

    def _gone_on(self) -> None:
        if not self.pending:
            self.place = "step"

    def _answer_waiting(self, data: Event) -> None:
        """A client's result, or the one that an ending run writes for an open call."""
        if self.pending.pop(data["tool_call_id"], "") == "client":
            self._gone_on()
        else:
            need(data["is_error"], "a result of a call that nobody has approved")
            self.place = "torn"

    def _answer_call(self, data: Event, before: str) -> None:
        call = self._running(data)
        need(data["is_error"] or not call.refused, "a refused call has an error as its result")
        need(call.label[0] == data["name"], f"the tool_use's name is {call.label[0]}")
        need(data["is_error"] or not call.invalid, "a call with invalid_arguments has an error as its result")
        call.answered = True
        if before == "waiting":
            self._answer_waiting(data)

    def _finish_step(self, data: Event) -> None:
        need(self.step_open and data["step"] == self.steps, f"this isn't the step that is open, {self.steps}")
        self._check_answered()
        self.place = "broken" if self.torn else self.place
        self.step_open = False
        for key, tokens in self.dropped.items():
            need((data["usage"].get(key) or 0) >= tokens, f"usage.{key} is less than that of the dropped attempts")
        for key, tokens in data["usage"].items():
            if tokens is not None and key != COST:
                self.usage[key] = (self.usage[key] or 0) + tokens
        if any(data["usage"].values()):
            self.costs.append(Decimal(str(data["usage"][COST])) if COST in data["usage"] else None)

    def _check_answered(self) -> None:
        waiting = [call_id for call_id, call in self.calls.items() if call.used and not call.answered]
        need(not waiting, f"tool_use without tool_result: {waiting}")

    def _conclude(self, data: Event) -> None:
        output = "".join(self.output)
        need(self.steps > 0, "final_output without a step")
        need(("data" in data) is ("attempts" in data), "data without attempts, or attempts without data")
        need(data.get("attempts", 1) >= 1, "there was no answer")
        need(data["content"] == output, f"the last step's partial_output is {output!r}")

    def _complete(self, data: Event, status: str) -> None:
        need(data["status"] == status, f"what precedes complete makes the run {status}")
        need(data["steps"] == self.steps, f"{self.steps} steps were started")
        self._check_answered()
        for key, tokens in self.usage.items():
            reported = data["usage"].get(key)
            # The usage of a step that was broken off is in no step_finished, but may be in the sum.
            least = (tokens or 0) + self.dropped.get(key, 0)
            more = self.step_open and reported is not None and reported >= least
            whole = reported == tokens and not (self.step_open and self.dropped.get(key))
            need(whole or more, f"usage.{key} is {reported}, the sum of the steps {tokens}")
        self._check_cost(data["usage"].get(COST))

    def _check_cost(self, reported: float | None) -> None:
        """The cost of a run is the sum of its steps, and unknown if that of one is. A broken step may add to it."""
        known = [cost for cost in self.costs if cost is not None]
        if len(known) < len(self.costs):
            need(reported is None, "the cost of a step is unknown, and that of the run is not")
        elif not self.step_open:
            total = float(sum(known)) if known else None
            need(reported == total, f"usage.{COST} is {reported}, the sum of the steps {total}")


def check_data(kind: Any, data: Any) -> None:
    """Check that the event is known, and the keys and types of its data."""
    need(isinstance(kind, str) and kind in DATA, f"there is no event {kind!r}")
    need(isinstance(data, dict), "data is no object")
    checks = {key.rstrip("?"): check for key, check in DATA[kind].items()}
    missing = [key for key in DATA[kind] if not key.endswith("?") and key not in data]
    need(not missing, f"{kind} lacks {missing}")
    need(set(data) <= set(checks), f"{kind} has unknown keys: {sorted(set(data) - set(checks))}")
    for key, value in data.items():
        need(checks[key](value), f"{kind}.{key} is {value!r}, which is no {checks[key].__name__}")


def is_timestamp(value: Any) -> bool:
    if not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value, re.ASCII)):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def check_arguments(data: Event, written: str | None) -> None:
    """Checks a tool_use's arguments against the text of its deltas, if there were any."""
    invalid = data.get("invalid_arguments")
    if invalid is not None:
        need(data["arguments"] == {}, "arguments beside invalid_arguments aren't empty")
        deep = invalid.count("[") + invalid.count("{") > MAX_DEPTH
        need(deep or object_in(invalid) is None, "invalid_arguments hold a JSON object")
        need(written in (None, invalid), f"invalid_arguments aren't the text of the deltas, {written!r}")
    elif written is not None:
        announced = json.dumps(data["arguments"], sort_keys=True)  # 1, 1.0, true differ
        meant = [json.dumps(value, sort_keys=True) for value in objects_in(written)]
        need(announced in meant, f"arguments aren't what the deltas say, {written!r}")


def objects_in(written: str) -> list[dict[str, Any]]:
    """The objects that may be meant if a text isn't exactly one: servers repeat the arguments, or quote them."""
    if (whole := object_in(written)) is not None:
        return [whole]
    if written.strip() in ("", "null", '""'):
        return [{}]
    try:
        quoted = json.loads(written)
    except ValueError:
        return [
            value
            for start in re.finditer("{", written)
            if (value := object_in(_first(written[start.start() :]))) is not None
        ]
    return objects_in(quoted) if isinstance(quoted, str) else []


def _first(written: str) -> str:
    """The JSON value at the beginning of a text, or the text itself if there is none."""
    try:
        return written[: json.JSONDecoder().raw_decode(written)[1]]
    except ValueError:
        return written


def object_in(written: str) -> dict[str, Any] | None:
    """The JSON object in a text, with U+FFFD for half surrogate pairs; None if there is none."""
    try:
        value = json.loads(written, parse_constant=_refuse)
        whole = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-16", "surrogatepass")
    except (ValueError, RecursionError):
        return None
    return json.loads(whole.decode("utf-16", "replace")) if isinstance(value, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


# The bytes

FRAME = re.compile(rb"id: ([1-9]\d*)\nevent: (\w+)\ndata: (.*)")
COMMENT = re.compile(rb":.*(\n:.*)*")
DRAINING = re.compile(rb"event: draining\n(data: .*\n)?retry: \d+|retry: \d+\nevent: draining(\ndata: .*)?")


def parse_frames(raw: bytes, *, prefix: bool = False) -> list[Event]:
    """Return the events of a raw body. Raise AssertionError if its bytes break the contract.

    `prefix` drops an incomplete last frame.
    """
    need(b"\r" not in raw, "there is a CR: lines end with LF only")
    need(raw.isascii(), "there are bytes that aren't ASCII")
    *frames, rest = raw.split(b"\n\n")
    need(prefix or not rest, f"the body ends inside a frame: {rest!r}")
    events: list[Event] = []
    drained = False
    for index, frame in enumerate(frames):
        with _located(f"frame {index}", frame):
            if COMMENT.fullmatch(frame):
                continue
            need(not drained, "a frame after draining")
            drained = DRAINING.fullmatch(frame) is not None
            if not drained:
                events.append(_parse_frame(frame))
    return events


def _parse_frame(frame: bytes) -> Event:
    fields = FRAME.fullmatch(frame)
    if fields is None:
        raise AssertionError("a frame is an id, an event and one data line, in this order")
    try:
        event = json.loads(fields[3], parse_constant=_refuse)
    except ValueError as refused:
        raise AssertionError(f"data is no JSON: {refused}") from None
    need(isinstance(event, dict), "data is no object")
    need(str(event.get("seq")) == fields[1].decode(), f"id is {fields[1].decode()}, seq {event.get('seq')!r}")
    need(event.get("event") == fields[2].decode(), f"event is {fields[2].decode()}, in the data {event.get('event')!r}")
    events: Event = event
    return events
