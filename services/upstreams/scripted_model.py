"""Scripts that answer in a model's place, to try tools and sessions without a model or a key.

`simulated/tools` makes the calls in the question, or else those in the instructions. A line such as
`roll {"sides": 20}`, whose first word is a tool of the request, becomes a call with these arguments, unchanged. The
next turn repeats the results of the calls.
`simulated/context` answers with the messages that it was sent: the instructions, the history and the question.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import httpx

from json_codec.parsing import parse

MODEL_ID = "simulated/tools"
CONTEXT_MODEL_ID = "simulated/context"
MODEL_IDS = {MODEL_ID, CONTEXT_MODEL_ID}
MAX_SHOWN = 200  # characters of each message that simulated/context repeats
LINES_AT_ONCE = 1000  # of a text; searching these takes less than a millisecond

Json = dict[str, Any]


def scripted_client() -> httpx.AsyncClient:
    """Make a client for the SDK's `http_client` that reaches only the scripts."""
    return httpx.AsyncClient(transport=_ScriptedTransport(), trust_env=False)


class _ScriptedTransport(httpx.AsyncBaseTransport):
    """Answers requests for chat completions in this process, as a model server would over the network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to one request, chunk by chunk."""
        stream = _ScriptedBody(await parse(await request.aread()))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


class _ScriptedBody(httpx.AsyncByteStream):
    """The body of an answer, which is made as it is read."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._events = _events(request)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its server-sent events."""
        return self._events

    async def aclose(self) -> None:
        """Stop making it."""
        await self._events.aclose()


async def _events(request: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
    chunks = _context(request["messages"]) if request["model"] == CONTEXT_MODEL_ID else _chunks(request)
    async for chunk in chunks:
        yield f"data: {json.dumps({'choices': [{'index': 0, **chunk}]})}\n\n".encode()
    yield b"data: [DONE]\n\n"


async def _chunks(request: Mapping[str, Any]) -> AsyncGenerator[Json, None]:
    messages: Sequence[Json] = request["messages"]
    names = [tool["function"]["name"] for tool in request.get("tools", ())]
    if results := [*takewhile(lambda message: message["role"] == "tool", reversed(messages))]:
        yield _delta(content="\n".join(f"The tool returned: {result['content']}" for result in reversed(results)))
        yield _finish("stop")
        return
    index = -1
    async for name, arguments in _spelled_calls(messages, names):
        index += 1
        call = {"index": index, "id": f"call_{secrets.token_hex(8)}", "type": "function"}
        yield _delta(tool_calls=[call | {"function": {"name": name, "arguments": arguments}}])
    if index < 0:
        available = (
            f"The tools are: {', '.join(names)}." if names else "The request has no tools. Name them in `tools`."
        )
        yield _delta(content=f'Name the tools to call, one on each line, such as roll {{"sides": 20}}. {available}')
    yield _finish("stop" if index < 0 else "tool_calls")


async def _context(messages: Sequence[Json]) -> AsyncGenerator[Json, None]:
    yield _delta(content="I was sent these messages:")
    for number, message in enumerate(messages, 1):
        text = " ".join(_text(message["content"] or "")[: MAX_SHOWN + 1].split())
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
        yield _delta(content=f"\n{number}. {message['role']}: {shown}")
    yield _finish("stop")


async def _spelled_calls(messages: Sequence[Json], names: Sequence[str]) -> AsyncGenerator[tuple[str, str], None]:
    instructions = [message for message in messages[:-1] if message["role"] == "system"]
    for message in (messages[-1], *instructions):
        is_found = False
        async for call in _calls(_text(message["content"]), names):
            is_found = True
            yield call
        if is_found:
            return


async def _calls(text: str, names: Sequence[str]) -> AsyncGenerator[tuple[str, str], None]:
    for number, line in enumerate(text.split("\n")):
        if number % LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
        match line.split(None, 1):
            case [name] if name in names:
                yield name, "{}"
            case [name, arguments] if name in names:
                yield name, arguments.strip()


def _finish(reason: str) -> Json:
    return {"delta": {}, "finish_reason": reason}


def _delta(**delta: Any) -> Json:
    return {"delta": delta}


def _text(content: str | Sequence[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
