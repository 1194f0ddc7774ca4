"""Puts the middlewares around the app, in their order."""

from fastapi import FastAPI

from json_codec.scan import JsonLimits
from routers.middleware.body_limits import BodyLimits
from routers.middleware.cors import Cors
from routers.middleware.direct_send import DirectSend
from routers.middleware.host_check import HostCheck
from routers.middleware.request_context import RequestContext
from routers.middleware.room_check import RoomCheck
from routers.middleware.run_token import RunTokenFromQuery
from settings import Settings


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the middlewares, the innermost first."""
    json = JsonLimits(settings.max_json_values, settings.max_json_depth)
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        json=json,
        timeout_s=settings.body_timeout_s,
        together=settings.max_bodies_bytes,
    )
    app.add_middleware(RoomCheck)
    own_name = f"[{settings.host}]" if ":" in settings.host else settings.host
    app.add_middleware(HostCheck, allowed=(own_name, *settings.allowed_hosts))
    app.add_middleware(RequestContext)
    app.add_middleware(Cors, settings=settings)
    app.add_middleware(RunTokenFromQuery)
    app.add_middleware(DirectSend)
