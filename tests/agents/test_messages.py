"""Tests the conversations and the parts of messages that chat clients send: what is mended, and what is refused."""

import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from pydantic import ValidationError
from service import EXECUTE, service, text
from wire import Json, answer

from errors import InvalidRequest
from message_models import NO_RESULT
from models import AgentRequest
from services.agents.conversation import conversation, from_request
from services.upstreams.providers import KNOWN, PLAIN, rules_of
from services.upstreams.wire_parts import LEFT_OUT, check_parts
from services.upstreams.wire_rules import EMPTY_RESULT, fitted
from session_models import StoredMessage
from setting_objects import WireRules

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "upstreams.md"
USER = {"role": "user", "content": "What is 2 + 3?"}
SAID = {"role": "assistant", "content": "5."}


def call(call_id: str | None = "call_1", name: str = "add", arguments: str = '{"a":2}') -> Json:
    return {
        **({"id": call_id} if call_id else {}),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def calls(*made: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": [*made], **more}


def result(call_id: str | None = "call_1", content: Any = "5") -> Json:
    return {"role": "tool", **({"tool_call_id": call_id} if call_id else {}), "content": content}


def sent(messages: list[Any], **body: Any) -> list[Json]:
    """The messages that a model gets for these."""
    request = AgentRequest.model_validate({"input": "?", "messages": messages, **body})
    whole = conversation(request.instructions, from_request(request.messages or ()), request.input)
    found: list[Json] = fitted({"messages": whole}, PLAIN)["messages"]
    return found


ASKED = {"role": "user", "content": "?"}
THERE = [USER, calls(call()), result(), SAID, ASKED]


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        pytest.param([USER, calls(call()), result(), SAID], THERE, id="a whole history"),
        pytest.param(
            [
                USER,
                calls(call(), refusal=None, annotations=[], audio=None, function_call=None, id="m1"),
                result(),
                SAID,
            ],
            THERE,
            id="what OpenAI's SDK returns",
        ),
        pytest.param(
            [USER, calls(call(), reasoning_content="Hm.", reasoning="Hm.", reasoning_details=[{}]), result(), SAID],
            THERE,
            id="another server's reasoning",
        ),
        pytest.param(
            [
                USER,
                calls(
                    {**call(), "function": {**call()["function"], "parsed_arguments": {"a": 2}}},
                    parsed=None,
                    refusal=None,
                ),
                result(),
                SAID,
            ],
            THERE,
            id="what OpenAI's SDK returns with a parsed answer",
        ),
        pytest.param(
            [
                {**USER, "createdAt": "2026-11-28T10:00:00Z", "providerOptions": {}, "metadata": {}, "timestamp": 1},
                calls(call(), additional_kwargs={}, response_metadata={}, usage_metadata=None, invalid_tool_calls=[]),
                {**result(), "artifact": None, "status": "success"},
                {**SAID, "cache_control": {"type": "ephemeral"}},
            ],
            THERE,
            id="what LangChain and the AI SDK keep with a message",
        ),
        pytest.param(
            [
                USER,
                calls(
                    call(),
                    content=[
                        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                        {"type": "reasoning", "reasoning": "Hm.", "index": 0},
                        {"type": "think", "think": "Hm."},
                        {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 2}},
                    ],
                ),
                result(),
                {"role": "assistant", "content": [{"type": "text", "text": "5.", "tool_call_ids": ["call_1"]}]},
            ],
            THERE,
            id="parts of reasoning, and calls that are parts as well",
        ),
        pytest.param(
            [USER, calls({**call(), "type": None}, content=[]), result(), SAID],
            THERE,
            id="a call without a type, and no parts beside it",
        ),
        pytest.param(
            [USER, calls({"id": "call_1", "function": {"name": "add", "arguments": {"a": 2}}}), result(), SAID],
            [USER, calls(call(arguments='{"a": 2}')), result(), SAID, ASKED],
            id="arguments as an object",
        ),
        pytest.param(
            [USER, calls(call(arguments='{"a": ')), result(), SAID],
            [USER, calls(call(arguments="{}")), result(), SAID, ASKED],
            id="arguments that were cut",
        ),
        pytest.param(
            [USER, calls(call(arguments=' {"a" : "\\ud83d"}')), result(), SAID],
            [USER, calls(call(arguments=' {"a" : "\\ud83d"}')), result(), SAID, ASKED],
            id="arguments as they came",
        ),
        pytest.param(
            [USER, calls({**call(), "index": 0, "extra_content": {"google": {}}}), result(), SAID],
            THERE,
            id="a call's index and signature",
        ),
        pytest.param([{**USER, "name": "ann"}, calls(call()), {**result(), "name": "add"}, SAID], THERE, id="names"),
        pytest.param([USER, calls(call(), content=""), result(), SAID], THERE, id="empty text beside calls"),
        pytest.param(
            [
                {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
                USER,
                calls(call()),
                result(content=[{"type": "text", "text": "5"}]),
                {"role": "assistant", "content": [{"type": "output_text", "text": "5.", "annotations": []}]},
            ],
            [{"role": "system", "content": "Be\nbrief."}, *THERE],
            id="lists of texts, and a developer",
        ),
        pytest.param([USER, {"role": "assistant", "content": None, "refusal": "No."}], None, id="a refusal"),
        pytest.param(
            [USER, calls(call(None), call(None)), result(None), result(None, "6"), SAID],
            [
                USER,
                calls(call("call_1_0"), call("call_1_1")),
                result("call_1_0"),
                result("call_1_1", "6"),
                SAID,
                ASKED,
            ],
            id="no ids",
        ),
        pytest.param(
            [USER, calls(call("a"), call("b")), result("b", "6"), result("a"), SAID],
            [USER, calls(call("a"), call("b")), result("a"), result("b", "6"), SAID, ASKED],
            id="results in another order",
        ),
        pytest.param(
            [USER, calls(call()), USER, result(), SAID],
            [USER, calls(call()), result(), USER, SAID, ASKED],
            id="a question before the result",
        ),
        pytest.param(
            [USER, calls(call()), SAID],
            [USER, calls(call()), result(content=NO_RESULT), SAID, ASKED],
            id="a call without a result",
        ),
        pytest.param(
            [USER, calls(call()), USER, calls(call()), result(), SAID],
            [USER, calls(call()), result(content=NO_RESULT), USER, calls(call()), result(), SAID, ASKED],
            id="an id that is used again",
        ),
        pytest.param([USER, calls(call()), result(content=""), SAID], None, id="an empty result"),
        pytest.param(
            [USER, calls(call()), result(content=[]), SAID],
            [USER, calls(call()), result(content=EMPTY_RESULT), SAID, ASKED],
            id="a result without parts",
        ),
        pytest.param(
            [USER, calls(call(arguments=" ")), result(), SAID],
            [USER, calls(call(arguments="{}")), result(), SAID, ASKED],
            id="empty arguments",
        ),
        pytest.param(
            [USER, {"role": "user", "content": "Quick!"}, SAID, {"role": "assistant", "content": "Really."}, USER],
            [
                {"role": "user", "content": "What is 2 + 3?\n\nQuick!"},
                {"role": "assistant", "content": "5.\n\nReally."},
                {"role": "user", "content": "What is 2 + 3?\n\n?"},
            ],
            id="two of a role in a row",
        ),
        pytest.param(
            [USER, SAID, calls(call()), result(), SAID],
            [USER, calls(call(), content="5."), result(), SAID, ASKED],
            id="text before its calls",
        ),
    ],
)
def test_a_history_is_sent_as_models_accept_it(messages: list[Any], wanted: list[Any] | None) -> None:
    """Each result follows its call, roles take turns, and only keys that every server knows are sent."""
    expected = {
        "a refusal": [USER, {"role": "assistant", "content": "No."}, ASKED],
        "an empty result": [USER, calls(call()), result(content=EMPTY_RESULT), SAID, ASKED],
    }
    if wanted is None:
        wanted = expected["a refusal" if len(messages) == 2 else "an empty result"]
    assert sent(messages) == wanted


