"""Builds the fake upstream's answers: the steps of a scripted turn and their bytes, OpenAI's refusals, and lists."""

import asyncio
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]


def sse(data: Json, event: str | None = None) -> bytes:
    """One SSE block. Text stays UTF-8, so that a split can fall inside a character; lone surrogates become escapes."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    named = "" if event is None else f"event: {event}\n"
    return f"{named}data: {text}\n\n".encode(errors="backslashreplace")


@dataclass(frozen=True)
class Envelope:
    """The fields that the chunks of one turn share."""

    id: str
    model: str
    created: int = 1_727_346_142

    def chunk(self, choices: Sequence[Json], **extra: Any) -> bytes:
        """A `chat.completion.chunk` with these choices; `extra` adds fields at its top level."""
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return sse({**head, "choices": list(choices), **extra})

    def delta(self, delta: Json, finish_reason: str | None = None, **extra: Any) -> bytes:
        """A chunk with a chat's one choice."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self.chunk([choice], **extra)


# Steps that send bytes of the body


class BodyStep(ABC):
    """A step that sends something: one write for each item of `frames`."""

    @abstractmethod
    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        """The bytes to send, in order."""


@dataclass(frozen=True)
class Role(BodyStep):
    """OpenAI's opening chunk: the role and an empty content."""

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield envelope.delta({"role": "assistant", "content": ""})


# Steps of any number of pieces set their fields through `vars`: a frozen class has no other way to accept *pieces.


@dataclass(frozen=True, init=False)
class Text(BodyStep):
    """A piece of the answer in each chunk."""

    pieces: tuple[str, ...]

    def __init__(self, *pieces: str) -> None:
        vars(self).update(pieces=pieces)

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        for piece in self.pieces:
            yield envelope.delta({"content": piece})


@dataclass(frozen=True, init=False)
class Thinking(BodyStep):
    """A piece of the reasoning in each chunk, under any of the keys and in any of the shapes that providers use.

    With `shape` "text" a piece is sent as `{"text": piece}`, with "thinking" as `{"thinking": piece}`. A `signature` is
    sent beside it.
    """

    pieces: tuple[str, ...]
    key: str
    shape: Literal["str", "text", "thinking"]
    signature: str | None

    def __init__(
        self,
        *pieces: str,
        key: str = "reasoning_content",
        shape: Literal["str", "text", "thinking"] = "str",
        signature: str | None = None,
    ) -> None:
        vars(self).update(pieces=pieces, key=key, shape=shape, signature=signature)

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        signed = {} if self.signature is None else {"signature": self.signature}
        for piece in self.pieces:
            yield envelope.delta({self.key: piece if self.shape == "str" else {self.shape: piece, **signed}})


@dataclass(frozen=True, init=False)
class ToolCall(BodyStep):
    """A tool call in OpenAI's deltas: id, name and signature in the first, then only pieces of the arguments.

    None leaves the id, the name or the index out. `ToolCall(None, None, "more")` continues a call begun before, so
    parallel calls can be interleaved.
    """

    call_id: str | None
    name: str | None
    pieces: tuple[str, ...]
    index: int | None
    thought_signature: str | None

    def __init__(
        self,
        call_id: str | None,
        name: str | None,
        *pieces: str,
        index: int | None = 0,
        thought_signature: str | None = None,
    ) -> None:
        signature = thought_signature
        vars(self).update(call_id=call_id, name=name, pieces=pieces or ("",), index=index, thought_signature=signature)

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        index = {} if self.index is None else {"index": self.index}
        first, *rest = self.pieces
        yield envelope.delta({"tool_calls": [{**index, **self._opening(), "function": self._function(first)}]})
        for piece in rest:
            yield envelope.delta({"tool_calls": [{**index, "function": {"arguments": piece}}]})

    def _opening(self) -> Json:
        known = {
            "id": self.call_id,
            "type": None if self.name is None else "function",
            "thought_signature": self.thought_signature,
        }
        return {key: value for key, value in known.items() if value is not None}

    def _function(self, arguments: str) -> Json:
        return {"arguments": arguments} if self.name is None else {"name": self.name, "arguments": arguments}


@dataclass(frozen=True)
class McpResults(BodyStep):
    """Results of Dedalus' own MCP calls: `mcp_tool_results` beside empty choices, or beside a choice with no delta."""

    results: Sequence[Json]
    choices_empty: bool = True

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        results = list(self.results)
        if self.choices_empty:
            yield envelope.chunk([], mcp_tool_results=results)
        else:
            yield envelope.delta({}, mcp_tool_results=results)


