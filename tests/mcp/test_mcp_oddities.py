"""Tests messages of MCP servers that are invalid, too large or endless: at most the call that they answer fails."""

import asyncio
import json
import logging
import re
import time
from typing import Any

import pytest
from mcp_hands import EVENTS, FINE, HELLO, WAYS, Hand, Way, answering, command, hand, program, result
from mcp_peers import Peer, call, children, down, offered, pool_of, serving

from services.mcp import messages as mcp_messages
from services.tooling.base import ToolError

pytestmark = pytest.mark.anyio

QUICK = 5  # seconds, less than a call's timeout


def text(said: str) -> bytes:
    """Return a result whose text is passed as JSON."""
    return b'{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":%s}]}}' % said.encode("latin-1")


# Bytes


READ: list[tuple[bytes, str]] = [
    (text(r'"caf\ud83d"'), "caf\ufffd"),
    (text(r'"\ude00\ud83d\ude00\ud83d!"'), "\ufffd😀\ufffd!"),
    (text(r'"\\ud83d"'), r"\ud83d"),
    (text('"caf\xe9 \xff\xfe"'), "caf\ufffd \ufffd\ufffd"),
    (text('"\xed\xa0\xbd"'), "\ufffd\ufffd\ufffd"),
    (text('"a\tb\x01"'), "a\tb\x01"),
    (b"\xef\xbb\xbf" + text('"marked"'), "marked"),
    (text('"spaced"') + b" \t\r", "spaced"),
    (b'{"jsonrpc":"2.0","id":ID,"error":null,"result":{"content":[{"text":"no type"}]}}', "no type"),
    (b'{"jsonrpc":"2.0","id":"ID","result":{"content":"a text"}}', "a text"),
    (b'{"jsonrpc":"2.0","id":ID.0,"result":"a text alone"}', "a text alone"),
    (b'{"jsonrpc":"2.0","id":ID,"result":["one","two"]}', "one\ntwo"),
    (
        b'{"jsonrpc":"2.0","id":ID,"result":{"structuredContent":{"a":NaN,"b":-Infinity,"c":1e999}}}',
        '{"a":"NaN","b":"-Infinity","c":"1e999"}',
    ),
    (
        b'{"jsonrpc":"2.0","id":ID,"result":{"structuredContent":12345678901234567890123}}',
        "12345678901234567890123",
    ),
    (b'{"jsonrpc":"2.0","id":ID,"result":null}', ""),
]


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_sdk_refuses_is_read(way: Way) -> None:
    """Invalid UTF-8 and lone surrogates become U+FFFD, and no call waits until its timeout."""
    odd = {f"odd{place}": said for place, (said, _) in enumerate(READ)}
    async with asyncio.timeout(2 * QUICK), hand(way, {**odd, "fine": FINE}) as pool:
        tools = await offered(pool, "hand")
        assert [await call(tools[f"hand__{name}"]) for name in odd] == [text for _, text in READ]
        assert await call(tools["hand__fine"]) == "fine"
        assert len(pool._open) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "said",
    [
        text("[" * 200 + "]" * 200),
        text("[" * 100_000 + "]" * 100_000),
        text('{"a":' * 300 + "1" + "}" * 300),
        b'{"result":{"content":[' + b"{}," * 200_000 + b'1]},"jsonrpc":"2.0","id":ID}',
        text("1" * 5000),
    ],
    ids=["deep", "very deep", "deep objects", "many values", "long number"],
)
async def test_what_can_not_be_read_is_an_error_at_once(way: Way, said: bytes) -> None:
    """An unreadable message is an error of the call that it answers, whether its id is at the beginning or at the
    end.
    """
    async with hand(way, {"odd": said, "fine": FINE}) as pool:
        tools = await offered(pool, "hand")
        began = time.monotonic()
        with pytest.raises(ToolError, match="may have been run, but the answer of the MCP server hand can't be read"):
            await call(tools["hand__odd"])
        assert time.monotonic() < began + QUICK
        assert await call(tools["hand__fine"]) == "fine"
        assert len(pool._open) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_is_too_large_costs_its_own_call(way: Way) -> None:
    """Only the call of a response that is too large fails.

    Over stdio, where all responses share a stream, it is found by its id.
    """
    large = text('"' + "x" * 17_000_000 + '"')
    async with hand(way, {"large": large, "fine": FINE}) as pool:
        tools = await offered(pool, "hand")
        calling = asyncio.create_task(call(tools["hand__large"]))
        assert await asyncio.gather(*(call(tools["hand__fine"]) for _ in range(5))) == ["fine"] * 5
        with pytest.raises(ToolError, match=r"may have been run.*it is larger than 6144 KiB"):
            await calling
        assert len(pool._open) == 1


