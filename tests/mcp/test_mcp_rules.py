"""Tests the rules for MCP servers without running any: which side calls a server, tool names, checks of arguments,
texts of results.
"""

import os
import re
import select
import time
from typing import Any

import pytest
from forked_command import forked_command
from mcp import MCPError
from mcp_peers import call
from mcp_types import CallToolResult, Tool
from process import ROOT, Nursery

from errors import McpAuthorizationRequired, McpServerFailed, McpUnavailable, UrlRefused
from json_schema.validation import MAX_ERRORS
from models import AgentRequest
from services.catalog.catalog import Catalog
from services.mcp.arguments import validation_errors
from services.mcp.failures import UNREADABLE, SessionLost
from services.mcp.resolution import LocalServer, McpChoice, Resolved
from services.mcp.results import sound_result, text_of
from services.mcp.tools import McpTool, as_tools, namespaces, tool_name, without_repeats
from services.outbound.url_guard import UrlGuard
from services.tooling.base import ToolError
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.selection import Upstreams
from setting_objects import McpServer
from settings import Settings
from tool_models import TOOL_NAME, McpServerRef

OURS: dict[str, dict[str, Any]] = {
    "docs": {"url": "https://docs.example.com/mcp"},
    "private": {"url": "https://private.example.com/mcp", "headers": {"Authorization": "Bearer secret"}},
    "keyed": {"url": "https://keyed.example.com/mcp?key=secret"},
    "named": {"url": "https://user:secret@named.example.com/mcp"},
    "old": {"url": "https://old.example.com/sse", "transport": "sse"},
    "plain": {"url": "http://plain.example.com/mcp"},
    "time": {"command": "time-server", "args": ["secret"], "env": {"KEY": "secret"}},
    "acme/hosted": {"url": "https://acme.example.com/mcp"},
    "acme/ours": {"command": "acme-server"},
}
CONFIGURED = {name: McpServer(**server) for name, server in OURS.items()}


def resolve(*entries: Any, hosted: bool) -> Resolved:
    asked = [entry if isinstance(entry, str) else McpServerRef.model_validate(entry) for entry in entries]
    return McpChoice(CONFIGURED, UrlGuard()).resolve(asked, hosted=hosted)


def ours(name: str) -> LocalServer:
    return LocalServer(name, name=name)


# Which side calls a server


@pytest.mark.parametrize(
    "entry", ["tsion/exa", "tsion/exa@2", "https://mcp.example.com/mcp", "https://docs.example.com/mcp", "acme/hosted"]
)
def test_what_the_model_s_server_can_call_is_left_to_it(entry: str) -> None:
    """Servers that the upstream can call are passed to it unchanged, each once."""
    assert resolve(entry, entry, hosted=True) == ([entry], [])


@pytest.mark.parametrize(
    ("entry", "server"),
    [
        ("docs", ours("docs")),
        ("time", ours("time")),
        ("acme/ours", ours("acme/ours")),
        ("https://private.example.com/mcp", ours("private")),
        ("https://keyed.example.com/mcp?key=secret", ours("keyed")),
        ("https://old.example.com/sse", ours("old")),
        ({"name": "docs", "run": "local"}, ours("docs")),
        ({"name": "acme/hosted", "run": "local"}, ours("acme/hosted")),
        ({"url": "https://docs.example.com/mcp", "run": "local"}, ours("docs")),
        ({"url": "https://DOCS.example.com:443/mcp", "run": "local"}, ours("docs")),
        (
            {"url": "https://mcp.example.com/mcp", "run": "local"},
            LocalServer("mcp.example.com", url="https://mcp.example.com/mcp"),
        ),
    ],
)
@pytest.mark.parametrize("hosted", [True, False])
def test_what_only_we_can_call_or_are_configured_to_call(entry: Any, server: LocalServer, hosted: bool) -> None:
    """This service calls servers named in MCP_SERVERS, also by their URL, and entries with `"run": "local"`."""
    assert resolve(entry, entry, hosted=hosted) == ([], [server])


@pytest.mark.parametrize(
    ("entry", "server"),
    [
        ("acme/hosted", ours("acme/hosted")),
        ("acme/hosted@1.2", ours("acme/hosted")),
        ("https://docs.example.com/mcp", ours("docs")),
        ("https://mcp.example.com", LocalServer("mcp.example.com", url="https://mcp.example.com/")),
    ],
)
def test_without_a_server_that_hosts_we_call_all(entry: str, server: LocalServer) -> None:
    """If the upstream hosts no servers, this service calls all of them, and a slug must be a name of MCP_SERVERS."""
    assert resolve(entry, hosted=False) == ([], [server])