def test_instructions_and_a_system_message_are_one() -> None:
    """Some chat templates accept one system message only, at the beginning."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}, USER, SAID]
    [system, *_] = sent(messages, instructions="Answer in French.")
    assert system == {"role": "system", "content": "Answer in French.\n\nBe brief.\n\nBe kind."}


@pytest.mark.parametrize(
    ("messages", "hint"),
    [
        ([USER, result(), SAID], r"messages\[1\] is a result without a call"),
        ([USER, calls(call()), result(), result()], r"messages\[3\] is a result without a call"),
        ([USER, calls(call()), result("call_2")], r"messages\[2\] is a result without a call"),
        ([result(None)], r"messages\[0\] is a result without a call"),
        ([USER, calls(call(), call()), result()], r"messages\[1\] has two calls with the same id"),
        ([{"role": "user", "content": None}], "the message is empty"),
        ([{"role": "user"}], "the message is empty"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": []}], "the message is empty"),
        ([{"role": "user", "content": []}], "at least 1 item"),
        ([{**USER, "tool_calls": [call()]}], "only an assistant's message"),
        ([{**SAID, "tool_call_id": "x"}], "only a message with the role tool"),
        ([{"role": "function", "name": "f", "content": "5"}], "role"),
        ([{"role": "assistant", "content": None, "function_call": {"name": "f"}}], "send tool_calls"),
        ([{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}], "parts is a form of the AI SDK's pages"),
        ([{"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "1"}]}], "in tool_calls"),
        ([{"role": "tool", "content": [{"type": "tool-result", "toolCallId": "1"}]}], "with the role tool"),
        ([{"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}]}], "the message is empty"),
        ([{**USER, "mood": "good"}], "mood"),
        ([{"role": [], "content": []}], "role"),
        ([{"role": "assistant", "content": [{"type": []}, {"type": {}}, 5, None]}], "content"),
        ([calls({"function": {"name": [], "arguments": []}})], "name"),
        ([{**USER, "content": [{"type": "file", "file": {"file_data": "http://e.com/a.pdf"}}]}], "https"),
        ([{**USER, "content": [{"type": "file", "mediaType": 5, "data": "AAAA"}]}], "neither a PDF"),
        ([{**USER, "content": [{"type": "file", "file_id": "file-1"}]}], "file_id is an upload"),
        ([{"role": "system", "content": [{"type": "image", "url": "https://e.com/a.png"}]}], "has text only"),
        ([{**USER, "content": [{"type": "file", "file": {"file_id": "file-1"}}]}], "file_id is an upload"),
        ([{**USER, "content": [{"type": "input_file", "file_id": "file-1"}]}], "file_id is an upload"),
        ([{**USER, "content": [{"type": "file", "url": "data:application/zip;base64,AAAA"}]}], "neither a PDF"),
        ([{**USER, "content": [{"type": "file", "url": "data:text/plain;base64,/w=="}]}], "not a UTF-8 text"),
        ([{**USER, "content": [{"type": "audio", "url": "https://e.com/a.wav"}]}], "send audio as a data URL"),
        ([{**USER, "content": [{"type": "file", "url": "http://e.com/a.pdf"}]}], "https"),
        ([{**USER, "content": [{"type": "video", "url": "https://e.com/a.mp4"}]}], "'text', 'image', 'file', 'audio'"),
    ],
)
def test_what_can_t_be_mended_is_refused_with_its_place(messages: list[Any], hint: str) -> None:
    """A result without its call, an empty message, and what no model reads."""
    with pytest.raises(ValidationError, match=hint):
        AgentRequest.model_validate({"input": "?", "messages": messages})


# Parts

PDF = "JVBERi0xLjcK"
PDF_URL = f"data:application/pdf;base64,{PDF}"
WAV_URL = "data:audio/wav;base64,UklGRg=="
FILE = {"type": "file", "file": {"file_data": PDF_URL, "filename": "a.pdf"}}
DOCUMENT = {"type": "file", "url": PDF_URL, "name": "a.pdf"}
PICTURE = {"type": "image", "url": "https://e.com/a.png"}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}
PNG = {"type": "image", "url": "data:image/png;base64,iVBORw=="}
PNG_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


@pytest.mark.parametrize(
    ("given", "stored", "wire"),
    [
        (IMAGE, PICTURE, IMAGE),
        (
            {"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "low"}},
            {"type": "image", "url": "https://e.com/a.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "low"}},
        ),
        (
            {"type": "image_url", "image_url": "https://e.com/a.png"},
            {"type": "image", "url": "https://e.com/a.png"},
            IMAGE,
        ),
        (
            {"type": "input_image", "image_url": "https://e.com/a.png"},
            {"type": "image", "url": "https://e.com/a.png"},
            IMAGE,
        ),
        ({"type": "image", "image": "https://e.com/a.png"}, PICTURE, IMAGE),
        ({"type": "image", "source_type": "url", "url": "https://e.com/a.png"}, PICTURE, IMAGE),
        ({"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}, PICTURE, IMAGE),
        ({"type": "image", "image": "iVBORw=="}, PNG, PNG_IMAGE),
        ({"type": "image", "image": "iVBORw==", "mediaType": "image/png"}, PNG, PNG_IMAGE),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
            PNG,
            PNG_IMAGE,
        ),
        (
            {"type": "image", "base64": "iVBORw==", "mime_type": "image/png"},
            PNG,
            PNG_IMAGE,
        ),
        (
            {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,iVBORw=="},
            PNG,
            PNG_IMAGE,
        ),
        (FILE, DOCUMENT, FILE),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
            {"type": "file", "url": PDF_URL, "name": "a.pdf"},
            FILE,
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF_URL},
            {"type": "file", "url": PDF_URL, "name": "a.pdf"},
            FILE,
        ),
        (
            {"type": "file", "mediaType": "application/pdf", "filename": "a.pdf", "url": PDF_URL},
            {"type": "file", "url": PDF_URL, "name": "a.pdf"},
            FILE,
        ),
        (
            {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
            {"type": "file", "url": PDF_URL, "name": "a.pdf"},
            FILE,
        ),
        (
            {"type": "file", "name": "a.txt", "url": f"data:text/plain;base64,{b64encode('Zoë'.encode()).decode()}"},
            {"type": "file", "url": "data:text/plain;base64,Wm/Dqw==", "name": "a.txt"},
            {"type": "text", "text": "a.txt:\n\nZoë"},
        ),
        (AUDIO, {"type": "audio", "url": WAV_URL}, AUDIO),
        ({"type": "audio", "url": WAV_URL}, {"type": "audio", "url": WAV_URL}, AUDIO),
        (
            {"type": "audio", "base64": "SUQz", "mime_type": "audio/mpeg"},
            {"type": "audio", "url": "data:audio/mpeg;base64,SUQz"},
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        ),
        (
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Hi"},
            {"type": "text", "text": "Hi"},
        ),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            },
            DOCUMENT,
            FILE,
        ),
        (
            {
                "type": "document",
                "title": "a.txt",
                "source": {"type": "text", "media_type": "text/plain", "data": "Zoë"},
            },
            {"type": "file", "url": "data:text/plain;base64,Wm/Dqw==", "name": "a.txt"},
            {"type": "text", "text": "a.txt:\n\nZoë"},
        ),
        (
            {"type": "text", "text": "Hi", "id": "m1", "state": "done"},
            {"type": "text", "text": "Hi"},
            {"type": "text", "text": "Hi"},
        ),
        ({"type": "input_text", "text": "Hi"}, {"type": "text", "text": "Hi"}, {"type": "text", "text": "Hi"}),
    ],
    ids=str,
)
def test_a_part_has_one_form_however_a_client_writes_it(given: Json, stored: Json, wire: Json) -> None:
    """OpenAI's two APIs, Anthropic's, the AI SDK and LangChain: stored in this service's form, and sent in OpenAI's."""
    request = AgentRequest.model_validate({"input": [given], "messages": [{"role": "user", "content": [given]}, SAID]})
    message = StoredMessage(run_id="run_1", role="user", content=request.input)
    assert message.model_dump()["content"] == [stored]
    assert StoredMessage.model_validate_json(message.model_dump_json()) == message
    first, _, last = conversation(None, from_request(request.messages or ()), request.input)
    assert first["content"] == last["content"] == [wire]


BY_FORM: dict[str, Json] = {
    "file": FILE,
    "file_url": {"type": "file_url", "file_url": {"url": PDF}, "file_name": "a.pdf"},
    "document_url": {"type": "document_url", "document_url": PDF_URL},
    "none": {"type": "text", "text": LEFT_OUT},
}


@pytest.mark.parametrize("provider", [None, *KNOWN])
def test_each_server_gets_files_and_audio_in_its_form_or_refuses_them(provider: str | None) -> None:
    """A part that the server can't take is refused with its place. In a session's history, a text replaces it."""
    rules = rules_of(provider)
    parts = [{"type": "file", "url": PDF_URL, "name": "a.pdf"}, {"type": "audio", "url": WAV_URL}]
    request = AgentRequest.model_validate({"input": [{"type": "text", "text": "?"}, *parts]})
    media = request.media()
    assert [*media] == ["input.1", "input.2"]
    left_out = {"type": "text", "text": LEFT_OUT}
    file = BY_FORM[rules.files]
    audio = {"input_audio": AUDIO, "text": {"type": "input_audio", "input_audio": "UklGRg=="}, "none": left_out}[
        rules.audio
    ]
    [message] = fitted({"messages": conversation(None, (), request.input)}, rules)["messages"]
    assert message["content"] == [{"type": "text", "text": "?"}, file, audio]
    for place, refused in (("input.1", rules.files == "none"), ("input.2", rules.audio == "none")):
        if refused:
            with pytest.raises(InvalidRequest) as caught:
                check_parts({place: media[place]}, rules, "m")
            assert [(detail.loc, detail.message[:2]) for detail in caught.value.details] == [(place, "m:")]
        else:
            check_parts({place: media[place]}, rules, "m")


def test_the_docs_show_which_server_takes_files_and_audio() -> None:
    """The table of docs/upstreams.md has each row of the providers' rules."""
    section = DOCS.read_text().partition("### Files and audio")[2].partition("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    shown = sorted((file, fetched == "yes", audio) for _, file, fetched, audio in rows)
    rules = [PLAIN, *(provider.rules for provider in KNOWN.values())]
    said = [(each.files, each.file_urls, each.audio) for each in rules]
    refused = {"none": "refused"}
    assert shown == sorted((refused.get(file, file), urls, refused.get(audio, audio)) for file, urls, audio in said)


AT_A_URL = "https://e.com/a.pdf"


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("file", {"type": "file", "file": {"file_data": AT_A_URL}}),
        ("file_url", {"type": "file_url", "file_url": {"url": AT_A_URL}}),
        ("document_url", {"type": "document_url", "document_url": AT_A_URL}),
    ],
)
def test_a_file_by_its_url_goes_to_servers_that_fetch_it(form: Any, part: Json) -> None:
    """Others would fail after the run has begun, so the request is refused. In a session's history, a text is sent."""
    request = AgentRequest.model_validate({"input": [{"type": "file", "url": AT_A_URL}]})
    messages = {"messages": conversation(None, (), request.input)}
    fetching, other = WireRules(files=form, file_urls=True), WireRules(files=form)
    check_parts(request.media(), fetching, "m")
    assert fitted(messages, fetching)["messages"][0]["content"] == [part]
    with pytest.raises(InvalidRequest):
        check_parts(request.media(), other, "m")
    assert fitted(messages, other)["messages"][0]["content"] == [{"type": "text", "text": LEFT_OUT}]