class Failing(Hand):
    """A server whose tool `odd` fails with an HTTP error."""

    def __init__(self, how: str) -> None:
        super().__init__({"odd": FINE, "wait": FINE})
        self.how = how

    async def answer(self, key: str, said: bytes, asked: int, scope: Any, receive: Any, send: Any) -> None:
        """Send one response, or a part of it."""
        if key != "odd":
            return await super().answer(key, said, asked, scope, receive, send)
        match self.how:
            case "cut" | "cut event":
                cut_headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
                headers = cut_headers if self.how == "cut" else [(b"content-type", EVENTS)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": said[:20], "more_body": True})
                raise OSError("cut")
            case "closed":
                raise OSError("closed before anything was said")
            case status:
                await answering(int(status), b"<p>secret</p>", b"text/html")(scope, receive, send)
        return None


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("cut", r"lost during the call\. The tool may have been run"),
        ("cut event", r"lost during the call\. The tool may have been run"),
        ("closed", r"HTTP status 500|lost during the call\. The tool may have been run"),
        ("404", r"refused the call \(code -32600\): HTTP status 404"),
        ("429", r"refused the call \(code -32600\): HTTP status 429"),
        ("500", r"may have been run, but .* can't be read: HTTP status 500"),
        ("502", r"may have been run, but .* can't be read: HTTP status 502"),
        ("200", r"may have been run, but .* can't be read: it is text/html, and not JSON-RPC"),
        ("401", r"asks for authorization .* The tool was not called\."),
        ("403", r"asks for authorization .* The tool was not called\."),
        ("202", r"refused the call .*202 Accepted"),
    ],
)
async def test_one_answer_that_fails_loses_no_other(how: str, expected: str) -> None:
    """Other runs' calls get their responses, and the error of the failed call is accurate."""
    app = Failing(how)
    async with serving(app) as url, pool_of(hand={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "hand")
        waiting = [asyncio.create_task(call(tools["hand__wait"])) for _ in range(3)]
        await app.waits.wait()
        for _ in range(2):
            with pytest.raises(ToolError, match=expected) as raised:
                await call(tools["hand__odd"])
            assert "secret" not in str(raised.value)
        app.gate.set()
        assert await asyncio.gather(*waiting) == ["fine"] * 3
        assert app.asked.count("odd") == 2


async def test_a_session_that_the_server_forgot_loses_no_call() -> None:
    """A call that the server refused is repeated on a new session. Those under way on the old session end there."""

    class Forgetting(Hand):
        forgets = False

        async def answer(self, key: str, said: bytes, asked: int, scope: Any, receive: Any, send: Any) -> None:
            if key == "odd" and (b"mcp-session-id", b"old") in scope["headers"]:
                return await answering(404, b"gone")(scope, receive, send)
            session: dict[str, Any] = (
                {"mcp_session_id": "new" if "odd" in self.asked else "old"} if key == "initialize" else {}
            )
            said = said.replace(b"ID", str(asked).encode())
            return await answering(200, said, **session)(scope, receive, send)

    app = Forgetting({"odd": FINE, "wait": FINE})
    async with serving(app) as url, pool_of(hand={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "hand")
        waiting = [asyncio.create_task(call(tools["hand__wait"])) for _ in range(3)]
        await app.waits.wait()
        assert await call(tools["hand__odd"]) == "fine"
        app.gate.set()
        assert await asyncio.gather(*waiting) == ["fine"] * 3


# Commands that print other output


@pytest.mark.parametrize(
    "noise",
    [
        b"Server v1.2 is starting \x1b[32m...\n",
        b"\xff\n",
        b"\n\n\r\n",
        b'{"level":"info","id":3,"error":"a log line"}\n',
        b'{"level":30,"msg":"half a li\n',
        b'[]\n1\nnull\n"text"\n{}\n',
        b'{"jsonrpc":"2.0"}\n{"jsonrpc":"2.0","id":true,"result":{}}\n',
        b"x" * 200_000 + b"\n",
        b'{"jsonrpc":"2.0","id":77,"result":{}}\n',
        b'{"jsonrpc":"2.0","method":"notifications/message","params":["a list"]}\n',
    ],
)
async def test_what_is_no_message_is_skipped(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Other output before and between messages is skipped. The log has one line of it and no traceback."""
    said = {"fine": noise + FINE, "initialize": noise + result({"protocolVersion": "2025-06-18", "capabilities": {}})}
    async with asyncio.timeout(QUICK), pool_of(hand=command(said, before=noise)) as pool:
        tools = await offered(pool, "hand")
        assert [await call(tools["hand__fine"]) for _ in range(3)] == ["fine"] * 3
        assert len(pool._open) == 1
    assert "Traceback" not in caplog.text


FLOODS = {
    "lines": "while True: print('y')",
    "no_line": "import sys\nwhile True: sys.stdout.write('y' * 65536)",
    "objects": "while True: print('{}')",
    "brackets": "import sys\nprint('{')\nwhile True: sys.stdout.write('[' * 65536)",
}


async def test_a_command_that_prints_without_end_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Endless output ends the process before the connection timeout, with few lines of log."""
    before = children()
    caplog.set_level(logging.INFO)
    floods: dict[str, Any] = {name: program(text) for name, text in FLOODS.items()}
    async with pool_of(connect_timeout_s=30, **floods) as pool:
        began = time.monotonic()
        assert await down(pool, *FLOODS) == list(FLOODS)
        assert time.monotonic() < began + 25
    assert children() == before
    assert all(f"{name} prints too many lines that aren't messages" in caplog.text for name in FLOODS)
    assert len(caplog.records) < 15 * len(FLOODS)
    assert len(caplog.text) < 10_000 * len(FLOODS)


async def test_a_command_that_writes_without_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that sends endless notifications after its greeting is ended."""
    monkeypatch.setattr(mcp_messages, "MAX_UNUSED", 200)  # a second, which a busy machine reads, too
    messages = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"y"}}\n' * 3000
    before = children()
    async with pool_of(hand=command({"fine": FINE + b"\n" + messages, "slow": b""})) as pool:
        tools = await offered(pool, "hand")
        [session] = pool._open
        assert await call(tools["hand__fine"]) == "fine"
        await asyncio.wait({session.task})
        assert await call(tools["hand__fine"]) == "fine"
    assert children() == before


async def test_a_call_under_way_ends_when_the_command_ends_but_not_its_helper() -> None:
    """A helper process that inherited the standard output is ended too, and the next call starts the command again."""
    ends = command({"odd": b"", "fine": FINE})
    ends["args"][1] = ends["args"][1].replace(
        "    said = ",
        "    if key == 'odd':\n"
        "        import os, subprocess\n"
        "        subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL)\n"
        "        os._exit(3)\n"
        "    said = ",
    )
    async with asyncio.timeout(QUICK), pool_of(hand=ends) as pool:
        tools = await offered(pool, "hand")
        with pytest.raises(ToolError, match="lost during the call"):
            await call(tools["hand__odd"])
        assert await call(tools["hand__fine"]) == "fine"


async def test_a_call_under_way_ends_when_the_command_becomes_loud() -> None:
    """The call doesn't wait until its timeout, and the next call gets a new session."""
    async with pool_of(hand=command({"loud": FINE + b"\n" + b"y\n" * 200_000, "fine": FINE})) as pool:
        tools = await offered(pool, "hand")
        assert await call(tools["hand__loud"]) == "fine"
        [session] = pool._open
        await asyncio.wait({session.task})
        assert await call(tools["hand__fine"]) == "fine"


# Servers that end the connection at the protocol's newest version


class Closing(asyncio.Protocol):
    """An HTTP server of the older protocol that closes the connection at an unknown method."""

    def __init__(self, app: Hand) -> None:
        self.said = app.said
        self.heard = b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport for the response."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond to a request once it is complete."""
        self.heard += data
        head, _, body = self.heard.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if length is None or len(body) < int(length[1]):
            return
        self.heard = b""
        message = json.loads(body)
        said = self.said.get(message["method"] if message["method"] != "tools/call" else message["params"]["name"])
        if said is None and "id" in message:
            self.transport.close()
            return
        answer = (said or b"").replace(b"ID", str(message.get("id")).encode())
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        self.transport.write(head + answer)


async def test_an_http_server_that_closes_at_a_method_that_it_does_not_know() -> None:
    """The service greets this server with the older protocol."""
    server = await asyncio.get_running_loop().create_server(lambda: Closing(Hand({"fine": FINE})), "127.0.0.1", 0)
    async with server, asyncio.timeout(QUICK):
        port = server.sockets[0].getsockname()[1]
        async with pool_of(hand={"url": f"http://127.0.0.1:{port}/mcp"}) as pool:
            assert await call((await offered(pool, "hand"))["hand__fine"]) == "fine"


async def test_a_command_that_ends_at_a_method_that_it_does_not_know() -> None:
    """The service starts the command again and greets it with the older protocol."""
    ends = command({"fine": FINE})
    ends["args"][1] = ends["args"][1].replace('answers.get(key, answers[""])', "answers[key]")
    before = children()
    async with asyncio.timeout(QUICK), pool_of(hand=ends) as pool:
        assert await call((await offered(pool, "hand"))["hand__fine"]) == "fine"
        assert len(children() - before) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_never_answers_what_it_does_not_know(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service greets this server with the older protocol before the connection timeout."""
    monkeypatch.setattr(mcp_messages, "PROBE_S", 0.2)
    silent: dict[str, bytes] = {"fine": FINE, "server/discover": b""}
    async with asyncio.timeout(QUICK), hand(way, silent) as pool:
        assert await call((await offered(pool, "hand"))["hand__fine"]) == "fine"
        assert len(pool._open) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_within_the_server_is_followed(status: int) -> None:
    """A redirect to the same server, for example to a trailing slash, is followed, and a POST stays a POST."""
    there = Hand({"fine": FINE})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["path"].endswith("/"):
            return await answering(status, b"", location=scope["path"] + "/")(scope, receive, send)
        return await there(scope, receive, send)

    async with serving(app) as url, pool_of(hand={"url": f"{url}/mcp"}) as pool:
        assert await call((await offered(pool, "hand"))["hand__fine"]) == "fine"


async def test_over_sse_a_refused_call_costs_itself() -> None:
    """The response to the call's POST reports the refusal, and the other responses arrive as events."""
    peer = Peer()
    inner = peer.server.sse_app()
    refuses: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and refuses:
            return await answering(refuses.pop(), b"no")(scope, receive, send)
        return await inner(scope, receive, send)

    async with serving(app) as url, pool_of(peer={"url": f"{url}/sse", "transport": "sse"}) as pool:
        tools = await offered(pool, "peer")
        waiting = asyncio.create_task(call(tools["peer__wait"]))
        await peer.called.wait()
        refuses.append(503)
        with pytest.raises(ToolError, match="HTTP status 503"):
            await call(tools["peer__shout"], times=1)
        peer.gate.set()
        assert await waiting == "wait done"
        assert len(pool._open) == 1


async def test_an_error_without_an_id_ends_the_only_call_over_stdio() -> None:
    """A server that couldn't read a request returns an error without an id.

    The call fails, and the next one succeeds.
    """
    said = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no such book"}}'
    async with asyncio.timeout(QUICK), pool_of(hand=command({"odd": said, "fine": FINE})) as pool:
        tools = await offered(pool, "hand")
        with pytest.raises(ToolError, match="no such book"):
            await call(tools["hand__odd"])
        assert await call(tools["hand__fine"]) == "fine"


SPOKEN = """
import json, sys

open_calls = []
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked or "method" not in asked:
        continue
    said = {"server/discover": {"error": {"code": -32601, "message": "no"}}, "initialize": {"result": HELLO}}
    said["tools/list"] = {"result": {"tools": [{"name": name} for name in ("null", "cancelled", "asks", "fine")]}}
    answers = [{"id": asked["id"], **said[asked["method"]]}] if asked["method"] in said else []
    name = asked.get("params", {}).get("name")
    fine = {"id": asked["id"], "result": {"content": "fine"}}
    if name == "null":
        open_calls.append(fine)
        if len(open_calls) == 3:
            answers = [{"id": None, "error": {"code": -32700, "message": "unreadable"}}, *open_calls[:2]]
    elif name == "cancelled":
        cancelled = {"requestId": asked["id"], "reason": "too busy"}
        answers = [{"method": "notifications/cancelled", "params": cancelled}]
    elif name == "asks":
        answers = [{"id": f"p{i}", "method": "ping"} for i in range(20_000)]
    elif name == "fine":
        answers = [fine]
    print("\\n".join(json.dumps({"jsonrpc": "2.0", **answer}) for answer in answers), flush=True)
"""


async def test_over_stdio_no_call_waits_for_an_answer_that_will_not_come() -> None:
    """An error without an id ends the last open call.

    A cancelled call gets no response, and a flood of requests ends all calls.
    """
    spoken = program(SPOKEN.replace("HELLO", repr(HELLO)))
    async with asyncio.timeout(2 * QUICK), pool_of(hand=spoken) as pool:
        tools = await offered(pool, "hand")
        three = await asyncio.gather(*(call(tools["hand__null"]) for _ in range(3)), return_exceptions=True)
        assert three[:2] == ["fine", "fine"]
        assert "unreadable" in str(three[2])
        with pytest.raises(ToolError, match="the server has cancelled the call: too busy"):
            await call(tools["hand__cancelled"])
        with pytest.raises(ToolError, match="may have been run"):
            await call(tools["hand__asks"])
        assert await call(tools["hand__fine"]) == "fine"
