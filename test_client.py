"""Ask the agent from a terminal, and watch it think, call tools and answer: `python test_client.py --help`.

A client of its own: it needs `httpx`, `httpx-sse` and `rich`, and nothing of the service's code.
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

SILENCE_S = (
    60  # the service sends a ping every 4 seconds by default, so a connection that is silent for so long is dead
)
LONGEST_WAIT_S = 8.0
SHOWN_RESULT = 300  # characters of a tool's result on the screen
BAR = 20  # characters of a progress bar
NOT_SENT = {"execute", "resume", "background", "list", "after", "retries", "json", "quiet", "url", "approve", "refuse"}
TOUR = "What is the capital of France?"  # what the model is asked where the command line asks nothing
ADDRESS = re.compile(
    r"https?://([^\s/?#@]+@)?(?P<host>\[[\da-f:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>\d{1,5}))?(/[^\s/?#]+)*/?",
    re.IGNORECASE,
)
LISTENS = re.compile(r"^\s*(?:export\s+)?(HOST|PORT)\s*=\s*['\"]?([^\s'\"#]+)", re.IGNORECASE | re.MULTILINE)
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a service that listens everywhere is found
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
LISTS = {
    "models": "the models on offer",
    "tools": "the Python tools on offer",
    "runs": "runs, the latest first, of --session where it is given",
    "messages": "what was said in --session",
}
MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("■", "yellow")}
CONTROLS = dict.fromkeys({*range(32), *range(128, 160)} - {ord("\n"), ord("\t")})  # a model could steer terminals

EPILOG = """\
exit codes:
  0  the run succeeded, or is on its way with --background
  1  the run failed, or the service refused the request
  2  the command line is not valid
  3  cancelled: Ctrl-C cancels the run and shows how it ends, a second Ctrl-C leaves at once
  4  the service can't be reached, or the stream stayed incomplete
  5  the run waits for a person or for a client tool's result, after --execute or Ctrl-D at the question; --resume
     goes on with it

a call that waits for a person is asked about here, as is the result of a client tool; --approve and --refuse answer
without asking. Where there is no terminal, how to answer with curl is printed, and the run is followed on.

without a QUESTION it is read from standard input. Where that has none either, a tour shows a scripted run and what the
model answers to a question; at a terminal you can then ask your own.

examples:
  python test_client.py
  python test_client.py "Why is the sky blue?" --temperature 0.2
  echo "Name three rivers" | python test_client.py --quiet | head -n 1
  python test_client.py --simulate tool_error
  python test_client.py "And at night?" --session chat-1
  python test_client.py "Tidy up" --tool delete_folder --require-approval delete_folder
  python test_client.py --simulate approval --refuse "Not on a Friday."
  python test_client.py "Name three rivers" --json | jq -r 'select(.event == "final_output").data.content'
"""

Event = dict[str, Any]
"""What the service sends: event, data, run_id, timestamp, and seq, which counts 1, 2, 3 … and is the SSE id."""


class Exit(IntEnum):
    """How this program ends. 2 is argparse's."""

    SUCCEEDED = 0
    FAILED = 1
    CANCELLED = 3
    INCOMPLETE = 4
    WAITING = 5


Work = Callable[[argparse.Namespace, "Screen"], Coroutine[Any, Any, Exit | None]]
"""What a command line asks for: it raises `Broken` or httpx's errors."""


class Broken(Exception):
    """No `complete` came. `retry_after` is the service's word on when to try again, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Broken):
    """The service answered with an error, or something before it did; `is_ours` tells them apart."""

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
                self.details.append("Is --url the service's address alone, such as http://127.0.0.1:8000?")
        except (ValueError, LookupError, TypeError):  # these are not the service's words
            self.is_ours = False
            self.details = ["This is not the service's own answer: check --url."]
            message = f"HTTP {self.status} {response.reason_phrase}"
        seconds = response.headers.get("Retry-After", "")
        super().__init__(message, float(seconds) if seconds.isdecimal() else None)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error of a refusal: of its JSON body, or of the first frame where a stream was asked for.

    Raise `ValueError`, `LookupError` or `TypeError` for what is neither.
    """
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        error: dict[str, Any] = response.json()["error"]
        return error
    frame = next(line for line in [*response.text.splitlines(), "data: {}"] if line.startswith("data: "))
    refusal: dict[str, Any] = json.loads(frame.removeprefix("data: "))["data"]
    return refusal


