"""Routes whose body is JSON: other content types are refused, and parsing does not block the event loop."""

import asyncio
import json
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from errors import InvalidRequest, NotJson
from json_codec.parsing import parse
from json_codec.writing import written
from routers.guarded_route import GuardedRoute, Handler

UNSENDABLE = "The body is not valid JSON: it contains NaN, a number beyond 64-bit floats, or an unpaired surrogate."


class JsonRoute(GuardedRoute):
    """Parses a request's body in slices, before FastAPI would parse it in one piece.

    Other content types are refused, because a page of another site can send some of them without a CORS preflight.
    """

    def unguarded_handler(self) -> Handler:
        """Return FastAPI's handler with the parsing put before it."""
        handle = super().unguarded_handler()
        return handle if self.body_field is None else _parsed_first(handle)


async def json_response(model: BaseModel) -> Response:
    """Return a model as a response, written in slices. FastAPI would block the event loop for 50 ms with 10 MB."""
    return Response(await written(model.model_dump(mode="json")), media_type="application/json")


def _parsed_first(handle: Handler) -> Handler:
    async def parsed_first(request: Request) -> Response:
        if body := await request.body():
            if not _is_json(request.headers.get("content-type", "")):
                raise NotJson
            request._json = await _parse(body)  # where `Request.json` looks for it
            await asyncio.sleep(0)  # validation is next and can't be sliced, so let others run before
        response = await handle(request)
        request._body, request._json = b"", None  # free the body: a stream can be open for hours
        return response

    return parsed_first


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _parse(body: bytes) -> Any:
    """Parse the body. Raise `RequestValidationError` if it is not JSON, as FastAPI does, or `InvalidRequest`."""
    try:
        return await parse(body)
    except json.JSONDecodeError as error:
        invalid = {"type": "json_invalid", "loc": ("body", error.pos), "msg": error.msg, "input": {}}
        raise RequestValidationError([invalid]) from None
    except ValueError:
        raise InvalidRequest(UNSENDABLE) from None
