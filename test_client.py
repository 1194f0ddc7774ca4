"""Asks the agent from a terminal and shows how it thinks, calls tools and answers: `python test_client.py --help`.

This file can be copied: it needs `httpx`, `httpx-sse` and `rich`, and nothing of the service's code.
"""

import argparse
import asyncio
import io
import json
import math
import os
import random
import re
import select
import shlex
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

try:
    import httpx
    from httpx_sse import EventSource, aconnect_sse
    from rich.console import Console
    from rich.segment import Segment, Segments
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: run .venv/bin/python test_client.py, after ./run.sh install")

SILENCE_S = 60  # after this silence a connection is dead: the service sends a ping every 4 seconds by default
LONGEST_WAIT_S = 8.0  # between two connections
SHOWN_RESULT = 300  # characters of a tool's result on the screen
BAR = 20  # characters of a progress bar
NOT_SENT = {"execute", "resume", "background", "list", "after", "retries", "json", "quiet", "url", "approve", "refuse"}
TOUR = "What is the capital of France?"  # the question of the tour
ADDRESS = re.compile(
    r"https?://([^\s/?#@]+@)?(?P<host>\[[\da-f:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>\d{1,5}))?(/[^\s/?#]+)*/?",
    re.IGNORECASE,
)
LISTENS = re.compile(r"^\s*(?:export\s+)?(HOST|PORT)\s*=\s*['\"]?([^\s'\"#]+)", re.IGNORECASE | re.MULTILINE)
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to find a service that listens on all addresses
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
LISTS = {
    "models": "the models",
    "tools": "the Python tools",
    "runs": "runs, the latest first; with --session, those of the session",
    "messages": "the messages of --session",
}
TOTALS: dict[str, Callable[[str], float]] = {"max_cost_usd": float, "max_total_tokens": int}  # of a budget
BUDGET = "budget"  # its id among those of calls
MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("■", "yellow")}
CONTROLS = dict.fromkeys(
    {*range(32), *range(128, 160)} - {ord("\n"), ord("\t")}
)  # a model could send escape sequences to the terminal

EPILOG = """\
exit codes:
  0  the run succeeded or, with --background, was started
  1  the run failed, or the service refused the request
  2  the command line is not valid
  3  cancelled: Ctrl-C cancels the run and shows its end, a second Ctrl-C leaves at once
  4  the service can't be reached, or the stream is incomplete
  5  the run waits for an approval, a larger budget or a client tool's result, after --execute or Ctrl-D at the
     question; continue with --resume

At a terminal, you are asked to approve calls, to raise a budget that is spent, and to enter the results of client
tools. --approve and --refuse decide on calls without asking. Without a terminal, the curl command for each answer is
printed, and the run is followed until its end.

Without a QUESTION, it is read from standard input. If that has none, a tour shows a scripted run and the model's answer
to a question. At a terminal, you can then ask your own.

If the service asks for an API key, set AGENT_STREAM_KEY in the environment.

examples:
  python test_client.py
  python test_client.py "Why is the sky blue?" --temperature 0.2
  echo "Name three rivers" | python test_client.py --quiet | head -n 1
  python test_client.py --simulate tool_error
  python test_client.py "And at night?" --session chat-1
  python test_client.py "Name three rivers" --schema rivers.json --quiet | jq
  python test_client.py "Tidy up" --tool delete_folder --require-approval delete_folder
  python test_client.py --simulate approval --refuse "Not on a Friday."
  python test_client.py "Plan a trip to Oslo" --max-cost 0.05
  python test_client.py "Name three rivers" --json | jq -r 'select(.event == "final_output").data.content'
"""

Event = dict[str, Any]
"""An event of the service: event, data, run_id, timestamp, and seq, which counts 1, 2, 3 … and is the SSE id."""


class Exit(IntEnum):
    """The exit codes. argparse uses 2."""

    SUCCEEDED = 0
    FAILED = 1
    CANCELLED = 3
    INCOMPLETE = 4
    WAITING = 5


Work = Callable[[argparse.Namespace, "Screen"], Coroutine[Any, Any, Exit | None]]
"""The action of a command line. It raises `Broken` or httpx's errors."""


class Broken(Exception):
    """The stream ended without `complete`. `retry_after` is the service's Retry-After, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Broken):
    """An error response: of the service if `is_ours`, else of a proxy or another server."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.details: list[str] = []
        self.is_ours = True
        try:
            error = error_of(response)
            message = f"{error['code']}: {error['message']} (HTTP {self.status}, {error['request_id']})"
            self.details = [f"{detail['loc']}: {detail['message']}" for detail in error.get("details", ())]
            if error["code"] == "session_busy":
                self.details.append(f"--resume {error['run_id']} follows that run.")
                self.details.append("--multitask enqueue waits for it, --multitask interrupt ends it.")
            elif error["code"] == "not_found":
                self.details.append(
                    "Check --url: it is the service's address without a path, such as http://127.0.0.1:8000."
                )
        except (ValueError, LookupError, TypeError):  # not an error of the service
            self.is_ours = False
            self.details = ["This response is not from the service. Check --url."]
            message = f"HTTP {self.status} {response.reason_phrase}"
        seconds = response.headers.get("Retry-After", "")
        super().__init__(message, float(seconds) if seconds.isdecimal() else None)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a refused request, from its JSON body or from the first frame of its stream.

    Raise `ValueError`, `LookupError` or `TypeError` if it has neither form.
    """
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        error: dict[str, Any] = response.json()["error"]
        return error
    frame = next(line for line in [*response.text.splitlines(), "data: {}"] if line.startswith("data: "))
    refusal: dict[str, Any] = json.loads(frame.removeprefix("data: "))["data"]
    return refusal


class Output(Console):
    """Standard output or error. If its reader has gone, as with `| head`, the program ends without an error."""

    def on_broken_pipe(self) -> None:
        """Exit with 0."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(Exit.SUCCEEDED) from None