class Output(Console):
    """Standard output or error. It ends the program where nobody reads on, as with `| head`: that is no failure."""

    def on_broken_pipe(self) -> None:
        """Leave, in success."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(Exit.SUCCEEDED) from None


class Screen:
    """Prints a run as it happens, each piece where the last one ended. What is not part of the run goes to stderr."""

    def __init__(self) -> None:
        self._out = Output(soft_wrap=True)
        self._err = Output(soft_wrap=True, stderr=True, highlight=False, markup=False, emoji=False)
        self._block = ""  # what the open line is a piece of: thinking, the answer, or a call by its id
        self._at_line_start = True
        self._typed: set[str] = set()  # the calls whose arguments were seen as the model wrote them
        self._names: dict[str, str] = {}  # of the tools that were called, by the call's id

    def show(self, event: Event, /) -> None:
        """Print one event. A name that is not here has nothing to show, or is of a later version."""
        data = event["data"]
        if "name" in data:
            self._names[data["tool_call_id"]] = data["name"]
        match event["event"]:
            case "run_started":
                self.line(f"{data['model']} · {event['run_id']}", "dim")
            case "thinking":
                self._flow("thinking", data["content"], "dim italic")
            case "partial_output":
                self._flow("answer", data["content"], opening="\n")
            case "tool_use_delta":
                self._typed.add(data["tool_call_id"])
                self._flow(data["tool_call_id"], data["arguments_delta"], "cyan", opening=f"→ {data['name']} ")
            case "tool_use" if data["tool_call_id"] not in self._typed:
                self._flow(data["tool_call_id"], as_json(data["arguments"]), "cyan", opening=f"→ {data['name']} ")
            case "approval_request":
                self.line(f"? {data['name']} waits for a person, until {data['expires_at']}", "yellow")
            case "waiting":
                self.line(waiting(data["pending"]), "yellow")
            case "approval_response":
                self.line(*decision(self._names.get(data["tool_call_id"], data["tool_call_id"]), data))
            case "tool_progress":
                self.line(f"  … {progress(data)}", "dim")
            case "tool_result":
                self.line(*tool_result(data))
            case "warning":
                self.line(f"! {data['code']}: {data['message']}", "yellow")
            case "error":
                self.complain(f"{data['code']}: {data['message']} ({data['request_id']})")
            case "complete":
                self.line(*summary(data))

    def started(self, run: dict[str, Any], /) -> None:
        """Print the id of a run that is not followed."""
        self.line(run["run_id"])
        self.note(f"It goes on in the background. To follow it: --resume {run['run_id']}")

    def item(self, item: dict[str, Any], /) -> None:
        """Print one item of a list: a message, a run or a model."""
        if "role" in item:
            self.line(*message_line(item))
        elif "run_id" in item:
            self.line(f"{item['run_id']}  {item['status']:9}  {item['created_at']}  {item['model']}")
        elif "parameters" in item:
            asks = " (a person is asked)" if item["approval"] else ""
            self.line(f"{item['name']}{asks}: {item['description'].partition(chr(10))[0]}")
        else:
            self.line(item["id"])

    def line(self, text: str, style: str = "") -> None:
        """Print a line of its own."""
        self._end_line()
        self._print(f"{text}\n", style)

    def note(self, text: str, style: str = "dim") -> None:
        """Say what happens besides the run."""
        if self._out.is_terminal:  # where both are seen together; in a file, the run's own text stays as it is
            self._end_line()
        self._err.print(text.translate(CONTROLS), style=style)

    async def ask(self, question: str) -> str | None:
        """What a person types; None where nobody does any more. Can be cancelled, when the answer isn't needed."""
        self._end_line()
        while select.select((sys.stdin,), (), (), 0)[0] and os.read(sys.stdin.fileno(), 1 << 16):
            pass  # what was typed before can't have been meant as the answer
        self._err.print(question.translate(CONTROLS), end="", style="bold")
        self._at_line_start = not self._out.is_terminal
        line = await typed_line()
        self._at_line_start = bool(line) or self._at_line_start  # the terminal has shown it with its end
        return line.decode(errors="replace").strip() if line else None

    def complain(self, text: str, *details: str) -> None:
        """Say what went wrong."""
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
        """Print text as it is: not wrapped, its tabs kept."""
        if text := text.translate(CONTROLS):
            self._out.print(Segments([Segment(text, self._out.get_style(style))]), end="")
            self._at_line_start = text.endswith("\n")


