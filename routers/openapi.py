"""Completes the generated OpenAPI document: error responses, and the schema of each event of a stream."""

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from error_models import REFUSAL_EVENT, ErrorBody
from errors import InvalidRequest, ModelUnavailable, ServerFull
from events import STREAM_EVENT
from routers.access_rules import RULES

REF = "#/components/schemas/{model}"
VERSION = "1.0.0"

DESCRIPTION = "Runs a Dedalus agent and streams what it thinks, calls and says as typed server-sent events."

TAGS = [
    {
        "name": "agent",
        "description": "Ask the agent, as a stream or as one JSON response. List models, tools and MCP servers.",
    },
    {"name": "runs", "description": "Start runs in the background. Follow, resume, answer, cancel and delete runs."},
    {"name": "sessions", "description": "Conversations whose history the service stores and sends to the model."},
    {"name": "access", "description": "The caller of a request, and the API keys, which admins create and revoke."},
    {"name": "health", "description": "Check whether the process is alive, and whether it can start a run."},
]
SERVER = {"url": ".", "description": "This service, also below a path of a proxy."}
"""Relative to the document's URL (OpenAPI 3.1, section 4.8.5). Without it, paths are relative to the host's root."""

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the identity provider."},
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, or a token of the identity provider.",
    },
    "run_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token of `POST /api/agent/runs/{run_id}/token`, for readers that can't set headers.",
    },
}

EVENTS = {"$ref": REF.format(model="StreamEvent")}

INVALID = {
    "error": {
        "code": "invalid_request",
        "message": InvalidRequest.default,
        "retryable": False,
        "request_id": "req_5f2b8c1d",
        "details": [{"loc": "body.temperature", "message": "Input should be less than or equal to 2"}],
    }
}
FULL = {
    "error": {
        "code": "server_full",
        "message": ServerFull.default,
        "retryable": True,
        "request_id": "req_5f2b8c1d",
        "retry_after": 1,
    }
}


def _as_json(name: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"examples": {name: {"value": example}}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "model": ErrorBody,
        "description": "The request can't be served as it is. `code`, `message` and `details` say what to change.",
        "content": _as_json("invalid_request", INVALID),
    },
    "5XX": {
        "model": ErrorBody,
        "description": "The model server or this service failed. `retryable` says whether to try again.",
        "content": _as_json("server_full", FULL),
    },
}

EXAMPLE = (
    'id: 1\nevent: run_started\ndata: {"event":"run_started","data":{"model":"openai/gpt-4.1"},'
    '"run_id":"run_019aab","seq":1,"timestamp":"2026-11-22T10:00:00.123Z"}\n\n'
    'id: 2\nevent: partial_output\ndata: {"event":"partial_output","data":{"content":"Hel"},'
    '"run_id":"run_019aab","seq":2,"timestamp":"2026-11-22T10:00:00.456Z"}\n\n'
)
REFUSED = (
    'event: error\ndata: {"event":"error","data":{"code":"model_unavailable",'
    f'"message":"{ModelUnavailable.default}",'
    '"retryable":false,"request_id":"req_5f2b8c1d"}}\n\n'
    'event: complete\ndata: {"event":"complete","data":{"status":"failed","usage":{"input_tokens":null,'
    '"output_tokens":null,"total_tokens":null},"steps":0,"duration_ms":0}}\n\n'
)


def _frame_schema(event: str, id_note: str) -> dict[str, Any]:
    """Return the schema of one server-sent event: its fields, and what the JSON of its `data` contains."""
    return {
        "type": "object",
        "description": f"One server-sent event, as an EventSource parser returns it. {id_note}",
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string", "description": "The event's name, the same as `event` in the data."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": REF.format(model=event)},
            },
        },
        "required": ["event", "data"],
    }


FRAMES = {
    "StreamFrame": _frame_schema(
        "StreamEvent", "`id` is the event's `seq`. Send it as `Last-Event-ID` to resume after this event."
    ),
    "RefusalFrame": _frame_schema("RefusalEvent", "It has no `id`, because there is no run to resume."),
}


def _as_frames(data: str, frame: str, summary: str, example: str) -> dict[str, Any]:
    """Return the content of a response with server-sent events.

    OpenAPI 3.1 has no schema for the items of a body. As is common for streams, `schema` is the schema of each event's
    data, from which generators make types. `x-itemSchema` is the frame's, which OpenAPI 3.2 calls `itemSchema`.
    """
    return {
        "text/event-stream": {
            "schema": {"$ref": REF.format(model=data)},
            "x-itemSchema": {"$ref": REF.format(model=frame)},
            "examples": {"frames": {"summary": summary, "value": example}},
        }
    }


STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "Server-sent events. Each is a StreamFrame whose data is a StreamEvent as one line of JSON. `complete` is "
            "the last event. If the body ends without it, the connection was lost, the server is shutting down, or "
            "`until=waiting` was set: resume at `Location`. Lines that begin with `:` are heartbeats."
        ),
        "headers": {
            "X-Run-ID": {"description": "The id of the run.", "schema": {"type": "string"}},
            "Location": {"description": "The URL to resume the run's events at.", "schema": {"type": "string"}},
        },
        "content": _as_frames("StreamEvent", "StreamFrame", "The first two frames", EXAMPLE),
    }
}
STREAM_STARTS = STREAM | {
    status: response
    | {
        "description": f"{response['description']} The body is JSON if `Accept` names application/json and not "
        "text/event-stream, else two frames, `error` and `complete`.",
        "content": response["content"] | _as_frames("RefusalEvent", "RefusalFrame", "The two frames", REFUSED),
    }
    for status, response in ERRORS.items()
}


def description_with(*, page: bool) -> str:
    """Return the document's description. The documentation's pages make its link relative to their own address."""
    return f"{DESCRIPTION} [Try it on the page](./)." if page else DESCRIPTION


def secured(document: dict[str, Any]) -> None:
    """Add to the document how callers send their keys, and the scope that each operation asks for."""
    document["components"]["securitySchemes"] = SCHEMES
    for methods in document["paths"].values():
        for operation in methods.values():
            rule = RULES[operation["operationId"]]
            scopes = [] if rule.scope is None else [rule.scope.value]
            schemes = () if rule.public else ("bearer", "api_key", *(["run_token"] if rule.run_tokens else []))
            operation["security"] = [{scheme: scopes} for scheme in schemes]


def install(app: FastAPI, *, authenticates: bool) -> None:
    """Make `app.openapi()` add the schemas of events to the document, which is made once.

    `authenticates` says whether callers need keys.
    """

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                servers=[SERVER],
            )
            schemas = schema["components"]["schemas"]
            for name, union in (("StreamEvent", STREAM_EVENT), ("RefusalEvent", REFUSAL_EVENT)):
                described = union.json_schema(ref_template=REF, mode="serialization")
                schemas |= described.pop("$defs")
                schemas[name] = described
            schemas |= FRAMES
            if authenticates:
                secured(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:
            route.app = DescribedFirst(app, route.app)


class DescribedFirst:
    """Serves the OpenAPI document. A thread makes it for the first request: that takes 0.3 s of CPU."""

    def __init__(self, app: FastAPI, route: ASGIApp) -> None:
        self._app = app
        self._route = route
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        async with self._making:
            if self._app.openapi_schema is None:
                await asyncio.to_thread(self._app.openapi)
        await self._route(scope, receive, send)