@pytest.mark.parametrize("hosted", [True, False])
@pytest.mark.parametrize("entry", ["nothing", {"name": "nothing", "run": "local"}, {"name": "a/b", "run": "local"}])
def test_a_name_that_nobody_knows(entry: Any, hosted: bool) -> None:
    """The message says what to do and doesn't repeat the name."""
    with pytest.raises(McpUnavailable, match=r"^MCP_SERVERS names no such server: add it there") as raised:
        resolve("docs", entry, hosted=hosted)
    assert ("DEDALUS_API_KEY" in raised.value.message) is not hosted
    assert "nothing" not in raised.value.message


def test_a_slug_that_nobody_hosts() -> None:
    """A slug without an upstream that hosts servers is refused with the setting that is missing."""
    with pytest.raises(McpUnavailable, match="set DEDALUS_API_KEY"):
        resolve("tsion/exa", hosted=False)


@pytest.mark.parametrize("url", ["http://mcp.example.com/", "https://10.0.0.1/", "https://localhost:8000/mcp"])
def test_a_url_that_we_do_not_go_to(url: str) -> None:
    """A URL that the guard doesn't allow is refused before the run starts."""
    with pytest.raises(UrlRefused):
        resolve({"url": url, "run": "local"}, hosted=True)


def test_a_url_that_is_none() -> None:
    """An invalid URL that matches the request's pattern is refused."""
    with pytest.raises(McpUnavailable):
        resolve("https://[", hosted=False)


@pytest.mark.anyio
async def test_the_catalogue_lists_what_a_request_says() -> None:
    """The catalogue lists names for servers that only this service can reach, URLs for public ones, and no secrets."""
    upstreams = Upstreams(Settings(_env_file=None), EmbeddedModel())
    catalog = Catalog(upstreams, 60, "", CONFIGURED)
    listed = [server for server in (await catalog.mcp_servers()).servers if server.configured]
    assert {server.name: server.server for server in listed} == {
        "docs": "https://docs.example.com/mcp",
        "private": "private",
        "keyed": "keyed",
        "named": "named",
        "old": "old",
        "plain": "plain",
        "time": "time",
        "acme/hosted": "https://acme.example.com/mcp",
        "acme/ours": "acme/ours",
    }
    assert "secret" not in str(listed)
    for hosted in (True, False):
        for server in listed:
            away, [*local] = resolve(server.server, hosted=hosted)
            assert (
                away == [server.server]
                if hosted and server.server.startswith("https")
                else local == [ours(server.name)]
            )
    await catalog.aclose()
    await upstreams.aclose()


# Names


@pytest.mark.parametrize(
    ("namespace", "tool", "name"),
    [
        ("time", "now", "time__now"),
        ("mcp.example.com", "get/item v2", "mcp_example_com__get_item_v2"),
        ("time", "größe", "time__gr__e"),
        ("time", "", "time__"),
        ("a" * 30, "b" * 40, "a" * 30 + "__" + "b" * 25 + "_" + "{mark}"),
    ],
)
def test_a_tool_s_name(namespace: str, tool: str, name: str) -> None:
    """A tool's name is made from its server's and its own, in the characters and length that model servers accept,
    and is always the same.
    """
    found = tool_name(namespace, tool)
    assert re.fullmatch(re.escape(name).replace(r"\{mark\}", "[0-9a-f]{6}"), found)
    assert re.fullmatch(TOOL_NAME, found)
    assert tool_name(namespace, tool) == found


def test_long_names_that_begin_alike_differ() -> None:
    """Long names with the same beginning differ by a hash."""
    assert len({tool_name("server", "x" * 100 + str(i)) for i in range(100)}) == 100


def test_servers_that_have_one_label_differ() -> None:
    """Two URLs of one host, and two names that are equal once cleaned, get different names for their tools."""
    named = namespaces({"https://a.b/1": "a.b", "https://a.b/2": "a.b", "a_b": "a_b", "other": "other"})
    assert len(set(named.values())) == 4
    assert named["other"] == "other"
    assert all(re.fullmatch("a_b_[0-9a-f]{6}", name) for name in named.values() if name != "other")
    assert len(namespaces({"x": "long" * 50})["x"]) == 30


