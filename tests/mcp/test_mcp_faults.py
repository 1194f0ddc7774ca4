"""Tests MCP servers that fail, send invalid data, hang, change or return: only their own calls fail, and the run
continues.
"""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mcp_hands import EVENTS, HELLO, App, answering, program, silent, tool
from mcp_peers import Peer, at, call, children, down, local, missing, offered, pool_of, serving

from errors import McpServerFailed, McpServerNotFound, UrlRefused
from services.mcp import servers as mcp_servers
from services.mcp.client import McpClient
from services.mcp.servers import McpServers
from services.outbound.url_guard import UrlGuard
from services.tooling.base import ToolError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def peer() -> Peer:
    return Peer()


# Loading


async def test_what_could_not_be_loaded_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If importing the client fails, the next use tries again, and closing does nothing meanwhile."""
    client = McpClient({}, UrlGuard(), connect_timeout_s=1, tool_timeout_s=1)
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "services.mcp.servers", None)
        with pytest.raises(ImportError):
            await client.offer([])
        await client.aclose()
    assert await client.offer([]) == ([], [], [])
    await client.aclose()


# Calls


async def test_progress_comes_in_order_with_its_messages(peer: Peer) -> None:
    """Progress is reported in the order in which the server sent it, with its messages."""
    async with serving(peer.app()) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        reports: list[Any] = []
        assert await call((await offered(pool, "peer"))["peer__shout"], reports, times=3) == "hoarse"
    assert reports == [("shout 1", 1, 3), ("shout 2", 2, 3), ("shout 3", 3, 3)]


@pytest.mark.parametrize("way", ["http", "sse"])
async def test_the_server_is_notified_that_a_call_is_cancelled(peer: Peer, way: str) -> None:
    """The server receives the cancellation, so that it stops its work."""
    app, path = (peer.app(), "mcp") if way == "http" else (peer.server.sse_app(), "sse")
    async with serving(app) as url, pool_of(peer={"url": f"{url}/{path}", "transport": way}) as pool:
        tools = await offered(pool, "peer")
        calling = asyncio.create_task(call(tools["peer__wait"]))
        await peer.called.wait()
        calling.cancel()
        await asyncio.wait({calling})
        assert calling.cancelled()
        await peer.cancelled.wait()


async def test_more_calls_than_connections(peer: Peer) -> None:
    """Calls above the number of connections wait for a free one, within their own time limit."""
    peer.gate.set()
    async with serving(peer.app()) as url, pool_of(50, peer={"url": f"{url}/mcp"}) as pool:
        wait = (await offered(pool, "peer"))["peer__wait"]
        assert await asyncio.gather(*(call(wait) for _ in range(150))) == ["wait done"] * 150


async def test_a_call_that_takes_too_long(peer: Peer) -> None:
    """A call over its time limit fails, and the server is sent a cancellation."""
    async with serving(peer.app()) as url, pool_of(0.2, peer={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "peer")
        with pytest.raises(ToolError, match=r"^The tool did not answer within 0\.2 seconds\.$"):
            await call(tools["peer__wait"])
        await peer.cancelled.wait()


async def test_what_a_tool_fails_with_is_its_result(peer: Peer) -> None:
    """A tool's error message becomes its result, for the model to read."""
    async with serving(peer.app()) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "peer")
        with pytest.raises(ToolError, match="the oven is cold"):
            await call(tools["peer__fail"])
        peer.server.remove_tool("shout")
        with pytest.raises(ToolError, match="Unknown tool"):
            await call(tools["peer__shout"], times=1)


# Connections that break


