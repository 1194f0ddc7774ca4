"""Third-party MCP servers, called by whole runs: the model receives the results of their tools."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from environments import node, python, script
from fake_dedalus import FakeDedalus
from foreign import HERE, UVICORN, foreign
from process import free_port
from service import Service, only, service
from wire import Done, Finish, Json, ToolCall, answer

pytestmark = pytest.mark.anyio

FASTMCP = HERE / "fastmcp_server.py"
QUIET = {"FASTMCP_CHECK_FOR_UPDATES": "off"}


def npm(name: str, *arguments: str, **environment: str) -> Json:
    """A server of an npm package as a command."""
    index = script(f"@modelcontextprotocol/{name}/dist/index.js")
    return {"command": str(node()), "args": [str(index), *arguments], "env": environment}


def pypi(module: str, *arguments: str) -> Json:
    """A server of a PyPI package as a command."""
    return {"command": str(python("mcp")), "args": ["-m", module, *arguments]}


@dataclass
class Shop:
    """The service with one MCP server, and a model that makes the calls of the test."""

    agent: Service
    fake: FakeDedalus
    name: str

    async def tools(self) -> list[str]:
        """The names of the server's tools, without its own name."""
        listed = (await self.agent.client.get(f"/api/agent/mcp-servers/{self.name}/tools")).json()["tools"]
        return [tool["name"].removeprefix(f"{self.name}__") for tool in listed]

    async def call(self, tool: str, **arguments: Any) -> Json:
        """Return the result of one call, as the caller sees it; the model was sent the same text."""
        self.fake.turn(ToolCall("call_1", f"{self.name}__{tool}", json.dumps(arguments)), Finish("tool_calls"), Done())
        self.fake.turn(*answer("Done."))
        events = await self.agent.stream({"input": "?", "mcp_servers": [self.name]})
        assert only(events, "complete")[0]["status"] == "succeeded"
        [result] = only(events, "tool_result")
        [message_to_model] = [message for message in self.fake.chats[-1].body["messages"] if message["role"] == "tool"]
        assert message_to_model["content"] == result["content"]
        return result


@asynccontextmanager
async def shop(**server: Json) -> AsyncIterator[Shop]:
    """The shop with the named server."""
    [name] = server
    overrides: dict[str, Any] = {
        "mcp_servers": server,
        "dedalus_base_url_hosts_mcp": False,
        "mcp_connect_timeout_s": 40,
    }
    async with FakeDedalus() as fake, service(fake.url, **overrides) as agent:
        yield Shop(agent, fake, name)


async def test_time() -> None:
    """mcp-server-time."""
    async with shop(time=pypi("mcp_server_time", "--local-timezone", "UTC")) as there:
        assert "get_current_time" in await there.tools()
        now = await there.call("get_current_time", timezone="Europe/Oslo")
        unknown = await there.call("get_current_time", timezone="Moon")
    assert json.loads(now["content"])["timezone"] == "Europe/Oslo"
    assert unknown["is_error"]
    assert "Moon" in unknown["content"]


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """A small web site on loopback."""
    (tmp_path / "index.html").write_text("<html><body><h1>Whales</h1><p>They sing.</p></body></html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    serving.join()
    server.server_close()


async def test_fetch(pages: str) -> None:
    """mcp-server-fetch, which requests robots.txt before it fetches a page."""
    async with shop(fetch=pypi("mcp_server_fetch", "--ignore-robots-txt", "--allow-private-ips")) as there:
        page = await there.call("fetch", url=f"{pages}/index.html", raw=True)
        missing = await there.call("fetch", url=f"{pages}/no.html")
    assert "They sing." in page["content"]
    assert missing["is_error"]
    assert "404" in missing["content"]


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """A git repository with one commit."""
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, *identity, "commit", "-q", "--allow-empty", "-m", "First ☂"], check=True)
    return str(tmp_path)


async def test_git(repository: str) -> None:
    """mcp-server-git, which refuses every other repository."""
    async with shop(git=pypi("mcp_server_git", "--repository", repository)) as there:
        log = await there.call("git_log", repo_path=repository)
        outside = await there.call("git_log", repo_path="/nowhere")
    assert "First ☂" in log["content"]
    assert outside["is_error"]


async def test_filesystem(tmp_path: Path) -> None:
    """server-filesystem, which takes its folder as an argument and refuses every other."""
    (tmp_path / "note.txt").write_text("Buy milk. 🥛")
    async with shop(files=npm("server-filesystem", str(tmp_path))) as there:
        note = await there.call("read_text_file", path=str(tmp_path / "note.txt"))
        refused = await there.call("read_text_file", path="/etc/hostname")
    assert "Buy milk. 🥛" in note["content"]
    assert refused["is_error"]


async def test_memory(tmp_path: Path) -> None:
    """server-memory, which keeps what one run stores for the next."""
    entity = {"name": "Ann", "entityType": "person", "observations": ["likes tea"]}
    environment = {"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}
    async with shop(memory=npm("server-memory", **environment)) as there:
        await there.call("create_entities", entities=[entity])
        graph = await there.call("read_graph")
    assert "likes tea" in graph["content"]


async def test_everything() -> None:
    """server-everything: text, structured data, a picture, annotations, a resource."""
    async with shop(every=npm("server-everything", "stdio")) as there:
        tools = await there.tools()
        echo = await there.call("echo", message="half \ud83d an emoji")
        added = await there.call("get-sum", a=2, b=3)
        structured = await there.call("get-structured-content", location="Chicago")
        picture = await there.call("get-tiny-image")
    assert {"echo", "get-sum", "get-structured-content", "get-tiny-image"} <= set(tools)
    assert echo["content"] == "Echo: half \ufffd an emoji"
    assert "5" in added["content"]
    assert "temperature" in structured["content"]
    assert not picture["is_error"]
    assert "image" in picture["content"]


@pytest.fixture(params=["stdio", "http"])
def fastmcp(request: pytest.FixtureRequest) -> Iterator[Json]:
    """A FastMCP server over each transport."""
    if request.param == "stdio":
        yield {"command": str(python("mcp")), "args": [str(FASTMCP)], "env": QUIET}
        return
    port = free_port()
    with foreign(python("mcp"), FASTMCP, str(port), ready=UVICORN, **QUIET):
        yield {"url": f"http://127.0.0.1:{port}/mcp"}


async def test_fastmcp(fastmcp: Json) -> None:
    """FastMCP: structured results, lists, a picture among text, errors that are meant for the model and others."""
    async with shop(shop=fastmcp) as there:
        price = await there.call("price", book="Moby Dick")
        unknown = await there.call("price", book="X")
        titles = await there.call("titles")
        cover = await there.call("cover")
        broken = await there.call("broken")
    assert "9.5" in price["content"]
    assert unknown["is_error"]
    assert "No book titled X" in unknown["content"]
    assert "Moby Dick" in titles["content"]
    assert "Emma" in titles["content"]
    assert "The cover:" in cover["content"]
    assert broken["is_error"]


async def test_a_folder_of_servers_leaves_no_process_behind(tmp_path: Path) -> None:
    """Each server that the service started has ended with it."""
    async with shop(files=npm("server-filesystem", str(tmp_path))) as there:
        assert "read_text_file" in await there.tools()
    assert not _running(str(tmp_path))


def _running(argument: str) -> list[Path]:
    """The processes of this machine with this argument."""
    return [file for file in Path("/proc").glob("[0-9]*/cmdline") if argument.encode() in _read(file)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
