"""The types of the clients: those of the OpenAPI document, and the same in both forms of the Python client.

`tests/world/live/test_typescript.py` generates the types of the TypeScript client anew.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import agent_stream
import generate_sync
import pytest
from agent_stream import events, records, requests, transcript
from agent_stream.decoding import decode
from agent_stream.events import EVENT_CLASSES, Event, event_of
from node import TYPESCRIPT
from process import ROOT
from service import settings
from sources import imported

from app import create_app

Json = dict[str, Any]
PACKAGE = ROOT / "clients/python/agent_stream"
NAMES = {"RunRecord": "Run", "Result": "AgentResponse", "RequestOptions": "AgentRequest"}
NAMES |= {
    "SimulateOptions": "SimulateRequest",
    "InputMessage": "Message",
    "Decision": "ApprovalResponse",
    "CitedPage": "Source",
}
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", Any: "any"}
OBJECTS = ("TextPart", "ImagePart", "FilePart", "AudioPart", "MessageCall", "ClientTool", "McpServerRef")
PLAIN = dict.fromkeys((*OBJECTS, "NamedTool", "WebSearch"), "object") | {"RunError": "ErrorInfo"}
"""Types for which the package has no class of its own, and the form in which they appear."""
ENVELOPE = {"run_id": "run_1", "seq": 1, "timestamp": "2026-11-28T10:00:00.000Z"}


@pytest.fixture(scope="module")
def schemas() -> Json:
    document = json.loads(json.dumps(create_app(settings()).openapi()))
    return dict(document["components"]["schemas"])


def public_classes() -> Iterator[type]:
    """The dataclasses and requests of the package that have a schema of their own."""
    for module in (events, records, transcript, requests):
        for kind in vars(module).values():
            is_own = isinstance(kind, type) and kind.__module__ == module.__name__
            is_record = is_dataclass(kind) or hasattr(kind, "__required_keys__")
            if is_own and is_record and kind not in (Event, requests.Start):
                yield kind


def declared(kind: type) -> dict[str, tuple[str, bool]]:
    """The keys of a class, each with its shape and whether it is required."""
    hints = get_type_hints(kind)
    if not is_dataclass(kind):
        required = kind.__required_keys__  # type: ignore[attr-defined]
        return {
            name: (shape_of_hint(hint, optional=name not in required), name in required) for name, hint in hints.items()
        }
    own = [field for field in fields(kind) if field.name not in ENVELOPE or not issubclass(kind, Event)]
    return {
        field.name: (shape_of_hint(hints[field.name], optional=field.default is None), field.default is MISSING)
        for field in own
    }


def shape_of_hint(hint: Any, *, optional: bool = False) -> str:
    """A type hint as the text that `shape_of_schema` makes of the same schema."""
    inner = get_args(hint)
    match get_origin(hint) or hint:
        case kind if kind in SIMPLE:
            return SIMPLE[kind]
        case kind if kind is dict:
            return "object"
        case kind if kind is list:
            return f"[{shape_of_hint(inner[0])}]"
        case kind if kind is Literal:
            return joined(map(json.dumps, inner))
        case kind if kind in (Union, UnionType):
            options = [option for option in inner if not (optional and option is NoneType)]
            return joined(map(shape_of_hint, options))
        case kind:
            return str(NAMES.get(kind.__name__, kind.__name__))


def published(schema: Json, schemas: Json) -> dict[str, tuple[str, bool]]:
    """The keys of a schema, each with its shape and whether it is required."""
    required = schema.get("required", ())
    return {name: (shape_of_schema(shape, schemas), name in required) for name, shape in schema["properties"].items()}


def shape_of_schema(schema: Json, schemas: Json) -> str:
    match schema:
        case {"$ref": ref}:
            name = ref.rpartition("/")[2]
            alias = "properties" not in schemas[name]
            return shape_of_schema(schemas[name], schemas) if alias else PLAIN.get(name, name)
        case {"anyOf": options} | {"oneOf": options}:
            return joined(shape_of_schema(option, schemas) for option in options)
        case {"enum": values}:
            return joined(map(json.dumps, values))
        case {"const": value}:
            return json.dumps(value)
        case {"type": "array", "items": items}:
            return f"[{shape_of_schema(items, schemas)}]"
        case {"type": kind}:
            return str(kind)
        case _:
            return "any"


def joined(options: Any) -> str:
    parts = (part for option in options for part in ([option] if option.startswith("[") else option.split(" | ")))
    return " | ".join(sorted(set(parts)))


@pytest.mark.parametrize("kind", [*public_classes()], ids=lambda kind: kind.__name__)
def test_each_class_is_a_schema_of_the_service(kind: type, schemas: Json) -> None:
    """A class has exactly the keys of its schema, with the same types, and the same ones required."""
    keys = published(schemas[NAMES.get(kind.__name__, kind.__name__)], schemas)
    keys.pop("input", None)  # the question, an argument of its own
    assert declared(kind) == keys


def test_each_event_has_a_class(schemas: Json) -> None:
    """The union of events has each event of the service under its name, and `match` takes its keys in their order."""
    names = {name: schema["properties"] for name, schema in schemas.items() if "seq" in schema.get("properties", ())}
    events = {keys["event"]["const"]: keys["data"]["$ref"].rpartition("/")[2] for keys in names.values()}
    assert {name: kind.__name__ for name, kind in EVENT_CLASSES.items()} == events
    match event_of({"event": "thinking", "data": {"content": "Hm."}, **ENVELOPE}):
        case agent_stream.Thinking(content, seq=seq):
            assert (content, seq) == ("Hm.", 1)
        case other:
            pytest.fail(f"{other} is no thinking")


def test_what_is_unknown_is_ignored() -> None:
    """An event of a later version is none, and a key of a later version is left out, on each level."""
    assert event_of({"event": "user_message", "data": {"content": "Hi"}, **ENVELOPE}) is None
    usage = {"input_tokens": 1, "output_tokens": None, "total_tokens": 1, "cost_eur": 0.1}
    data = {"status": "succeeded", "usage": usage, "steps": 1, "duration_ms": 5, "new": True}
    complete = event_of({"event": "complete", "data": data, **ENVELOPE, "more": 1})
    assert isinstance(complete, agent_stream.Complete)
    assert complete.usage == agent_stream.Usage(1, None, 1)


def test_nested_records_are_objects() -> None:
    """Lists of records, and records in records, are objects of their classes."""
    calls = [{"tool_call_id": "call_1", "name": "delete", "kind": "approval"}]
    waiting = decode(agent_stream.Waiting, {"pending": calls, **ENVELOPE})
    assert waiting.pending == [agent_stream.PendingCall("call_1", "delete", "approval")]


def test_an_item_of_several_kinds_is_an_object_of_its_class() -> None:
    """A budget among what is pending is one. A kind of a later version is left out."""
    budget = {"kind": "budget", "spent_tokens": 64, "expires_at": "2026-11-29T10:00:00.000Z", "max_cost_usd": 0.5}
    waiting = decode(agent_stream.Waiting, {"pending": [budget, {"kind": "auth", "server": "docs"}], **ENVELOPE})
    assert waiting.pending == [
        agent_stream.PendingBudget("budget", 64, "2026-11-29T10:00:00.000Z", max_cost_usd=0.5),
    ]


def test_the_synchronous_client_is_generated() -> None:
    """The modules in `_sync` are those that generate_sync.py makes of the ones in `_async`, and no others."""
    made = dict(generate_sync.generated())
    assert {file: file.read_text() for file in made} == made
    assert {*PACKAGE.glob("_sync/*.py")} == {*made, PACKAGE / "_sync/__init__.py"}


def test_the_package_needs_httpx2_alone() -> None:
    """It imports itself, httpx2 and the standard library, and nothing of the service."""
    for file in PACKAGE.rglob("*.py"):
        assert imported(file) - sys.stdlib_module_names <= {"agent_stream", "httpx2"}, file


def test_everything_public_is_exported() -> None:
    """Each event and each record can be imported from the package itself."""
    assert {kind.__name__ for kind in public_classes()} - {"InputMessage"} <= set(agent_stream.__all__)


# The TypeScript client


def generated_fields() -> dict[str, dict[str, bool]]:
    """Return the fields of each generated schema that is an object, and whether they are required."""
    text = (TYPESCRIPT / "src/openapi.ts").read_text()
    generated = text.partition("\n    schemas: {\n")[2].partition("\n    };\n")[0]
    found = re.findall(r"^ {8}(\w+): \{\n(.*?)^ {8}\}", generated, re.MULTILINE | re.DOTALL)
    field = re.compile(r'^ {12}"?([\w$-]+)"?(\??): ', re.MULTILINE)
    return {name: {key: not optional for key, optional in field.findall(body)} for name, body in found}


def test_the_generated_types_have_the_fields_of_the_document(schemas: Json) -> None:
    """Each object of the document has a type with its fields, and no others. A required field is not optional."""
    assert generated_fields() == {
        name: {field: field in schema.get("required", ()) for field in schema["properties"]}
        for name, schema in schemas.items()
        if "properties" in schema
    }