@dataclass(frozen=True)
class Usage:
    """Token counts as OpenAI reports them. Details that are None are left out."""

    prompt: int
    completion: int
    total: int
    reasoning: int | None = None
    cached: int | None = None

    def wire(self) -> Json:
        counts: Json = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.total,
        }
        if self.reasoning is not None:
            counts["completion_tokens_details"] = {"reasoning_tokens": self.reasoning}
        if self.cached is not None:
            counts["prompt_tokens_details"] = {"cached_tokens": self.cached}
        return counts


@dataclass(frozen=True)
class UsageChunk(Usage, BodyStep):
    """Usage in OpenAI's way with `include_usage`: a last chunk without choices."""

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield envelope.chunk([], usage=self.wire())


@dataclass(frozen=True)
class Finish(BodyStep):
    """The end of the turn. Dedalus sends usage on the same chunk."""

    reason: str = "stop"
    usage: Usage | None = None

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        extra = {} if self.usage is None else {"usage": self.usage.wire()}
        yield envelope.delta({}, self.reason, **extra)


@dataclass(frozen=True)
class RawBytes(BodyStep):
    """Arbitrary bytes."""

    data: bytes

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield self.data


@dataclass(frozen=True)
class RawChunk(BodyStep):
    """This object as `data:`."""

    data: Json

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield sse(self.data)


@dataclass(frozen=True)
class ErrorData(RawChunk):
    """An error inside the stream: `{"error": {…}}` or `{"detail": …}` as `data:`."""


@dataclass(frozen=True)
class ErrorEvent(BodyStep):
    """An error inside the stream as `event: error`."""

    data: Json

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield sse(self.data, event="error")


@dataclass(frozen=True)
class Done(BodyStep):
    """`data: [DONE]`."""

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Comment(BodyStep):
    """An SSE comment, such as a keep-alive."""

    text: str

    def frames(self, envelope: Envelope) -> Iterator[bytes]:
        yield f": {self.text}\n\n".encode()


# Waiting


class Signal:
    """Wakes what waits for a condition, in any thread and on any event loop, when `notify` reports a change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wakers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for event, loop in self._wakers.items():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, condition: Callable[[], bool], timeout: float | None, said: Callable[[], str]) -> None:
        """Wait until `condition` holds. Raise AssertionError with the result of `said` after `timeout` seconds."""
        event = asyncio.Event()
        with self._changed:
            self._wakers[event] = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await event.wait()
                    event.clear()
        except TimeoutError:
            raise AssertionError(f"after {timeout} s: {said()}") from None
        finally:
            with self._changed:
                del self._wakers[event]

    def wait_sync(self, condition: Callable[[], bool], timeout: float | None, said: Callable[[], str]) -> None:
        """The same for a thread without an event loop."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(f"after {timeout} s: {said()}")


class Gate:
    """Holds a turn at its `WaitFor` until the test opens it. `reached` counts the turns that have arrived."""

    def __init__(self) -> None:
        self.reached = 0
        self.is_open = False
        self._signal = Signal()

    def open(self) -> None:
        """Let all turns pass, now and later. May be called from any thread."""
        self.is_open = True
        self._signal.notify()

    async def pass_through(self) -> None:
        """Called by the fake: count the arrival, and wait until the gate opens."""
        self.reached += 1
        self._signal.notify()
        await self._signal.wait(lambda: self.is_open, None, lambda: "the gate is closed")

    async def wait_reached(self, times: int = 1, timeout: float = 5.0) -> None:
        """Wait until this many turns have arrived."""
        await self._signal.wait(lambda: self.reached >= times, timeout, lambda: self._missing(times))

    def wait_reached_sync(self, times: int = 1, timeout: float = 5.0) -> None:
        """The same for a thread without an event loop."""
        self._signal.wait_sync(lambda: self.reached >= times, timeout, lambda: self._missing(times))

    def _missing(self, times: int) -> str:
        return f"{self.reached} of {times} turns have reached the gate"


@dataclass(frozen=True)
class Pause:
    """Sends nothing for this long."""

    seconds: float


@dataclass(frozen=True)
class WaitFor:
    """Sends nothing until the test opens the gate."""

    gate: Gate


# The response around the body


@dataclass(frozen=True)
class Head:
    """Sends the response head now, rather than with the first byte of the body."""

    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """Sends this HTTP response in place of a stream: JSON for a dict, plain text for a string."""

    code: int
    body: Json | str
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> tuple[str, bytes]:
        """Return the content type and the body."""
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8", self.body.encode()
        return "application/json", json.dumps(self.body).encode()


@dataclass(frozen=True, init=False)
class Html(Status):
    """A gateway's HTML page, by default with status 200."""

    def __init__(self, page: str, code: int = 200) -> None:
        super().__init__(code, page, {"content-type": "text/html; charset=utf-8"})


@dataclass(frozen=True)
class Cut:
    """Closes the connection in the middle of the body: a plain end, or a reset (RST)."""

    reset: bool = False


