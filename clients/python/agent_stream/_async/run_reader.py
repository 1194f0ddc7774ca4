"""Reads a run over as many connections as necessary, and without one while the run waits."""

import logging
from collections.abc import Mapping
from typing import Any

import httpx2

from agent_stream._async.client_calls import AsyncClientCalls
from agent_stream._async.service import AsyncConnection, AsyncService
from agent_stream.errors import AgentStreamError, ApiError, incomplete
from agent_stream.events import StreamEvent, event_of
from agent_stream.frames import Frame
from agent_stream.records import RunRecord
from agent_stream.requests import Start, run_path
from agent_stream.responses import EVENT_STREAM, JSON, answered, is_stream, record_of
from agent_stream.retries import Retries, delay_s
from agent_stream.tools import Tool
from agent_stream.transcript import Transcript
from agent_stream.twins import AsyncAlarm

logger = logging.getLogger("agent_stream")

BROKEN = (httpx2.RequestError, ValueError, EOFError)
"""The end of a connection before the end of the run."""


class AsyncRunReader:
    """Reads one run: the one that `start` starts, or the one with the id `run_id` after the event `after`.

    Until the service has first answered, there are as many tries as for any request. From then on there is no limit,
    unless the service has `max_retries`.
    """

    def __init__(
        self,
        service: AsyncService,
        tools: Mapping[str, Tool],
        *,
        start: Start | None = None,
        run_id: str | None = None,
        after: int = 0,
    ) -> None:
        self.run_id = run_id
        self.transcript = Transcript(after)
        self._service = service
        self._start = start
        self._retries = service.retries(is_started=start is None)
        self._was_connected = False
        self._client_calls = AsyncClientCalls(service, tools)
        self._connection: AsyncConnection | None = None
        self._answered: AsyncConnection | None = None  # the stream in the response to an answer
        self._received: StreamEvent | None = None  # the event that `next` is about to return
        self._alarm = AsyncAlarm()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and `next` has returned its last event."""
        return self.transcript.end is not None and self._received is None

    async def next(self) -> StreamEvent | None:
        """Return the next event, or None if the next frame has none or didn't arrive.

        If this raises or is cancelled, the event is returned by the next call.
        """
        if self._received is None:
            self._received = await self._receive()
        if self.transcript.end or (self.transcript.is_waiting and not await self._has_more()):
            await self.aclose()
        if self.transcript.lacks_error:
            await self._has_more()
        event, self._received = self._received, None
        return event

    async def connect(self) -> AsyncConnection | None:
        """Open a stream of the events after the last one, or return None if the run has ended there.

        Raise `ApiError` if the service refuses that, and `Unreachable` after too many tries.
        """
        if self.transcript.last_seq > 0 and not self._was_connected:
            await self._has_more()  # the run may have ended at `after`, or wait there
        await self._rest()
        self._connection, self._answered = self._answered, None
        while self._connection is None and self.transcript.end is None:
            await self._alarm.wait(self._retries.next_delay_s())
            try:
                self._connection = await self._open()
            except AgentStreamError as error:
                self._retries.fail(error)
                logger.info("The run can't be read now, and is tried again: %s", error)
        return self._connection

    async def answer(
        self, run_id: str, *path: str, call_id: str | None, body: Mapping[str, Any], retries: Retries | None = None
    ) -> None:
        """Send an answer to a call, or a decision on the budget without an id. The same answer twice counts once.

        While the run waits, the response is its stream, over which the reader then continues.
        """
        is_waiting = self._connection is None and self.transcript.is_waiting
        accept = f"{EVENT_STREAM}, {JSON}" if is_waiting else JSON
        headers = {"Accept": accept, "Last-Event-ID": str(self.transcript.last_seq)}
        try:
            response = await self._service.call(
                "POST",
                run_path(run_id, *path),
                answered,
                may_stream=True,
                body=body,
                headers=headers,
                retries=retries or self._service.retries(is_started=True),
            )
            self.transcript.answered(call_id)
            if is_stream(response) and self._connection is None and self._answered is None:
                self._answered = AsyncConnection(response)
            else:
                await response.aclose()
        finally:
            self._alarm.set()  # also after a refusal: somebody else may have answered

    async def cancel(self, run_id: str) -> None:
        """Cancel the run."""
        retries = self._service.retries(is_started=True)
        await self._service.call("POST", run_path(run_id, "cancel"), record_of(RunRecord), retries=retries)
        self._alarm.set()

    async def waits_for_others(self) -> bool:
        """Return whether the run waits for answers, after making the calls of this program's own tools."""
        if self.transcript.is_waiting and not await self._has_more():
            await self._make_calls()
            return self.transcript.is_waiting
        return False

    async def aclose(self) -> None:
        """Close the connections."""
        for connection in (self._connection, self._answered):
            if connection is not None:
                await connection.aclose()
        self._connection = self._answered = None

    async def _receive(self) -> StreamEvent | None:
        connection = self._connection or await self.connect()
        if connection is None:
            return None
        try:
            return self._take(await connection.next())
        except BROKEN as error:
            logger.info("The connection broke after event %d: %s", self.transcript.last_seq, error)
            await self.aclose()
            self._retries.fail(incomplete(self.run_id))
            return None

    async def _open(self) -> AsyncConnection:
        if self.run_id is None:
            assert self._start is not None
            connection = await self._service.start(self._start)
            self.run_id = connection.run_id
        else:
            connection = await self._service.follow(self.run_id, self.transcript.last_seq)
        if not self._was_connected:
            self._was_connected = True
            self._retries = Retries(self._service.max_retries, is_started=True)
        return connection

    def _take(self, frame: Frame) -> StreamEvent | None:
        """Return the event of a frame, if it is new and known.

        Raise `ValueError` if one is missing before it, or if it is one of another run.
        """
        if frame.retry_s is not None:
            self._retries.wait_for(frame.retry_s)
        if frame.event is None or frame.event["seq"] <= self.transcript.last_seq:
            return None
        if frame.event["seq"] > self.transcript.last_seq + 1:
            raise ValueError(f"event {self.transcript.last_seq + 1} is missing")
        if frame.event["run_id"] != (self.run_id or frame.event["run_id"]):
            raise ValueError("this is an event of another run")
        self.run_id = frame.event["run_id"]
        self.transcript.last_seq += 1
        self._retries.reset()
        event = event_of(frame.event)
        if event is not None:
            self.transcript.add(event)
        return event

    async def _rest(self) -> None:
        """Wait without a connection until the run no longer waits, or an answer has brought its stream."""
        looks = 0
        while self._answered is None and await self.waits_for_others():
            was_woken = await self._alarm.wait(delay_s(looks))
            looks = 0 if was_woken else looks + 1

    async def _make_calls(self) -> None:
        for call in list(self.transcript.pending.values()):
            if self.run_id is not None and self._client_calls.has(call):
                known = self.transcript.calls.get(call.tool_call_id)
                result = await self._client_calls.result_of(call, self.run_id, known)
                await self._send(self.run_id, call.tool_call_id, result)

    async def _has_more(self) -> bool:
        """Return whether the run has events after the last one, and take its status and what it waits for."""
        assert self.run_id is not None
        run = await self._service.get(run_path(self.run_id), RunRecord, retries=self._retries)
        self.transcript.catch_up(run)
        if run.last_seq > self.transcript.last_seq:
            return True
        self._retries.reset()
        return False

    async def _send(self, run_id: str, call_id: str, result: Mapping[str, Any]) -> None:
        """Send the result of a call. Send an error in its place if the service refuses it."""
        for sent in (result, {"content": "The result could not be sent.", "is_error": True}):
            body = {"results": [{"tool_call_id": call_id, **sent}]}
            retries = Retries(self._service.max_retries, is_started=True)
            try:
                await self.answer(run_id, "tool-results", call_id=call_id, body=body, retries=retries)
            except ApiError as refused:
                logger.warning("The result of %s was refused: %s", call_id, refused)
            else:
                return
        self.transcript.pending.pop(call_id, None)  # another program has answered, or the run has ended
