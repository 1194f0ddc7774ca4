"""Tests invalid lists of tools: only the invalid tools are left out, and what can be repaired is repaired."""

import json
from contextlib import suppress
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from hypothesis import given
from hypothesis import strategies as st
from mcp_hands import HELLO, answering, command, hand, result, tool
from mcp_peers import local, offered, pool_of, serving
from mcp_types.methods import parse_server_result
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from service import only, service, text
from wire import answer

from services.mcp.lists import LEFT_OUT, REQUIRED_FIELDS, sound_page
from services.mcp.messages import SOUND_RESULTS
from services.mcp.schemas import as_object

EMPTY = {"type": "object", "properties": {}}
A, B = {"type": "string"}, {"type": "integer"}


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (None, EMPTY),
        ({}, EMPTY),
        ([], EMPTY),
        (True, EMPTY),
        ({"type": None}, EMPTY),
        ({"type": "object"}, EMPTY),
        ({"type": "OBJECT", "properties": None, "required": None}, EMPTY),
        ({"type": ["object", "null"], "properties": []}, EMPTY),
        ({"properties": {"a": A}, "required": ["a", 5]}, thing(a=A) | {"required": ["a"]}),
        (thing(a=True, b=False, c="odd", d=A), thing(a={}, c={}, d=A)),
        (thing(a=A) | {"$schema": 7, "required": "a"}, thing(a=A)),
        (thing(a=A) | {"additionalProperties": False}, thing(a=A) | {"additionalProperties": False}),
        ({"anyOf": [thing(a=A), thing(b=B)]}, thing(a=A, b=B)),
        ({"oneOf": [thing(a=A), {"type": "null"}]}, thing(a=A)),
        (
            {"anyOf": [thing(a=A) | {"required": ["a"]}, thing(a=B, b=B) | {"required": ["b", "a"]}]},
            thing(a={"anyOf": [A, B]}, b=B) | {"required": ["a"]},
        ),
        (
            thing(a=A, b=B) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "required": ["b"]},
            thing(a=A, b=B) | {"required": ["b"]},
        ),
        (
            {"allOf": [thing(a=A) | {"required": ["a"]}, thing(a=B, b=B) | {"required": ["b"]}]},
            thing(a={"allOf": [A, B]}, b=B) | {"required": ["a", "b"]},
        ),
        ({"$ref": "#/$defs/x", "$defs": {"x": thing(a=A)}}, thing(a=A) | {"$defs": {"x": thing(a=A)}}),
        (
            {"$ref": "#/definitions/a~1b%20c", "definitions": {"a/b c": thing(a=A)}},
            thing(a=A) | {"definitions": {"a/b c": thing(a=A)}},
        ),
        (
            {"anyOf": [{"$ref": "#/$defs/x"}, thing(b=B)], "$defs": {"x": thing(a=A)}},
            thing(a=A, b=B) | {"$defs": {"x": thing(a=A)}},
        ),
        (thing(a=A) | {"not": {"required": ["a"]}, "enum": [1], "const": 2}, thing(a=A)),
    ],
)
def test_a_root_that_can_be_an_object_becomes_one(schema: Any, made: dict[str, Any]) -> None:
    """A root schema that can describe an object is rewritten as one, without unions and references, which model
    servers refuse there.
    """
    assert as_object(schema) == made


def nested(depth: int) -> dict[str, Any]:
    return {"properties": {"a": nested(depth - 1)}} if depth else {}