@dataclass(frozen=True)
class EndBody:
    """Ends the body cleanly here. A turn that runs out of steps ends in the same way."""


@dataclass(frozen=True)
class Stall:
    """Silence until the client disconnects."""


Step = BodyStep | Pause | WaitFor | Head | Status | Cut | EndBody | Stall


def answer(text: str, usage: Usage | None = None) -> list[Step]:
    """A good answer, one word at a time."""
    words = re.split(r"(?<=\s)(?=\S)", text)
    return [Role(), Text(*words), Finish("stop", usage), Done()]


def halved(gate: Gate) -> list[Step]:
    """An answer in two pieces. The second one waits for the gate."""
    return [Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done()]


def calling(name: str, arguments: str = "{}") -> list[Step]:
    """A turn that calls one tool."""
    return [ToolCall("call_1", name, arguments), Finish("tool_calls"), Done()]


def check_order(steps: Sequence[Step]) -> None:
    """Refuse a script that can't be played: steps after the end, or a whole response after the body has begun."""
    for position, step in enumerate(steps):
        if isinstance(step, Status | Cut | EndBody | Stall) and position < len(steps) - 1:
            raise ValueError(f"{step} ends a turn, but {steps[position + 1]} follows")
        if isinstance(step, Status) and any(isinstance(earlier, BodyStep | Head) for earlier in steps):
            raise ValueError(f"{step} is a whole response, but the body has begun before it")


# Other than a stream


def refusal(code: int, message: str, kind: str, *, error_code: str | None = None, param: str | None = None) -> Status:
    """An error response in OpenAI's shape."""
    return Status(code, {"error": {"message": message, "type": kind, "code": error_code, "param": param}})


def fault_in_tool_messages(messages: Sequence[Json]) -> Status | None:
    """OpenAI's rule: a tool message answers a call of the assistant message before it, and each call has one answer."""
    unanswered: list[str] = []
    answered: dict[str, int] = {}
    for position, message in enumerate(messages):
        if message["role"] != "tool":
            if unanswered:
                return _unanswered(position, unanswered)
            unanswered = [call["id"] for call in message.get("tool_calls") or []]
            answered = {}
            if len(set(unanswered)) < len(unanswered):
                return _bad_messages(position, f"Duplicate value for 'tool_call_id' in {unanswered}.")
            continue
        call = message.get("tool_call_id")
        if call in answered:
            where = f"messages[{answered[call]}] and messages[{position}]"
            return _bad_messages(position, f"Duplicate value for 'tool_call_id' of '{call}', in {where}.")
        if call not in unanswered:
            rule = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            return _bad_messages(position, rule)
        unanswered.remove(call)
        answered[call] = position
    return _unanswered(len(messages), unanswered) if unanswered else None


def _bad_messages(place: int, message: str) -> Status:
    return refusal(400, f"Invalid parameter: {message}", "invalid_request_error", param=f"messages.[{place}]")


def _unanswered(place: int, calls: Sequence[str]) -> Status:
    rule = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
    message = f"{rule} The following tool_call_ids did not have response messages: {', '.join(calls)}"
    return refusal(400, message, "invalid_request_error", param=f"messages.[{place}].role")


def model(model_id: str, display_name: str) -> Json:
    """An entry of GET /v1/models."""
    return {
        "id": model_id,
        "provider": model_id.partition("/")[0],
        "created_at": "2024-05-13T00:00:00Z",
        "display_name": display_name,
        "description": f"{display_name} on the fake upstream",
        "version": None,
        "capabilities": {"text": True, "vision": True, "tools": True, "streaming": True, "thinking": None},
        "defaults": {"temperature": None, "top_p": None, "top_k": None, "max_output_tokens": None},
        "token_limits": {"input": 128000, "output": 16384},
        "pricing": {"input_per_million": 2.5, "output_per_million": 10.0, "cached_input_per_million": 1.25},
        "provider_info": {
            "routing": [{"endpoint": "/v1/chat/completions", "upstream_api": "openai/chat/completions"}],
            "status": "enabled",
        },
        "provider_declared_generation_methods": None,
    }


def repository(slug: str, tool_count: int) -> Json:
    """An entry of the marketplace: an MCP server."""
    return {
        "repo_id": f"repo_{slug.replace('/', '_')}",
        "slug": slug,
        "git_slug": slug,
        "title": None,
        "subtitle": None,
        "description": f"{slug} on the fake marketplace",
        "visibility": "public",
        "tool_count": tool_count,
        "has_dauth": False,
        "mcp_url": None,
        "heat_score": 99,
        "upvote_count": 14,
        "tags": {
            "auth": {"none": True, "api_key": False, "oauth": False},
            "language": "typescript",
            "use_cases": {"featured": True},
        },
    }
