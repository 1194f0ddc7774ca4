"""Gives every request an id, and turns an exception that was not handled into a response or a log line."""

import logging
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import InternalError
from models import new_request_id
from routers.error_responses import error_response
from services.access.keys import id_in

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\w.-]{1,64}")


def request_id_of(scope: Scope) -> str:
    """Return the request's id: the caller's X-Request-ID if it is a plain word and no API key, else a new one."""
    state: dict[str, str] = scope.setdefault("state", {})
    if "request_id" not in state:
        proposed = Headers(scope=scope).get("x-request-id", "")
        is_plain = REQUEST_ID.fullmatch(proposed) and not id_in(proposed)
        state["request_id"] = proposed if is_plain else new_request_id()
    return state["request_id"]


def _without_logged_traceback(scope: Scope, send: Send) -> Send:
    """Drop the traceback that the framework sends to the server's log if the app has logged why it can't start."""

    async def send_once(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed" and scope["app"].state.start_refused:
            message = {"type": message["type"]}
        await send(message)

    return send_once


class RequestContext:
    """Adds the request's id to its state and its response, and turns unhandled exceptions into `internal_error`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _without_logged_traceback(scope, send))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await error_response(InternalError(), scope)(scope, receive, send_with_id)
