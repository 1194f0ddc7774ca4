"""The published description is valid and matches what the service does, and its pages need no network."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from callers import KEYS, OPS, calling, guarded_service
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator
from service import EXECUTE, NOWHERE, SIMULATE, STREAM, Service, checked, names, only, service, settings
from wire import Cut, Stall, Text, answer

import routers
from app import create_app
from errors import every_error
from events import EVENT_TYPES, EventType
from models import Scenario

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

METHODS = {"get", "post", "put", "patch", "delete"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def described() -> Json:
    """The description, as any client receives it."""
    document: Json = json.loads(json.dumps(create_app(settings()).openapi()))
    return document


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Each route's method and path with its description."""
    for path, methods in document["paths"].items():
        yield from ((method, path, operation) for method, operation in methods.items() if method in METHODS)


def faults(document: Json, schema: Json, value: Any) -> list[str]:
    """The violations of a schema of the document in a value."""
    whole = schema | {"components": document["components"]}
    return [error.message for error in OAS31Validator(whole, format_checker=oas31_format_checker).iter_errors(value)]


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def resolved(document: Json, schema: Json) -> Json:
    """The target of a reference in the document."""
    for part in schema.get("$ref", "#").split("/")[1:]:
        document = document[part]
    return document if "$ref" in schema else schema


# The document