class Screen:
    """Prints a run as it happens, each piece directly after the last. Other messages go to stderr."""

    def __init__(self) -> None:
        self._out = Output(soft_wrap=True)
        self._err = Output(soft_wrap=True, stderr=True, highlight=False, markup=False, emoji=False)
        self._block = ""  # what the current line belongs to: thinking, answer, or the id of a call
        self._at_line_start = True
        self._typed: set[str] = set()  # the ids of calls whose arguments were printed while the model wrote them
        self._names: dict[str, str] = {}  # of tools, by the call's id
        self._sources: list[dict[str, str]] = []  # the web pages that the answer cites
        self._earlier_sources = 0  # those of the steps before the present one

    def show(self, event: Event, /) -> None:
        """Print one event. Other events have nothing to show, or are of a later version."""
        data = event["data"]
        if "name" in data:
            self._names[data["tool_call_id"]] = data["name"]
        match event["event"]:
            case "run_started":
                self.line(f"{data['model']} · {event['run_id']}", "dim")
            case "step_started":
                self._earlier_sources = len(self._sources)
            case "thinking":
                self._flow("thinking", data["content"], "dim italic")
            case "partial_output":
                self._flow("answer", data["content"], opening="\n")
            case "tool_use_delta":
                self._typed.add(data["tool_call_id"])
                self._call(data, data["arguments_delta"])
            case "tool_use" if data["tool_call_id"] not in self._typed:
                self._call(data, as_json(data["arguments"]))
            case "approval_request":
                self.line(f"? {data['name']} waits for approval, until {data['expires_at']}", "yellow")
            case "waiting":
                self.line(waiting(data["pending"]), "yellow")
            case "approval_response":
                self.line(*decision(self._names.get(data["tool_call_id"], data["tool_call_id"]), data))
            case "budget_response":
                self.line(*budget_decision(data))
            case "tool_progress":
                self.line(f"  … {progress(data)}", "dim")
            case "tool_result":
                self.line(*tool_result(data))
            case "source":
                self._sources.append(data)
            case "step_restarted":
                self._restart(data)
            case "warning":
                self.line(f"! {data['code']}: {data['message']}", "yellow")
            case "error":
                self.complain(f"{data['code']}: {data['message']} ({data['request_id']})")
            case "complete":
                self._end(data)

    def _call(self, call: dict[str, Any], arguments: str, /) -> None:
        self._flow(call["tool_call_id"], arguments, "cyan", opening=f"→ {call['name']} ")

    def _restart(self, restarted: dict[str, Any], /) -> None:
        del self._sources[self._earlier_sources :]
        self.line(restart(restarted), "yellow")

    def _end(self, end: dict[str, Any], /) -> None:
        for number, source in enumerate(self._sources, start=1):
            self.line(f"[{number}] {' · '.join(filter(None, (source.get('title'), source['url'])))}", "blue")
        self.line(*summary(end))

    def started(self, run: dict[str, Any], /) -> None:
        """Print the id of a run in the background."""
        self.line(run["run_id"])
        self.note(f"The run continues in the background. To follow it: --resume {run['run_id']}")

    def item(self, item: dict[str, Any], /) -> None:
        """Print one item of a list: a message, a run or a model."""
        if "role" in item:
            self.line(*message_line(item))
        elif "run_id" in item:
            self.line(f"{item['run_id']}  {item['status']:9}  {item['created_at']}  {item['model']}")
        elif "parameters" in item:
            asks = " (needs approval)" if item["approval"] else ""
            self.line(f"{item['name']}{asks}: {item['description'].partition(chr(10))[0]}")
        else:
            self.line(item["id"])

    def line(self, text: str, style: str = "") -> None:
        """Print a line of text."""
        self._end_line()
        self._print(f"{text}\n", style)

    def note(self, text: str, style: str = "dim") -> None:
        """Print a message that is not part of the run."""
        if self._out.is_terminal:  # both are on one screen; a file gets the run's text unchanged
            self._end_line()
        self._err.print(text.translate(CONTROLS), style=style)

    async def ask(self, question: str) -> str | None:
        """Return what the user types, or None at the end of input. Cancel this if the answer is no longer needed."""
        self._end_line()
        while select.select((sys.stdin,), (), (), 0)[0] and os.read(sys.stdin.fileno(), 1 << 16):
            pass  # drop what was typed before: it can't be meant as the answer
        self._err.print(question.translate(CONTROLS), end="", style="bold")
        self._at_line_start = not self._out.is_terminal
        line = await typed_line()
        self._at_line_start = bool(line) or self._at_line_start  # the terminal has echoed it with its line break
        return line.decode(errors="replace").strip() if line else None

    def complain(self, text: str, *details: str) -> None:
        """Print an error."""
        self._end_line()
        self.note(f"✗ {text}", "bold red")
        for detail in details:
            self.note(f"  {detail}", "red")

    def _flow(self, block: str, piece: str, style: str = "", *, opening: str = "") -> None:
        if block != self._block:
            self._end_line()
            self._print(opening, "bold")
            self._block = block
        self._print(piece, style)

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._print("\n")
        self._block = ""

    def _print(self, text: str, style: str = "") -> None:
        """Print text unchanged, without wrapping and with its tabs."""
        if text := text.translate(CONTROLS):
            self._out.print(Segments([Segment(text, self._out.get_style(style))]), end="")
            self._at_line_start = text.endswith("\n")


