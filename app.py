"""Builds the service, and serves it: `python app.py`, or any ASGI server with `--factory app:create_app`."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.middleware.cors import CORSMiddleware

from event_logs.memory import MemoryEventLog
from routers import agent_router, error_answers, health_router, openapi, runs_router
from routers.middleware import BodyLimits, DirectSend, HostCheck, RequestContext
from services.agent_service import AgentService
from services.catalog import Catalog
from services.dedalus_agent import AgentLimits, DedalusAgent
from services.dedalus_stream import Deadlines
from services.local_model import LocalModel
from services.simulated_agent import SimulatedAgent
from services.tools import NO_TOOLS, Tool
from services.upstreams import DEDALUS_URL, PROVIDERS, Provider, Upstreams
from settings import Settings

logger = logging.getLogger("agent_stream")

EXPOSED = ("X-Run-ID", "X-Request-ID", "Location", "Retry-After")
GC_THRESHOLD = (50_000, 20, 20)  # by default a tenth of a stream's CPU is spent looking for cycles
SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE_S = 3  # what connections may take to close once the service has drained


def create_app(
    settings: Settings | None = None,
    tools: Mapping[str, Tool] = NO_TOOLS,
    providers: Mapping[str, Provider] = PROVIDERS,
    dedalus: str = DEDALUS_URL,
) -> FastAPI:
    """The service. Without `settings`, they are read from the environment and `.env`.

    `tools` are offered to the model in every run; `providers` and `dedalus` say where their APIs are.
    """
    settings = settings or Settings()
    app = FastAPIOffline(
        title="Agent Stream",
        version=openapi.VERSION,
        description="Runs a Dedalus agent and streams what it thinks, calls and says as typed server-sent events.",
        lifespan=lambda app: opened(app, settings, tools, providers, dedalus),
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    for module in (agent_router, runs_router, health_router):
        app.include_router(module.router)
    error_answers.install(app)
    openapi.install(app)
    add_middleware(app, settings)
    return app


@asynccontextmanager
async def opened(
    app: FastAPI,
    settings: Settings,
    tools: Mapping[str, Tool],
    providers: Mapping[str, Provider],
    dedalus: str,
) -> AsyncIterator[None]:
    """The app's lifespan: what all requests share is in its state, and is closed in reverse order."""
    async with AsyncExitStack() as stack:
        local = LocalModel()
        stack.push_async_callback(local.aclose)
        upstreams = Upstreams(settings, local, providers, dedalus)
        stack.push_async_callback(upstreams.aclose)
        catalog = Catalog(upstreams, settings.models_ttl_s, settings.marketplace_url, settings.mcp_servers)
        stack.push_async_callback(catalog.aclose)
        log = MemoryEventLog(settings.memory_log_bytes)
        stack.push_async_callback(log.aclose)
        deadlines = Deadlines(settings.first_byte_timeout_s, settings.stall_timeout_s)
        limits = AgentLimits(deadlines, settings.max_steps, settings.max_tool_result_bytes)
        agent = DedalusAgent(upstreams, limits, tools)
        service = AgentService(settings, log, upstreams, agent, SimulatedAgent(), catalog)
        stack.push_async_callback(service.aclose)
        app.state.service, app.state.catalog, app.state.upstreams = service, catalog, upstreams
        if upstreams.all[0].kind == "local" and local.installed():
            local.start()
        with draining_first(service):
            yield


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """What stands around every request, from the inside out."""
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)
    own_name = f"[{settings.host}]" if ":" in settings.host else settings.host
    app.add_middleware(HostCheck, allowed=(own_name, *settings.allowed_hosts))
    app.add_middleware(RequestContext)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=settings.cors_credentials,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )
    app.add_middleware(DirectSend)


@contextmanager
def draining_first(service: AgentService) -> Iterator[None]:
    """The first signal to stop drains the service and then goes on to the server; a second one goes there at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, so a server in another thread has its own way to stop
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in SIGNALS}
    drains: list[asyncio.Task[None]] = []

    def pass_on(number: int) -> None:
        handler = servers[signal.Signals(number)]
        if callable(handler):
            handler(number, None)

    def stop(number: int) -> None:
        if drains:
            pass_on(number)
            return
        drains.append(asyncio.create_task(service.drain(), name="drain"))
        drains[0].add_done_callback(lambda _: pass_on(number))

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number, handler in servers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def listen(config: uvicorn.Config, send_timeout_s: float) -> socket.socket:
    """The server's socket, listening.

    The kernel drops a peer that has taken nothing for `send_timeout_s`: to close its connection alone would wait, with
    all that it has not read, for as long as it likes.
    """
    listening = config.bind_socket()
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(send_timeout_s * 1000))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio's own loop leaves it off for this socket
    listening.listen(config.backlog)
    return listening


def main() -> None:
    """Serve until a signal says to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        ]
        sys.exit("These settings are not valid (see .env.example):\n  " + "\n  ".join(faults))
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    app = create_app(settings)
    gc.freeze()  # what is there by now stays: the collector need not look at it
    gc.set_threshold(*GC_THRESHOLD)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=settings.log_level in {"debug", "info"},
        server_header=False,
        timeout_graceful_shutdown=CLOSE_S,
    )
    uvicorn.Server(config).run([listen(config, settings.send_timeout_s)])


if __name__ == "__main__":
    main()