async def nothing(*_: Any) -> CallToolResult:
    return CallToolResult(content=[])


def offered(namespace: str, *names: str) -> list[McpTool]:
    listed = [Tool(name=name, input_schema={"type": "object"}) for name in names]
    return as_tools(namespace, namespace, listed, 5, nothing)


def test_tools_of_one_name_differ() -> None:
    """Equal tool names, within a server or between servers, are made different."""
    one = offered("s", "a b", "a.b", "c")
    assert len({tool.name for tool in one}) == 3
    assert [tool.own_name for tool in one] == ["a b", "a.b", "c"]
    two = without_repeats([*offered("s", "a__b"), *offered("s__a", "b")])
    assert len({tool.name for tool in two}) == 2


# Arguments

ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "item": {"enum": ["tea", "cake"]},
        "count": {"type": "integer", "minimum": 1},
        "to": {"$ref": "#/$defs/place"},
        "code": {"pattern": "^[A-Z]\\d+$"},
        "with": {"items": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}},
        "note": {"type": "string", "nullable": True},
    },
    "required": ["item"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"table": {"type": "integer"}}, "required": ["table"]}},
}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"item": "tea", "count": 2, "to": {"table": 3}}, []),
        ({}, ["item: is required"]),
        ({"item": "ale"}, ['item: must be one of ["tea","cake"]']),
        ({"item": "tea", "count": "2"}, ["count: must be of type integer"]),
        ({"item": "tea", "count": 0}, ['count: must match {"minimum":1}']),
        ({"item": "tea", "code": "x1"}, ['code: must match {"pattern":"^[A-Z]\\\\d+$"}']),
        ({"item": "tea", "to": {"table": "x"}}, ["to.table: must be of type integer"]),
        ({"item": "tea", "to": {}}, ["to.table: is required"]),
        (
            {"item": "tea", "with": [1, "a"]},
            ["with.0: must match anyOf: with.0: must be of type string; with.0: must be of type boolean"],
        ),
        ({"item": "tea", "milk": True, "oats": 1}, ["milk: is not allowed here", "oats: is not allowed here"]),
        ({"item": "tea", "note": None}, []),
    ],
)
def test_faults_of_arguments(arguments: dict[str, Any], found: list[str]) -> None:
    """Each error names its place, so that a model can correct it.

    Null is left to the server, because `nullable` may allow it.
    """
    assert validation_errors(ORDER, arguments) == found


def test_many_and_long_faults_are_cut() -> None:
    """The model gets the first errors only, each of them cut."""
    schema = {"type": "object", "additionalProperties": {"enum": ["x" * 10_000]}}
    found = validation_errors(schema, {f"n{i}": "y" * 10_000 for i in range(30)})
    assert len(found) == MAX_ERRORS
    assert max(map(len, found)) < 320


def bomb(depth: int) -> dict[str, Any]:
    """Return a schema that takes 2 to the power of its depth steps to follow."""
    doubled = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": doubled | {f"d{depth}": {"type": "object"}}}


def tree() -> dict[str, Any]:
    """Return a schema that refers to itself twice for each level of the arguments."""
    child = {"properties": {"a": {"$ref": "#/$defs/node"}}}
    return {"$ref": "#/$defs/node", "$defs": {"node": {"allOf": [child, child]}}}


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


UNUSABLE = [
    bomb(40),
    tree(),
    {"$ref": "#"},
    {"unevaluatedProperties": False, "allOf": [bomb(40)]},
    {"$ref": "http://127.0.0.1:9/schema"},
    {"$ref": "#/nowhere"},
    {"$ref": "#/allOf/0", "allOf": [bomb(40)]},
    {"$ref": "#/$defs/a/", "$defs": {"a": {"": bomb(40)}}},
    {"$defs": {"a": {"$id": "http://a.b/", "$ref": "#/c"}}, "$ref": "#/$defs/a"},
    {"properties": 5},
    {"properties": {"a": {"type": "no such type"}}},
    {"properties": {"a": {"minLength": "x"}}},
    {"properties": {"a": {"exclusiveMinimum": True}}},
    {"properties": {"a": {"pattern": "(["}}},
    {"properties": {"a": {"pattern": "^(?=(a+)+$)"}}},
    {"properties": {f"p{i}": {"pattern": "^\\p{L}{1,100}$"} for i in range(1000)}},
    {"$schema": "https://a.b/schema", "required": ["b"]},
    {"required": 5},
    {"allOf": {"a": 5}},
]