class JsonLines(Screen):
    """Prints each event, and whatever else there is, as a line of JSON."""

    def show(self, event: Event, /) -> None:
        """Print one event."""
        self.line(json.dumps(event))

    started = item = show


class AnswerOnly(Screen):
    """Prints the answer alone, for pipes. What went wrong still goes to stderr."""

    def show(self, event: Event, /) -> None:
        """Print the whole answer, or an error."""
        match event["event"]:
            case "final_output":
                self.line(event["data"]["content"])
                self._end_line()
            case "error":
                super().show(event)

    def started(self, run: dict[str, Any], /) -> None:
        """Print the id of a run that is not followed."""
        self.line(run["run_id"])


async def typed_line() -> bytes:
    """A line from the terminal, with its end; nothing at the end of input. The event loop goes on meanwhile."""
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
    """What a run waits for as a line."""
    whose = {"approval": "a person's decision on {}", "client": "the result of {}"}
    return "… waiting for " + ", ".join(whose[item["kind"]].format(item["name"]) for item in pending)


def decision(name: str, data: dict[str, Any]) -> tuple[str, str]:
    """What a person has decided on a call as a line, with its style."""
    mark, style = MARKS["succeeded" if data["approved"] else "failed"]
    changed = f" with {as_json(data['arguments'])}" if "arguments" in data else ""
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"  {mark} {name} {'approved' if data['approved'] else 'refused'}{changed}{reason}", style


def progress(data: dict[str, Any]) -> str:
    """How far a tool is: its message, with a bar where the whole is known."""
    done, total, message = data.get("progress"), data.get("total"), data.get("message", "")
    if done is None or not total:
        return f"{message} {'' if done is None else f'{done:g}'}".strip()
    part = min(1.0, max(0.0, done / total))
    full = round(part * BAR)
    return f"{message} {'━' * full}{'─' * (BAR - full)} {part:.0%}".strip()


def as_json(value: object) -> str:
    """JSON as a person reads it."""
    return json.dumps(value, ensure_ascii=False)


def tool_result(data: dict[str, Any]) -> tuple[str, str]:
    """What a tool gave as a line, with its style."""
    mark, style = MARKS["failed" if data["is_error"] else "succeeded"]
    took = f" · {data['duration_ms']} ms" if "duration_ms" in data else ""
    return f"  {mark} {data['name']}: {shortened(data['content'])}{took}", style


def message_line(message: dict[str, Any]) -> tuple[str, str]:
    """A message of a session as a line or more, with its style."""
    if message["role"] == "tool":
        mark, style = MARKS["failed" if message["is_error"] else "succeeded"]
        return f"  {mark} {shortened(message['content'])}", style
    content = message["content"] or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text", "[image]") for part in content)
    if message["role"] == "user":
        return f"\n> {text}", "bold"
    calls = (f"→ {call['name']} {json.dumps(call['arguments'])}" for call in message.get("tool_calls", ()))
    return "\n".join(filter(None, (text, *calls))), ""