class Tearing:
    """An application that breaks off its next responses to calls before their first byte of content."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.torn = 0
        self.asked: list[tuple[bytes, dict[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.asked.append((scope["query_string"], dict(scope["headers"])))
        if scope["type"] != "http" or not self.torn:
            await self.app(scope, receive, send)
            return
        message = await receive()
        if b'"tools/call"' in message.get("body", b""):
            self.torn -= 1
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", EVENTS)]})
            await send({"type": "http.response.body", "body": b""})
            return
        unread = [message]

        async def again() -> Any:
            return unread.pop() if unread else await receive()

        await self.app(scope, again, send)


async def test_a_call_on_a_session_that_is_lost(peer: Peer) -> None:
    """The call is repeated once, if repeating it does no harm."""
    app = Tearing(peer.app())
    peer.gate.set()
    async with serving(app) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "peer")
        assert tools["peer__wait"].idempotent
        assert not tools["peer__write"].idempotent
        app.torn = 1
        assert await call(tools["peer__wait"]) == "wait done"
        app.torn = 1
        with pytest.raises(ToolError, match=r"may have been run\. It is not known to be safe to call twice"):
            await call(tools["peer__write"])
        app.torn = 2
        with pytest.raises(ToolError, match="was lost during the call, twice"):
            await call(tools["peer__wait"])
        assert await call(tools["peer__write"]) == "write done"
        assert peer.calls == ["wait", "write"]


async def test_a_session_that_is_lost_lets_its_other_calls_end(peer: Peer) -> None:
    """One response that breaks off doesn't end the session's other calls."""
    app = Tearing(peer.app())
    async with serving(app) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "peer")
        writing = asyncio.create_task(call(tools["peer__write"]))
        await peer.called.wait()
        app.torn = 1
        with pytest.raises(ToolError):
            await call(tools["peer__write"])
        peer.gate.set()
        assert await writing == "write done"


# Lists


@pytest.mark.parametrize("way", ["http", "sse"])
async def test_a_list_that_changes(peer: Peer, way: str) -> None:
    """Newer servers notify subscribers of a changed list, older ones send the notification among their messages.

    The next run has the new list.
    """
    app, path = (peer.app(), "mcp") if way == "http" else (peer.server.sse_app(), "sse")
    async with serving(app) as url, pool_of(peer={"url": f"{url}/{path}", "transport": way}) as pool:
        tools = await offered(pool, "peer")
        if way == "http":
            [session] = pool._open
            await session.tool_list.follows_changes.wait()
        assert await call(tools["peer__grow"], name="another") == "grown"
        while "peer__another" not in await offered(pool, "peer"):  # noqa: ASYNC110 - each turn sends a request
            await asyncio.sleep(0)


async def test_a_list_is_kept(peer: Peer) -> None:
    """A run requests the list again only if it may have changed."""
    async with serving(app := Tearing(peer.app())) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        await offered(pool, "peer")
        [session] = pool._open
        await session.tool_list.follows_changes.wait()
        asked = len(app.asked)
        await asyncio.gather(*(offered(pool, "peer") for _ in range(10)))
        assert len(app.asked) == asked


# Servers that are down, or aren't MCP servers


@pytest.mark.parametrize(
    "app",
    [
        answering(500, b"{}"),
        answering(404, b"not here", b"text/plain"),
        answering(200, b"<html>", b"text/html"),
        answering(200, b"{"),
        answering(200, b'{"jsonrpc":"2.0","id":1,"result":{}}'),
        answering(200, b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"1999-01-01","capabilities":{}}}'),
        answering(200, b"data: {\n\n", EVENTS),
        answering(200, b"", EVENTS),
        answering(202, b""),
        answering(307, b"", location="http://127.0.0.1:9/mcp"),
        answering(200, b" " * 20_000_000),
        silent,
    ],
    ids=[
        "500",
        "404",
        "html",
        "no json",
        "no result",
        "old",
        "bad event",
        "no event",
        "202",
        "away",
        "large",
        "silent",
    ],
)
async def test_what_is_no_mcp_server_costs_its_own_tools(
    app: App, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the tools of an entry that isn't an MCP server are missing, within the connection timeout.

    The log says what was found.
    """
    async with (
        serving(app) as url,
        serving(peer.app()) as sound,
        pool_of(connect_timeout_s=1, odd={"url": f"{url}/mcp"}, sound={"url": f"{sound}/mcp"}) as pool,
    ):
        began = time.monotonic()
        offer = await pool.tools(local(pool, "odd", "sound"))
        assert time.monotonic() < began + 3
        assert missing(offer) == ["odd"]
        assert {tool.server for tool in offer.tools} == {"sound"}
    assert "odd" in caplog.text