def bomb(depth: int) -> dict[str, Any]:
    """Return a schema that takes 2 to the power of its depth steps to follow."""
    doubled = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": doubled | {f"d{depth}": {"type": "object"}}}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        0,
        "",
        "object",
        ["object"],
        {"type": "string"},
        {"type": ["array", "null"]},
        {"type": 7},
        {"anyOf": [A, B]},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"$ref": 5},
        {"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}},
        {"allOf": [thing(a=A), {"type": "array"}]},
        nested(40),
        {"maximum": float("nan")},
        bomb(40),
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_root_that_can_not_be_an_object_is_none(schema: Any) -> None:
    """A root schema is refused if it doesn't accept objects, can't be analysed, or isn't accepted by every model
    server.
    """
    assert as_object(schema) is None


GOOD = tool("good", description="Good.")
LEFT: list[Any] = [
    {"name": "stringly", "inputSchema": {"type": "string"}},
    {"name": 7, "inputSchema": {}},
    {"name": None, "inputSchema": {}},
    {"name": "", "inputSchema": {}},
    {"inputSchema": {}},
    "a tool",
    None,
]
ODD: list[dict[str, Any]] = [
    {"name": "none"},
    {"name": "null", "inputSchema": None},
    {"name": "empty", "inputSchema": {}},
    {"name": "union", "inputSchema": {"anyOf": [{"type": "object"}]}},
    tool("true", inputSchema=thing(a=True)),
    tool("odd words", title=5, description=None, icons="x", execution=[], _meta="no"),
    tool("odd hints", annotations={"readOnlyHint": "yes", "idempotentHint": True, "title": 3}),
    tool("no hints", annotations="none"),
    tool("odd output", outputSchema={"type": "array", "$schema": 3}),
    tool("x" * 200),
    tool("dots.and/spaces here"),
]
NAMED = (
    "stringly, 7, tool 3 of the list, tool 4 of the list, tool 5 of the list, tool 6 of the list, tool 7 of the list"
)


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["stdio", "json", "events"])
async def test_a_bad_tool_costs_itself(way: Any) -> None:
    """The other tools are offered, and a warning names those that are not."""
    page = result({"tools": [*LEFT, GOOD, *ODD], "nextCursor": ""})
    async with hand(way, {"tools/list": page}) as pool:
        offer = await pool.tools(local(pool, "hand"))
        again = await pool.tools(local(pool, "hand"))
    assert [tool.own_name for tool in offer.tools] == ["good", *(each["name"] for each in ODD)]
    assert all(tool.parameters["type"] == "object" for tool in offer.tools)
    assert {tool.own_name for tool in offer.tools if tool.idempotent} == {"odd hints"}
    [warning] = offer.warnings
    assert warning.code == "mcp_tool_left_out"
    assert warning.message.endswith(f"and are left out: {NAMED}.")
    assert again.warnings == offer.warnings


@pytest.mark.parametrize("page", [{}, {"tools": None}, {"tools": {}}, {"tools": "none"}])
def test_a_page_without_a_list_has_no_tools(page: dict[str, Any]) -> None:
    """A page without a list is not an error."""
    assert sound_page(page) == {"tools": [], "_meta": {LEFT_OUT: []}} | REQUIRED_FIELDS


@pytest.mark.anyio
@pytest.mark.parametrize(
    "hello",
    [
        HELLO | {"capabilities": None},
        HELLO | {"capabilities": {"tools": True, "logging": None, "resources": []}},
        {"protocolVersion": "2025-06-18"},
        HELLO | {"serverInfo": {"name": 5}, "instructions": ["a"]},
    ],
    ids=["null", "odd capabilities", "bare", "odd names"],
)
async def test_an_odd_greeting_is_a_greeting(hello: dict[str, Any]) -> None:
    """An invalid description of the server in its greeting is ignored, and its tools are requested."""
    async with hand("stdio", {"initialize": result(hello), "tools/list": result({"tools": [GOOD]})}) as pool:
        assert list(await offered(pool, "hand")) == ["hand__good"]


@pytest.mark.anyio
async def test_a_run_is_warned_of_what_it_does_not_get() -> None:
    """A run is warned of tools that are left out and of a server that requires authorization.

    The catalogue shows an error for it.
    """
    left = command({"tools/list": result({"tools": [GOOD, LEFT[0]]})})
    async with serving(answering(401, b"", www_authenticate="Bearer")) as url, FakeDedalus() as fake:
        servers = {"left": left, "locked": {"url": f"{url}/mcp"}, "old": {"url": f"{url}/sse", "transport": "sse"}}
        async with service(fake.url, mcp_servers=servers, dedalus_base_url_hosts_mcp=False) as agent:
            fake.turn(*answer("Fine."))
            events = await agent.stream({"input": "?", "mcp_servers": list(servers)})
            refused = [await agent.client.get(f"/api/agent/mcp-servers/{name}/tools") for name in ("locked", "old")]
        [request] = [request.body for request in fake.chats]
    assert text(events) == "Fine."
    assert [tool["function"]["name"] for tool in request["tools"]] == ["left__good"]
    warnings = only(events, "warning")
    assert [warning["code"] for warning in warnings] == [
        "mcp_tool_left_out",
        "mcp_authorization_required",
        "mcp_authorization_required",
    ]
    assert json.dumps(warnings).count("asks for authorization") == 2
    for response in refused:
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["retryable"]) == (502, "mcp_authorization_required", False)


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ({"type": "int"}, {"type": "integer"}),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "any"}, {}),
        ({"type": ["str", "null"]}, {"type": ["string", "null"]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "array", "items": {"type": "float"}}, {"type": "array", "items": {"type": "number"}}),
        ({"properties": {"type": {"type": "bool"}}}, {"properties": {"type": {"type": "boolean"}}}),
        (
            {"enum": [{"type": "int"}], "default": {"type": "int"}},
            {"enum": [{"type": "int"}], "default": {"type": "int"}},
        ),
    ],
)
def test_the_types_of_properties_are_json_schema_s(said: Any, made: Any) -> None:
    """Types that JSON Schema doesn't know are corrected, because model servers refuse the whole request for one.

    Values are unchanged.
    """
    root = as_object({"type": "object", "properties": {"a": said}})
    assert root is not None
    assert root["properties"] == {"a": made}