class JsonLines(Screen):
    """Prints each event, run or item of a list as a line of JSON."""

    def show(self, event: Event, /) -> None:
        """Print one event."""
        self.line(json.dumps(event))

    started = item = show


class AnswerOnly(Screen):
    """Prints only the answer, for pipes. Errors still go to stderr."""

    def show(self, event: Event, /) -> None:
        """Print the complete answer, or an error."""
        match event["event"]:
            case "final_output":
                self.line(event["data"]["content"])
                self._end_line()
            case "error":
                super().show(event)

    def started(self, run: dict[str, Any], /) -> None:
        """Print the id of a run in the background."""
        self.line(run["run_id"])


async def typed_line() -> bytes:
    """Return a line from the terminal with its line break; nothing at the end of input. Never blocks the loop."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, ready.set)
    try:
        await ready.wait()
        return os.read(sys.stdin.fileno(), 1 << 16)
    except OSError:  # the terminal is gone
        return b""
    finally:
        loop.remove_reader(sys.stdin)


def waiting(pending: list[dict[str, Any]]) -> str:
    """Return a line about what a run waits for."""
    return "… waiting for " + ", ".join(map(awaited, pending))


def awaited(item: dict[str, Any]) -> str:
    """Return what an item of `pending` waits for."""
    if item["kind"] == "budget":
        return "a larger budget: " + ", ".join(spent_of(item, total) for total in TOTALS if total in item)
    return f"approval of {item['name']}" if item["kind"] == "approval" else f"the result of {item['name']}"


def spent_of(budget: dict[str, Any], total: str) -> str:
    """Return how much of a budget's total is spent."""
    if total == "max_cost_usd":
        return f"${budget['spent_cost_usd']:f} of ${budget[total]:f} spent"
    return f"{budget['spent_tokens']} of {budget[total]} tokens spent"


def budget_decision(data: dict[str, Any]) -> tuple[str, str]:
    """Return a line about a decision on a budget, with its style."""
    if not data["approved"]:
        return "  ✗ the budget is not raised", "red"
    dollars = [f"${data['max_cost_usd']:f}"] if "max_cost_usd" in data else []
    tokens = [f"{data['max_total_tokens']} tokens"] if "max_total_tokens" in data else []
    return f"  ✓ the budget is now {', '.join(dollars + tokens)}", "green"


def decision(name: str, data: dict[str, Any]) -> tuple[str, str]:
    """Return a line about a decision on a call, with its style."""
    mark, style = MARKS["succeeded" if data["approved"] else "failed"]
    changed = f" with {as_json(data['arguments'])}" if "arguments" in data else ""
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"  {mark} {name} {'approved' if data['approved'] else 'refused'}{changed}{reason}", style


def restart(data: dict[str, Any]) -> str:
    """Return a line about a step that begins again: what was printed of it no longer counts."""
    by = f" by {data['model']}" if "model" in data else ""
    return f"! The text above no longer counts ({data['reason']}). The step is answered again{by}:"


def progress(data: dict[str, Any]) -> str:
    """Return a tool's progress as text, with a bar if the total is known."""
    done, total, message = data.get("progress"), data.get("total"), data.get("message", "")
    if done is None or not total:
        return f"{message} {'' if done is None else f'{done:g}'}".strip()
    part = min(1.0, max(0.0, done / total))
    full = round(part * BAR)
    return f"{message} {'━' * full}{'─' * (BAR - full)} {part:.0%}".strip()


def as_json(value: object) -> str:
    """Return JSON with readable non-ASCII characters."""
    return json.dumps(value, ensure_ascii=False)


def tool_result(data: dict[str, Any]) -> tuple[str, str]:
    """Return a line with a tool's result, with its style."""
    mark, style = MARKS["failed" if data["is_error"] else "succeeded"]
    took = f" · {data['duration_ms']} ms" if "duration_ms" in data else ""
    return f"  {mark} {data['name']}: {shortened(data['content'])}{took}", style


def message_line(message: dict[str, Any]) -> tuple[str, str]:
    """Return a session's message as text, with its style."""
    if message["role"] == "tool":
        mark, style = MARKS["failed" if message["is_error"] else "succeeded"]
        return f"  {mark} {shortened(message['content'])}", style
    content = message["content"] or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text", "[image]") for part in content)
    if message["role"] == "user":
        return f"\n> {text}", "bold"
    calls = (line for call in message.get("tool_calls", ()) for line in call_lines(call))
    return "\n".join(filter(None, (text, *calls))), ""


def call_lines(call: dict[str, Any]) -> Iterator[str]:
    """Yield a line about a call, and one about a person's decision on it."""
    yield f"→ {call['name']} {as_json(call['arguments'])}"
    if response := call.get("approval_response"):
        yield decision(call["name"], response)[0]


