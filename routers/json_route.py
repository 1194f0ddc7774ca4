"""Routes whose body is JSON: refused under another content type, and parsed without holding up the event loop."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from errors import InvalidRequest, NotJson
from json_codec.parsing import parse
from json_codec.writing import written

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

UNSENDABLE = "The body is not JSON: it holds NaN, a number beyond 64-bit floats, or half of a surrogate pair."


class JsonRoute(APIRoute):
    """Parses a request's body before FastAPI would, which does it in one go.

    A page of another site can send any other content type without asking (CORS has no preflight for them), so that
    none of them is taken for JSON.
    """

    def get_route_handler(self) -> Handler:
        """The handler, given the parsed body."""
        handle = super().get_route_handler()
        return handle if self.body_field is None else _parsed_first(handle)


async def json_answer(model: BaseModel) -> Response:
    """A model as a response. FastAPI would write one of 10 MB in one go, which takes 50 ms."""
    return Response(await written(model.model_dump(mode="json")), media_type="application/json")


def _parsed_first(handle: Handler) -> Handler:
    async def parsed_first(request: Request) -> Response:
        if body := await request.body():
            if not _is_json(request.headers.get("content-type", "")):
                raise NotJson
            request._json = await _parse(body)  # where `Request.json` keeps it
            await asyncio.sleep(0)  # what validates it is next, in one go
        response = await handle(request)
        request._body, request._json = b"", None  # a stream is open for long
        return response

    return parsed_first


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _parse(body: bytes) -> Any:
    """The body's value. Raise `RequestValidationError` where it is no JSON, as FastAPI does, or `InvalidRequest`."""
    try:
        return await parse(body)
    except json.JSONDecodeError as error:
        fault = {"type": "json_invalid", "loc": ("body", error.pos), "msg": error.msg, "input": {}}
        raise RequestValidationError([fault]) from None
    except ValueError:
        raise InvalidRequest(UNSENDABLE) from None