def shortened(text: str) -> str:
    """A tool's result on one line."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_RESULT else f"{text[:SHOWN_RESULT]}… ({len(text):,} characters)"


def summary(end: dict[str, Any]) -> tuple[str, str]:
    """The last line of a run, with its style, from the data of `complete` or a JSON answer."""
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
    """Answers the calls that a run waits for: as the command line says, or as a person at the terminal does.

    Where there is neither it says how to answer from elsewhere. What is answered elsewhere meanwhile isn't asked for.
    A person who ends the input (Ctrl-D) leaves: the follower's task is cancelled, and `is_left` says why.
    """

    http: httpx.AsyncClient
    screen: Screen
    decision: dict[str, Any] | None
    is_asking: bool
    retries: int
    is_left: bool = False
    _pending: dict[str, dict[str, Any]] = field(default_factory=dict)  # by the call's id
    _arguments: dict[str, Any] = field(default_factory=dict)
    _asked: str = ""  # the call of the question that is on the screen
    _task: asyncio.Task[None] | None = None

    def hear(self, event: Event) -> None:
        """Take in an event of the run."""
        data = event["data"]
        match event["event"]:
            case "tool_use":
                self._arguments[data["tool_call_id"]] = data["arguments"]
            case "waiting":
                self._pending = {item["tool_call_id"]: item for item in data["pending"]}
            case "approval_response" | "tool_result":
                self._pending.pop(data["tool_call_id"], None)
                if data["tool_call_id"] == self._asked:
                    self.stop()
            case "complete":
                self.stop()

    def begin(self, run_id: str) -> None:
        """Answer what there is, beside the reading of the run's events."""
        if self._pending and (self._task is None or self._task.done()):
            follower = asyncio.current_task()
            assert follower is not None
            self._task = asyncio.create_task(self._answer_all(f"/api/agent/runs/{run_id}", follower))

    def stop(self) -> None:
        """Take a question off the screen."""
        self._asked = ""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _answer_all(self, run: str, follower: "asyncio.Task[Any]") -> None:
        while self._pending:
            item = next(iter(self._pending.values()))
            call_id = item["tool_call_id"]
            arguments = self._arguments.get(call_id, {})
            answer = await self._answer_to(item, arguments)
            if answer is None:
                self._explain(run, item, arguments)
                if self.is_asking:
                    self.is_left = True
                    follower.cancel()
                    return
            elif not await self._is_taken(*request_for(run, item, answer)):
                continue
            self._pending.pop(call_id, None)

    async def _answer_to(self, item: dict[str, Any], arguments: Any) -> dict[str, Any] | None:
        """The answer as its route takes it; None where there is nobody to ask."""
        is_approval = item["kind"] == "approval"
        if is_approval and self.decision is not None:
            return self.decision
        if not self.is_asking:
            return None
        self._asked = item["tool_call_id"]
        call = f"{item['name']} {as_json(arguments)}"
        answer = await (self._ask_approval(call) if is_approval else self._ask_result(call))
        self._asked = ""
        return answer

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
                    self.screen.note("That is no JSON object.")
        return None

    async def _ask_result(self, call: str) -> dict[str, Any] | None:
        text = await self.screen.ask(f"What does {call} give? ")
        return None if text is None else {"content": text}

    async def _is_taken(self, path: str, body: dict[str, Any]) -> bool:
        """Send an answer, until the service has said something to it. False where it wants another one."""
        fault = await self._send(path, body)
        if isinstance(fault, Refused) and fault.status == httpx.codes.CONFLICT:
            self.screen.note(f"Answered already: {fault}")
        elif fault is not None:
            details = fault.details if isinstance(fault, Refused) else []
            self.screen.complain(f"The answer was not taken: {str(fault) or type(fault).__name__}", *details)
            was_typed = body is not self.decision
            return not (was_typed and isinstance(fault, Refused) and fault.status == httpx.codes.UNPROCESSABLE_ENTITY)
        return True

    async def _send(self, path: str, body: dict[str, Any]) -> Refused | httpx.TransportError | None:
        """Post an answer, again and again where that may help: the same one twice is one. Return what stays wrong."""
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
        example = {"approved": True} if item["kind"] == "approval" else {"content": "…"}
        path, body = request_for(run, item, example)
        self.screen.note(f"{item['name']} {as_json(arguments)} waits for its answer, such as:")
        url = shlex.quote(str(self.http.base_url.join(path)))
        self.screen.note(f"  curl {url} -H 'Content-Type: application/json' -d {shlex.quote(as_json(body))}")