def shortened(text: str) -> str:
    """Return a tool's result on one line, cut if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_RESULT else f"{text[:SHOWN_RESULT]}… ({len(text):,} characters)"


def summary(end: dict[str, Any]) -> tuple[str, str]:
    """Return the last line of a run, with its style, from the data of `complete` or a JSON response."""
    mark, style = MARKS[end["status"]]
    parts = [f"\n{mark} {end['status']}", f"{end['steps']} step{'s' * (end['steps'] != 1)}"]
    if end.get("finish_reason", "stop") != "stop":
        parts.append(f"finish reason {end['finish_reason']}")
    if end["usage"]["total_tokens"] is not None:
        parts.append(f"{end['usage']['input_tokens']} + {end['usage']['output_tokens']} tokens")
    parts.append(f"{end['duration_ms'] / 1000:.2f} s")
    if "time_to_first_token_ms" in end:
        parts.append(f"first token after {end['time_to_first_token_ms'] / 1000:.2f} s")
    return " · ".join(parts), style


@dataclass
class Answers:
    """Answers what a run waits for, from the command line's options or by asking at the terminal.

    Without either, it prints how to answer with curl. A question disappears if its call is answered from elsewhere. At
    the end of input (Ctrl-D) it cancels the follower's task and sets `is_left`.
    """

    http: httpx.AsyncClient
    screen: Screen
    decision: dict[str, Any] | None
    is_asking: bool
    retries: int
    is_left: bool = False
    _pending: dict[str, dict[str, Any]] = field(default_factory=dict)  # by the call's id
    _arguments: dict[str, Any] = field(default_factory=dict)
    _asked: str = ""  # the id of what the current question is about
    _task: asyncio.Task[None] | None = None

    def hear(self, event: Event) -> None:
        """Keep what an event says about calls."""
        data = event["data"]
        match event["event"]:
            case "tool_use":
                self._arguments[data["tool_call_id"]] = data["arguments"]
            case "waiting":
                self._pending = {id_of(item): item for item in data["pending"]}
            case "approval_response" | "budget_response" | "tool_result":
                self._pending.pop(id_of(data), None)
                if id_of(data) == self._asked:
                    self.stop()
            case "complete":
                self.stop()

    def begin(self, run_id: str) -> None:
        """Start to answer the pending calls, in a task beside the reading of events."""
        if self._pending and (self._task is None or self._task.done()):
            follower = asyncio.current_task()
            assert follower is not None
            self._task = asyncio.create_task(self._answer_all(f"/api/agent/runs/{run_id}", follower))

    def stop(self) -> None:
        """Stop asking."""
        self._asked = ""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _answer_all(self, run: str, follower: "asyncio.Task[Any]") -> None:
        while self._pending:
            item = next(iter(self._pending.values()))
            arguments = self._arguments.get(id_of(item), {})
            answer = await self._answer_to(item, arguments)
            if answer is None:
                self._explain(run, item, arguments)
                if self.is_asking:
                    self.is_left = True
                    follower.cancel()
                    return
            elif not await self._is_taken(*request_for(run, item, answer)):
                continue
            self._pending.pop(id_of(item), None)

    async def _answer_to(self, item: dict[str, Any], arguments: Any) -> dict[str, Any] | None:
        """Return the answer as its route accepts it, or None if nobody can be asked."""
        is_approval = item["kind"] == "approval"
        if is_approval and self.decision is not None:
            return self.decision
        if not self.is_asking:
            return None
        self._asked = id_of(item)
        if item["kind"] == "budget":
            answer = await self._ask_budget(item)
        else:
            call = f"{item['name']} {as_json(arguments)}"
            answer = await (self._ask_approval(call) if is_approval else self._ask_result(call))
        self._asked = ""
        return answer

    async def _ask_budget(self, budget: dict[str, Any]) -> dict[str, Any] | None:
        totals: dict[str, Any] = {}
        while not totals:
            for total in filter(budget.__contains__, TOTALS):
                unit = "dollars" if total == "max_cost_usd" else "tokens"
                typed = await self.screen.ask(f"{spent_of(budget, total)}. New total of {unit}, or n to end the run: ")
                if typed is None:
                    return None
                if typed.strip().lower() in {"n", "no"}:
                    return {"approved": False}
                with suppress(ValueError):
                    totals[total] = TOTALS[total](typed)
        return totals

    async def _ask_approval(self, call: str) -> dict[str, Any] | None:
        question = f"Allow {call}? y, n [reason] or e (edit): "
        while (typed := await self.screen.ask(question)) is not None:
            word, _, rest = typed.partition(" ")
            match word.lower():
                case "y" | "yes":
                    return {"approved": True}
                case "n" | "no":
                    return {"approved": False, "reason": rest} if rest else {"approved": False}
                case "e" | "edit":
                    edited = rest or await self.screen.ask("The arguments as JSON: ") or ""
                    if (arguments := json_object(edited)) is not None:
                        return {"approved": True, "arguments": arguments}
                    self.screen.note("That is not a JSON object.")
        return None

    async def _ask_result(self, call: str) -> dict[str, Any] | None:
        text = await self.screen.ask(f"Result of {call}: ")
        return None if text is None else {"content": text}

    async def _is_taken(self, path: str, body: dict[str, Any]) -> bool:
        """Send an answer until the service has responded. Return False if it wants another answer."""
        fault = await self._send(path, body)
        if isinstance(fault, Refused) and fault.status == httpx.codes.CONFLICT:
            self.screen.note(f"Already answered: {fault}")
        elif fault is not None:
            details = fault.details if isinstance(fault, Refused) else []
            self.screen.complain(f"The answer was not accepted: {str(fault) or type(fault).__name__}", *details)
            was_typed = body is not self.decision
            return not (was_typed and isinstance(fault, Refused) and fault.status == httpx.codes.UNPROCESSABLE_ENTITY)
        return True

    async def _send(self, path: str, body: dict[str, Any]) -> Refused | httpx.TransportError | None:
        """Post an answer, with retries: sending it twice has no effect. Return the error if all fail."""
        failed = 0
        while True:
            try:
                await call(self.http, "POST", path, json=body)
            except (Refused, httpx.TransportError) as fault:
                hint = fault.retry_after if isinstance(fault, Refused) else None
                final = isinstance(fault, Refused) and fault.status < 500 and hint is None
                if final or failed >= self.retries:
                    return fault
                wait = max(hint or 0.0, backoff(failed))
                self.screen.note(f"Sending the answer again in {wait:.1f} s: {str(fault) or type(fault).__name__}")
            else:
                return None
            failed += 1
            await asyncio.sleep(wait)

    def _explain(self, run: str, item: dict[str, Any], arguments: Any) -> None:
        path, body = request_for(run, item, example_of(item))
        call = "The budget" if item["kind"] == "budget" else f"{item['name']} {as_json(arguments)}"
        self.screen.note(f"{call} waits for an answer, such as:")
        url = shlex.quote(without_password(str(self.http.base_url.join(path))))
        key = ' -H "Authorization: Bearer $AGENT_STREAM_KEY"' if key_header() else ""
        self.screen.note(f"  curl {url}{key} -H 'Content-Type: application/json' -d {shlex.quote(as_json(body))}")


def id_of(item: dict[str, Any]) -> str:
    """Return the id of the call that something is about, or `BUDGET`."""
    return str(item.get("tool_call_id", BUDGET))


def example_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return an answer to something that is pending."""
    if item["kind"] == "budget":
        return {total: 2 * max(item[total], 1) for total in TOTALS if total in item}
    return {"approved": True} if item["kind"] == "approval" else {"content": "…"}


