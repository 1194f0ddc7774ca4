"""What the generated description can't know by itself: error answers, and the schema of each event of a stream."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from events import STREAM_EVENT
from models import ErrorBody

REF = "#/components/schemas/{model}"
VERSION = "1.0.0"

EVENTS = {"$ref": REF.format(model="StreamEvent")}


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "What the caller can mend."},
    "5XX": {"model": ErrorBody, "description": "What the caller can't: the upstream's failure, or this server's."},
}

EXAMPLE = (
    'id: 1\nevent: run_started\ndata: {"event":"run_started","data":{"model":"openai/gpt-4.1"},'
    '"run_id":"run_019aab","seq":1,"timestamp":"2026-11-22T10:00:00.123Z"}\n\n'
    'id: 2\nevent: partial_output\ndata: {"event":"partial_output","data":{"content":"Hel"},'
    '"run_id":"run_019aab","seq":2,"timestamp":"2026-11-22T10:00:00.456Z"}\n\n'
)

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "Server-sent events. The data of each is a StreamEvent in one line of JSON; its number is the frame's id. "
            "`complete` is the last. A body that ends without it was cut: resume it."
        ),
        "headers": {
            "X-Run-ID": {"description": "The run's id.", "schema": {"type": "string"}},
            "Location": {"description": "Where the run's events can be resumed.", "schema": {"type": "string"}},
        },
        "content": {
            "text/event-stream": {
                "schema": EVENTS,
                "examples": {"start": {"summary": "The first two frames", "value": EXAMPLE}},
            }
        },
    }
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
            union = STREAM_EVENT.json_schema(ref_template=REF, mode="serialization")
            schemas = schema["components"]["schemas"]
            schemas |= union.pop("$defs")
            schemas["StreamEvent"] = union
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