@pytest.mark.parametrize("schema", UNUSABLE, ids=lambda schema: str(schema)[:50])
def test_a_schema_that_can_not_be_used_takes_no_time_and_finds_nothing(schema: dict[str, Any]) -> None:
    """An unusable schema neither blocks the event loop nor makes this service fetch anything.

    The server checks the arguments itself.
    """
    began = time.process_time()
    assert validation_errors(schema, nested(60) | {"b": "a" * 60 + "!"}) == []
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"items": {"type": "string"}}}},
        {"allOf": [{"properties": {"a": {"items": {"minimum": 10**9}}}}] * 100},
        {"properties": {"a": {"items": {"enum": [str(n) for n in range(50_000)]}}}},
        {"properties": {"b": {"pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": {"items": {"type": "string"}}}},
    ],
    ids=["faults", "schemas", "enumeration", "text", "pattern"],
)
def test_a_check_takes_no_longer_than_a_stream_can_wait(schema: dict[str, Any]) -> None:
    """A check is bounded in time, however large the arguments are and however many errors they have."""
    began = time.process_time()
    validation_errors(schema, {"a": list(range(20_000)), "b": "a" * 1_000_000 + "!"})
    assert time.process_time() - began < 0.2


# Results


def result(*content: Any, **more: Any) -> dict[str, Any]:
    return {"content": list(content), **more}


TEXT, IMAGE = {"type": "text", "text": "hello"}, {"type": "image", "data": "AAAA", "mimeType": "image/png"}
SHOWN = '{"type":"image","mime_type":"image/png","base64_bytes":4}'
MIXED = result(TEXT, None, {"type": "text", "text": 5}, "bare", {"text": "untyped"})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (result(), ""),
        (result(TEXT, TEXT), "hello\nhello"),
        (result(IMAGE), SHOWN),
        (
            result({"type": "audio", "data": "AA==", "mimeType": "audio/wav"}),
            '{"type":"audio","mime_type":"audio/wav","base64_bytes":4}',
        ),
        (result({"type": "image", "data": "AAAA"}), '{"type":"image","base64_bytes":4}'),
        (result({"type": "image", "url": "https://a.b/c.png"}), '{"type":"image","url":"https://a.b/c.png"}'),
        (result({"type": "resource", "resource": {"uri": "a://b", "text": "inside"}}), "inside"),
        (
            result({"type": "resource", "resource": {"uri": "a://b", "blob": "AAAA", "mimeType": "x/y"}}),
            '{"type":"resource","uri":"a://b","mime_type":"x/y","base64_bytes":4}',
        ),
        (
            result({"type": "resource_link", "uri": "a://b", "name": "b"}),
            '{"type":"resource_link","uri":"a://b","name":"b"}',
        ),
        (result({"type": "video", "seconds": 3}), '{"type":"video","seconds":3}'),
        (MIXED, 'hello\nnull\n{"type":"text","text":5}\nbare\nuntyped'),
        ({}, ""),
        ({"content": None}, ""),
        ({"content": "hello"}, "hello"),
        ({"content": TEXT}, "hello"),
        ({"toolResult": {"a": 1}}, '{"a":1}'),
        ({"content": [], "error": "no egg"}, "no egg"),
        ({"content": [{"type": "text", "text": "sum"}], "structured_content": {"a": 1}}, 'sum\n{"a":1}'),
        ({"rows": [1], "next": 2, "_meta": {"secret": 1}}, '{"rows":[1],"next":2}'),
    ],
)
def test_what_a_result_says(given: dict[str, Any], text: str) -> None:
    """Text is unchanged, content that no model can read is described, and the rest is JSON.

    An invalid block doesn't affect the others.
    """
    assert read(given) == text


def read(given: dict[str, Any]) -> str:
    return text_of(CallToolResult.model_validate(sound_result(given)))