def test_a_large_file_is_read_within_the_event_loop_s_50_ms() -> None:
    """A text of eight megabytes in base64 is checked without being decoded."""
    url = f"data:text/plain;base64,{b64encode(b'a' * 6_000_000).decode()}"
    took = []
    for _ in range(5):
        before = time.process_time()
        request = AgentRequest.model_validate({"input": [{"type": "file", "url": url}]})
        took.append(time.process_time() - before)
    assert min(took) < 0.05
    assert conversation(None, (), request.input)[0]["content"][0]["text"].endswith("aaa")


# Through the service


async def test_parts_live_in_a_session_and_in_its_next_turn(lend: Lend) -> None:
    """The history has them in this service's form, and the next request in OpenAI's."""
    body = {"input": [{"type": "text", "text": "Sum it up."}, FILE, AUDIO], "session_id": "s"}
    async with lend() as (fake, agent):
        fake.always(*answer("ok"))
        assert text(await agent.stream(body)) == "ok"
        await agent.stream({"input": "And again.", "session_id": "s"})
        listed = (await agent.client.get("/api/agent/sessions/s/messages")).json()["messages"]
    stored = [{"type": "file", "url": PDF_URL, "name": "a.pdf"}, {"type": "audio", "url": WAV_URL}]
    assert listed[0]["content"] == [{"type": "text", "text": "Sum it up."}, *stored]
    wire = [{"type": "text", "text": "Sum it up."}, FILE, AUDIO]
    assert [chat.body["messages"][0] for chat in fake.chats] == [{"role": "user", "content": wire}] * 2


