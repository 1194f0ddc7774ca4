"""Checks the JSON Schema of a request's answer before the run starts."""

import asyncio
from collections.abc import Mapping
from typing import Any

from errors import ErrorDetail, InvalidRequest
from json_codec.text import dumps, too_deep
from json_schema.outline import UnusableSchema
from json_schema.validation import check_schema
from models import AgentRequest

MAX_BYTES = 64 * 1024  # as JSON: OpenAI accepts 120,000 characters of names and values
MAX_DEPTH = 32  # of the JSON: OpenAI's limit of 10 levels of objects takes 21
FIELD = "output_schema"


async def check_output_schema(request: AgentRequest) -> None:
    """Raise `InvalidRequest`, with the place of the fault, for an output schema that is too large or unusable."""
    if request.output_schema is None:
        return
    try:
        await asyncio.to_thread(_check, request.output_schema)
    except UnusableSchema as fault:
        place = ".".join((FIELD, *fault.path))
        raise InvalidRequest(details=[ErrorDetail(place, fault.problem)]) from None


def _check(schema: Mapping[str, Any]) -> None:
    written = dumps(schema).encode("utf-8", "replace")
    if len(written) > MAX_BYTES:
        raise UnusableSchema((), f"is longer than {MAX_BYTES} bytes of JSON")
    if too_deep(written, MAX_DEPTH):
        raise UnusableSchema((), f"nests deeper than {MAX_DEPTH} levels of JSON")
    check_schema(schema)
