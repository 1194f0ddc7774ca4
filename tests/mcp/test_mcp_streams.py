"""Tests what MCP servers send as streams, cut at every position: the lines of a command and the events of a body."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.mcp import lines as mcp_lines
from services.mcp.events import Events
from services.mcp.incoming import LIMITS, MAX_BYTES, Incoming
from services.mcp.lines import END_LINE, Lines

pytestmark = pytest.mark.anyio

MESSAGE = b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xc3\xa9"}}'
NOTICE = b'{"jsonrpc":"2.0","method":"notifications/progress"}'
SIZES = (1, 2, 3, 7, 100_000)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# Lines


@pytest.mark.parametrize("size", SIZES)
def test_lines_come_out_whole_wherever_they_are_cut(size: int) -> None:
    """Each message is returned with its line break, without the text between messages."""
    said = b"Hello.\n" + MESSAGE + b"\n\n{no\n  " + NOTICE + b"\r\n\xef\xbb\xbf" + MESSAGE + b"\n" + MESSAGE
    lines = Lines()
    heard = "".join(lines.decode(piece) for piece in pieces(said, size))
    assert [json.loads(line) for line in heard.splitlines()] == [json.loads(m) for m in (MESSAGE, NOTICE, MESSAGE)]
    assert heard.endswith("\n")


ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NULL = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}'


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("said", "count"),
    [
        (b"Loading... " + ANSWER, 1),
        (b"Loading {model}... " + ANSWER, 1),
        (NOTICE + b", " + ANSWER + b"]", 2),
        (b"\x1b[2K\x1b[1G" + ANSWER, 1),
        (b"\0" + ANSWER + b" done!", 1),
        (NOTICE + ANSWER, 2),
        (b"{no\n" + json.dumps(json.loads(ANSWER), indent=2).encode(), 1),
        (b"{\r\n" + ANSWER, 1),
        (NULL, 1),
    ],
)
def test_an_answer_is_found_among_other_text(said: bytes, count: int, size: int) -> None:
    """A response is found after a prompt or an unfinished log line, beside another message, or over several lines."""
    lines = Lines()
    heard = "".join(lines.decode(piece) for piece in pieces(said + b"\n" + MESSAGE + b"\n", size)).splitlines()
    assert [json.loads(line) for line in heard][count - 1 :] == [
        json.loads(NULL if said == NULL else ANSWER),
        json.loads(MESSAGE),
    ]


def test_a_batch_is_its_messages() -> None:
    """A batch, allowed by the protocol's version 2025-03-26, is split into its messages."""
    heard = Lines().decode(b"[" + NOTICE + b", " + ANSWER + b"]\n").splitlines()
    assert [json.loads(line) for line in heard] == [json.loads(NOTICE), json.loads(ANSWER)]


