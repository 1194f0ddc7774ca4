"""Empty texts: what a caller has to mend is refused, and what this service has itself stored or made is never sent."""

from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import gives, named
from pydantic import ValidationError
from service import EXECUTE, Service, service, text
from wire import Done, Finish, Text, ToolCall, answer

from models import AgentRequest
from services.upstreams.wire_rules import EMPTY_RESULT

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

BLANKS = ("", " ", "\n\t", "\u00a0")
ASKED = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize("blank", BLANKS, ids=repr)
@pytest.mark.parametrize(
    "body",
    [
        {"input": "BLANK"},
        {"input": [{"type": "text", "text": "BLANK"}]},
        {"input": [{"type": "text", "text": "?"}, {"type": "text", "text": "BLANK"}]},
        {"input": [{"type": "image", "url": "https://example.com/a.png"}, {"type": "text", "text": "BLANK"}]},
        {"input": "?", "messages": [ASKED, {"role": "assistant", "content": "BLANK"}]},
        {"input": "?", "messages": [{"role": "system", "content": "BLANK"}]},
        {"input": "?", "messages": [{"role": "user", "content": [{"type": "text", "text": "BLANK"}]}]},
    ],
    ids=str,
)
def test_a_text_of_white_space_is_refused(body: Any, blank: str) -> None:
    """The caller knows what was meant: a question, a part and a message have a text, or aren't sent."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(part) for key, part in value.items()}
        if isinstance(value, list):
            return [filled(part) for part in value]
        return blank if value == "BLANK" else value

    with pytest.raises(ValidationError, match="empty"):
        AgentRequest.model_validate(filled(body))


async def test_the_refusal_says_where_and_what_to_do(fake: FakeDedalus, shared: Service) -> None:
    """422, with the place of the message."""
    body = {"input": "?", "messages": [ASKED, {"role": "assistant", "content": ""}]}
    error = (await shared.post(EXECUTE, body)).json()["error"]
    assert error["code"] == "invalid_request"
    assert error["details"][0]["loc"].startswith("body.messages.1.content")
    assert "leave out" in error["details"][0]["message"]
    assert not fake.requests


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        *(({"instructions": blank}, {}) for blank in BLANKS),
        ({"stop": ""}, {}),
        ({"stop": []}, {}),
        ({"stop": "\n"}, {"stop": "\n"}),
        ({"stop": ["\n\n", "END"]}, {"stop": ["\n\n", "END"]}),
    ],
    ids=str,
)
async def test_what_may_be_left_out_is_left_out_where_it_is_empty(
    given: Any, sent: Any, fake: FakeDedalus, shared: Service
) -> None:
    """Instructions and stop sequences: nothing is as good as unset."""
    fake.always(*answer("ok"))
    await shared.stream({"input": "?", **given})
    body = fake.chats[0].body
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert {key: value for key, value in body.items() if key == "stop"} == sent


def test_an_empty_stop_sequence_among_others_is_refused() -> None:
    """It would stop each answer before its first word."""
    with pytest.raises(ValidationError, match="at least 1 character"):
        AgentRequest.model_validate({"input": "?", "stop": ["", "END"]})


@pytest.mark.parametrize("said", [" ", "\n\n"], ids=repr)
async def test_an_answer_of_white_space_is_not_sent_in_the_session_s_next_turn(said: str) -> None:
    """The questions around it join, since many models want turns."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text(said), Finish("stop"), Done())
        fake.always(*answer("ok"))
        for question in ("first", "second"):
            await agent.stream({"input": question, "session_id": "s"})
    assert fake.chats[1].body["messages"] == [{"role": "user", "content": "first\n\nsecond"}]


@pytest.mark.parametrize("result", ["", " \n"], ids=repr)
@pytest.mark.parametrize("beside", ["", "\n\n"], ids=repr)
async def test_an_empty_result_and_white_space_beside_a_call_are_sent_as_something_readable(
    result: str, beside: str
) -> None:
    """In the run itself, and in the session's next turn."""
    tools = named(gives("echo", result))
    async with FakeDedalus() as fake, service(fake.url, tools=tools) as agent:
        words = [Text(beside)] if beside else []
        fake.turn(*words, ToolCall("call_1", "echo", "{}"), Finish("tool_calls"), Done())
        fake.always(*answer("ok"))
        assert text(await agent.stream({"input": "?", "session_id": "s"})).endswith("ok")
        await agent.stream({"input": "again", "session_id": "s"})
    for chat in fake.chats[1:]:
        _, call, answer_to_call, *_ = chat.body["messages"]
        assert (call["content"], answer_to_call["content"]) == (None, EMPTY_RESULT)
