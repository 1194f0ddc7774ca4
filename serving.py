"""Serves the app: its process, its listening socket, and what a signal to stop does."""

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
    "HOST=%s is not loopback, and the service has no authentication: all that reach it can use its keys and read its "
    "runs. Put a proxy that authenticates in front of it."
)
GC_THRESHOLD = (50_000, 20, 20)  # by default a tenth of a stream's CPU is spent looking for cycles
SWITCH_S = 0.001  # a tool that computes in a thread holds up the streams by so much, each time
SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE_S = 3  # what connections may take to close once the service has drained
ACCEPTED_AT_ONCE = 8  # connections in a turn of the event loop
LAST_RESORT_S = 4.5  # what everything may take once the service has drained; what is left then is killed


def serve(app: FastAPI) -> None:
    """Serve until a signal says to stop."""
    settings: Settings = app.state.settings
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
    if not settings.on_loopback():
        logger.warning(NO_AUTHENTICATION, settings.host)
    with suppress(KeyboardInterrupt):  # which the server passes on once it has stopped
        _Server(config).run(several(listen(config, settings.send_timeout_s)))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.freeze()  # what is there by now stays: to look at it takes the collector 40 ms each time


def configured(app: FastAPI, **more: Any) -> uvicorn.Config:
    """The server for the app, with its limits of connections and heads."""
    settings: Settings = app.state.settings
    limits = Connections(settings.max_connections, settings.head_timeout_s)

    class Protocol(LimitedProtocol):
        def __init__(self, **given: Any) -> None:
            super().__init__(limits, **given)

    return uvicorn.Config(app, http=Protocol, ws="none", server_header=False, **more)


def listen(config: uvicorn.Config, send_timeout_s: float) -> socket.socket:
    """The server's socket, listening.

    The kernel drops a peer that has taken nothing for `send_timeout_s`: to close its connection alone would wait, with
    all that it has not read, for as long as it likes. A child process doesn't inherit it: one that outlived the service
    would hold the port, and could answer in its place.
    """
    try:
        listening = config.bind_socket()
    except SystemExit:  # uvicorn has logged why
        sys.exit(f"Can't listen on {config.host} port {config.port}: set PORT to a free one, or stop what is there")
    listening.set_inheritable(False)  # uvicorn's own workers would need it
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(send_timeout_s * 1000))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio's own loop leaves it off for this socket
    listening.listen(config.backlog)
    return listening


def several(listening: socket.socket) -> list[socket.socket]:
    """The listening socket under several descriptors, so that the event loop accepts several connections in a turn.

    uvloop accepts one for each descriptor and turn. A health check on a new connection waited behind all that came
    before it, one a turn: 20 s behind 450 connections, while 300 streams made the turns long.
    """
    return [listening, *(listening.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]


@contextmanager
def draining_first(live: LiveRuns, drain_s: float) -> Iterator[None]:
    """The first signal to stop drains the service and then goes on to the server.

    A second one cuts the drain short; streams still end in order. A third one goes to the server at once.
    Whatever does not let go, the process is gone some seconds after the drain.
    """
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
