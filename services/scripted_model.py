"""A script in a model's place, for trying tools without a model or a key: it makes the calls that it is told to.

A line of the question such as `roll {"sides": 20}`, whose first word is a tool of the request, is a call with these
arguments, sent as they are; the next turn tells what the calls gave.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import httpx

MODEL_ID = "simulated/tools"

Json = dict[str, Any]


def scripted_client() -> httpx.AsyncClient:
    """For the SDK's `http_client`: it reaches nothing but the script."""
    return httpx.AsyncClient(transport=_Transport(), trust_env=False)


class _Transport(httpx.AsyncBaseTransport):
    """Answers chat completions in this process, as a model's server would over the network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer to one request."""
        chunks = [*_chunks(json.loads(await request.aread()))]
        lines = [f"data: {json.dumps({'choices': [{'index': 0, **chunk}]})}\n\n" for chunk in chunks]
        body = "".join([*lines, "data: [DONE]\n\n"]).encode()
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=httpx.ByteStream(body))


def _chunks(asked: Mapping[str, Any]) -> Iterator[Json]:
    messages: Sequence[Json] = asked["messages"]
    names = [tool["function"]["name"] for tool in asked.get("tools", ())]
    results = [*takewhile(lambda message: message["role"] == "tool", reversed(messages))]
    if results:
        yield from _said("\n".join(f"The tool gave: {result['content']}" for result in reversed(results)))
    elif calls := [*_calls(_text(messages[-1]["content"]), names)]:
        for index, (name, arguments) in enumerate(calls):
            call = {"index": index, "id": f"call_{secrets.token_hex(8)}", "type": "function"}
            yield _delta(tool_calls=[call | {"function": {"name": name, "arguments": arguments}}])
        yield {"delta": {}, "finish_reason": "tool_calls"}
    else:
        there = f"The tools are: {', '.join(names)}." if names else "Name the tools in `tools`: there are none."
        yield from _said(f'Say which tool to call, such as roll {{"sides": 20}}, a line for each. {there}')


def _calls(question: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in question.split("\n"):
        match line.split(None, 1):
            case [name] if name in names:
                yield name, "{}"
            case [name, arguments] if name in names:
                yield name, arguments.strip()


def _said(text: str) -> Iterator[Json]:
    yield _delta(content=text)
    yield {"delta": {}, "finish_reason": "stop"}


def _delta(**delta: Any) -> Json:
    return {"delta": delta}


def _text(content: str | Sequence[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
