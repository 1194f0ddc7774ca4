"""Tests that a provider can read the beginning of a request from its cache: it is the same from turn to turn."""

from collections.abc import Sequence
from typing import Any

import pytest
from fake_dedalus import FakeDedalus, Request
from local_tools import LocalTool, added, named
from service import service, text
from session_calls import ask
from wire import Done, Finish, Step, Thinking, ToolCall, answer

from services.upstreams.providers import PROVIDERS

pytestmark = pytest.mark.anyio

TOOLS = named(LocalTool("add", added), LocalTool("zero", added), LocalTool("multiply", added))
CALL: Sequence[Step] = [
    Thinking("Hm."),
    ToolCall("call_1", "add", '{ "b":2.0,  "a": 1 }'),
    Finish("tool_calls"),
    Done(),
]


def up_to_the_last_message(request: Request) -> bytes:
    """Return a request's bytes up to the end of its last message."""
    end = request.raw.rindex(b'],"stream"') if b'],"stream"' in request.raw else request.raw.rindex(b"]")
    return request.raw[:end]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "mistral"])
async def test_a_turn_s_request_begins_with_the_bytes_of_the_turn_before(provider: str) -> None:
    """The second turn names its tools in another order and adds messages; all bytes before these are the same."""
    async with FakeDedalus() as fake:
        table = {provider: PROVIDERS[provider]._replace(url=f"{fake.url}/v1")}
        keys: dict[str, Any] = {PROVIDERS[provider].keys[0]: "k"}
        async with service(None, TOOLS, providers=table, **keys) as agent:
            ours: dict[str, Any] = {"model": f"{provider}/m", "instructions": "Be brief.", "temperature": 0.5}
            fake.turn(*CALL)
            fake.turn(*answer("Three."))
            fake.turn(*answer("Four."))
            await ask(agent, "1 + 2?", tools=["zero", "add", "multiply"], **ours)
            events = await ask(agent, "2 + 2?", tools=["multiply", "zero", "add"], **ours)
    first, second, third = fake.chats
    assert text(events) == "Four."
    assert second.raw.startswith(up_to_the_last_message(first))
    assert third.raw.startswith(up_to_the_last_message(second))
    keys_sent = {request.body.get("prompt_cache_key") for request in fake.chats}
    assert len(keys_sent) == 1
    assert (keys_sent == {None}) == (provider == "anthropic")
    assert not any(b"chat" in str(key).encode() for key in keys_sent)
    assert [tool["function"]["name"] for tool in third.body["tools"]] == ["add", "multiply", "zero"]