@pytest.mark.parametrize("size", [1000, 65_536])
@pytest.mark.parametrize("noise", [b"y\n", b"y" * 10_000 + b"\n", b"\n", b"{}\n", b"y" * 1000])
def test_what_is_noise_without_end_is_given_up_once(noise: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless noise is reported once. After that nothing more is read or kept."""
    monkeypatch.setattr("services.mcp.rates.time.monotonic", lambda: 0.0)  # all of it within a second
    lines = Lines()
    flood = noise * (2 * mcp_lines.NOISE_BYTES // len(noise) + 1)
    heard = [lines.decode(piece) for piece in pieces(flood[: 6 * mcp_lines.NOISE_BYTES // 4], size)]
    assert "".join(heard) == END_LINE
    assert lines.decode(b"\n" + MESSAGE + b"\n") == ""


def test_noise_now_and_then_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the amount of noise within a second counts."""
    now = [0.0]
    monkeypatch.setattr("services.mcp.rates.time.monotonic", lambda: now[0])
    lines = Lines()
    for _ in range(10):
        now[0] += 2
        assert lines.decode(b"y\n" * 1500) == ""
    assert lines.decode(MESSAGE + b"\n") == MESSAGE.decode() + "\n"


# Events


async def made(said: bytes, size: int, *, request: int | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces(said, size):
            yield piece

    return b"".join([piece async for piece in Events(request, max_bytes).rewrite(body())])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_events_come_out_whole_wherever_they_are_cut(size: int, end: bytes) -> None:
    """Data lines are joined, other fields are unchanged, and what isn't a message has no data."""
    said = [
        *(b"event: endpoint", b"data: /messages?id=1", b""),
        *(b": a comment", b"id: 7", b"retry: 5", b"data: " + MESSAGE[:16], b"data:" + MESSAGE[16:], b""),
        *(b"data: ping", b""),
        *(b"event: message", b"data:" + NOTICE, b""),
        *(b"data", b""),
        b"data: " + MESSAGE,
    ]
    one = MESSAGE.decode()
    heard = (await made(end.join(said), size)).decode()
    assert heard.replace("data: {", "data:{") == (
        "event: endpoint\ndata: /messages?id=1\n\n"
        f": a comment\nid: 7\nretry: 5\ndata:{one}\n\n"
        "\n"
        f"data:{NOTICE.decode()}\n\n"
        "data\n\n"
        f"data:{one}\n\n"
    )


@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize(
    ("said", "asked", "answered"),
    [
        (b'{"jsonrpc":"2.0","id":3,"result":"' + b"x" * 200_000 + b'"}', None, 3),
        (b'{"result":"' + b"x" * 200_000 + b'","jsonrpc":"2.0","id":"a"}', None, "a"),
        (b'{"result":"' + b"x" * 200_000 + b'"', 9, 9),
        (b'{"result":"' + b"x" * 200_000 + b'"', None, None),
    ],
    ids=["beginning", "end", "known", "unknown"],
)
async def test_an_event_that_is_too_large_is_an_error(said: bytes, size: int, asked: Any, answered: Any) -> None:
    """It is an error of the request that the event answers, if that is known."""
    heard = await made(b"data: " + said + b"\n\n", size, request=asked, max_bytes=100_000)
    if answered is None:
        assert heard == b"\n"
        return
    error = json.loads(heard.removeprefix(b"data:"))
    assert error["id"] == answered
    assert error["error"]["message"] == "it is larger than 97 KiB"


async def test_a_line_that_is_no_data_is_cut() -> None:
    """A line that isn't data is cut, because it stays in memory until its event ends."""
    assert len(await made(b": " + b"x" * 1_000_000 + b"\n\n", 1000)) < 70_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"event: result\ndata: " + ANSWER, ANSWER),
        (b"\xef\xbb\xbfdata: " + ANSWER, ANSWER),
        (b"data: [" + ANSWER + b"]", ANSWER),
        (b"data: " + NULL, NULL.replace(b"null", b"1")),
    ],
)
async def test_odd_events_hold_the_answer(said: bytes, message: bytes, size: int) -> None:
    """A response is read from an event with another name, after a byte order mark, from a batch, and from an error
    without an id.
    """
    assert (await made(said + b"\n\n", size, request=1)).replace(b"data: ", b"data:") == b"data:" + message + b"\n\n"