def request_for(run: str, item: dict[str, Any], answer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where an answer to a call that waits is posted, and the body."""
    call_id = item["tool_call_id"]
    if item["kind"] == "approval":
        return f"{run}/approvals/{quote(call_id, safe='')}", answer
    return f"{run}/tool-results", {"results": [{"tool_call_id": call_id, **answer}]}


def json_object(text: str) -> dict[str, Any] | None:
    """What a person has typed as JSON; None where it is no object, or none that can be sent."""
    try:
        value = json.loads(text)
        sendable(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def backoff(failed: int) -> float:
    """The seconds before another try after so many: exponential, with jitter."""
    return min(LONGEST_WAIT_S, 0.25 * 2.0**failed) * random.uniform(0.5, 1)  # noqa: S311 - jitter


@dataclass
class Follower:
    """Follows a run to its `complete`, over as many connections as that takes, and shows each event once.

    `start` is the request that starts the run, unless `run_id` says that it is there already, and `seen` how much of it
    is known. `retries` is how many connections in a row may bring nothing. A run in the background is not followed.
    """

    http: httpx.AsyncClient
    screen: Screen
    answers: Answers
    start: dict[str, Any]
    retries: int
    run_id: str = ""
    seen: int = 0
    _sent: bool = False  # whether the service may know of the run
    _attached: bool = False
    _past: int = 0  # the last event that was there when the connection was made
    _cancelling: bool = False
    _failed: int = 0
    _wait: float = 0.0

    async def follow(self) -> Exit:
        """Raise `Broken` or httpx's errors once there is no hope for the run's `complete`.

        Retries are by hand, as the libraries for them repeat a call, and this is one long reading that goes on.
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
                if self._cancelling or not self.run_id:  # a Ctrl-C
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
        """See how far the run is: what its events up to there ask for, later ones of them may have answered."""
        path = f"/api/agent/runs/{self.run_id}"
        self._past = (await call(self.http, "GET", path))["last_seq"]
        if self.seen and not self._attached:  # what came before may ask for something, too
            told = await ask(self.http, "GET", f"{path}/events", params={"wait": "false"})
            for event in map(json.loads, told.text.splitlines()):
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
                    continue  # httpx-sse makes an empty event of a ping between two
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
        command = f"python {Path(__file__).name} --resume {self.run_id} --url {self.http.base_url}"
        self.screen.note(f"The run waits for its answer. To be asked again: {command}")
        return Exit.WAITING

    def _cancel(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        # asyncio's runner would raise KeyboardInterrupt for the second one, which is lost in a destructor.
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        self._cancelling, self._wait = True, 0.0
        self.screen.note("\nCancelling the run; Ctrl-C again leaves at once.")

    def _wait_after(self, fault: httpx.TransportError | Broken) -> float:
        """The wait before the next connection: exponential with jitter, not below the service's hint.

        Raise where another try can't help or there have been enough. A start can be sent again: its key makes it the
        same run. What the service itself says to it is final, unless it says when to come back.
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
    """An answer. Raise `Refused` for an error."""
    response = await http.request(method, path, **request)
    if response.is_error:
        raise Refused(response)
    return response


async def call(http: httpx.AsyncClient, method: str, path: str, **request: Any) -> dict[str, Any]:
    """A JSON answer. Raise `Refused` for an error."""
    answer: dict[str, Any] = (await ask(http, method, path, **request)).json()
    return answer


def events_of(answer: dict[str, Any]) -> Iterator[Event]:
    """A JSON answer told as the events that it has folded."""
    told = [("run_started", answer), ("thinking", {"content": answer["thinking"]})]
    for tool_call in answer["tool_calls"]:
        told.append(("tool_use", tool_call))
        if "result" in tool_call:
            told.append(("tool_result", {**tool_call, "content": tool_call["result"]}))
    told.append(("partial_output", {"content": answer["output"]}))
    if answer["status"] == "waiting":
        told.append(("waiting", answer))
    else:
        told += [("final_output", {"content": answer["output"]}), ("complete", answer)]
    return ({"event": name, "data": data, "run_id": answer["run_id"]} for name, data in told)


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """The body of the request that the command line describes."""
    return {name: value for name, value in vars(options).items() if name not in NOT_SENT and value is not None}


async def tour(options: argparse.Namespace, screen: Screen) -> Exit:
    """A scripted run, the model's answer to a question, and then the questions that are typed at a terminal.

    Raise as `run` does.
    """
    screen.note("A scripted run, as --simulate plays it:\n")
    await run(asking(options, "Is it cold in Oslo?", scenario="default"), screen)
    screen.note(f"\nAnd a question to the model that the service has: {TOUR}\n")
    answered = await run(asking(options, TOUR, instructions="Answer in one short sentence."), screen)
    if is_interactive(options):
        return await conversation(options, screen) or answered
    screen.note('\nYour own question: python test_client.py "…"; what else there is: --help')
    return answered


async def conversation(options: argparse.Namespace, screen: Screen) -> Exit | None:
    """Ask what is typed, until an empty line, the end of input or Ctrl-C. Return how the last run ended, if any did.

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
    """The command line with this question."""
    return argparse.Namespace(**vars(options) | {"input": question} | more)


async def run(options: argparse.Namespace, screen: Screen) -> Exit:
    """Do what the command line says. Raise `Broken` or httpx's errors."""
    body = request_of(options)
    async with httpx.AsyncClient(base_url=options.url, timeout=httpx.Timeout(10, read=SILENCE_S)) as http:
        if options.list:
            await show_list(http, screen, options.list, options.session_id)
            return Exit.SUCCEEDED
        if options.execute:  # sent once: its run ends with its connection, so there would be nothing to come back to
            answer = await call(http, "POST", "/api/agent/execute", json=body, timeout=None)
            for event in [answer] if options.json else events_of(answer):
                screen.show(event)
            if answer["status"] == "waiting":
                screen.note(f"To answer, and to see how it ends: --resume {answer['run_id']}")
            return Exit[answer["status"].upper()]
        path = "runs" if options.background else "stream/simulate" if options.scenario else "stream"
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        start = {"method": "POST", "url": f"/api/agent/{path}", "json": body, "headers": headers}
        answers = Answers(http, screen, decision_of(options), is_interactive(options), options.retries)
        follower = Follower(http, screen, answers, start, options.retries, options.resume or "", options.after)
        return await follower.follow()


def decision_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """What the command line says to every call that waits for a person."""
    if options.approve:
        return {"approved": True}
    if options.refuse is None:
        return None
    return {"approved": False, "reason": options.refuse} if options.refuse else {"approved": False}


def is_interactive(options: argparse.Namespace) -> bool:
    """Whether there is a person who sees a question and can answer it. (On Windows no event loop reads a terminal.)"""
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
    """What standard input holds, unless it is a terminal."""
    return "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()


def service_url(text: str) -> str:
    """An http address, which `localhost:8000` is, too. Raise argparse's error for anything else."""
    url = text if "://" in text else f"http://{text}"
    parts = ADDRESS.fullmatch(url)
    # A host of digits alone would be an IPv4 address.
    if parts is None or parts["host"].isdecimal() or not 0 < int(parts["port"] or 80) < 65536 or not is_url(url):
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:8000")
    return url


def is_url(text: str) -> bool:
    """Whether httpx can send to this URL."""
    try:
        httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return True


def default_url() -> str:
    """Where the service is: AGENT_STREAM_URL, or the HOST and PORT that it would take itself.

    These are in the environment, or in the `.env` beside this program.
    """
    if url := os.environ.get("AGENT_STREAM_URL"):
        return url
    file = Path(__file__).with_name(".env")
    lines = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    given = {name.upper(): value for name, value in [*LISTENS.findall(lines), *os.environ.items()] if value}
    host, port = given.get("HOST", "127.0.0.1"), given.get("PORT", "")
    host = ANY_ADDRESS.get(host, host)
    is_port = port.isdecimal() and int(port) > 0  # 0 is any free one
    return f"http://{f'[{host}]' if ':' in host else host}:{port if is_port else 8000}"


def run_id(text: str) -> str:
    """A run's id, which is part of a path. Raise argparse's error for what can't be one."""
    if not re.fullmatch(r"[\w-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no run's id")
    return text


def number(text: str) -> float:
    """A number that JSON has. Raise `ValueError` for anything else."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def sendable(text: str) -> str:
    """A text that UTF-8 has. Raise `ValueError` for anything else."""
    text.encode()
    return text


def client_tool(text: str) -> dict[str, Any]:
    """A client tool as JSON, or the file that holds it. Raise argparse's error where it is neither."""
    try:
        tool = json_object(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise argparse.ArgumentTypeError(f"{text!r} can't be read: {fault}") from None
    if tool is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return tool


def parser() -> argparse.ArgumentParser:
    """The command line. What goes to the service has its names, and is checked there."""
    cli = argparse.ArgumentParser(
        description="Ask the agent, and watch it think, call tools and answer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = cli.add_argument
    add("input", nargs="?", metavar="QUESTION", help="what to ask; without it, what standard input holds")
    how = cli.add_mutually_exclusive_group().add_argument
    scenarios = "a scripted run: default, long, tool_error, error, slow, truncated, progress, approval or client_tool"
    how("--simulate", dest="scenario", nargs="?", const="default", metavar="SCENARIO", help=scenarios)
    how("--execute", action="store_true", help="wait for the one JSON answer in place of the stream")
    how("--resume", type=run_id, metavar="RUN_ID", help="follow a run that is there already")
    how("--background", action="store_true", help="start a run, and print its id for --resume")
    for name, what in LISTS.items():
        how(f"--{name}", dest="list", action="store_const", const=name, help=f"list {what}")
    add("--session", dest="session_id", metavar="ID", help="a conversation to go on with; an id that is new begins one")
    add("--multitask", metavar="HOW", help="while a run of the session is going: reject, enqueue or interrupt")
    add("--model", metavar="PROVIDER/MODEL", help="who answers; see --models")
    add("--instructions", metavar="TEXT", help="the system prompt")
    add("--tool", dest="tools", action="append", metavar="NAME", help="a tool it may call; see --tools; repeatable")
    add("--require-approval", action="append", metavar="NAME", help="a tool whose calls wait for a person; repeatable")
    described = "a tool that you are: JSON with name, description and parameters, or a file with it; repeatable"
    add("--client-tool", dest="client_tools", type=client_tool, action="append", metavar="JSON_OR_FILE", help=described)
    decide = cli.add_mutually_exclusive_group().add_argument
    decide("--approve", action="store_true", help="approve every call that waits for a person")
    refusal = "refuse every call that waits for a person"
    decide("--refuse", type=sendable, nargs="?", const="", metavar="REASON", help=refusal)
    add("--mcp-server", dest="mcp_servers", action="append", metavar="SERVER", help="owner/name or URL; repeatable")
    add("--temperature", type=number, metavar="T", help="0 to 2")
    add("--max-steps", type=int, metavar="N", help="model turns at most")
    add("--delay-ms", type=int, metavar="N", help="with --simulate: the pause before each event")
    add("--after", type=int, default=0, metavar="N", help="with --resume: the last event seen")
    add("--retries", type=int, default=7, metavar="N", help="connections in a row that may fail (%(default)s)")
    shown = cli.add_mutually_exclusive_group().add_argument
    shown("--json", action="store_true", help="print each event as a line of JSON")
    shown("--quiet", action="store_true", help="print the answer alone")
    where = "the service; by default AGENT_STREAM_URL, or HOST and PORT as in the service's .env: %(default)s"
    add("--url", type=service_url, default=default_url(), help=where)
    return cli


def work(cli: argparse.ArgumentParser, options: argparse.Namespace) -> Work:
    """What to do with a command line. Exit with 2 where there is nothing to do, or it makes no sense."""
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
        cli.error("there is no QUESTION")
    return conversation


def screen_of(options: argparse.Namespace) -> Screen:
    """How to print."""
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
        screen.note("\nLeft. The service ends a run that nobody reads.")
        return Exit.CANCELLED
    except Refused as fault:
        screen.complain(str(fault), *fault.details)
        return Exit.FAILED
    except UnicodeError:
        cli.error("text that is not UTF-8 can't be sent")
    except Broken as fault:
        screen.complain(str(fault))
    except httpx.TransportError as fault:
        help_ = "Start the service with ./run.sh, or say where it is with --url."
        screen.complain(f"Can't reach {options.url}: {str(fault) or type(fault).__name__}", help_)
    return Exit.INCOMPLETE


if __name__ == "__main__":
    sys.exit(main())