async def test_a_part_that_the_server_can_t_take_is_a_422_with_its_place() -> None:
    """The file's place and the model are in the details, and no run begins."""
    by_hand = {"custom": {"files": "none"}}
    async with FakeDedalus() as fake, service(fake.url, upstream_rules=by_hand) as agent:
        messages = [{"role": "user", "content": [FILE]}, SAID]
        error = (await agent.post(EXECUTE, {"input": "?", "messages": messages})).json()["error"]
        private = await agent.post(EXECUTE, {"input": [{"type": "image", "url": "https://10.0.0.1/a.png"}]})
    assert error["code"] == "invalid_request"
    assert [detail["loc"] for detail in error["details"]] == ["messages.0.content.0"]
    assert "test/model" in error["details"][0]["message"]
    assert private.json()["error"]["code"] == "url_refused"
    assert not fake.chats


async def test_a_conversation_with_calls_is_sent_to_the_model(lend: Lend) -> None:
    """The whole history of a chat client, with what its SDK adds."""
    async with lend() as (fake, agent):
        fake.always(*answer("ok"))
        messages = [USER, calls(call(), refusal=None, function_call=None), result(), SAID]
        assert text(await agent.stream({"input": "?", "messages": messages})) == "ok"
    assert fake.chats[0].body["messages"] == THERE