@pytest.mark.parametrize(
    ("texts", "structured", "text"),
    [
        ((), {"a": "é"}, '{"a":"é"}'),
        ((), [], "[]"),
        ((), {"result": []}, '{"result":[]}'),
        ((), 0, "0"),
        (("4 items",), {"items": [1, 2]}, '4 items\n{"items":[1,2]}'),
        (("4 items",), [1, 2], "4 items\n[1,2]"),
        (('{"b": 2,\n "a": 1}',), {"a": 1, "b": 2}, '{"b": 2,\n "a": 1}'),
        (("Done.", '{"a":1}'), {"a": 1}, 'Done.\n{"a":1}'),
        (("[1, 2]",), [1, 2], "[1, 2]"),
        (("5",), {"result": 5}, "5"),
        (("hello",), {"result": "hello"}, "hello"),
        (("one", "2"), {"result": ["one", 2]}, "one\n2"),
        (("one", "2"), {"result": ["one", "2"]}, "one\n2"),
        (("5",), {"count": 5}, '5\n{"count":5}'),
        (('{"a": 1',), {"a": 1}, '{"a": 1\n{"a":1}'),
        (("hello",), None, "hello"),
    ],
)
def test_structured_content_is_reported_unless_a_text_is_the_same(texts: Any, structured: Any, text: str) -> None:
    """Structured content is added unless a text block has the same data as JSON, as older clients need it.

    A summary doesn't count.
    """
    blocks = [{"type": "text", "text": each} for each in texts]
    assert read({"content": blocks, "structuredContent": structured}) == text


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        (True, True),
        ("true", True),
        ("True", True),
        (1, True),
        (False, False),
        ("false", False),
        (None, False),
        (0, False),
    ],
)
def test_whether_a_call_failed(said: Any, failed: bool) -> None:
    """The error flag is read under either name, in each type in which servers send it."""
    assert sound_result(result(TEXT, isError=said))["isError"] is failed
    assert sound_result(result(TEXT, isError=False, is_error=said))["isError"] is failed


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ({"error": "no egg"}, True),
        ({"content": [], "error": {"code": 5, "message": "no egg"}}, True),
        ({"content": [], "error": None}, False),
        (result(TEXT, error="of a former call"), False),
        ({"structuredContent": {"a": 1}, "error": "a warning"}, False),
    ],
)
def test_a_result_of_an_error_alone_is_a_failure(given: dict[str, Any], failed: bool) -> None:
    """A result with an error and no content is a failure."""
    assert sound_result(given)["isError"] is failed


def test_a_question_of_the_server_is_left_as_it_is() -> None:
    """A result that asks for input is not changed, because the SDK answers it."""
    asks = {"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create"}}}
    assert sound_result(asks) == asks


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (result(TEXT, isError=True), "hello"),
        (result(isError=True), "The tool failed without a message."),
        (MCPError(-32603, "No book."), r"^The MCP server s refused the call \(code -32603\): No book\.$"),
        (
            MCPError(UNREADABLE, "it is odd"),
            "may have been run, but .* can't be read: it is odd",
        ),
        (
            RuntimeError("secret"),
            "may have been run, but .* can't be read: it is not the result",
        ),
        (McpServerFailed(), r"^The MCP server s can't be reached; the tool was not called\.$"),
        (McpAuthorizationRequired("It asks."), r"^It asks\. The tool was not called\.$"),
        (SessionLost(delivered=True), "may have been run"),
        (SessionLost(delivered=False), r"lost during the call\. The tool was not run\.$"),
    ],
)
async def test_what_a_call_fails_with(gives: Any, message: str) -> None:
    """The model gets the server's message. The text of an exception of this service stays in the log."""

    async def make_call(*_: Any) -> CallToolResult:
        if isinstance(gives, Exception):
            raise gives
        return CallToolResult.model_validate(sound_result(gives))

    [tool] = as_tools("s", "s", [Tool(name="t", input_schema={"type": "object"})], 5, make_call)
    with pytest.raises(ToolError, match=message) as raised:
        await call(tool)
    assert "secret" not in str(raised.value)


# The end of the service


def test_a_command_ends_when_the_service_is_killed(nursery: Nursery) -> None:
    """Even a command that ignores its closed standard input, the protocol's signal to end, is ended."""
    with forked_command(nursery, "mcp_host", env=os.environ) as service:
        assert service.stdout is not None
        ends = [os.pidfd_open(int(pid)) for pid in service.stdout.readline().split()]
        service.kill()
        assert len(ends) == 2
        for end in ends:
            assert select.select([end], [], [], 10)[0]
            os.close(end)


def test_what_the_document_shows_is_valid() -> None:
    """The settings and the request in the document are valid."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "mcp.md").read_text(), re.DOTALL)
    request, configured = blocks
    asked = AgentRequest.model_validate_json(request)
    servers = Settings(_env_file=None, mcp_servers=configured).mcp_servers
    local = McpChoice(servers, UrlGuard()).resolve(asked.mcp_servers or (), hosted=True).local
    assert [server.label for server in local] == ["time", "search.example.com"]
