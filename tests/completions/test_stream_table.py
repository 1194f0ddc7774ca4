"""The table "what came, what it means" of docs/upstreams.md, line by line, and the forms that are read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.completions import sse_events
from services.completions.chunks import CallDelta, ChatChunks, TextDelta, ThinkingDelta
from services.completions.errors import error_of
from services.completions.finish_reasons import means_cut, means_error
from services.completions.think_tags import ThinkTagModels, ThinkTags

Json = dict[str, Any]
DONE = "data: [DONE]\n\n"
TORN = "data: {torn\n\n"


@dataclass
class Outcome:
    """The result of reading a body. `end` is "complete", "cut off", "malformed" or an error's code."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[int | str | None, str, str, str]] = field(default_factory=list)
    reason: str | None = None
    end: str = ""
    usage: tuple[int | None, int | None, int | None] = (None, None, None)


def read(body: str | bytes, tags: ThinkTags | None = None, size: int = 1 << 20) -> Outcome:
    """Read a body that arrives in pieces of this size and then ends."""
    data = body.encode() if isinstance(body, str) else body
    chunks, deltas = ChatChunks(tags), []
    for start in range(0, len(data), size):
        if not chunks.over:
            deltas += chunks.feed(data[start : start + size])
    deltas += [] if chunks.over else chunks.last()
    deltas += chunks.flush()
    usage = chunks.usage
    return Outcome(
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
        "".join(delta.text for delta in deltas if isinstance(delta, ThinkingDelta)),
        [tuple(delta[:4]) for delta in deltas if isinstance(delta, CallDelta)],  # type: ignore[misc]
        chunks.finish_reason,
        ending(chunks),
        (usage.input_tokens, usage.output_tokens, usage.total_tokens),
    )


def ending(chunks: ChatChunks) -> str:
    if chunks.error_data is not None:
        return error_of(chunks.error_data).code
    if chunks.malformed:
        return "malformed"
    return "complete" if chunks.done or chunks.finish_reason is not None else "cut off"


def event(data: Any) -> str:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def chunk(delta: Any, reason: str | None = None, **of_choice: Any) -> str:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason, **of_choice}]})


def said(text: str, reason: str | None = None) -> str:
    return chunk({"content": text}, reason)


def choice(**parts: Any) -> str:
    return event({"choices": [{"index": 0, **parts}]})


END = chunk({}, "stop")
OPEN_CALL = {"index": 0, "id": "c1", "function": {"name": "echo", "arguments": "{}"}}
HELLO = said("Hello") + END + DONE

# Complete, whatever follows