def request_for(run: str, item: dict[str, Any], answer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path to post the answer to, and the body."""
    if item["kind"] == "budget":
        return f"{run}/budget", answer
    call_id = item["tool_call_id"]
    if item["kind"] == "approval":
        return f"{run}/approvals/{quote(call_id, safe='')}", answer
    return f"{run}/tool-results", {"results": [{"tool_call_id": call_id, **answer}]}


def json_object(text: str) -> dict[str, Any] | None:
    """Parse JSON. Return None if it is not an object, or can't be sent."""
    try:
        value = json.loads(text)
        sendable(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def backoff(failed: int) -> float:
    """Return the seconds to wait after `failed` attempts: exponential, with jitter."""
    return min(LONGEST_WAIT_S, 0.25 * 2.0**failed) * random.uniform(0.5, 1)  # noqa: S311 - jitter


@dataclass
class Follower:
    """Follows a run to its `complete`, reconnecting as often as needed, and shows each event once.

    `start` is the request that starts the run. If `run_id` is set, the run exists already, and `seen` is the last event
    that was received. `retries` limits the failed connections in a row. A run in the background is not followed.
    """

    http: httpx.AsyncClient
    screen: Screen
    answers: Answers
    start: dict[str, Any]
    retries: int
    run_id: str = ""
    seen: int = 0
    _sent: bool = False  # whether the service may have got the request
    _attached: bool = False
    _past: int = 0  # the run's last event when the connection was made
    _cancelling: bool = False
    _failed: int = 0
    _wait: float = 0.0

    async def follow(self) -> Exit:
        """Return how the run ended. Raise `Broken` or httpx's errors if its `complete` can't be received.

        It doesn't use a library for retries: those repeat a call, and this continues one stream.
        """
        while True:
            try:
                await asyncio.sleep(self._wait)
                if self._cancelling:
                    await call(self.http, "POST", f"/api/agent/runs/{self.run_id}/cancel")
                return await self._connect()
            except asyncio.CancelledError:
                if self.answers.is_left:
                    return self._leave()
                if self._cancelling or not self.run_id:  # the user pressed Ctrl-C
                    raise
                self._cancel()
            except (httpx.TransportError, Broken) as fault:
                self._wait = self._wait_after(fault)

    async def _connect(self) -> Exit:
        events = f"/api/agent/runs/{self.run_id}/events"
        if self.run_id:
            await self._look()
        resume = {"method": "GET", "url": events, "headers": {"Last-Event-ID": str(self.seen)}}
        async with aconnect_sse(self.http, **(resume if self.run_id else self.start)) as source:
            response = source.response
            if response.is_error:
                await response.aread()
                raise Refused(response)
            if response.status_code == httpx.codes.NO_CONTENT:
                run = await call(self.http, "GET", f"/api/agent/runs/{self.run_id}")
                self.screen.note(f"This run has ended ({run['status']}), with nothing after event {self.seen}.")
                return Exit[run["status"].upper()]
            self.run_id = response.headers.get("X-Run-ID", self.run_id)
            self._attached = bool(self.run_id)
            if response.status_code == httpx.codes.ACCEPTED:
                await response.aread()
                self.screen.started(response.json())
                return Exit.SUCCEEDED
            return await self._read(source)

    async def _look(self) -> None:
        """Get the run's last event. A question is only asked after it, because events up to there may answer it."""
        path = f"/api/agent/runs/{self.run_id}"
        self._past = (await call(self.http, "GET", path))["last_seq"]
        if self.seen and not self._attached:  # events before the cursor may have pending calls
            events = await ask(self.http, "GET", f"{path}/events", params={"wait": "false"})
            for event in map(json.loads, events.text.splitlines()):
                if event["seq"] <= self.seen:
                    self.answers.hear(event)
        if self.seen >= self._past:
            self.answers.begin(self.run_id)

    async def _read(self, source: EventSource) -> Exit:
        async with aclosing(source.aiter_sse()) as frames:
            async for frame in frames:
                if frame.event == "draining":
                    raise Broken("the service is shutting down", (frame.retry or 0) / 1000)
                if not frame.data or int(frame.id) <= self.seen:
                    continue  # httpx-sse makes an empty event of each ping
                event = frame.json()
                self.seen, self._failed = event["seq"], 0
                self.screen.show(event)
                self.answers.hear(event)
                if self.seen >= self._past:
                    self.answers.begin(self.run_id)
                if event["event"] == "complete":
                    return Exit[event["data"]["status"].upper()]
        raise Broken("the stream ended without `complete`")

    def _leave(self) -> Exit:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        command = (
            f"python {Path(__file__).name} --resume {self.run_id} --url {without_password(str(self.http.base_url))}"
        )
        self.screen.note(f"The run still waits for an answer. To be asked again: {command}")
        return Exit.WAITING

    def _cancel(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        # For a second Ctrl-C, asyncio's runner would raise KeyboardInterrupt, which can get lost in a destructor.
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        self._cancelling, self._wait = True, 0.0
        self.screen.note("\nCancelling the run; Ctrl-C again leaves at once.")

    def _wait_after(self, fault: httpx.TransportError | Broken) -> float:
        """Return the wait before the next connection: exponential with jitter, at least the service's Retry-After.

        Raise if a retry can't help or there were enough. A start can be repeated, because its Idempotency-Key makes it
        the same run. The service's own refusal of a start is final, unless it has a Retry-After.
        """
        hint = fault.retry_after if isinstance(fault, Broken) else None
        self._sent = self._sent or self._attached or not isinstance(fault, NEVER_SENT)
        final = not self._sent
        if isinstance(fault, Refused):
            final = fault.status < 500 or (fault.is_ours and not self._attached)
        reason = str(fault) or type(fault).__name__
        if (final and hint is None) or self._failed >= self.retries:
            if not self._attached:
                raise fault
            raise Broken(f"The stream is incomplete: {reason}. Later: --resume {self.run_id} --after {self.seen}")
        wait = max(hint or 0.0, backoff(self._failed))
        self._failed += 1
        again = f"Re-attaching after event {self.seen}" if self._attached else "Trying again"
        self.screen.note(f"{again} in {wait:.1f} s: {reason}")
        return wait


async def ask(http: httpx.AsyncClient, method: str, path: str, **request: Any) -> httpx.Response:
    """Send a request. Raise `Refused` for an error response."""
    response = await http.request(method, path, **request)
    if response.is_error:
        raise Refused(response)
    return response


async def call(http: httpx.AsyncClient, method: str, path: str, **request: Any) -> dict[str, Any]:
    """Send a request and return its JSON response. Raise `Refused` for an error response."""
    answer: dict[str, Any] = (await ask(http, method, path, **request)).json()
    return answer


def events_of(answer: dict[str, Any]) -> Iterator[Event]:
    """Return a JSON response as the events that it was made of."""
    events = [("run_started", answer), ("thinking", {"content": answer["thinking"]})]
    for tool_call in answer["tool_calls"]:
        events.append(("tool_use", tool_call))
        if "approval_response" in tool_call:
            events.append(("approval_response", tool_call["approval_response"]))
        if "result" in tool_call:
            events.append(("tool_result", {**tool_call, "content": tool_call["result"]}))
    events.append(("partial_output", {"content": answer["output"]}))
    if answer["status"] == "waiting":
        events.append(("waiting", answer))
    else:
        events += [("final_output", {"content": answer["output"]}), ("complete", answer)]
    return ({"event": name, "data": data, "run_id": answer["run_id"]} for name, data in events)


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the body of the request that the command line describes."""
    return {name: value for name, value in vars(options).items() if name not in NOT_SENT and value is not None}


async def tour(options: argparse.Namespace, screen: Screen) -> Exit:
    """Show a scripted run and the model's answer to a question. At a terminal, then ask for more questions.

    Raise as `run` does.
    """
    screen.note("A scripted run, as --simulate plays it:\n")
    await run(asking(options, "Is it cold in Oslo?", scenario="default"), screen)
    screen.note(f"\nA question to the service's default model: {TOUR}\n")
    answered = await run(asking(options, TOUR, instructions="Answer in one short sentence."), screen)
    if is_interactive(options):
        return await conversation(options, screen) or answered
    screen.note('\nTo ask your own question: python test_client.py "…". For all options: --help')
    return answered


async def conversation(options: argparse.Namespace, screen: Screen) -> Exit | None:
    """Ask typed questions until an empty line, the end of input or Ctrl-C. Return how the last run ended, if any.

    Raise `Broken` or httpx's errors.
    """
    last: Exit | None = None
    try:
        while question := await screen.ask("\nYour question (Enter to leave): "):
            try:
                last = await run(asking(options, question), screen)
            except Refused as fault:
                screen.complain(str(fault), *fault.details)
                last = Exit.FAILED
    except asyncio.CancelledError:  # Ctrl-C at the prompt
        screen.note("")
    return last


def asking(options: argparse.Namespace, question: str, **more: Any) -> argparse.Namespace:
    """Return the command line with this question."""
    return argparse.Namespace(**vars(options) | {"input": question} | more)


async def run(options: argparse.Namespace, screen: Screen) -> Exit:
    """Carry out the command line. Raise `Broken` or httpx's errors."""
    body = request_of(options)
    timeout = httpx.Timeout(10, read=SILENCE_S)
    async with httpx.AsyncClient(base_url=options.url, timeout=timeout, headers=key_header()) as http:
        if options.list:
            await show_list(http, screen, options.list, options.session_id)
            return Exit.SUCCEEDED
        if options.execute:  # sent once: the run ends with its connection, so nothing could be resumed
            answer = await call(http, "POST", "/api/agent/execute", json=body, timeout=None)
            for event in [answer] if options.json else events_of(answer):
                screen.show(event)
            if answer["status"] == "waiting":
                screen.note(f"To answer and to follow the run: --resume {answer['run_id']}")
            return Exit[answer["status"].upper()]
        path = "runs" if options.background else "stream/simulate" if options.scenario else "stream"
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        start = {"method": "POST", "url": f"/api/agent/{path}", "json": body, "headers": headers}
        answers = Answers(http, screen, decision_of(options), is_interactive(options), options.retries)
        follower = Follower(http, screen, answers, start, options.retries, options.resume or "", options.after)
        return await follower.follow()


def decision_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the decision that the command line has for all approvals, if any."""
    if options.approve:
        return {"approved": True}
    if options.refuse is None:
        return None
    return {"approved": False, "reason": options.refuse} if options.refuse else {"approved": False}


def is_interactive(options: argparse.Namespace) -> bool:
    """Whether a user can see and answer a question. (On Windows, asyncio can't read a terminal.)"""
    sees = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    return sees and not options.json and sys.platform != "win32"


async def show_list(http: httpx.AsyncClient, screen: Screen, name: str, session_id: str | None) -> None:
    """Print one of `LISTS`, page by page."""
    session = f"/sessions/{quote(session_id, safe='')}" if session_id and name in {"runs", "messages"} else ""
    query: dict[str, Any] = {"limit": 200}
    while query:
        page = await call(http, "GET", f"/api/agent{session}/{name}", params=query)
        for item in page[name]:
            screen.item(item)
        query = {**query, "cursor": page["next_cursor"]} if "next_cursor" in page else {}


def piped_question() -> str:
    """Return the text of standard input, unless it is a terminal."""
    return "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()


def service_url(text: str) -> str:
    """Return an http URL, also for `localhost:8000`. Raise argparse's error for anything else."""
    url = text if "://" in text else f"http://{text}"
    parts = ADDRESS.fullmatch(url)
    # A host of digits alone would be an IPv4 address.
    if parts is None or parts["host"].isdecimal() or not 0 < int(parts["port"] or 80) < 65536 or not is_url(url):
        raise argparse.ArgumentTypeError(f"{without_password(text)!r} is not an address such as http://127.0.0.1:8000")
    return url


def without_password(url: str) -> str:
    """Return a URL to print, without a user name and password."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def is_url(text: str) -> bool:
    """Whether httpx can send to this URL."""
    try:
        httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return True


def key_header() -> dict[str, str]:
    """Return the header with the API key AGENT_STREAM_KEY, which isn't an option, since others could see it in `ps`."""
    key = os.environ.get("AGENT_STREAM_KEY", "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def default_url() -> str:
    """Return the service's URL: AGENT_STREAM_URL, or that of the HOST and PORT that the service would use.

    HOST and PORT are read from the environment and from the `.env` beside this program.
    """
    if url := os.environ.get("AGENT_STREAM_URL"):
        return url
    file = Path(__file__).with_name(".env")
    lines = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    variables = {name.upper(): value for name, value in [*LISTENS.findall(lines), *os.environ.items()] if value}
    host, port = variables.get("HOST", "127.0.0.1"), variables.get("PORT", "")
    host = ANY_ADDRESS.get(host, host)
    is_port = port.isdecimal() and int(port) > 0  # 0 is any free one
    return f"http://{f'[{host}]' if ':' in host else host}:{port if is_port else 8000}"


def run_id(text: str) -> str:
    """Check a run's id, which becomes part of a path. Raise argparse's error."""
    if not re.fullmatch(r"[\w-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a run")
    return text


def number(text: str) -> float:
    """Parse a number that JSON can represent. Raise `ValueError`."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def sendable(text: str) -> str:
    """Return text that UTF-8 can represent. Raise `ValueError`."""
    text.encode()
    return text


def schema_file(path: str) -> dict[str, Any]:
    """Read a JSON Schema from a file. Raise argparse's error."""
    try:
        schema = json_object(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise argparse.ArgumentTypeError(f"{path!r} can't be read: {fault}") from None
    if schema is None:
        raise argparse.ArgumentTypeError(f"{path!r} has no JSON object")
    return schema


def client_tool(text: str) -> dict[str, Any]:
    """Read a client tool from JSON or from a file. Raise argparse's error."""
    try:
        tool = json_object(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise argparse.ArgumentTypeError(f"{text!r} can't be read: {fault}") from None
    if tool is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return tool


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. Fields of the request have its names, and the service validates them."""
    cli = argparse.ArgumentParser(
        description="Ask the agent, and see how it thinks, calls tools and answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument(
        "input", nargs="?", metavar="QUESTION", help="the question; by default, it is read from standard input"
    )
    add_commands(cli)
    add_request_fields(cli)
    add_connection_options(cli)
    return cli


def add_commands(cli: argparse.ArgumentParser) -> None:
    """Add the options that choose what to do in place of streaming the answer."""
    how = cli.add_mutually_exclusive_group().add_argument
    scenarios = (
        "show a scripted run: default, long, tool_error, error, slow, truncated, progress, approval, client_tool, "
        "fallback, sources, structured or budget"
    )
    how("--simulate", dest="scenario", nargs="?", const="default", metavar="SCENARIO", help=scenarios)
    how("--execute", action="store_true", help="request one JSON response instead of the stream")
    how("--resume", type=run_id, metavar="RUN_ID", help="follow an existing run")
    how("--background", action="store_true", help="start a run and print its id for --resume")
    for name, what in LISTS.items():
        how(f"--{name}", dest="list", action="store_const", const=name, help=f"list {what}")


def add_request_fields(cli: argparse.ArgumentParser) -> None:
    """Add the options that are fields of the request, and those that answer its calls."""
    add = cli.add_argument
    add("--session", dest="session_id", metavar="ID", help="the session to continue; a new id creates one")
    add("--multitask", metavar="HOW", help="if another run of the session has not ended: reject, enqueue or interrupt")
    add("--model", metavar="PROVIDER/MODEL", help="the model; see --models")
    add(
        "--fallback",
        dest="fallback_models",
        action="append",
        metavar="PROVIDER/MODEL",
        help="a model that answers if the model fails; repeatable",
    )
    add("--instructions", metavar="TEXT", help="the system prompt")
    add(
        "--tool",
        dest="tools",
        action="append",
        metavar="NAME",
        help="a tool that the model may call; see --tools; repeatable",
    )
    schema = "a file with a JSON Schema that the answer has to match"
    add("--schema", dest="output_schema", type=schema_file, metavar="FILE", help=schema)
    add("--require-approval", action="append", metavar="NAME", help="a tool whose calls need approval; repeatable")
    described = (
        "a tool whose results you type: JSON with name, description and parameters, or a file with it; repeatable"
    )
    add("--client-tool", dest="client_tools", type=client_tool, action="append", metavar="JSON_OR_FILE", help=described)
    decide = cli.add_mutually_exclusive_group().add_argument
    decide("--approve", action="store_true", help="approve every call that needs approval")
    refusal = "refuse every call that needs approval"
    decide("--refuse", type=sendable, nargs="?", const="", metavar="REASON", help=refusal)
    add("--mcp-server", dest="mcp_servers", action="append", metavar="SERVER", help="owner/name or URL; repeatable")
    add("--temperature", type=number, metavar="T", help="the sampling temperature, 0 to 2")
    add("--max-steps", type=int, metavar="N", help="the maximum number of model turns")
    add("--max-cost", dest="max_cost_usd", type=number, metavar="USD", help="the US dollars that the run may spend")
    add("--max-total-tokens", type=int, metavar="N", help="the tokens that all steps may take together")


def add_connection_options(cli: argparse.ArgumentParser) -> None:
    """Add the options for the pace, the output and the service's URL."""
    add = cli.add_argument
    add("--delay-ms", type=int, metavar="N", help="with --simulate: the pause before each event, in milliseconds")
    add("--after", type=int, default=0, metavar="N", help="with --resume: the number of the last event received")
    add("--retries", type=int, default=7, metavar="N", help="how many connections in a row may fail (%(default)s)")
    shown = cli.add_mutually_exclusive_group().add_argument
    shown("--json", action="store_true", help="print each event as a line of JSON")
    shown("--quiet", action="store_true", help="print only the answer")
    url = default_url()
    shown_url = without_password(url).replace("%", "%%")
    where = f"the service's URL; by default AGENT_STREAM_URL, or HOST and PORT of the service's .env: {shown_url}"
    add("--url", type=service_url, default=url, help=where)


def work(cli: argparse.ArgumentParser, options: argparse.Namespace) -> Work:
    """Return what the command line asks for. Exit with 2 if there is nothing to do, or options don't fit together."""
    if options.list == "messages" and not options.session_id:
        cli.error("--messages needs --session")
    if options.input or options.scenario or options.resume or options.list:
        return run
    options.input = piped_question() or None
    if options.input:
        return run
    if not (request_of(options) or options.execute or options.background or options.json or options.quiet):
        return tour
    if options.background or not is_interactive(options):
        cli.error("QUESTION is missing")
    return conversation


def screen_of(options: argparse.Namespace) -> Screen:
    """Return the screen for the options."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals without Unicode
    return JsonLines() if options.json else AnswerOnly() if options.quiet else Screen()


def main() -> int:
    """Run the command line."""
    cli = parser()
    options = cli.parse_args()
    screen = screen_of(options)
    try:
        return asyncio.run(work(cli, options)(options, screen)) or Exit.SUCCEEDED
    except KeyboardInterrupt:
        screen.note("\nLeft. The service cancels a run that nobody reads.")
        return Exit.CANCELLED
    except Refused as fault:
        screen.complain(str(fault), *fault.details)
        return Exit.FAILED
    except UnicodeError:
        cli.error("text that is not UTF-8 can't be sent")
    except Broken as fault:
        screen.complain(str(fault))
    except httpx.TransportError as fault:
        help_ = "Start the service with ./run.sh, or set its address with --url."
        screen.complain(f"Can't reach {without_password(options.url)}: {str(fault) or type(fault).__name__}", help_)
    return Exit.INCOMPLETE


if __name__ == "__main__":
    sys.exit(main())
