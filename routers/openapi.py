"""What the generated description can't know by itself: error answers, and the schema of each event of a stream."""

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from error_models import REFUSAL_EVENT, ErrorBody
from events import STREAM_EVENT

REF = "#/components/schemas/{model}"
VERSION = "1.0.0"

TAGS = [
    {"name": "agent", "description": "Ask the agent, as a stream or as one JSON answer, and list what is on offer."},
    {"name": "runs", "description": "Start runs in the background; follow, resume, answer, cancel and delete runs."},
    {"name": "sessions", "description": "Conversations whose history the service keeps and sends to the model."},
    {"name": "health", "description": "Whether the process is alive, and whether it can take a run."},
]
EVENTS = {"$ref": REF.format(model="StreamEvent")}

INVALID = {
    "error": {
        "code": "invalid_request",
        "message": "The request is not valid: see details.",
        "retryable": False,
        "request_id": "req_5f2b8c1d",
        "details": [{"loc": "body.temperature", "message": "Input should be less than or equal to 2"}],
    }
}
FULL = {
    "error": {
        "code": "server_full",
        "message": "The server runs as many runs as it may: try again shortly.",
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
        "description": "The request can't be served as it is: `code` and `details` say what to change.",
        "content": _as_json("invalid_request", INVALID),
    },
    "5XX": {
        "model": ErrorBody,
        "description": "The model's server or this one failed. `retryable` says whether to try again.",
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
    '"message":"No configured upstream serves this model.","retryable":false,"request_id":"req_5f2b8c1d"}}\n\n'
    'event: complete\ndata: {"event":"complete","data":{"status":"failed","usage":{"input_tokens":null,'
    '"output_tokens":null,"total_tokens":null},"steps":0,"duration_ms":0}}\n\n'
)


def _frame_schema(event: str, id_note: str) -> dict[str, Any]:
    """One server-sent event: its lines by name, and what the JSON of its `data` is."""
    return {
        "type": "object",
        "description": f"One server-sent event, as a parser of the HTML standard gives it. {id_note}",
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string", "description": "The same as `event` in the data."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": REF.format(model=event)},
            },
        },
        "required": ["event", "data"],
    }


FRAMES = {
    "StreamFrame": _frame_schema("StreamEvent", "`id` is the event's `seq`, for Last-Event-ID."),
    "RefusalFrame": _frame_schema("RefusalEvent", "It has no `id`, since there is no run to resume."),
}


def _as_frames(data: str, frame: str, summary: str, example: str) -> dict[str, Any]:
    """A body of server-sent events.

    OpenAPI 3.1 has a schema for a whole body only. As most descriptions of streams do, `schema` gives that of each
    event's data, from which generators make types; `x-itemSchema` gives the frame's, as `itemSchema` does in 3.2.
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
            "Server-sent events: a StreamFrame each, whose data is a StreamEvent in one line of JSON. `complete` is "
            "the last. A body that ends without it was cut, or ends at `waiting` as asked: resume it at `Location`. "
            "Lines that begin with `:` are heartbeats."
        ),
        "headers": {
            "X-Run-ID": {"description": "The run's id.", "schema": {"type": "string"}},
            "Location": {"description": "Where the run's events can be resumed.", "schema": {"type": "string"}},
        },
        "content": _as_frames("StreamEvent", "StreamFrame", "The first two frames", EXAMPLE),
    }
}
STREAM_STARTS = STREAM | {
    status: said
    | {
        "description": f"{said['description']} JSON where Accept names application/json and not text/event-stream, "
        "else two frames, `error` and `complete`.",
        "content": said["content"] | _as_frames("RefusalEvent", "RefusalFrame", "The two frames", REFUSED),
    }
    for status, said in ERRORS.items()
}


def install(app: FastAPI) -> None:
    """Describe the service once, with the events' schemas among its components."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schemas = schema["components"]["schemas"]
            for name, union in (("StreamEvent", STREAM_EVENT), ("RefusalEvent", REFUSAL_EVENT)):
                described = union.json_schema(ref_template=REF, mode="serialization")
                schemas |= described.pop("$defs")
                schemas[name] = described
            schemas |= FRAMES
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:
            route.app = DescribedFirst(app, route.app)


class DescribedFirst:
    """Serves the description, which a thread makes for the first request: it takes 0.3 s, and streams go on."""

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
