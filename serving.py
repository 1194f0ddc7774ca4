"""Runs the app in uvicorn: tunes the process, opens the listening socket, and drains at a signal to stop."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI

from routers.http_server.protocol import Connections, LimitedProtocol
from services.runs.live import LiveRuns
from settings import Settings

logger = logging.getLogger("agent_stream")

NO_AUTHENTICATION = (
    "HOST={host} is not a loopback address, and AUTH is off: everyone who can connect could use this service's keys "
    "and read its runs. Set AUTH=keys and create a key (docs/access.md), or set HOST=127.0.0.1. If a proxy that "
    "authenticates is the only one that can connect, set ALLOW_ANONYMOUS=true."
)
ANONYMOUS = (
    "HOST=%s is not a loopback address, and there is no authentication (ALLOW_ANONYMOUS=true): everyone who can "
    "connect can use this service's keys and read its runs."
)
GC_THRESHOLD = (50_000, 20, 20)  # with Python's default, garbage collection is a tenth of a stream's CPU
SWITCH_S = 0.001  # a tool that computes in a thread delays the streams by up to this, each time
SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE_S = 3  # how long connections may take to close after the drain
ACCEPTED_AT_ONCE = 8  # connections, per turn of the event loop
LAST_RESORT_S = 4.5  # how long everything may take after the drain; then the process exits


def serve(app: FastAPI) -> None:
    """Serve until a signal asks to stop. Exit if that would let everybody in."""
    settings: Settings = app.state.settings
    if not (settings.authenticates or settings.on_loopback()):
        if not settings.allow_anonymous:
            sys.exit(NO_AUTHENTICATION.format(host=settings.host))
        logger.warning(ANONYMOUS, settings.host)
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_S)
    config = configured(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=settings.log_level in {"debug", "info"},
        timeout_graceful_shutdown=CLOSE_S,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
        _Server(config).run(several(listen(config, settings.send_timeout_s)))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()  # these objects stay alive: each look at them would take the collector 40 ms


def configured(app: FastAPI, **more: Any) -> uvicorn.Config:
    """Return the configuration of a server that limits connections and heads."""
    settings: Settings = app.state.settings
    limits = Connections(settings.max_connections, settings.head_timeout_s)

    class Protocol(LimitedProtocol):
        def __init__(self, **uvicorn_arguments: Any) -> None:
            super().__init__(limits, **uvicorn_arguments)

    return uvicorn.Config(app, http=Protocol, ws="none", server_header=False, **more)


def listen(config: uvicorn.Config, send_timeout_s: float) -> socket.socket:
    """Return the server's listening socket, and log its URL once a client can connect.

    The kernel resets a connection whose client has read nothing for `send_timeout_s`. A close alone would wait, with
    everything unsent, for as long as the client likes. Child processes don't inherit the socket: one that outlived the
    service would keep the port, and could accept connections.
    """
    logging.disable(logging.INFO)  # uvicorn logs the URL before the socket listens
    try:
        listening = config.bind_socket()
    except SystemExit:  # uvicorn has logged the reason
        sys.exit(f"Can't listen on {config.host}, port {config.port}. Set PORT to a free port, or free this one.")
    finally:
        logging.disable(logging.NOTSET)
    listening.set_inheritable(False)  # uvicorn makes it inheritable for its workers
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(send_timeout_s * 1000))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio's own loop doesn't set it for this socket
    listening.listen(config.backlog)
    host = f"[{config.host}]" if ":" in config.host else config.host
    logger.info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", host, listening.getsockname()[1])
    return listening


def several(listening: socket.socket) -> list[socket.socket]:
    """Return the listening socket under several descriptors, so that a turn of the event loop accepts several clients.

    uvloop accepts one connection for each descriptor and turn. With one descriptor, a health check waited 20 s behind
    450 new connections, while 300 streams made the turns long.
    """
    return [listening, *(listening.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]


@contextmanager
def draining_first(live: LiveRuns, drain_s: float) -> Iterator[None]:
    """Drain the service at the first signal to stop, then pass the signal to the server.

    A second signal cuts the drain short; streams still end in order. A third one is passed to the server at once. The
    process exits some seconds after the drain, even if something does not stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals; a server in another thread is stopped in another way
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
            if not live.cut_drain_short():
                pass_on(number)
            return
        last_resort = threading.Timer(drain_s + LAST_RESORT_S, os._exit, [1])
        last_resort.daemon = True
        last_resort.start()
        drains.append(asyncio.create_task(live.drain(), name="drain"))
        drains[0].add_done_callback(lambda _: pass_on(number))

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number, handler in servers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