@pytest.mark.parametrize(
    "command",
    [
        {"command": "/nonexistent/server"},
        {"command": sys.executable, "args": ["-m", "no_such_module"]},
        program("print('hello')"),
        program("import sys\nfor line in sys.stdin: print('{}', flush=True)"),
        program("import sys; sys.stdin.read()"),
        program("import os, sys; os.close(0); os.close(1); sys.stderr.close(); import signal; signal.pause()"),
    ],
    ids=["none", "fails", "ends", "chatters", "silent", "deaf"],
)
async def test_a_command_that_is_no_mcp_server_leaves_no_process(command: dict[str, Any]) -> None:
    """A command that isn't an MCP server leaves neither a process nor tools."""
    before = children()
    async with pool_of(connect_timeout_s=0.5, odd=command) as pool:
        assert await down(pool, "odd") == ["odd"]
    assert children() == before


def beginning(endpoint: str) -> App:
    """An SSE transport server that accepts no messages at the endpoint that it announces."""
    refusing = answering(403, b"")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return await refusing(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", EVENTS)]})
        event = f"event: endpoint\ndata: {endpoint}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": True})
        return await silent(scope, receive, send)

    return app


@pytest.mark.parametrize("way", ["http", "sse"])
@pytest.mark.parametrize(
    ("app", "messages"),
    [
        (answering(401, b""), {"http": "HTTP status 401", "sse": "HTTP status 401"}),
        (
            answering(307, b"", location="http://127.0.0.1:9/?key=SECRET"),
            {"http": "Redirect to http://127.0.0.1:9/ not followed", "sse": "HTTP status 307"},
        ),
        (beginning("/messages?key=SECRET"), {"http": "HTTP status 403", "sse": "HTTP status 403"}),
        (
            beginning("http://u:SECRET@127.0.0.1:9/?key=SECRET"),
            {"http": "HTTP status 403", "sse": "Endpoint origin does not match connection origin"},
        ),
    ],
    ids=["401", "away", "no messages", "elsewhere"],
)
async def test_the_log_has_no_secret_of_a_url(
    app: App, messages: dict[str, str], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log reports the failure without a URL's query and password, where keys may be."""
    async with serving(app) as url:
        secret = url.replace("//", "//u:SECRET@") + "/mcp?key=SECRET"
        async with pool_of(connect_timeout_s=1, odd={"url": secret, "transport": way}) as pool:
            assert await down(pool, "odd") == ["odd"]
    assert messages[way] in caplog.text
    assert "SECRET" not in caplog.text


async def test_the_log_says_why_a_server_can_t_be_reached(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the operating system's error message."""
    async with pool_of(gone={"url": "http://127.0.0.1:9/sse", "transport": "sse"}) as pool:
        assert await down(pool, "gone") == ["gone"]
    assert "gone failed: OSError('All connection attempts failed')" in caplog.text


async def test_the_log_has_no_secret_of_a_header(caplog: pytest.LogCaptureFixture) -> None:
    """A header value that HTTP doesn't allow is refused before anything is sent, and isn't logged."""
    bad = {"url": "http://127.0.0.1:9/sse", "transport": "sse", "headers": {"Authorization": "SECRET\n"}}
    async with serving(silent) as url, pool_of(odd=bad | {"url": f"{url}/sse"}) as pool:
        assert await down(pool, "odd") == ["odd"]
    assert "odd failed: LocalProtocolError" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_server_that_nobody_runs() -> None:
    """A server at an address where nothing listens has no tools. Listing them fails, and so does an unknown name."""
    async with pool_of(gone={"url": "http://127.0.0.1:9/mcp"}) as pool:
        assert await down(pool, "gone") == ["gone"]
        with pytest.raises(McpServerFailed):
            await pool.list_tools("gone")
        with pytest.raises(McpServerNotFound):
            await pool.list_tools("never")


# A handwritten server of the older protocol, which can do what the SDK's server wouldn't


HAND = """
import json, sys

answers = json.loads(sys.argv[1])
for line in sys.stdin:
    asked = json.loads(line)
    print(asked["method"], file=sys.stderr, flush=True)
    if "id" not in asked or asked["method"] == "tools/call" and "tools/call" not in answers:
        continue
    said = answers.get(asked["method"], {"error": {"code": -32601, "message": "secret"}})
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)
"""


def by_hand(tools: dict[str, Any], call: dict[str, Any] | None = None) -> dict[str, Any]:
    said = {"initialize": {"result": HELLO}, "tools/list": {"result": tools}} | ({"tools/call": call} if call else {})
    return program(HAND) | {"args": ["-c", HAND, json.dumps(said)]}


async def test_a_result_is_not_held_against_the_server_s_own_schema() -> None:
    """The SDK's check of results is off, because some schemas would block the event loop for ever."""
    hostile = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
    result = {"result": {"content": [], "structuredContent": {"a": "a" * 60 + "!"}}}
    async with pool_of(hand=by_hand({"tools": [tool("t", outputSchema=hostile)]}, call=result)) as pool:
        assert json.loads(await call((await offered(pool, "hand"))["hand__t"])) == {"a": "a" * 60 + "!"}


async def test_a_list_without_an_end_is_cut() -> None:
    """A list is limited, whether the server always returns another page or very many tools."""
    endless = {"tools": [tool("t")], "nextCursor": "again"}
    many = {"tools": [tool(f"t{i}") for i in range(1500)]}
    large = {"tools": [tool("t", description="x" * 90_000)], "nextCursor": "again"}
    async with pool_of(endless=by_hand(endless), many=by_hand(many), large=by_hand(large)) as pool:
        assert await down(pool, "large") == ["large"]
        assert list(await offered(pool, "endless")) == ["endless__t"]
        assert len(await offered(pool, "many")) == 1000


async def test_a_refusal_of_the_protocol_is_reported_in_the_server_s_words() -> None:
    """A protocol error is returned to the model with the server's message and details, so that it can correct the
    call.
    """
    refusal = {"error": {"code": -32602, "message": "No book titled X", "data": {"titles": ["Y"]}}}
    async with pool_of(hand=by_hand({"tools": [tool("t")]}, call=refusal)) as pool:
        tools = await offered(pool, "hand")
        with pytest.raises(ToolError) as raised:
            await call(tools["hand__t"])
    said = 'The MCP server hand refused the call (code -32602): No book titled X {"titles":["Y"]}'
    assert str(raised.value) == said


async def test_an_older_server_is_notified_that_a_call_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """A server of the older protocol receives that protocol's notification."""
    caplog.set_level(logging.INFO)
    async with pool_of(0.2, hand=by_hand({"tools": [tool("t")]})) as pool:
        with pytest.raises(ToolError, match="did not answer"):
            await call((await offered(pool, "hand"))["hand__t"])
        while "hand: notifications/cancelled" not in caplog.messages:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0)


async def test_a_server_that_does_not_say_that_it_has_tools_is_asked() -> None:
    """Tools are requested even from servers that don't announce them. A refusal means that there are none."""
    silent = HELLO | {"capabilities": {}}
    has, has_none = by_hand({}), by_hand({})
    has["args"][2] = json.dumps({"initialize": {"result": silent}, "tools/list": {"result": {"tools": [tool("t")]}}})
    has_none["args"][2] = json.dumps({"initialize": {"result": silent}})
    async with pool_of(has=has, none=has_none) as pool:
        assert list(await offered(pool, "has", "none")) == ["has__t"]


# Commands


async def test_what_a_command_complains_of_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the first lines that each start of a command wrote to standard error, each of them cut."""
    noisy = "import sys\nfor i in range(200): print(f'line {i}\\x1b[31m' + 'x' * 2000, file=sys.stderr)"
    caplog.set_level(logging.INFO)
    async with pool_of(noisy=program(noisy)) as pool:
        assert await down(pool, "noisy") == ["noisy"]
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("noisy: ")]
    assert len(said) == 2 * 50
    assert said[0].startswith("noisy: line 0")
    assert max(map(len, said)) < 520


async def test_a_command_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command gets the variables that every program needs and those of its entry, but none of the service's keys."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    copied = tmp_path / "environ"
    copy = {"command": "cp", "args": ["/proc/self/environ", str(copied)], "env": {"GREETING": "hello"}}
    async with pool_of(copy=copy) as pool:
        assert await down(pool, "copy") == ["copy"]
    environment = dict(variable.split("=", 1) for variable in copied.read_text().split("\0") if variable)
    assert environment["GREETING"] == "hello"
    assert set(environment) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "GREETING"}


# Servers from requests


async def test_a_url_of_a_request_is_a_server_of_its_host(peer: Peer) -> None:
    """Its tools are named after the host. If two servers share a host, a hash in the name distinguishes them."""
    async with serving(peer.app()) as url, pool_of() as pool:
        [*one] = await offered(pool, at(f"{url}/mcp"))
        both = await offered(pool, at(f"{url}/mcp"), at(f"{url}/mcp?other"))
    assert "127_0_0_1__wait" in one
    assert len(both) == 2 * len(one)
    assert {tool.server for tool in both.values()} == {"127.0.0.1"}


async def test_headers_go_to_the_operator_s_url_and_to_no_other(peer: Peer) -> None:
    """A request with the operator's URL uses the operator's server and headers. No other URL gets these headers."""
    app = Tearing(peer.app())
    async with serving(app) as url:
        ours = {"url": f"{url}/mcp", "headers": {"Authorization": "Bearer secret"}}
        async with pool_of(ours=ours) as pool:
            assert "ours__wait" in await offered(pool, at(f"{url}/mcp"))
            await offered(pool, at(f"{url}/mcp?other"))
    assert {(query, sent.get(b"authorization")) for query, sent in app.asked} == {
        (b"", b"Bearer secret"),
        (b"other", None),
    }


async def test_a_url_that_leads_inside_is_refused(peer: Peer) -> None:
    """A URL with a private address is refused at once. One whose name resolves to a private address has no tools."""

    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    app = Tearing(peer.app())
    async with serving(app) as url:
        pool = McpServers({}, UrlGuard(resolve=inside), connect_timeout_s=5, tool_timeout_s=5)
        for refused in (f"{url}/mcp", "https://169.254.169.254/", "https://localhost/mcp"):
            with pytest.raises(UrlRefused):
                local(pool, at(refused))
        port = url.rpartition(":")[2]
        assert await down(pool, f"https://mcp.example.com:{port}/mcp") == ["mcp.example.com"]
        assert not app.asked
        await pool.aclose()


async def test_a_session_with_a_server_of_a_request_is_closed_when_idle(peer: Peer) -> None:
    """Idle sessions with servers from requests are closed. Those of the operator's servers stay open."""
    async with serving(peer.app()) as url, pool_of(idle_s=0.05, ours={"url": f"{url}/mcp?ours"}) as pool:
        await offered(pool, "ours")
        [ours] = pool._open
        tools = await offered(pool, at(f"{url}/mcp"))
        [brought] = pool._open - {ours}
        await asyncio.wait({brought.task})
        assert pool._open == {ours}
        peer.gate.set()
        assert await call(tools["127_0_0_1__wait"]) == "wait done"


async def test_sessions_with_servers_of_requests_are_bounded(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit the session that was idle longest is closed. If all are in use, no new one is opened."""
    monkeypatch.setattr(mcp_servers, "MAX_BROUGHT", 2)
    async with serving(peer.app()) as url, pool_of() as pool:
        urls = [at(f"{url}/mcp?{i}") for i in range(4)]
        first = await offered(pool, urls[0])
        await offered(pool, urls[1])
        waiting = asyncio.create_task(call(first["127_0_0_1__wait"]))
        await peer.called.wait()
        peer.called.clear()
        third = await offered(pool, urls[2])
        another = asyncio.create_task(call(third["127_0_0_1__wait"]))
        await peer.called.wait()
        assert await down(pool, urls[3]) == ["127.0.0.1"]
        peer.gate.set()
        assert await waiting == await another == "wait done"
        await offered(pool, urls[3])


async def test_a_pool_that_is_closed_opens_nothing(peer: Peer) -> None:
    """After the pool is closed, calls under way and later calls fail, and the server is unavailable."""
    async with serving(peer.app()) as url, pool_of(peer={"url": f"{url}/mcp"}) as pool:
        tools = await offered(pool, "peer")
        writing = asyncio.create_task(call(tools["peer__write"]))
        await peer.called.wait()
        await pool.aclose()
        with pytest.raises(ToolError, match="was lost during the call"):
            await writing
        with pytest.raises(ToolError, match="can't be reached"):
            await call(tools["peer__wait"])
        assert await down(pool, "peer") == ["peer"]
