"""Tests that Anthropic's models get marks for their prompt cache where the server passes them on, and only there."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fake_dedalus import FakeDedalus, Request
from lending import Lend
from local_tools import LocalTool, added, named
from service import Service, names, only, service, text
from session_calls import ask
from wire import Done, Finish, Json, Step, ToolCall, answer, refusal

from services.upstreams.cache_marks import marked
from services.upstreams.providers import OPENROUTER, PROVIDERS, with_model

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

CLAUDE = "anthropic/claude-sonnet-4-5-20250929"
MARK = b'"cache_control":{"type":"ephemeral"}'
MOST_MARKS = 4  # of a request: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
TOOLS = named(LocalTool("add", added))
TWO_CALLS: Sequence[Step] = [
    ToolCall("call_1", "add", '{"a": 1, "b": 2}'),
    ToolCall("call_2", "add", '{"a": 3, "b": 4}', index=1),
    Finish("tool_calls"),
    Done(),
]


def marks(messages: Sequence[Json]) -> list[tuple[int, str]]:
    """Return where the marks are: the number of each marked message, and its role."""
    return [(place, message["role"]) for place, message in enumerate(messages) if "cache_control" in str(message)]


def without_marks(messages: Sequence[Json]) -> list[Json]:
    """Return the messages as they would be sent without marks."""
    plain = [{key: value for key, value in message.items() if key != "cache_control"} for message in messages]
    return [message | {"content": _plain(message["content"])} for message in plain]


def _plain(content: Any) -> Any:
    match content:
        case [{"type": "text", "text": whole, "cache_control": _}]:
            return whole
        case _:
            return content


async def two_turns(agent: Service, fake: FakeDedalus) -> list[Request]:
    """Ask twice in a session; the first answer needs two calls. Return the three requests."""
    fake.turn(*TWO_CALLS)
    fake.turn(*answer("Three and seven."))
    fake.turn(*answer("Yes."))
    for question in ("1 + 2, and 3 + 4?", "Sure?"):
        await ask(agent, question, model=CLAUDE, instructions="Be brief.")
    return fake.chats


@pytest.mark.parametrize("server", ["a gateway", "Dedalus"])
async def test_instructions_the_former_request_and_this_one_are_marked(server: str) -> None:
    """Each request repeats the mark at the end of the one before, and is otherwise the same up to there."""
    async with FakeDedalus() as fake:
        given: Mapping[str, Any] = {"dedalus": f"{fake.url}/v1", "dedalus_api_key": "k"}
        if server == "a gateway":
            given = {"base_url": fake.url}
        async with service(tools=TOOLS, **given) as agent:
            first, second, third = await two_turns(agent, fake)
    sent = [request.body["messages"] for request in (first, second, third)]
    assert marks(sent[0]) == [(0, "system"), (1, "user")]
    assert marks(sent[1]) == [(0, "system"), (1, "user"), (4, "tool")]
    assert marks(sent[2]) == [(0, "system"), (4, "tool"), (6, "user")]
    assert without_marks(sent[1])[: len(sent[0])] == without_marks(sent[0])
    assert without_marks(sent[2])[: len(sent[1])] == without_marks(sent[1])
    assert b'{"role":"system","content":[{"type":"text","text":"Be brief.",%b}]}' % MARK in third.raw
    assert b'{"role":"tool","content":"7","tool_call_id":"call_2",%b}' % MARK in third.raw
    assert [request.raw.count(MARK) for request in (first, second, third)] == [2, 3, 3]
    assert all(request.raw.count(b"cache_control") <= MOST_MARKS for request in (first, second, third))


async def test_a_request_that_nothing_continues_has_no_marks(lend: Lend) -> None:
    """Writing to the cache costs more than other input: without a session and tools, nobody would read it."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Blue."))
        await agent.stream({"input": "Why?", "model": CLAUDE, "instructions": "Be brief."})
    assert b"cache_control" not in fake.chats[0].raw


async def test_other_models_and_anthropic_s_own_endpoint_get_no_marks() -> None:
    """OpenAI refuses unknown keys, and Anthropic's endpoint for OpenAI's protocol has no prompt cache."""
    assert with_model(OPENROUTER, CLAUDE).cache_control
    async with FakeDedalus() as fake:
        table = {"anthropic": PROVIDERS["anthropic"]._replace(url=f"{fake.url}/v1")}
        fake.always(*answer("Yes."))
        async with service(fake.url) as gateway:
            await ask(gateway, "Sure?", model="openai/gpt-4.1")
        async with service(providers=table, anthropic_api_key="k") as direct:
            await ask(direct, "Sure?", model=CLAUDE)
    assert not any(b"cache_control" in request.raw for request in fake.chats)


async def test_a_server_that_refuses_marks_is_asked_without_them_once() -> None:
    """The model's later requests have none either, and the caller isn't told, because nothing is lost."""
    refused = refusal(
        400, "messages.0.content.0.cache_control: Extra inputs are not permitted", "invalid_request_error"
    )
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(lambda body: [refused] if marks(body["messages"]) else answer("Yes."))
        turns = [await ask(agent, "Sure?", model=CLAUDE) for _ in range(2)]
    assert [text(events) for events in turns] == ["Yes.", "Yes."]
    assert "warning" not in names(turns[0])
    assert len(fake.chats) == 3


async def test_a_server_that_takes_no_parts_is_asked_with_texts(lend: Lend) -> None:
    """A mark makes a list of a text. Where the server wants a text, it gets one without a mark."""
    refused = refusal(422, "messages.0.content: Input should be a valid string", "invalid_request_error")
    async with lend() as (fake, agent):
        fake.choose(lambda body: [refused] if marks(body["messages"]) else answer("Yes."))
        assert text(await ask(agent, "Sure?", model=CLAUDE)) == "Yes."
    assert [message["content"] for message in fake.chats[-1].body["messages"]] == ["Sure?"]


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ([{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "https://a.example"}}], [0]),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], [1]),
        ([{"type": "image_url", "image_url": {"url": "https://a.example"}}], []),
        ([{"type": "text", "text": " "}], []),
    ],
)
def test_the_last_text_of_a_content_is_marked(content: list[Json], places: list[int]) -> None:
    """Gateways take marks in texts only, and Anthropic none in an empty text."""
    [message] = marked([{"role": "user", "content": content}])
    assert [place for place, part in enumerate(message["content"]) if "cache_control" in part] == places


@pytest.mark.parametrize(
    ("setting", "asked", "sent"), [("24h", None, "24h"), ("24h", "in_memory", "in_memory"), (None, None, None)]
)
async def test_openai_is_told_how_long_to_keep_a_prompt(
    setting: str | None, asked: str | None, sent: str | None
) -> None:
    """The setting counts where the request says nothing. Anthropic gets neither, with a warning for the request's."""
    async with FakeDedalus() as fake:
        fake.always(*answer("Yes."))
        table = {name: PROVIDERS[name]._replace(url=f"{fake.url}/v1") for name in ("openai", "anthropic")}
        keys: dict[str, Any] = {"openai_api_key": "k", "anthropic_api_key": "k"}
        async with service(providers=table, prompt_cache_retention=setting, **keys) as agent:
            body = {"input": "?"} | ({"prompt_cache_retention": asked} if asked else {})
            await agent.stream(body | {"model": "openai/gpt-4.1"})
            events = await agent.stream(body | {"model": CLAUDE})
    openai, anthropic = fake.chats
    assert openai.body.get("prompt_cache_retention") == sent
    assert "prompt_cache_retention" not in anthropic.body
    assert [warning["code"] for warning in only(events, "warning")] == ["parameter_left_out"] * bool(asked)