COMPLETE = {
    "plain": HELLO,
    "no [DONE]": said("Hello") + END,
    "no finish reason": said("Hello") + DONE,
    "a reason on each chunk": said("Hel", "stop") + said("lo", "stop") + DONE,
    "a reason on the first chunk alone": said("Hel", "stop") + said("lo") + DONE,
    "a reason on the role's chunk": chunk({"role": "assistant", "content": ""}, "stop") + said("Hello") + DONE,
    "reasons that are none": said("Hel", "") + said("lo", "null") + END + DONE,
    "null after the reason": said("Hello", "stop") + chunk({}) + DONE,
    "a usage chunk that repeats the reason": said("Hello") + END + chunk({}, "stop", usage={}) + DONE,
    "a second choice in the same chunk": event(
        {"choices": [{"index": 0, "delta": {"content": "Hello"}}, {"index": 1, "delta": {"content": "Bye"}}]}
    )
    + END
    + DONE,
    "the second choice first": event(
        {"choices": [{"index": 1, "delta": {"content": "Bye"}}, {"index": 0, "delta": {"content": "Hello"}}]}
    )
    + END
    + DONE,
    "second choices in chunks of their own": choice(delta={"content": "Bye"}, finish_reason="length").replace(
        '"index": 0', '"index": 1'
    )
    + HELLO,
    "an error after the end": said("Hello") + END + event({"error": {"message": "accounting failed"}}) + DONE,
    "an error after the end, without [DONE]": said("Hello") + END + event({"error": "x"}),
    "torn JSON after the end": said("Hello") + END + TORN,
    "no JSON after a reason": said("Hello", "stop") + event("bye") + DONE,
    "NaN in the accounts after a reason": said("Hello", "stop") + event('{"usage":{"prompt_tokens":NaN}}') + DONE,
    "odd hosted results after the end": said("Hello") + END + event({"choices": [], "mcp_tool_results": 5}),
    "an event a line": (said("Hel") + said("lo") + END + DONE).replace("\n\n", "\n"),
    "an event a line, without [DONE]": (said("Hel") + said("lo") + END).replace("\n\n", "\n").rstrip(),
    "the end and [DONE] in one event": said("Hello") + END.rstrip() + "\n" + DONE,
    "NaN and infinity beside the text": event('{"choices":[{"delta":{"content":"Hello"},"logprobs":[NaN,-Infinity]}]}')
    + END
    + DONE,
    "comments as data": event(": OPENROUTER PROCESSING") + said("Hello") + event(":") + END + DONE,
    "words of no answer": event("[PING]") + event("undefined") + said("Hello") + event("<keep alive>") + END + DONE,
    "heartbeats with the time": event("heartbeat 2026-11-27T20:00:00Z") + said("Hello") + event("ping: 7") + END + DONE,
    "[DONE] without data": said("Hello") + "[DONE]\n\n",
    "fields in capitals, indented, before a space": said("H").replace("data", "Data")
    + "  "
    + said("el").replace("data:", "data :")
    + " "
    + said("lo")
    + END
    + DONE,
    "choices that are null, or hold null": event({"choices": None}) + event({"choices": [None]}) + HELLO,
    "thinking of an unknown name": chunk({"thoughts": "hm"}) + HELLO,
    "[DONE] after two spaces": said("Hello") + END + "data:  [DONE]\n\n",
    "[DONE] before a space": said("Hello") + END + "data: [DONE] \n\n",
    "[DONE] without a space": said("Hello") + END + "data:[DONE]\n\n",
    "[DONE] in quotes": said("Hello") + 'data: "[DONE]"\n\n',
    "[DONE] with a tab, and no reason": said("Hello") + "data: \t[DONE]\t\n\n",
    "no blank line at the end": (said("Hello") + END).rstrip("\n"),
    "one line end at the end": (said("Hello") + END).rstrip("\n") + "\n",
    "[DONE] without a blank line": said("Hello") + "data: [DONE]",
    "CR at the end": (said("Hello") + END).rstrip("\n") + "\r",
    "no text in the end's event": said("Hello", "stop").rstrip("\n"),
    "ping with its name": "event: ping\ndata: ping\n\n" + said("Hello") + "event: ping\ndata: {}\n\n" + END + DONE,
    "ping without a name": event("ping") + said("Hello") + event("PING") + END + DONE,
    "null": event("null") + said("Hel") + event("null") + said("lo") + event("null") + END + DONE,
    "heartbeats": "event: heartbeat\ndata: 1727\n\n" + said("Hello") + 'data: ""\n\n' + event({}) + END + DONE,
    "an empty list": said("Hello") + event([]) + END + DONE,
    "keepalives after the reason": said("Hel", "stop") + event("ping") + said("lo") + event("null") + DONE,
    "a named event of text": "event: status\ndata: warming up\n\n" + HELLO,
    "data twice": "data: data: " + said("Hello")[6:] + END + "data: data: [DONE]\n\n",
    "a mark and line ends of CR": "\ufeff" + HELLO.replace("\n", "\r"),
    "ids, comments and times": "retry: 3\n: hi\nid: 7\n" + HELLO,
    "empty lines first": "\n\n\n" + HELLO,
    "chunks in a list": event([json.loads(said("Hel")[6:]), json.loads(said("lo")[6:])]) + END + DONE,
    "chunks as lines": "".join(part[6:-1] for part in (said("Hel"), said("lo"), END)),
    "error null beside choices": event({"error": None, "choices": [{"delta": {"content": "Hello"}}]}) + END + DONE,
    "code 0 beside choices": event({"code": 0, "message": "Success", "choices": [{"delta": {"content": "Hello"}}]})
    + END
    + DONE,
    "base_resp of MiniMax": event(
        {"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [{"delta": {"content": "Hello"}}]}
    )
    + END
    + DONE,
    "a place in a queue": event({"status": "queued", "message": "2 before you"}) + HELLO,
    "a state": event({"status": "completed"}) + HELLO,
    "a type": event({"type": "ping", "message": "still here"}) + HELLO,
    "an empty error": event({"error": {"code": None, "message": ""}}) + event({"error": {}}) + HELLO,
    "an empty detail": event({"detail": None}) + event({"errors": []}) + HELLO,
    "NaN and Infinity beside a piece": event(
        '{"choices":[{"delta":{"content":"Hello"},"logprobs":[-Infinity]}],"usage":{"prompt_tokens":NaN,"x":1e999}}'
    )
    + END,
    "an error of the content filter, which is not the answer's": choice(
        delta={}, content_filter_result={"error": {"code": "content_filter_error", "message": "not filtered"}}
    )
    + HELLO,
    "names without data": "event: ping\n\nevent: status\n\n" + HELLO,
    "content as an object": chunk({"content": {"type": "text", "text": "Hello"}}) + END + DONE,
    "content as a list of texts": chunk({"content": ["Hel", "lo"]}) + END + DONE,
    "content as parts": chunk({"content": [{"type": "text", "text": "Hel"}, "lo", {"type": "image_url"}]}) + END + DONE,
    "content as output_text": chunk({"content": [{"type": "output_text", "text": {"value": "Hello"}}]}) + END + DONE,
    "a whole message": choice(message={"role": "assistant", "content": "Hello"}, finish_reason="stop") + DONE,
    "a message that repeats the deltas": said("Hel") + said("lo") + choice(message={"content": "Hello"}) + END + DONE,
    "a message that grows": choice(message={"content": "Hel"})
    + choice(message={"content": "Hello"})
    + choice(message={"content": "Hello"}, finish_reason="stop")
    + DONE,
    "a growing message beside deltas": choice(message={"content": "Hel"}, delta={"content": "Hel"})
    + choice(message={"content": "Hello"}, delta={"content": "lo"})
    + END,
    "text of the older API": choice(text="Hel") + choice(text="lo", finish_reason="stop") + DONE,
    "text beside an empty delta": choice(text="Hello", delta={}) + END,
    "text in the delta": chunk({"text": "Hel"}) + chunk({"text": "lo"}) + END + DONE,
    "content in the choice": choice(content="Hello") + END + DONE,
    "choices in another object": event({"output": {"choices": [{"message": {"content": "Hel"}}]}, "usage": {}})
    + event({"code": 0, "data": {"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]}}),
    "keepalives in brackets": event("[PING]") + said("Hello") + event("...") + END + DONE,
    "a whole completion": json.dumps(
        {"object": "chat.completion", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    ),
    "a whole completion, indented, after empty lines": "\n\n"
    + json.dumps({"choices": [{"message": {"content": "Hello"}}]}, indent=2),
}


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_complete_answer(name: str, size: int) -> None:
    """The content is the whole answer, however oddly it was written and whatever came after it."""
    outcome = read(COMPLETE[name], size=size)
    assert (outcome.text, outcome.end) == ("Hello", "complete")


# Not complete

NOT_COMPLETE = {
    "an end without a reason": (said("Hello"), "cut off"),
    "a torn last event": (
        said("Hello") + 'data: {"choices":[{"delta":{"content":" you"},"finish_reason":"sto',
        "cut off",
    ),
    "a torn [DONE]": (said("Hello") + "data: [DON", "cut off"),
    "no JSON": (said("Hello") + event("oops") + END + DONE, "malformed"),
    "a torn chunk": (said("Hello") + TORN + END + DONE, "malformed"),
    "a torn piece after an early reason": (
        said("Hello", "stop") + event('{"choices":[{"delta":{"content":"torn') + DONE,
        "malformed",
    ),
    "a torn chunk among lines": ((said("Hello") + TORN + DONE).replace("\n\n", "\n") + "\n", "malformed"),
    "an error among lines": ((said("Hello") + event({"error": {"code": 429}})).replace("\n\n", "\n"), "upstream_quota"),
    "a number": (said("Hello") + event("5") + END + DONE, "malformed"),
    "an error after an early reason": (
        said("Hello", "stop") + event({"error": {"message": "boom"}}) + DONE,
        "upstream_failed",
    ),
    "an error after announced calls": (
        said("Hello") + chunk({}, "tool_calls") + event({"error": {"message": "boom"}}),
        "upstream_failed",
    ),
    "a reason that means an error": (said("Hello") + chunk({}, "error") + DONE, "upstream_failed"),
    "such a reason after another": (said("Hello") + END + chunk({}, "error") + DONE, "upstream_failed"),
    "an error as a bare line before [DONE] in one event": (
        said("Hello") + '{"error": {"code": 429}}\n' + DONE,
        "upstream_quota",
    ),
    "an error as a bare line": (said("Hello") + '{"error": {"code": 429}}\n\n' + DONE, "upstream_quota"),
    "an error under its own field": (said("Hello") + 'error: {"code":500,"message":"x"}\n\n', "upstream_failed"),
    "event: error with text": (said("Hello") + "event: error\ndata: rate limit reached\n\n", "upstream_quota"),
    **{
        f"a reason with an error in it: {reason}": (said("Hello") + chunk({}, reason) + DONE, "upstream_failed")
        for reason in (
            *("internal_server_error", "ERROR_TOXIC", "upstream_error", "exception", "generation_failed"),
            *("engine_overloaded", "interrupted", "request_timeout"),
        )
    },
    "the provider's own reason is an error": (
        said("Hello") + choice(delta={}, finish_reason="stop", native_finish_reason="MALFORMED_FUNCTION_CALL") + DONE,
        "upstream_failed",
    ),
    **{
        f"event: {name}": (said("Hello") + f"event: {name}\ndata: gave up\n\n" + DONE, "upstream_failed")
        for name in ("Error", "exception", "upstream_error", "response.failed")
    },
    "event: error with an object": (said("Hello") + 'event: stream_error\ndata: {"text":"x"}\n\n', "upstream_failed"),
    "event: error without data": (said("Hello") + "event: error\n\n" + DONE, "upstream_failed"),
    "event: error with empty data": (said("Hello") + "event: error\ndata:\n\n" + DONE, "upstream_failed"),
    "event: error with [DONE]": (said("Hello") + "event: error\ndata: [DONE]\n\n", "upstream_failed"),
    "a page in the stream": (said("Hello") + "<html>502 Bad Gateway</html>\n\n" + DONE, "malformed"),
    "text in the stream": (said("Hello") + "upstream connect error or disconnect\n\n" + DONE, "malformed"),
    "an error in a delta": (said("Hello") + chunk({"error": {"message": "x", "code": 504}}) + DONE, "upstream_timeout"),
    "an error in a message": (said("Hello") + choice(message={"error": {"code": 429}}) + DONE, "upstream_quota"),
    "errors in a choice": (said("Hello") + choice(delta={}, errors=[{"code": 429}]) + DONE, "upstream_quota"),
    "an error in a choice": (
        said("Hello") + choice(delta={"content": ""}, finish_reason=None, error={"message": "x", "code": "504"}),
        "upstream_timeout",
    ),
}


@pytest.mark.parametrize("name", NOT_COMPLETE)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_is_no_complete_answer(name: str, size: int) -> None:
    """The end is reported as what it is, with the content that came before."""
    body, end = NOT_COMPLETE[name]
    outcome = read(body, size=size)
    assert (outcome.text, outcome.end) == ("Hello", end)


@pytest.mark.parametrize(
    ("body", "end"),
    [
        ("<!doctype html><p>hi", "malformed"),
        ("  \n<html>", "malformed"),
        ('{"x": 1}', "malformed"),
        ("[]", "malformed"),
        (event({"response": "Hi"}) + DONE, "malformed"),  # Cloudflare's own protocol, and others
        (event({"type": "response.output_text.delta", "delta": "Hi"}) + DONE, "malformed"),
        ('{"choices": [{"message": {"content": "Hel', "cut off"),
        ('{"error": {"code": 401}}', "upstream_auth"),
        ('[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]', "upstream_quota"),
        ("Internal Server Error", "cut off"),
        ("", "cut off"),
    ],
)
def test_bodies_that_are_no_stream(body: str, end: str) -> None:
    """A page, JSON that isn't a completion, an error, text: none of them is an answer."""
    assert read(body) == Outcome(end=end)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_that_end_in_one_line_end_come_when_they_are_there(end: str) -> None:
    """A server without blank lines is read as it writes, from its second event on, not only at the end of the body."""
    chunks = ChatChunks()
    lines = [said(word).replace("\n\n", end).encode() for word in ("a", "b", "c")]
    assert [chunks.feed(line) for line in lines] == [
        [],
        [TextDelta("a"), TextDelta("b")],
        [TextDelta("c")],
    ]


def test_an_object_in_several_lines_is_one_event() -> None:
    """Lines of data are joined as the standard says, whatever the lines look like."""
    lines = json.dumps({"choices": [{"delta": {"content": "Hello"}, "x": {}}]}, indent=1).split("\n")
    assert read("".join(f"data: {line}\n" for line in lines) + "\n" + END, size=1).text == "Hello"


def test_a_body_that_never_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless blanks in one line, or an event without an end, are refused; empty lines may arrive for long."""
    monkeypatch.setattr(sse_events, "MAX_EVENT_BYTES", 1000)
    assert read(" " * 2000).end == "malformed"
    assert read("data: " + "x" * 2000, size=100).end == "malformed"
    assert read('{"x": "' + "x" * 2000, size=100).end == "malformed"
    assert read("\n" * 5000 + HELLO, size=100).text == "Hello"


# Reasons

CUTS = {
    "an object": {"finish_reason": {"type": "length"}},
    "Gemini's name": {"finishReason": "MAX_TOKENS"},
    "Anthropic's name": {"finish_reason": None, "stop_reason": "max_tokens"},
    "details": {"finish_reason": None, "finish_details": {"type": "max_tokens"}},
    "the provider's own": {"finish_reason": "stop", "native_finish_reason": "length"},
    "a new word": {"finish_reason": "token_limit_reached"},
    "another new word": {"finish_reason": "blocked_by_policy"},
    "in the delta": {"delta": {"finish_reason": "length"}},
}


@pytest.mark.parametrize("said_so", CUTS.values(), ids=CUTS)
def test_a_cut_under_other_names(said_so: Json) -> None:
    """A reason that means that the answer was cut is found in any place."""
    outcome = read(said("Hello") + choice(**{"delta": {}, **said_so}) + DONE)
    assert outcome.end == "complete"
    assert means_cut(outcome.reason or "")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_cut_stays_one(reason: str) -> None:
    """A later reason of a gateway, also outside of the choices, doesn't replace it.

    A piece that follows disproves it.
    """
    assert read(said("Hello") + chunk({}, reason) + END + DONE).reason == reason
    assert read(said("Hello") + event({"choices": [], "finish_reason": reason}) + DONE).reason == reason
    assert read(said("Hello", reason) + END + DONE).reason == "stop"
    assert read(chunk({"role": "assistant", "content": ""}, reason) + END + DONE).reason == "stop"
    assert read(said("Hel") + chunk({}, reason) + said("lo") + END + DONE).reason == "stop"


def test_what_is_no_utf_8_or_a_control_character_loses_nothing() -> None:
    """Half a character becomes U+FFFD, and a tab in a string stays a tab."""
    assert read(said("a@b").encode().replace(b"@", b"\xff\t") + END.encode()).text == "a\ufffd\tb"


@pytest.mark.parametrize("reason", ["stop", "end_turn", "tool_calls", "function_call", "eos_token", "stop_sequence"])
def test_a_reason_of_a_whole_answer(reason: str) -> None:
    """It is reported neither as a cut nor as an error."""
    assert not means_cut(reason)
    assert not means_error(reason)


def may_end(body: str) -> tuple[bool, bool]:
    """Whether a body is a complete answer at this point: after silence, and after a broken connection."""
    chunks = ChatChunks()
    chunks.feed(body.encode())
    return chunks.finish_reason is not None and chunks.may_end, chunks.ended


@pytest.mark.parametrize(
    ("body", "silence", "broken"),
    [
        (said("Hello") + END, True, True),
        (said("Hello", "stop"), True, True),
        (said("Hel", "stop") + said("lo", "stop"), True, False),
        (chunk({"role": "assistant", "content": ""}, "stop"), False, False),
        (chunk({}, "tool_calls"), False, False),
        (chunk({"tool_calls": [OPEN_CALL]}, "stop"), False, False),
        (chunk({"tool_calls": [OPEN_CALL]}, "stop") + said("Hello", "stop"), False, False),
        (chunk({"tool_calls": [OPEN_CALL]}) + chunk({}, "tool_calls"), True, True),
    ],
)
def test_what_proves_the_end(body: str, silence: bool, broken: bool) -> None:
    """A reason before the first piece proves nothing, nor does one beside a piece if there are calls."""
    assert may_end(body) == (silence, broken)


# Calls in other places

CALLS = {
    "an id that is a number": (chunk({"tool_calls": [{**OPEN_CALL, "id": 123}]}), (0, "123", "echo", "{}")),
    "an index that is text": (chunk({"tool_calls": [{**OPEN_CALL, "index": "1"}]}), (1, "c1", "echo", "{}")),
    "an index that is a float": (chunk({"tool_calls": [{**OPEN_CALL, "index": 1.0}]}), (1, "c1", "echo", "{}")),
    "an index that is a word": (chunk({"tool_calls": [{**OPEN_CALL, "index": "a"}]}), ("a", "c1", "echo", "{}")),
    "an index that is a list": (chunk({"tool_calls": [{**OPEN_CALL, "index": [0]}]}), ("[0]", "c1", "echo", "{}")),
    "an id that is an object": (
        chunk({"tool_calls": [{**OPEN_CALL, "id": {"a": 1}}]}),
        (0, '{"a": 1}', "echo", "{}"),
    ),
    "no index": (chunk({"tool_calls": [{**OPEN_CALL, "index": None}]}), (None, "c1", "echo", "{}")),
    "a name that is null": (
        chunk({"tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": "{"}}]}),
        (0, "", "", "{"),
    ),
    "no function around it": (
        chunk({"tool_calls": [{"index": 0, "id": "c1", "name": "echo", "arguments": {"a": 1}}]}),
        (0, "c1", "echo", '{"a": 1}'),
    ),
    "arguments under Anthropic's name": (
        chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "tool_use", "name": "echo", "input": {"a": 1}}]}),
        (0, "c1", "echo", '{"a": 1}'),
    ),
    "arguments under Llama's name": (
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "echo", "parameters": {"a": 1}}}]}),
        (0, "c1", "echo", '{"a": 1}'),
    ),
    "its name beside the function": (
        chunk({"tool_calls": [{"index": 0, "id": "c1", "name": "echo", "function": {"arguments": "{}"}}]}),
        (0, "c1", "echo", "{}"),
    ),
    "in the choice": (choice(delta={}, tool_calls=[OPEN_CALL]), (0, "c1", "echo", "{}")),
    "no list around it": (chunk({"tool_calls": OPEN_CALL}), (0, "c1", "echo", "{}")),
    "function_call": (chunk({"function_call": {"name": "echo", "arguments": "{}"}}), (0, "", "echo", "{}")),
    "function_call beside tool_calls": (
        chunk({"tool_calls": [OPEN_CALL], "function_call": {"name": "echo", "arguments": "{}"}}),
        (0, "c1", "echo", "{}"),
    ),
    "a whole message": (
        choice(
            message={"content": None, "tool_calls": [{"id": "c1", "function": {"name": "echo", "arguments": "{}"}}]}
        ),
        (0, "c1", "echo", "{}"),
    ),
    "a message that repeats it": (
        chunk({"tool_calls": [OPEN_CALL]}) + choice(message={"tool_calls": [OPEN_CALL]}),
        (0, "c1", "echo", "{}"),
    ),
    "the same message twice": (choice(message={"tool_calls": [OPEN_CALL]}) * 2, (0, "c1", "echo", "{}")),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_in_other_forms(name: str) -> None:
    """A call is read once in any place, and whatever the types of its labels."""
    body, expected = CALLS[name]
    assert read(body + chunk({}, "tool_calls") + DONE).calls == [expected]


def test_a_function_call_in_pieces() -> None:
    """Each piece is added to the one call."""
    pieces = [{"name": "echo", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}]
    outcome = read("".join(chunk({"function_call": piece}) for piece in pieces) + chunk({}, "function_call"))
    assert outcome.calls == [(0, "", "echo", ""), (0, "", "", '{"a"'), (0, "", "", ":1}")]
    assert outcome.reason == "function_call"


def test_calls_of_a_whole_message_are_apart() -> None:
    """Two calls without an index are two calls."""
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    assert [call[0] for call in read(choice(message={"tool_calls": calls})).calls] == [0, 1]


# Thinking

THINKING: dict[str, tuple[str, str]] = {
    "both names": (chunk({"reasoning": "Hm", "reasoning_content": "Hm"}), "Hm"),
    "details alone": (chunk({"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}), "Hm"),
    "a summary": (chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]}), "Hm"),
    "encrypted details": (chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}]}), ""),
    "details beside text": (
        chunk({"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}),
        "Hm",
    ),
    "details after text": (
        chunk({"reasoning": "Hm"}) + chunk({"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}),
        "Hm",
    ),
    "an object": (chunk({"thinking": {"thinking": "Hm", "signature": "s"}}), "Hm"),
    "blocks": (chunk({"thinking_blocks": [{"type": "thinking", "thinking": "Hm"}]}), "Hm"),
    "parts of the content": (chunk({"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}]}), "Hm"),
    "a message that repeats it": (
        chunk({"reasoning_content": "Hm"}) + choice(message={"reasoning_content": "Hm"}),
        "Hm",
    ),
}


@pytest.mark.parametrize("name", THINKING)
def test_thinking_in_other_forms(name: str) -> None:
    """Thinking is reported once, separate from the answer."""
    body, thinking = THINKING[name]
    outcome = read(body + said("Hello") + END + DONE)
    assert (outcome.thinking, outcome.text) == (thinking, "Hello")


R1 = ThinkTagModels(("*r1*",), ("*inside*",))
TAGGED = [
    ("<think>Hm.</think>Hello", "Hm.", "Hello"),
    ("\n <think>\nHm.\n</think>\n\nHello\n", "Hm.", "Hello\n"),
    ("<think>\n\n</think>\n\nHello", "", "Hello"),
    ("<think>Hm < b </thin </think>Hello", "Hm < b </thin", "Hello"),
    ("<think>never closed", "never closed", ""),
    ("<think>never closed </thi", "never closed </thi", ""),
    ("<thought>Hm.</thought>Hello", "Hm.", "Hello"),
    ("<Thought>Hm.</Thought>Hello", "Hm.", "Hello"),
    ("<|begin_of_thought|>Hm.<|end_of_thought|>Hello", "Hm.", "Hello"),
    ("<reason>Hm.</reason>Hello", "Hm.", "Hello"),
    ("<reasoning>Hm.</reasoning>Hello", "Hm.", "Hello"),
    ("[THINK]Hm.[/THINK]Hello", "Hm.", "Hello"),
    ("◁think▷Hm.◁/think▷Hello", "Hm.", "Hello"),
    ("Hello <think>no</think>", "", "Hello <think>no</think>"),
    ("<think>Hm.</think>Hello <think>no</think>", "Hm.", "Hello <think>no</think>"),
    ("<thin", "", "<thin"),
    ("<b>Hello", "", "<b>Hello"),
    ("  Hello", "", "  Hello"),
    ("  ", "", "  "),
]
INSIDE = [
    ("Hm.</think>Hello", "Hm.", "Hello"),
    ("\nHm.\n</think>\n\nHello", "Hm.", "Hello"),
    ("<think>Hm.</think>Hello", "Hm.", "Hello"),
    ("never closed", "never closed", ""),
]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("model", "written", "thinking", "text"),
    [*(("Deep/R1", *case) for case in TAGGED), *(("inside", *case) for case in INSIDE)],
)
def test_thinking_between_tags(model: str, written: str, thinking: str, text: str, size: int) -> None:
    """Tags count only at the start of an answer, wherever they are cut; none of the text is lost."""
    pieces = [written[start : start + size] for start in range(0, len(written), size)]
    outcome = read("".join(map(said, pieces)) + END + DONE, R1.tags(model))
    assert (outcome.thinking, outcome.text) == (thinking, text)


def test_tags_of_other_models_are_text() -> None:
    """Text is left unchanged for a model that isn't listed, and if the server already separates the thinking."""
    assert R1.tags("gpt-4.1") is None
    assert read(said("<think>Hm</think>Hello") + END).text == "<think>Hm</think>Hello"
    outcome = read(chunk({"reasoning_content": "Hm"}) + said("Hello") + END, R1.tags("inside"))
    assert (outcome.thinking, outcome.text) == ("Hm", "Hello")
    nothing = chunk({"reasoning_content": None, "content": "Hm.</think>"})
    assert read(nothing + said("Hello") + END, R1.tags("inside")).thinking == "Hm."


# Counts

COUNTS: Sequence[tuple[Any, tuple[int | None, int | None, int | None]]] = [
    ({"prompt_tokens": 3.5, "completion_tokens": 2.25, "total_tokens": 5.75}, (4, 2, 6)),
    ({"prompt_tokens": "3", "completion_tokens": "2.0", "total_tokens": "x"}, (3, 2, 5)),
    ({"prompt_tokens": -1, "completion_tokens": True, "total_tokens": [5]}, (None, None, None)),
    ({"prompt_tokens": 1e300, "completion_tokens": 10**30}, (None, None, None)),
    ({"prompt_tokens": 3, "prompt_tokens_details": 5, "completion_tokens_details": [1]}, (3, None, None)),
    ({"input_tokens": 3, "output_tokens": 2}, (3, 2, 5)),
    (
        {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
        (8, 2, 10),
    ),
    ({"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, (3, 2, 5)),
    ({"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 7}, (3, 2, 7)),
    ("odd", (None, None, None)),
    ([1], (None, None, None)),
    (5, (None, None, None)),
]


@pytest.mark.parametrize(("usage", "counts"), COUNTS)
def test_odd_counts_lose_no_answer(usage: Any, counts: tuple[int | None, ...]) -> None:
    """Valid counts are read in each of the known places; others are ignored, and the answer is kept."""
    chunks = [
        event({"choices": [], "usage": usage}),
        choice(delta={}, finish_reason="stop", usage=usage),
        event({"choices": [], "x_groq": {"usage": usage}}),
    ]
    for chunk in chunks:
        outcome = read(said("Hello") + END + chunk + DONE)
        assert (outcome.text, outcome.end, outcome.usage) == ("Hello", "complete", counts)


@pytest.mark.parametrize("later", [{}, None, {"prompt_tokens": None}, {"completion_tokens": 0}, {"total_tokens": 5}, 7])
def test_a_later_partial_report_erases_nothing(later: Any) -> None:
    """A later report without a count, or with a smaller one, leaves the count as it was."""
    first = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    assert read(said("Hello") + END + first + event({"choices": [], "usage": later}) + DONE).usage == (3, 2, 5)
