"""A right answer, with the oddities of real servers in any combination, is read correctly, or the run fails.

`HARMLESS` lists what a server may do to an answer without changing it, `HARMFUL` what breaks it. After the first the
answer is whole; after the second it is whole or an error, and never a success with other data.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.agents.call_gathering import CallGatherer
from services.completions.chunks import CallDelta, ChatChunks, TextDelta, ThinkingDelta

many = settings(max_examples=3 * settings().max_examples)
Json = dict[str, Any]
Draw = Callable[..., Any]


@dataclass
class Answer:
    """The model's answer."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Json]] = field(default_factory=list)
    reason: str | None = "stop"
    tokens: int | None = None


@dataclass
class Wire:
    """The answer on the wire: its chunks in order, including the finish reason's own, and the usage after it."""

    pieces: list[Json]
    finish: Json
    usage: list[Json]
    events: list[str] = field(default_factory=list)
    done: str = "data: [DONE]\n\n"

    @property
    def chunks(self) -> list[Json]:
        return [*self.pieces, self.finish, *self.usage]

    def write(self) -> None:
        self.events = [written(chunk) for chunk in self.chunks]


def written(data: Any) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def chunk(delta: Json, reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
arguments = st.dictionaries(words, words | st.integers(-5, 5), max_size=2)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Answer, Wire]:
    """An answer, and its chunks as OpenAI would write them."""
    thoughts, texts = draw(st.lists(words, max_size=3)), draw(st.lists(words, max_size=4))
    calls = draw(st.lists(st.tuples(st.sampled_from(["echo", "add"]), arguments), max_size=2))
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    answer = Answer("".join(texts), "".join(thoughts), calls, reason, 12)
    pieces = [chunk({"role": "assistant", "content": ""})]
    pieces += [chunk({"reasoning_content": thought}) for thought in thoughts]
    pieces += [chunk({"content": text}) for text in texts]
    for index, (name, sent) in enumerate(calls):
        whole = json.dumps(sent)
        middle = draw(st.integers(1, len(whole)))
        function = {"name": name, "arguments": ""}
        pieces.append(
            chunk({"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]})
        )
        for part in filter(None, (whole[:middle], whole[middle:])):
            pieces.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    return answer, Wire(pieces, chunk({}, reason), [{**chunk({}), "choices": [], "usage": usage}])


# What a server may do without changing the answer

Oddity = Callable[[Draw, Answer, Wire], None]


def of(piece: Json) -> Json:
    choice: Json = piece["choices"][0]
    return choice


def some(draw: Draw, items: Sequence[Json]) -> list[Json]:
    return [item for item in items if draw(st.booleans())]


def early_reasons(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        of(piece)["finish_reason"] = draw(st.sampled_from(["stop", "tool_calls", "length"]))


def no_reasons_between(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        of(piece)["finish_reason"] = of(piece)["finish_reason"] or draw(st.sampled_from(["", "null", None]))


def reason_with_the_last_piece(draw: Draw, answer: Answer, wire: Wire) -> None:
    if len(wire.pieces) > 1:
        wire.finish = wire.pieces.pop()
        of(wire.finish)["finish_reason"] = answer.reason


def nulls_and_roles(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        of(piece)["delta"] = {"role": "assistant", "content": None, "tool_calls": None, "refusal": None} | of(piece)[
            "delta"
        ]


def more_keys(draw: Draw, answer: Answer, wire: Wire) -> None:
    extras = [
        *({"error": None}, {"code": 0, "message": "success"}, {"system_fingerprint": "f"}, {"obfuscation": "x"}),
        *(
            {"base_resp": {"status_code": 0, "status_msg": ""}},
            {"usage": None},
            {"detail": None},
            {"status": "running"},
        ),
    ]
    for piece in some(draw, wire.chunks):
        piece |= draw(st.sampled_from(extras)) if piece["choices"] else {}


def content_in_parts(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        if text := of(piece)["delta"].get("content"):
            forms = [[text], [{"type": "text", "text": text}], {"type": "text", "text": text}, {"text": text}]
            of(piece)["delta"]["content"] = draw(st.sampled_from(forms))


def text_of_the_older_api(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        if isinstance(text := of(piece)["delta"].get("content"), str) and text:
            piece["choices"] = [{"index": 0, "text": text, "finish_reason": of(piece)["finish_reason"]}]
            of(piece)["delta"] = {}


def reasoning_elsewhere(draw: Draw, answer: Answer, wire: Wire) -> None:
    names = draw(st.sampled_from([["reasoning"], ["thinking"], ["reasoning", "reasoning_content"], ["details"]]))
    for piece in wire.pieces:
        delta = of(piece)["delta"]
        if text := delta.pop("reasoning_content", None):
            delta |= dict.fromkeys(names, text)
            if text := delta.pop("details", None):
                delta["reasoning_details"] = [{"type": "reasoning.text", "text": text, "index": 0}]


def details_beside(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in wire.pieces:
        if text := of(piece)["delta"].get("reasoning_content"):
            of(piece)["delta"]["reasoning_details"] = [{"type": "reasoning.text", "text": text}]


def labels_of_other_types(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in wire.pieces:
        for call in of(piece)["delta"].get("tool_calls") or ():
            call["index"] = draw(st.sampled_from([int, str, float]))(int(call["index"]))
            if "id" in call and draw(st.booleans()):
                call["id"] = 700 + int(call["index"])


def flat_calls(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        for call in of(piece)["delta"].get("tool_calls") or ():
            call |= call.pop("function", {})


def nulls_in_calls(draw: Draw, answer: Answer, wire: Wire) -> None:
    for piece in some(draw, wire.pieces):
        for call in of(piece)["delta"].get("tool_calls") or ():
            call |= {"id": call.get("id"), "type": call.get("type")}
            if "function" in call:
                call["function"] = {"name": None} | call["function"]


def second_choices(draw: Draw, answer: Answer, wire: Wire) -> None:
    other = {"index": 1, "delta": {"content": "other"}, "finish_reason": draw(st.sampled_from([None, "length"]))}
    for piece in some(draw, wire.pieces):
        piece["choices"] = draw(st.permutations([*piece["choices"], other]))
        piece["choices"].sort(key=lambda choice: choice is other) if len(piece["choices"]) > 2 else None
    position = draw(st.integers(0, len(wire.pieces)))
    wire.pieces.insert(position, {**chunk({}), "choices": [other]})


def odd_usage(draw: Draw, answer: Answer, wire: Wire) -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    forms: list[Any] = [
        {"input_tokens": 3, "output_tokens": 9},
        {"prompt_tokens": "3", "completion_tokens": 9.0, "total_tokens": 12.2},
        {**counts, "prompt_tokens_details": None, "completion_tokens_details": "x"},
    ]
    wire.usage = [{**chunk({}), "choices": [], "usage": draw(st.sampled_from(forms))}]
    later: list[Any] = [{"prompt_tokens": 0}, {}, "x", {"total_tokens": -5}, {"completion_tokens": None}]
    wire.usage += [
        {**chunk({}), "choices": [], "usage": usage} for usage in draw(st.lists(st.sampled_from(later), max_size=2))
    ]


def usage_elsewhere(draw: Draw, answer: Answer, wire: Wire) -> None:
    usage = wire.usage[0]["usage"]
    if draw(st.booleans()):
        wire.usage[0] = {**chunk({}), "choices": [], "x_groq": {"usage": usage}}
    else:
        of(wire.finish)["usage"] = usage
        wire.usage.pop(0)


CHUNK_ODDITIES: list[Oddity] = [
    early_reasons,
    no_reasons_between,
    nulls_and_roles,
    content_in_parts,
    text_of_the_older_api,
    reasoning_elsewhere,
    details_beside,
    labels_of_other_types,
    nulls_in_calls,
    flat_calls,
    reason_with_the_last_piece,
    odd_usage,
    usage_elsewhere,
    more_keys,
    second_choices,
]
"""Applied in this order, so that each finds the chunks in a form that it knows."""


def keepalives(draw: Draw, answer: Answer, wire: Wire) -> None:
    kinds = [
        *(
            ": ping\n\n",
            "event: ping\ndata: ping\n\n",
            "data: null\n\n",
            "data: \n\n",
            "data: ping\n\n",
            "data: {}\n\n",
        ),
        *(
            'data: {"type": "ping"}\n\n',
            "event: keepalive\ndata: 1\n\n",
            'data: {"choices": []}\n\n',
            "retry: 5\n\n",
            "\n\n",
        ),
    ]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        wire.events.insert(draw(st.integers(0, len(wire.events))), kind)


def odd_fields(draw: Draw, answer: Answer, wire: Wire) -> None:
    for index, event in enumerate(wire.events):
        if event.startswith("data: {"):
            start = draw(
                st.sampled_from(
                    ["data: ", "data:", "data:   ", "data: data: ", "id: 7\ndata: ", "event: message\ndata: "]
                )
            )
            wire.events[index] = start + event.removeprefix("data: ")


def odd_end(draw: Draw, answer: Answer, wire: Wire) -> None:
    ends = ["", "data:  [DONE]\n\n", "data: [DONE] \n\n", "data:[DONE]", "data: [DONE]\n", 'data: "[DONE]"\n\n']
    wire.done = draw(st.sampled_from(ends))
    if not wire.done and draw(st.booleans()):
        wire.events[-1] = wire.events[-1].rstrip("\n")


def noise_after_the_end(draw: Draw, answer: Answer, wire: Wire) -> None:
    """Only if a finish reason came by itself after some content: then the answer is known to be complete."""
    alone = of(wire.finish)["delta"] == {} and not of(wire.finish).get("text")
    plain = answer.reason == "stop" and alone and (answer.text or answer.thinking)
    if plain and wire.chunks[-1] is not wire.finish:
        kinds = [
            'data: {"error": {"message": "x"}}\n\n',
            "data: {torn\n\n",
            "data: bye\n\n",
            'data: {"usage": NaN}\n\n',
        ]
        wire.events.append(draw(st.sampled_from(kinds)))


EVENT_ODDITIES: list[Oddity] = [odd_fields, noise_after_the_end, keepalives, odd_end]


def line_ends(draw: Draw, body: str) -> bytes:
    end: str = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    mark: str = draw(st.sampled_from(["", "\ufeff", "\n\n"]))
    return (mark + body.replace("\n", end)).encode()


@st.composite
def odd_streams(draw: st.DrawFn) -> tuple[Answer, list[bytes]]:
    """An answer, and the events of a stream that writes it oddly, each with its line ends; the last is [DONE]."""
    answer, wire = draw(answers())
    for oddity in CHUNK_ODDITIES:
        if draw(st.integers(0, 3)) == 0:
            oddity(draw, answer, wire)
    wire.write()
    for oddity in EVENT_ODDITIES:
        if draw(st.integers(0, 3)) == 0:
            oddity(draw, answer, wire)
    return answer, [line_ends(draw, "".join([*wire.events, wire.done]))]


# The result


@dataclass
class Outcome(Answer):
    """The result of reading a stream. `ended` means that the run would succeed."""

    ended: bool = False


def outcome(body: bytes, size: int, *, broken: bool = False) -> Outcome:
    """Read a body in pieces of a size, to its clean end, or to where its connection broke."""
    chunks, deltas = ChatChunks(), []
    for start in range(0, len(body), size):
        if not chunks.over:
            deltas += chunks.feed(body[start : start + size])
    deltas += [] if chunks.over else chunks.last()
    deltas += chunks.flush()
    gatherer = CallGatherer(["echo", "add"], 10)
    for delta in deltas:
        if isinstance(delta, CallDelta):
            gatherer.add(delta)
    calls = [(call.name, call.arguments.value) for call in gatherer.all]
    failed = chunks.error_data is not None or chunks.malformed
    ended = chunks.ended if broken else chunks.done or chunks.finish_reason is not None
    return Outcome(
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
        "".join(delta.text for delta in deltas if isinstance(delta, ThinkingDelta)),
        calls,
        chunks.finish_reason,
        chunks.usage.total_tokens,
        ended and not failed,
    )


sizes = st.sampled_from([1, 7, 50, 1 << 20])


@given(odd_streams(), sizes)
@many
def test_oddities_change_nothing(stream: tuple[Answer, list[bytes]], size: int) -> None:
    """However oddly a right answer is written, it is read whole, with its finish reason and its counts."""
    answer, [body] = stream
    found = outcome(body, size)
    assert found.ended
    assert Answer(found.text, found.thinking, found.calls, found.reason, found.tokens) == answer


ERRORS = [
    *('data: {"error": {"message": "x"}}\n\n', 'data: {"object": "error", "message": "x", "code": 400}\n\n'),
    *(
        'event: error\ndata: {"message": "x"}\n\n',
        '{"error": "x"}\n\n',
        'data: {"status": "error", "message": "x"}\n\n',
    ),
    *('data: {"detail": "x"}\n\n', 'data: [{"error": {"code": 429}}]\n\n', "event: error\ndata: x\n\n"),
    'data: {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}\n\n',
    'data: {"choices": [{"index": 0, "delta": {}, "error": {"code": "504"}}]}\n\n',
    'data: {"code": "Throttling", "message": "x"}\n\n',
    *("data: {torn\n\n", "data: 5\n\n"),
]


@given(answers(), st.data(), sizes)
@many
def test_an_error_is_never_a_success(stream: tuple[Answer, Wire], data: st.DataObject, size: int) -> None:
    """An error, or an invalid chunk, anywhere before the finish reason fails the run, whatever follows."""
    _, wire = stream
    if data.draw(st.booleans()):
        nulls_and_roles(data.draw, *stream)
    wire.write()
    wire.events.insert(data.draw(st.integers(0, len(wire.pieces))), data.draw(st.sampled_from(ERRORS)))
    if data.draw(st.booleans()):
        keepalives(data.draw, *stream)
    body = line_ends(data.draw, "".join([*wire.events, wire.done]))
    assert not outcome(body, size).ended


@given(answers(), st.data(), sizes)
@many
def test_an_error_after_early_reasons_is_never_a_success(
    stream: tuple[Answer, Wire], data: st.DataObject, size: int
) -> None:
    """If a reason accompanies each piece, none of them proves the end, so an error after one fails the run."""
    _, wire = stream
    for piece in wire.pieces:
        of(piece)["finish_reason"] = "stop"
    wire.pieces.append(chunk({"content": "last"}, "stop"))
    wire.write()
    position = data.draw(st.integers(0, len(wire.pieces)))
    wire.events = [*wire.events[:position], data.draw(st.sampled_from(ERRORS[:-2])), *wire.events[position:]]
    assert not outcome("".join([*wire.events, wire.done]).encode(), size).ended


@given(answers(), st.floats(0, 1, exclude_max=True), st.booleans(), sizes)
@many
@example((Answer("a"), Wire([chunk({"content": "a"}, "stop")], chunk({}, "stop"), [])), 0.99, True, 50)
def test_a_cut_stream_is_whole_or_no_success(
    stream: tuple[Answer, Wire], place: float, broken: bool, size: int
) -> None:
    """If a body ends, or breaks off, at any byte, either the whole answer has arrived or the run fails."""
    answer, wire = stream
    wire.write()
    body = "".join([*wire.events, wire.done]).encode()
    found = outcome(body[: int(place * len(body))], size, broken=broken)
    if found.ended:
        assert (found.text, found.thinking, found.calls) == (answer.text, answer.thinking, answer.calls)


@given(answers(), st.data(), sizes)
@many
def test_a_stream_that_breaks_off_after_early_reasons_is_no_success(
    stream: tuple[Answer, Wire], data: st.DataObject, size: int
) -> None:
    """Reasons that were followed by more of the answer prove nothing if the connection breaks."""
    _, wire = stream
    wire.pieces += [chunk({"content": letter}) for letter in "abc"]
    for piece in wire.pieces:
        of(piece)["finish_reason"] = "stop"
    wire.write()
    kept = data.draw(st.integers(len(wire.pieces) - 1, len(wire.pieces)))
    found = outcome("".join(wire.events[:kept]).encode(), size, broken=True)
    assert not found.ended
