"""Tests how a schema of an answer reaches each server: as a strict response format, or in the instructions."""

import json
from pathlib import Path
from typing import Any

import pytest
from wire import Json

from json_codec.writing import written
from services.upstreams.answer_schemas import INSTRUCTIONS, NAME, strict_form
from services.upstreams.corrections import corrected
from services.upstreams.providers import KNOWN, PLAIN, rules_of, with_model
from services.upstreams.wire_rules import fitted
from setting_objects import WireRules

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "upstreams.md"
NAMES = {
    "Dedalus and any other server": None,
    "Gemini": "google",
    "Together AI": "together_ai",
    "Fireworks AI": "fireworks_ai",
    "Kimi (Moonshot)": "moonshot",
}
"""The providers of rows in the documented table, where they have other names."""
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
STRICT: Json = SCHEMA | {"additionalProperties": False}
TEXT = f'{INSTRUCTIONS}\n\n{{"type":"object","properties":{{"a":{{"type":"string"}}}},"required":["a"]}}'
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
QUESTION = {"role": "user", "content": "?"}


def documented() -> dict[str | None, str]:
    """The entries of the table in the docs, by provider."""
    _, _, section = DOCS.read_text().partition("### Schemas of answers")
    rows = [line.strip("| ").split(" | ") for line in section.partition("\n### ")[0].splitlines() if line[:2] == "| "]
    return {NAMES.get(server, server.lower()): entry for server, entry, *_ in rows[1:]}


TABLE = documented()


def test_the_table_has_every_server() -> None:
    """A new provider fails the test until the docs say how it gets schemas."""
    assert TABLE.keys() == {*KNOWN, None}


@pytest.mark.parametrize("server", TABLE)
@pytest.mark.parametrize("tools", [{}, {"tools": TOOLS}, {"mcp_servers": ["a/b"]}], ids=["alone", "tools", "hosted"])
async def test_a_schema_has_the_documented_form_on_the_wire(server: str | None, tools: Json) -> None:
    """The bytes have the response format where the table says so, else the instructions, and never both."""
    body = {"messages": [QUESTION], "output_schema": SCHEMA} | tools
    sent = json.loads(await written(fitted(body, rules_of(server))))
    if TABLE[server] == "always" or (TABLE[server] == "without tools" and not tools):
        json_schema = {"name": NAME, "schema": STRICT, "strict": True}
        assert sent["response_format"] == {"type": "json_schema", "json_schema": json_schema}
        assert sent["messages"] == [QUESTION]
    else:
        assert "response_format" not in sent
        assert sent["messages"] == [{"role": "system", "content": TEXT}, QUESTION]
    assert "output_schema" not in sent


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        (
            [{"role": "system", "content": "Be brief."}, QUESTION],
            [{"role": "system", "content": f"Be brief.\n\n{TEXT}"}, QUESTION],
        ),
        (
            [{"role": "system", "content": "A"}, {"role": "developer", "content": [{"type": "text", "text": "B"}]}],
            [
                {"role": "system", "content": "A"},
                {"role": "developer", "content": [{"type": "text", "text": "B"}, {"type": "text", "text": TEXT}]},
            ],
        ),
        (
            [QUESTION, {"role": "system", "content": "later"}],
            [{"role": "system", "content": TEXT}, QUESTION, {"role": "system", "content": "later"}],
        ),
    ],
)
def test_the_instructions_are_at_the_beginning(messages: list[Json], sent: list[Json]) -> None:
    """The schema is a part of the first system messages, which a growing conversation doesn't change."""
    assert fitted({"messages": messages, "output_schema": SCHEMA}, PLAIN)["messages"] == sent


def test_instructions_reach_a_server_without_a_system_role() -> None:
    """The schema is then at the beginning of the first question."""
    rules = WireRules(system_role=False)
    sent = fitted({"messages": [QUESTION], "output_schema": SCHEMA}, rules)["messages"]
    assert sent == [{"role": "user", "content": f"{TEXT}\n\n?"}]


def an_object(**properties: Any) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties]}


