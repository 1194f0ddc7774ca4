"""Streams of a model server in any notation and cut anywhere, and what readers find in them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from hypothesis import strategies as st

from services.completions.chunks import CallDelta, ChatChunks, Delta, HostedResult, TextDelta, ThinkingDelta

Json = dict[str, Any]
Kind = Literal["text", "thinking", "call 0", "call 1"]
Cut = Callable[[bytes], Sequence[bytes]]
kinds: st.SearchStrategy[Kind] = st.sampled_from(get_args(Kind))


@dataclass
class Said:
    """The content of a stream, its deltas joined."""

    texts: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    over: str = ""

    def add(self, kind: str, text: str) -> None:
        self.texts[kind] = self.texts.get(kind, "") + text


def read(pieces: Sequence[bytes]) -> Said:
    """Return the deltas that `ChatChunks` reads from a body that arrives in these pieces."""
    chunks, said = ChatChunks(), Said()
    for piece in pieces:
        if not chunks.over:
            add(said, chunks.feed(piece))
    add(said, chunks.flush())
    said.finish_reason = chunks.finish_reason
    said.over = "done" if chunks.done else "malformed" if chunks.malformed else "fault" if chunks.error_data else ""
    return said


def add(said: Said, deltas: Sequence[Delta]) -> None:
    for delta in deltas:
        match delta:
            case TextDelta(text):
                said.add("text", text)
            case ThinkingDelta(text):
                said.add("thinking", text)
            case CallDelta(slot, arguments=text):
                said.add(f"call {slot}", text)
            case HostedResult():
                said.add("result", json.dumps(delta.result))


def chunk_of(kind: Kind, text: str) -> Json:
    match kind:
        case "text":
            delta: Json = {"content": text}
        case "thinking":
            delta = {"reasoning": text}
        case _:
            delta = {"tool_calls": [{"index": int(kind[-1]), "id": kind, "function": {"name": "x", "arguments": text}}]}
    return {"choices": [{"index": 0, "delta": delta}]}


def utf8(value: Any) -> str:
    """JSON whose text stays UTF-8, except for what UTF-8 can't represent."""
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()


def in_bytes(body: bytes) -> list[bytes]:
    return [body[position : position + 1] for position in range(len(body))]


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    """A way to cut a body into pieces: at any positions, at every byte, or not at all."""
    fractions = draw(st.lists(st.floats(0, 1, exclude_max=True), max_size=12))

    def cut(body: bytes) -> Sequence[bytes]:
        ends = sorted({0, len(body), *(int(fraction * len(body)) for fraction in fractions)})
        return [body[start:end] for start, end in pairwise(ends)]

    return draw(st.sampled_from([cut, in_bytes]))


def same(ours: Said, theirs: Said) -> None:
    """Whether both have the same content. A kind without text may be present or absent."""
    for said in (ours, theirs):
        said.texts = {kind: text for kind, text in said.texts.items() if text}
    assert ours == theirs


def by_line(name: str, data: str) -> list[tuple[str, str]]:
    """An event, or the events on its lines if it isn't JSON as a whole."""
    try:
        json.loads(data)
    except ValueError:
        return [(name, data)] if name == "error" else [(name, line) for line in data.split("\n")]
    return [(name, data)]


def interpreted(read_events: Sequence[tuple[str, str]]) -> Said:
    """The content of a stream, from the names and data of its events as another reader returned them."""
    said = Said()
    for name, data in (each for event in read_events for each in by_line(*event)):
        if said.over or not data.strip():
            continue
        if name == "error":
            said.over = "fault"
            continue
        if data.strip() == "[DONE]":
            said.over = "done"
            continue
        if data.strip().startswith(":"):
            continue
        try:
            chunk = json.loads(data)
        except ValueError:
            said.over = "malformed"
            continue
        said.add("text", chunk["choices"][0]["delta"]["content"])
    return said


soup = st.lists(
    st.sampled_from(
        [
            *(f"data: {json.dumps(chunk_of('text', text))}" for text in ("a", "b", "ö", "\u2028")),
            *(f"data:{utf8(chunk_of('text', text))}" for text in ("😀", "c\u2028d\x85e")),
            'data: {"choices":[{"delta":',
            'data:{"content":"f"}}]}',
            *("data", "data:", "data: ", "data: [DONE]", "data:  [DONE]"),
            *(
                "event: error\ndata: x",
                "event: message",
                "event:error\ndata: x",
                "event",
                "id: 1",
                "id",
                "retry: 5",
                "retry",
            ),
            *('data: {"choices":[{"delta":{"content":"g', 'data: h"}}]}'),
            *(": comment", ":", "::", "data:: x", ":data: x", "x"),
            *("", "", "", ""),
        ]
    ),
    max_size=14,
)


ONE_LINE_END = re.compile(rb"\}(\r\n?|\n)((event|id)[^\r\n]*(\r\n?|\n))*data: ?[{\[]")


@st.composite
def soups(draw: st.DrawFn) -> bytes:
    """Meaningful lines, in any order and with any line ends."""
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    lines = draw(soup)
    return (draw(st.sampled_from(["", "\ufeff"])) + "".join(line + draw(ends) for line in lines)).encode()
