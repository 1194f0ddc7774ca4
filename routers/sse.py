"""Frames onto the wire, as they are. The only user of sse_starlette, which brings ping, disconnect and send timeout."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

from errors import AgentStreamError
from event_logs.reading import frames_in, name_of
from services.moving_deadline import MovingDeadline
from services.runs.readers import RunStream

logger = logging.getLogger(__name__)

PING = b": ping\n\n"
DRAINING = b"event: draining\nretry: 2000\n\n"

AppStatus.enable_automatic_graceful_drain = False  # the service drains by itself, and its readers with it


class FrameStream(EventSourceResponse):
    """A run's frames as a response body.

    It ends cleanly only after the run's last event or a `draining` frame, or at `waiting` where that was asked for; in
    every other case the body is torn, so that no reader takes a cut for the end. Times are in seconds.
    """

    def __init__(
        self,
        stream: RunStream,
        *,
        location: str,
        server_send: Send,
        leave: asyncio.Event,
        heartbeat_s: float,
        send_timeout_s: float,
    ) -> None:
        super().__init__(
            stream.frames,
            headers={"Cache-Control": "no-cache, no-transform", "X-Run-ID": stream.run_id, "Location": location},
            ping=heartbeat_s,
            ping_message_factory=_ping,
            send_timeout=send_timeout_s,
            sep="\n",
        )
        del self.headers["connection"]  # which is the server's to say
        self._stream = stream
        self._leave = leave
        self._server_send = server_send
        self._send_timeout_s = send_timeout_s
        self._started = asyncio.get_running_loop().create_future()

    async def _stream_response(self, send: Send) -> None:
        """In place of the library's: the same per write, without its layers for what is already bytes."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self.raw_headers.clear()  # a stream is open for long, and there are many
        send = self._server_send
        try:
            async with self._stream as frames, MovingDeadline() as deadline:
                await send(_body(PING))
                if not self._started.done():
                    self._started.set_result(None)
                await self._write_all(frames, deadline)
        except (AgentStreamError, TornBody, TimeoutError) as error:
            logger.warning("a stream was cut: %s", type(error).__name__)
            return
        await self._end()

    async def _write_all(self, pages: AsyncGenerator[bytes, None], deadline: MovingDeadline) -> None:
        """Each page as it comes. A frame of several pages keeps pings and `draining` out of its middle."""
        async for page in pages:
            if page.endswith(b"\n\n"):
                await self._write(page, deadline)
                continue
            async with self._send_lock:
                await self._write(page, deadline)
                async for more in pages:
                    await self._write(more, deadline)
                    if more.endswith(b"\n\n"):
                        break

    async def _write(self, page: bytes, deadline: MovingDeadline) -> None:
        if self.active:
            deadline.within(self._send_timeout_s)
            await self._server_send(_body(page))
            deadline.lift()

    async def _end(self, last: bytes = b"") -> None:
        async with self._send_lock:
            if self.active:
                self.active = False
                await self._server_send({"type": "http.response.body", "body": last, "more_body": False})

    async def _listen_for_exit_signal_with_grace(self) -> None:
        """In place of the library's, which ends streams as soon as the server is told to stop."""
        await self._leave.wait()
        await self._started
        async with asyncio.timeout(self._send_timeout_s):
            await self._end(DRAINING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await super().__call__(scope, receive, send)
        except (SendTimeoutError, TimeoutError):
            logger.warning("a stream was cut: its reader takes nothing")


def _ping() -> ServerSentEvent:
    return ServerSentEvent(comment="ping", sep="\n")


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


class TornBody(Exception):
    """The body is to be torn here."""


async def torn(pages: AsyncGenerator[bytes, None], after: int) -> AsyncGenerator[bytes, None]:
    """The frames up to an event, and then a torn body, as from a proxy that gives up."""
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            for frame in frames:
                yield frame + b"\n\n"
                if frame.startswith(b"id: %d\n" % after):
                    raise TornBody


async def to_the_wait(
    pages: AsyncGenerator[bytes, None], last_seq: Callable[[], Awaitable[int]]
) -> AsyncGenerator[bytes, None]:
    """The frames up to a `waiting` that nothing follows yet, and then the end of the body.

    `last_seq` gives the number of the run's last event so far: a wait that was answered is an event like others.
    """
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            for frame in frames:
                yield frame + b"\n\n"
                if name_of(frame) == "waiting" and frame.startswith(b"id: %d\n" % await last_seq()):
                    return