async def test_the_description_is_valid_openapi_3_1(agent: Service) -> None:
    """The served document is checked against OpenAPI's own schema, with every reference and every default."""
    response = await agent.client.get("/openapi.json")
    assert response.status_code == 200
    assert response.json()["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(response.json()).iter_errors()] == []


@pytest.mark.parametrize("path", ["", "/team/agents"])
def test_the_server_is_relative_to_the_document(described: Json, path: str) -> None:
    """A client finds the routes beside the document, also below a path that a proxy removes."""
    [server] = described["servers"]
    assert urljoin(f"https://host{path}/openapi.json", server["url"]) == f"https://host{path}/"


def test_every_served_route_is_described(described: Json) -> None:
    """Every route is published, with a name, a summary of several words, a description and a tag."""
    modules = [import_module(f"routers.{file.stem}") for file in Path(routers.__path__[0]).glob("*_router.py")]
    served = {
        (method.lower(), route.path_format)
        for module in modules
        for route in module.router.routes
        for method in route.methods - {"HEAD"}
    }
    assert {(method, path) for method, path, _ in operations(described)} == served
    described_operations = [operation for _, _, operation in operations(described)]
    assert all(operation["description"] and operation["tags"] for operation in described_operations)
    assert [operation["summary"] for operation in described_operations if len(operation["summary"].split()) < 2] == []
    assert len({operation["summary"] for operation in described_operations}) == len(described_operations)
    assert len({operation["operationId"] for operation in described_operations}) == len(described_operations)


def test_every_route_documents_its_error_responses(described: Json) -> None:
    """Each route has 4XX and 5XX with the one body, and none of FastAPI's own form; two also refuse in frames."""
    for method, path, operation in operations(described):
        for status in ("4XX", "5XX"):
            answers = {kind: content["schema"] for kind, content in operation["responses"][status]["content"].items()}
            frames = {"text/event-stream": ref("RefusalEvent")} if path in (STREAM, SIMULATE) else {}
            assert answers == {"application/json": ref("ErrorBody")} | frames, f"{method} {path} {status}"
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_parameter_and_body_field_is_described(described: Json) -> None:
    """Swagger UI says what each parameter and each field of a body is for. A constant says it by its value."""
    undescribed = [
        *(f"{method} {path} {name}" for method, path, name, text in _parameters(described) if not text),
        *(f"{model}.{name}" for model, name, field in _body_fields(described) if _lacks_words(field)),
    ]
    assert undescribed == []


def test_a_parameter_or_body_field_without_a_description_is_found(described: Json) -> None:
    """The walk above reaches parameters in paths and queries, and the fields of models within a body's model."""
    parameters = {name for _, _, name, _ in _parameters(described)}
    assert {"run_id", "tool_call_id", "session_id", "name", "status", "limit", "after"} <= parameters
    fields = {(model, name) for model, name, _ in _body_fields(described)}
    assert {("AgentRequest", "input"), ("ImagePart", "url"), ("CalledFunction", "arguments")} <= fields
    assert _lacks_words({"type": "string"})
    assert not _lacks_words({"const": "text"})


def _parameters(document: Json) -> Iterator[tuple[str, str, str, str]]:
    """Each parameter's method, path, name and description."""
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            yield method, path, parameter["name"], parameter.get("description", "")


def _body_fields(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Each field of the models of request bodies: the model, its name, its schema."""
    models: set[str] = set()
    bodies = [operation.get("requestBody", {}) for _, _, operation in operations(document)]
    found = _models_in(bodies)
    while found - models:
        models |= found
        found = _models_in([document["components"]["schemas"][model] for model in models])
    for model in sorted(models):
        for name, field in document["components"]["schemas"][model].get("properties", {}).items():
            yield model, name, field


def _models_in(node: Any) -> set[str]:
    """The names of the models that a part of the document refers to."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(node)))


def _lacks_words(field: Json) -> bool:
    return "const" not in field and not field.get("description")


def test_streams_are_described_as_streams(described: Json) -> None:
    """Each stream returns text/event-stream of StreamEvents, with the headers that lead back to the run."""
    streams = {
        path: operation["responses"]["200"]
        for _, path, operation in operations(described)
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    }
    run = "/api/agent/runs/{run_id}"
    answers = {f"{run}/approvals/{{tool_call_id}}", f"{run}/budget", f"{run}/tool-results"}
    assert set(streams) == {STREAM, SIMULATE, f"{run}/events"} | answers
    events = streams["/api/agent/runs/{run_id}/events"]
    for stream in streams.values():
        assert {kind: content["schema"] for kind, content in stream["content"].items()} == {
            kind: ref("StreamEvent")
            for kind in ("text/event-stream", *(["application/x-ndjson"] if stream is events else []))
        }
        assert set(stream["headers"]) == {"X-Run-ID", "Location"}


async def test_a_frame_is_described_beside_its_data(described: Json, agent: Service) -> None:
    """`x-itemSchema` is what an SSE parser returns: for a run's frames, and for a refusal's."""
    run = await agent.post(SIMULATE, {"delay_ms": 0})
    refused = await agent.post(SIMULATE, {"delay_ms": -1}, accept="text/event-stream")
    operation = described["paths"][SIMULATE]["post"]["responses"]
    for response, status in ((run, "200"), (refused, "4XX")):
        content = operation[status]["content"]["text/event-stream"]
        blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
        frames = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
        assert [fault for frame in frames for fault in faults(described, content["x-itemSchema"], frame)] == []
        data = resolved(described, content["x-itemSchema"])["properties"]["data"]["contentSchema"]
        assert data == content["schema"]
        assert [fault for frame in frames for fault in faults(described, data, json.loads(frame["data"]))] == []
        assert len(frames) >= 2


def test_all_events_are_in_the_union(described: Json) -> None:
    """The 19 events are distinguished by `event`, each with its own data, and the union is closed."""
    union = described["components"]["schemas"]["StreamEvent"]
    assert union["discriminator"]["propertyName"] == "event"
    mapping = union["discriminator"]["mapping"]
    assert set(mapping) == {kind.value for kind in EventType}
    assert len(mapping) == len(union["oneOf"]) == 19
    assert {option["$ref"] for option in union["oneOf"]} == set(mapping.values())
    for data, kind in EVENT_TYPES.items():
        event = resolved(described, {"$ref": mapping[kind]})
        assert event["properties"]["event"]["const"] == kind
        assert event["properties"]["data"] == ref(data.__name__)
        assert set(event["required"]) == {"event", "data", "run_id", "seq", "timestamp"}
        assert event["additionalProperties"] is False


@pytest.mark.parametrize(
    "change", [{"event": "unknown"}, {"seq": 0}, {"more": 1}, {"data": {}}, {"data": {"model": 5}}]
)
def test_the_union_takes_no_other_event(described: Json, change: Json) -> None:
    """An unknown or malformed event doesn't validate: a schema that allowed everything would describe nothing."""
    event = {"event": "run_started", "data": {"model": "m"}, "run_id": "run_1", "seq": 1, "timestamp": "t"}
    assert not faults(described, ref("StreamEvent"), event)
    assert faults(described, ref("StreamEvent"), event | change)


# The service matches its description


@pytest.mark.parametrize(
    "scenario",
    [Scenario.DEFAULT, Scenario.TOOL_ERROR, Scenario.ERROR, Scenario.PROGRESS, Scenario.APPROVAL, Scenario.FALLBACK],
)
async def test_the_events_of_a_run_are_what_is_described(described: Json, scenario: Scenario) -> None:
    """Each event that is sent validates against the published union."""
    async with service(NOWHERE, approval_timeout_s=0.01) as agent:
        events = await agent.stream({"scenario": scenario, "delay_ms": 0}, SIMULATE)
    assert [fault for event in events for fault in faults(described, ref("StreamEvent"), event)] == []


BODIES: Json = {
    "/api/agent/sessions": {"title": "A"},
    "/api/agent/sessions/{session_id}": {"title": "B"},
    "/api/agent/keys": {"owner": "ada"},
    "/api/agent/keys/{key_id}/rotate": {"overlap_s": 60},
}


async def test_the_json_answers_are_what_is_described(described: Json) -> None:
    """Each route's response, and an error of each, validates against the schema that is published for it."""
    async with (
        FakeDedalus() as fake,
        guarded_service(fake.url, mcp_servers={"docs": {"url": NOWHERE}}) as guarded,
        calling(guarded, OPS) as agent,
    ):
        fake.always(*answer("ok"))
        asked = {"input": "?", "metadata": {"user": "u1"}, "session_id": "chat"}
        run = (await agent.post(EXECUTE, asked)).json()["run_id"]
        parts = {"run_id": run, "session_id": "chat", "tool_call_id": "call_1", "name": "docs", "owner": "ada"}
        parts["key_id"] = (await agent.post(KEYS, {"owner": "ada"})).json()["key_id"]
        filled = {path: path.format(**parts) for path in described["paths"]}
        seen = set()
        for method, path, operation in sorted(operations(described), key=lambda operation: operation[0] == "delete"):
            body = BODIES.get(path, {"input": "?"}) if "requestBody" in operation else None
            response = await agent.client.request(method, filled[path], json=body)
            schema = _documented(operation, response)
            if schema is not None:
                assert faults(described, schema, response.json()) == [], path
                seen.add(path)
    callers = "/api/agent/callers/{owner}"
    without_json = {STREAM, SIMULATE, "/api/agent/runs/{run_id}/events", callers, f"{callers}/export"}
    assert seen == set(described["paths"]) - without_json


def _documented(operation: Json, response: httpx.Response) -> Json | None:
    """The schema of a response's JSON, or None if it has none. Every status must be documented."""
    documented, status = operation["responses"], response.status_code
    content = (
        documented.get(str(status), documented.get(f"{status // 100}XX")).get("content", {}).get("application/json")
    )
    return None if content is None else content["schema"]


async def test_the_error_responses_are_what_is_described(described: Json) -> None:
    """404, 405, 409, 422 with details and 502 have the published error body."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("Hel"), Cut())
        responses = [
            await agent.client.get("/nothing"),
            await agent.client.get(STREAM),
            await agent.post(STREAM, {"inputs": "?"}),
            await agent.post(EXECUTE, {"input": "?"}),
        ]
        fake.turn(Stall())
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as running:
            responses.append(await agent.client.get(running.headers["location"], params={"after": 99}))
    assert [response.status_code for response in responses] == [404, 405, 422, 502, 409]
    assert [fault for response in responses for fault in faults(described, ref("ErrorBody"), response.json())] == []


async def test_the_description_is_made_once_and_beside_what_else_is_served() -> None:
    """Making it takes 0.3 s, for which it would block every stream if it ran in the event loop."""
    makers: list[threading.Thread] = []
    async with service(NOWHERE) as agent:
        make = agent.app.openapi

        def watched() -> Json:
            if agent.app.openapi_schema is None:
                makers.append(threading.current_thread())
            return make()

        agent.app.openapi = watched  # type: ignore[method-assign]
        answers = await asyncio.gather(*(agent.client.get("/openapi.json") for _ in range(5)))
    assert len({answer.content for answer in answers}) == 1
    assert len(makers) == 1
    assert makers[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/agent/sessions", "GET, POST"),
        ("PUT", "/api/agent/sessions/chat", "GET, PATCH, DELETE"),
        ("PATCH", "/api/agent/runs/run_1", "GET, DELETE"),
        ("DELETE", "/api/agent/runs", "GET, POST"),
        ("GET", STREAM, "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_405_names_every_method_of_its_path(method: str, path: str, allowed: str, agent: Service) -> None:
    """`Allow` lists the methods of all routes at the path, not of the first."""
    response = await agent.client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
async def test_a_head_is_answered_where_monitors_send_it(path: str, agent: Service) -> None:
    """HEAD returns the headers of GET, and no body."""
    head, get = [await agent.client.request(method, path) for method in ("HEAD", "GET")]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_null_takes_away_what_a_patch_names(described: Json) -> None:
    """The schema of PATCH includes the null that the route accepts; those of other requests don't."""
    for change in ({"title": None}, {"metadata": None}, {"title": "A", "metadata": {"a": "b"}}):
        assert faults(described, ref("SessionUpdate"), change) == []
        async with service(NOWHERE) as agent:
            await agent.post("/api/agent/sessions", {"session_id": "chat", "title": "T", "metadata": {"c": "d"}})
            session = (await agent.client.patch("/api/agent/sessions/chat", json=change)).json()
        assert {name: session.get(name) for name in change} == change
    assert faults(described, ref("AgentRequest"), {"input": "?", "stop": None})


# Examples


def examples(document: Json, node: Any, path: str = "") -> Iterator[tuple[str, Json, Any]]:
    """Every example in the document, with the schema beside it."""
    if isinstance(node, list):
        for index, part in enumerate(node):
            yield from examples(document, part, f"{path}/{index}")
    elif isinstance(node, dict):
        if isinstance(values := node.get("examples"), list):
            yield from ((path, node, example) for example in values)
        elif isinstance(values, dict) and "schema" in node:
            yield from ((path, node["schema"], example["value"]) for example in values.values())
        for key, part in node.items():
            if key not in {"examples", "example"}:
                yield from examples(document, part, f"{path}/{key}")


def test_every_example_is_valid(described: Json) -> None:
    """The examples of requests and of fields, and the frames that show a stream, are valid."""
    checked_at = set()
    for path, schema, example in examples(described, described):
        values = [example]
        if "text/event-stream" in path:
            values = [json.loads(data) for data in re.findall(r"^data: (.*)$", example, re.MULTILINE)]
            assert [value.get("seq") for value in values] in ([1, 2], [None, None])
        assert [fault for value in values for fault in faults(described, schema, value)] == [], path
        checked_at.add(path)
    assert {"/components/schemas/AgentRequest", "/components/schemas/SimulateRequest"} <= checked_at
    assert sum("text/event-stream" in path for path in checked_at) == 6 + 2 * 2, "streams, and refusals of two of them"


def request_examples(document: Json, path: str) -> list[Json]:
    """The requests that the documentation page offers for a route."""
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    found: list[Json] = resolved(document, content["schema"])["examples"]
    return found


@pytest.mark.parametrize("path", [STREAM, EXECUTE, SIMULATE])
async def test_every_request_example_works(described: Json, path: str, fake: FakeDedalus, shared: Service) -> None:
    """Posted unchanged to a live service whose upstream serves everything, each leads to a whole run."""
    fake.always(*answer("ok"))
    for example in request_examples(described, path):
        response = await shared.post(path, example)
        assert response.status_code == 200, response.text
        if path != EXECUTE:
            assert names(checked(response.content))[-1] == "complete"
        else:
            assert response.json()["output"] == "ok"


async def test_the_first_example_needs_nothing_configured_but_a_model(described: Json) -> None:
    """The first request of "Try it out" names no model and no MCP server, so it works with any upstream."""
    async with FakeDedalus() as fake, service(fake.url, dedalus_base_url_hosts_mcp=False) as agent:
        fake.turn(*answer("ok"))
        events = await agent.stream(request_examples(described, STREAM)[0])
    assert only(events, "complete")[0]["status"] == "succeeded"


# The pages


class Assets(HTMLParser):
    """The files that a page loads, and the addresses in its inline scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value for name, value in attrs if name in {"src", "href", "spec-url"} and value]

    def handle_data(self, data: str) -> None:
        self.urls += re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"']*|(?<=["'])\.?/[\w./-]+(?=["'])""", data)


async def page(agent: Service, path: str) -> Assets:
    response = await agent.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assets = Assets()
    assets.feed(response.text)
    return assets


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_documentation_s_pages_load_everything_from_the_service(path: str, agent: Service) -> None:
    """No CDN: the service itself has each script, style, icon and the description, below the page's own address."""
    found = await page(agent, path)
    answers = await asyncio.gather(*(agent.client.get(url.removeprefix(".")) for url in found.urls))
    assert "./openapi.json" in found.urls
    assert len(found.urls) >= 3
    for url, asset in zip(found.urls, answers, strict=True):
        assert re.match(r"\./(?!/)", url), f"{url} is elsewhere"
        assert asset.status_code == 200, url
        assert asset.content


async def test_redoc_s_script_names_no_logo(agent: Service) -> None:
    """The script is the library's, without its maker's logo on another host, which the page's policy would block."""
    served = (await agent.client.get("/redoc/redoc.js")).content
    original = (await agent.client.get("/static-offline-docs/redoc.standalone.js")).content
    assert b"cdn.redoc.ly" in original
    assert b"cdn.redoc.ly" not in served
    assert abs(len(served) - len(original)) < 100


def test_tags_and_errors_say_something(described: Json) -> None:
    """Each tag has a sentence, each error response an example with a known code, and simulate's names a scenario."""
    tags = {tag["name"]: tag["description"] for tag in described["tags"]}
    assert {tag for _, _, operation in operations(described) for tag in operation["tags"]} == set(tags)
    assert all(sentence.endswith(".") for sentence in tags.values())
    codes = {error.code for error in every_error()}
    for _, _, operation in operations(described):
        for status in ("4XX", "5XX"):
            [example] = operation["responses"][status]["content"]["application/json"]["examples"].values()
            assert example["value"]["error"]["code"] in codes
    assert all("scenario" in example for example in request_examples(described, SIMULATE))


@pytest.mark.parametrize("path", [STREAM, SIMULATE, "/api/agent/runs/{run_id}/events"])
def test_try_it_out_ends_where_a_run_waits(described: Json, path: str) -> None:
    """Swagger sends the first example of `until`."""
    method = "get" if path.endswith("events") else "post"
    [until] = [known for known in described["paths"][path][method]["parameters"] if known["name"] == "until"]
    assert next(iter(until["examples"].values()))["value"] == "waiting"


@pytest.mark.parametrize("scenario", ["approval", "client_tool"])
async def test_a_stream_may_end_where_its_run_waits(scenario: str, agent: Service) -> None:
    """`?until=waiting` ends the body cleanly at `waiting`; its headers lead to the rest of the same run."""
    body = {"scenario": scenario, "delay_ms": 0}
    first = await agent.client.post(SIMULATE, params={"until": "waiting"}, json=body)
    seen = parse_frames(first.content, prefix=True)
    assert seen[-1]["event"] == "waiting"
    again = await agent.client.get(first.headers["location"], params={"until": "waiting"})
    assert again.content == first.content
    await agent.client.post(f"/api/agent/runs/{first.headers['x-run-id']}/cancel")
    rest = await agent.client.get(first.headers["location"], params={"after": seen[-1]["seq"]})
    whole = await agent.client.get(first.headers["location"], params={"until": "waiting"})
    assert names(checked(whole.content))[-1] == "complete", "a wait that is over ends no body"
    assert whole.content == first.content + rest.content.removeprefix(b": ping\n\n")


@pytest.mark.parametrize("path", [STREAM, SIMULATE])
async def test_a_run_may_be_polled_from_its_start(path: str, agent: Service) -> None:
    """`?wait=false` starts a run and streams nothing; its events are polled. With its key, it can be streamed, too."""
    body = {"input": "Hello", "model": "simulated/context"} if path == STREAM else {"delay_ms": 0}
    headers = {"Idempotency-Key": f"polled {path}".replace(" ", "-")}
    started = await agent.client.post(path, params={"wait": "false"}, headers=headers, json=body)
    run = started.json()
    assert (started.status_code, started.headers["x-run-id"], run["on_disconnect"]) == (202, run["run_id"], "cancel")
    whole = await agent.client.get(started.headers["location"])
    polled = await agent.client.get(started.headers["location"], params={"wait": "false"})
    assert [json.loads(line)["seq"] for line in polled.text.splitlines()] == [
        *range(1, len(checked(whole.content)) + 1)
    ]
    streamed = await agent.client.post(path, headers=headers, json=body)
    assert streamed.content == whole.content


async def test_a_run_that_does_not_wait_ends_as_ever(agent: Service) -> None:
    """`?until=waiting` has no effect on such a run; another value is refused."""
    whole = await agent.client.post(SIMULATE, params={"until": "waiting"}, json={"delay_ms": 0})
    refused = await agent.client.post(SIMULATE, params={"until": "never"}, json={"delay_ms": 0})
    assert names(checked(whole.content))[-1] == "complete"
    assert refused.status_code == 422


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_documentation_s_pages_may_load_nothing_from_elsewhere(path: str, agent: Service) -> None:
    """ReDoc's script would load its maker's logo from a CDN: the pages' policy allows only requests to this service.

    Inline scripts are allowed by their hash only.
    """
    response = await agent.client.get(path)
    policy = {
        name: sources for name, *sources in map(str.split, response.headers["content-security-policy"].split(";"))
    }
    scripts = policy.pop("script-src")
    assert policy["default-src"] == ["'none'"]
    assert {source for sources in policy.values() for source in sources} <= {
        "'self'",
        "'unsafe-inline'",
        "data:",
        "blob:",
        "'none'",
    }
    assert scripts[0] == "'self'"
    assert all(source.startswith("'sha256-") for source in scripts[1:])
    assert len(scripts) - 1 == response.text.count("<script>")