async def test_an_event_that_is_too_large_is_answered_before_its_end() -> None:
    """The error is returned before the event ends, because it may be endless."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"data: "
        while True:
            yield b"x" * 1000

    heard = b"".join([piece async for piece in Events(1, 100_000).rewrite(endless())])
    assert b"it is larger than 97 KiB" in heard


# Messages


@pytest.mark.parametrize("size", SIZES)
def test_a_message_that_is_good_stays_byte_for_byte(size: int) -> None:
    """A valid message is passed on byte for byte."""
    incoming = Incoming()
    for piece in pieces(b' {"id": 1, "jsonrpc": "2.0", "result": {"n": 123456789012345678901}} ', size):
        incoming.add(piece)
    assert incoming.read() == b' {"id": 1, "jsonrpc": "2.0", "result": {"n": 123456789012345678901}} '


@pytest.mark.parametrize(
    ("said", "asked", "read"),
    [
        ({"result": {}}, 5, {"id": 5, "result": {}}),
        ({"id": None, "error": {"code": -1, "message": "no"}}, 5, {"id": 5, "error": {"code": -1, "message": "no"}}),
        ({"id": 8, "result": {}}, 5, {"id": 5, "result": {}}),
        ({"error": "no"}, 5, {"id": 5, "error": {"code": -32603, "message": "no"}}),
        ({"error": {"data": 1}}, 5, {"id": 5, "error": {"code": -32603, "message": "no reason given", "data": 1}}),
        ({"error": {"code": "x", "why": 1}}, 5, {"id": 5, "error": {"code": -32603, "message": '{"why":1}'}}),
        ({"error": {"code": "-32602", "message": "no"}}, 5, {"id": 5, "error": {"code": -32602, "message": "no"}}),
        ({"error": {"code": -32602.0, "message": "no"}}, 5, {"id": 5, "error": {"code": -32602, "message": "no"}}),
        ([{"level": "info"}, {"jsonrpc": "2.0", "id": 5, "result": {}}], 5, {"id": 5, "result": {}}),
        ([{"jsonrpc": "2.0", "id": 5, "result": {}}], 5, {"id": 5, "result": {}}),
        ({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "result": {}}, None, {"id": 5, "result": {}}),
        ({"jsonrpc": "2.0", "method": "notifications/message"}, 5, None),
        ([{"method": "a"}, {"id": 1, "result": {}}], 5, {"id": 5, "result": {}}),
        ({"method": "a", "params": [1]}, 5, None),
        ({"jsonrpc": "2.0", "method": "a", "params": [1]}, None, {"method": "a"}),
        ({"jsonrpc": "2.0", "id": 2.0, "result": {}}, None, {"id": 2, "result": {}}),
        ({"id": 2, "result": {}}, None, {"id": 2, "result": {}}),
        ({"jsonrpc": "1.0", "id": 2, "result": {}}, None, {"id": 2, "result": {}}),
        ({"id": 2, "result": {}, "level": "info"}, None, None),
        ({"id": 2, "error": "a log line"}, None, None),
        ({"error": {"message": "a log line"}}, None, None),
        ({"jsonrpc": "2.0", "id": None, "error": "no"}, None, None),
        ({"jsonrpc": "2.0", "result": {}}, None, None),
        ({"jsonrpc": "2.0", "id": True, "result": {}}, None, None),
        ({"jsonrpc": "2.0", "id": 1}, None, None),
        ([{"jsonrpc": "2.0", "id": 1, "result": {}}], None, None),
        ("text", 5, None),
        ({}, 5, None),
    ],
)  # fmt: skip
def test_what_a_message_is(said: Any, asked: int | None, read: Any) -> None:
    """A response to a known request may omit the fields that mark it as a response.

    Without a known request it must have no other fields.
    """
    incoming = Incoming()
    incoming.add(json.dumps(said).encode())
    heard = incoming.read(asked)
    assert (heard and json.loads(heard)) == (read and {"jsonrpc": "2.0", **read})
    assert heard is None or b".0," not in heard  # equal to 0 in Python, but not an id for the SDK


@pytest.mark.parametrize("before", [b"<br>Warning: {x} ", b'{"level":"info"}\n', b"INFO called\r\n", b"[log] "])
def test_an_answer_is_found_behind_other_text_of_a_body(before: bytes) -> None:
    """A response is found after other text of a body, such as a PHP warning or log lines."""
    incoming = Incoming()
    incoming.add(before + ANSWER)
    heard = incoming.read(1)
    assert heard is not None
    assert json.loads(heard) == json.loads(ANSWER)


@pytest.mark.parametrize(
    "said",
    [b"[" * 200 + b"]" * 200, b'{"a":' * 129 + b"1" + b"}" * 129, b"[" + b"1," * LIMITS.values + b"1]", b"1" * 500],
    ids=["deep", "objects", "many", "long"],
)
def test_what_would_take_a_parser_long_is_not_read(said: bytes) -> None:
    """A message that would take long to parse is dropped as soon as it passes a limit."""
    incoming = Incoming()
    incoming.add(b'{"jsonrpc":"2.0","id":4,"result":' + said + b"}")
    assert incoming.too_large
    assert incoming.read(4) is None
    assert incoming.answered == 4