@pytest.mark.parametrize(
    "page", [{"content": [GOOD]}, {"tools": {GOOD["name"]: {key: GOOD[key] for key in GOOD if key != "name"}}}]
)
def test_a_list_in_another_form_is_read(page: dict[str, Any]) -> None:
    """A result that is itself the list, and an object with tools by their names, are accepted."""
    assert [tool["name"] for tool in sound_page(page)["tools"]] == [GOOD["name"]]


@pytest.mark.anyio
async def test_a_list_is_asked_for_page_by_page() -> None:
    """A cursor that isn't text ends the list."""
    async with pool_of(hand=command({"tools/list": result({"tools": [GOOD], "nextCursor": 5})})) as pool:
        assert list(await offered(pool, "hand")) == ["hand__good"]


# Arbitrary data

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "title", "description", "inputSchema", "annotations", "outputSchema", "_meta", "icons"])
SCHEMA_KEYS = st.sampled_from(["type", "properties", "required", "$ref", "$defs", "anyOf", "allOf", "$schema", "items"])
SCHEMA = st.dictionaries(SCHEMA_KEYS, JSON | st.just("object") | st.just("#/$defs/a"), max_size=4)
TOOL = JSON | st.dictionaries(KEYS, JSON | SCHEMA, max_size=6)
PAGE_KEYS = st.sampled_from(["nextCursor", "_meta", "resultType", "ttlMs", "cacheScope", "other"])
PAGE = st.tuples(st.dictionaries(PAGE_KEYS, JSON), JSON | st.lists(TOOL, max_size=3)).map(
    lambda drawn: {**drawn[0], "tools": drawn[1]}
)
BLOCK_KEYS = st.sampled_from(["type", "text", "data", "mimeType", "resource", "uri", "name", "blob"])
BLOCK = JSON | st.dictionaries(BLOCK_KEYS, JSON | st.sampled_from(["text", "image", "resource"]), max_size=4)
RESULT_KEYS = st.sampled_from(["isError", "structuredContent", "_meta", "resultType", "toolResult", "ttlMs"])
RESULT = st.tuples(st.dictionaries(RESULT_KEYS, JSON), JSON | st.lists(BLOCK, max_size=3)).map(
    lambda drawn: {**drawn[0], "content": drawn[1]}
)
GREETING_KEYS = st.sampled_from(["capabilities", "serverInfo", "instructions", "_meta", "ttlMs"])
GREETING = st.dictionaries(GREETING_KEYS, JSON | st.fixed_dictionaries({"tools": JSON, "name": JSON}))


@pytest.mark.parametrize(
    ("method", "results"), [("tools/list", PAGE), ("tools/call", RESULT), ("initialize", GREETING)]
)
@given(data=st.data())
def test_the_sdk_takes_whatever_comes(method: str, results: Any, data: Any) -> None:
    """The SDK accepts any repaired result, in each protocol version that has the method."""
    sound = SOUND_RESULTS[method](data.draw(results))
    for version in HANDSHAKE_PROTOCOL_VERSIONS + MODERN_PROTOCOL_VERSIONS:
        greeting = {"protocolVersion": version} if method == "initialize" else {}
        with suppress(KeyError):
            parse_server_result(method, version, sound | greeting)