A_TREE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"node": an_object(of={"type": "array", "items": {"$ref": "#/$defs/node", "description": "A child."}})},
    **an_object(root={"$ref": "#/$defs/node"}),
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (SCHEMA, STRICT),
        (STRICT | {"title": "T", "$id": "https://example.com/a"}, STRICT | {"title": "T"}),
        (
            an_object(n={"type": ["integer", "null"], "minimum": 0, "default": None}),
            an_object(n={"type": ["integer", "null"], "minimum": 0}) | {"additionalProperties": False},
        ),
        (
            an_object(u={"anyOf": [{"type": "string"}, SCHEMA]}),
            an_object(u={"anyOf": [{"type": "string"}, STRICT]}) | {"additionalProperties": False},
        ),
        (
            A_TREE,
            {
                "$defs": {
                    "node": an_object(of={"type": "array", "items": {"$ref": "#/$defs/node"}})
                    | {"additionalProperties": False}
                },
                **an_object(root={"$ref": "#/$defs/node"}),
                "additionalProperties": False,
            },
        ),
    ],
    ids=["open", "annotated", "nullable", "union", "recursive"],
)
def test_the_strict_form_of_a_schema(schema: Json, strict: Json) -> None:
    """Objects are closed, and keywords that the strict mode refuses and no check needs are left out."""
    assert strict_form(schema) == strict


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array", "items": SCHEMA},
        {"anyOf": [SCHEMA, SCHEMA]},
        {"type": "object"},
        SCHEMA | {"required": []},
        SCHEMA | {"additionalProperties": True},
        SCHEMA | {"additionalProperties": {"type": "string"}},
        SCHEMA | {"allOf": [SCHEMA]},
        an_object(a={}),
        an_object(a=True),
        an_object(a={"type": "array"}),
        an_object(a={"oneOf": [{"type": "string"}]}),
        an_object(a={"type": "object", "patternProperties": {"^x": {"type": "string"}}}),
        an_object(a={"$ref": "#/$defs/a", "minimum": 3}),
    ],
    ids=str,
)
def test_a_schema_without_a_strict_form_is_sent_in_the_instructions(schema: Json) -> None:
    """A strict mode would refuse it, or make the model leave out or invent properties."""
    assert strict_form(schema) is None
    sent = fitted({"messages": [QUESTION], "output_schema": schema}, rules_of("openai"))
    assert "response_format" not in sent
    assert sent["messages"][0]["content"].startswith(INSTRUCTIONS)


@pytest.mark.parametrize(
    ("said", "tools", "rule"),
    [
        ("Function calling with a response mime type: 'application/json' is unsupported", TOOLS, "without_tools"),
        ("This response_format type is unavailable now", [], "never"),
        ("Invalid schema for response_format 'final_answer': minLength is not permitted.", [], "never"),
        ("This model does not support response format `json_schema`.", [], "never"),
    ],
)
def test_a_refusal_of_the_schema_corrects_the_rule(said: str, tools: list[Json], rule: str) -> None:
    """The messages of real servers lead to instructions: only beside tools, or always."""
    rules = rules_of("openai")
    body = {"messages": [QUESTION], "output_schema": SCHEMA} | ({"tools": tools} if tools else {})
    better = corrected(rules, fitted(body, rules), 400, {"error": {"message": said}})
    assert better == rules.model_copy(update={"json_schema": rule})


def test_a_refusal_of_the_caller_s_own_format_changes_nothing() -> None:
    """`response_format` stays as the caller has sent it."""
    rules = rules_of("openai")
    own = {"type": "json_schema", "json_schema": {"name": "mine", "schema": SCHEMA}}
    sent = fitted({"messages": [QUESTION], "response_format": own}, rules)
    assert sent["response_format"] == own
    assert corrected(rules, sent, 400, {"error": {"message": "response_format is not supported"}}) is None


@pytest.mark.parametrize(
    ("model", "rule"), [("openai/gpt-4.1", "always"), ("anthropic/claude", "never"), ("acme/one", "never")]
)
def test_behind_a_gateway_the_model_s_provider_decides(model: str, rule: str) -> None:
    """A gateway passes the request on to the provider."""
    assert with_model(PLAIN, model).json_schema == rule
