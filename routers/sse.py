"""Writes a run's frames to the client, with pings, a send timeout and an orderly end. Built on sse_starlette."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple

from sse_starlette import EventSourceResponse
from starlette.types import Message, Receive, Scope, Send

from errors import AgentStreamError
from event_logs.reading import frames_in, name_of
from services.leave_signal import LeaveSignal
from services.moving_deadline import MovingDeadline
from services.runs.readers import RunStream

logger = logging.getLogger(__name__)

PING = b": ping\n\n"
DRAINING = b"event: draining\nretry: 2000\n\n"


class StreamEnds(NamedTuple):
    """What ends a stream before its run: the service asks all readers to leave, or the reader's API key has gone."""

    leave: LeaveSignal
    key_gone: LeaveSignal | None


class FrameStream(EventSourceResponse):
    """The response whose body is a run's frames.

    The body ends cleanly only after the run's last event, after a `draining` frame, or at `waiting` if the client asked
    for that. In every other case it is torn (it has no last chunk), so that no client mistakes a cut for the end. It is
    torn, too, when the API key of the reader is no longer valid. Times are in seconds.
    """

    def __init__(
        self,
        stream: RunStream,
        *,
        location: str,
        server_send: Send,
        ends: StreamEnds,
        heartbeat_s: float,
        send_timeout_s: float,
    ) -> None:
        super().__init__(
            stream.frames,
            headers={"Cache-Control": "no-cache, no-transform", "X-Run-ID": stream.run_id, "Location": location},
        )
        del self.headers["connection"]  # the server decides that
        self._stream = stream
        self._ends = ends
        self._heartbeat_s = heartbeat_s
        self._server_send = server_send
        self._send_timeout_s = send_timeout_s
        self._started = asyncio.get_running_loop().create_future()
        self._body_timeout = asyncio.timeout(None)
        self._heartbeat: asyncio.TimerHandle
        self._beside: set[asyncio.Task[None]] = set()  # tasks that write a ping, or the end for a drain
        self._is_stopped = False

    async def _stream_response(self, send: Send) -> None:
        """Replace the library's method: write bytes straight to the server, with one moving deadline for all writes.

        The library would encode each chunk, pass it through the middlewares and make a cancel scope for it.
        """
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self.raw_headers.clear()  # frees memory: thousands of streams can be open for hours
        send = self._server_send
        try:
            async with self._stream as frames, MovingDeadline() as deadline:
                await send(_body(PING))  # shows the client that the connection works
                if not self._started.done():
                    self._started.set_result(None)
                await self._write_all(frames, deadline)
        except (AgentStreamError, TornBody, TimeoutError) as error:
            logger.warning("closed a stream before its end: %s", type(error).__name__)
            return
        await self._end()

    async def _write_all(self, pages: AsyncGenerator[bytes, None], deadline: MovingDeadline) -> None:
        """Write each page as it arrives. A lock keeps pings and `draining` out of a frame that spans several pages."""
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        The library's `__call__` has a task group with a task and a cancel scope each for the body, the pings, the
        server's shutdown and the client's disconnect. They cost a tenth of a run's CPU time and 20 kB of memory for
        each open stream. Here the request's own task writes the body, and one more waits for the disconnect.
        """
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
            return
        client = asyncio.create_task(self._listen_for_disconnect(receive))
        client.add_done_callback(self._stop)
        leave, key_gone = self._ends
        leave.call(self._begin_drain)
        if key_gone is not None:
            key_gone.call(self._stop)
        self._await_heartbeat()
        try:
            async with self._body_timeout:
                await self._stream_response(send)
        except TimeoutError:
            logger.debug("the stream of %s was stopped", self._stream.run_id)
        finally:
            self._is_stopped = True
            self._heartbeat.cancel()
            leave.forget(self._begin_drain)
            if key_gone is not None:
                key_gone.forget(self._stop)
            for task in (client, *self._beside):
                task.cancel()

    def _stop(self, _client: asyncio.Task[None] | None = None) -> None:
        """Stop writing: the client has disconnected, or the body has ended."""
        if not self._is_stopped:
            self._is_stopped = True
            self._body_timeout.reschedule(asyncio.get_running_loop().time())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _await_heartbeat(self) -> None:
        self._heartbeat = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)

    def _beat(self) -> None:
        self._begin(self._ping(self._server_send))

    async def _ping(self, send: Send) -> None:
        """Send one ping between two frames."""
        try:
            async with self._send_lock, asyncio.timeout(self._send_timeout_s):
                if self.active and self._started.done():
                    await send(_body(PING))
        except TimeoutError:
            logger.warning("closed a stream before its end: its client read nothing for SEND_TIMEOUT_S")
            self._stop()
        else:
            self._await_heartbeat()

    def _begin_drain(self) -> None:
        self._begin(self._drain())

    async def _drain(self) -> None:
        """End the body with a `draining` frame."""
        await self._started
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._end(DRAINING)
        except TimeoutError:
            logger.warning("closed a stream before its end: its client read nothing for SEND_TIMEOUT_S")
        self._stop()


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


class TornBody(Exception):
    """Ends a body without its last chunk."""


async def torn(pages: AsyncGenerator[bytes, None], after: int) -> AsyncGenerator[bytes, None]:
    """Yield the frames up to event `after`, then tear the body, as a proxy with a timeout does."""
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            for frame in frames:
                yield frame + b"\n\n"
                if frame.startswith(b"id: %d\n" % after):
                    raise TornBody


async def to_the_wait(
    pages: AsyncGenerator[bytes, None], last_seq: Callable[[], Awaitable[int]]
) -> AsyncGenerator[bytes, None]:
    """Yield the frames up to a `waiting` that is the run's last event so far.

    `last_seq` returns the number of that event. A `waiting` with later events has been answered, so it ends nothing.
    """
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            for frame in frames:
                yield frame + b"\n\n"
                if name_of(frame) == "waiting" and frame.startswith(b"id: %d\n" % await last_seq()):
                    return
