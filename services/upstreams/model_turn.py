"""Runs one model turn: sends the request, parses the answer's bytes into deltas, and translates failures into ours.

The answer is parsed here because that costs about a twentieth of the SDK's typed chunks. An upstream's own text about
an error is logged, and never sent to a client.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import httpx

from errors import AgentStreamError, UpstreamDisconnected, UpstreamProtocol, UpstreamStalled, UpstreamTimeout
from services.completions.chunks import ChatChunks, Delta
from services.completions.errors import error_of, quoted, status_of
from services.completions.server_reports import ServerReports
from services.moving_deadline import MovingDeadline
from services.upstreams.body_decoding import Read, decoded
from services.upstreams.hosted_work import HostedWork
from services.upstreams.http_client import reader
from services.upstreams.model_request import ask, learned
from services.upstreams.refusals import NO_CHAT_STREAM
from services.upstreams.upstream import Route
from setting_objects import WireRules
from usage_models import Usage

logger = logging.getLogger(__name__)

AFTER_FINISH_S = 5.0  # to wait after a finish reason for more, such as the usage
DRAIN_S = 0.1  # to wait after [DONE] for the end of the body, after which the connection can be reused
UNKNOWN_REASON = "unknown"  # the finish reason of an answer that ended with [DONE] and had none


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an upstream may be silent, in seconds: before the first byte of the body, and between deltas."""

    first_byte_s: float
    stall_s: float


class ModelTurn:
    """An answer as it arrives. Iterate for the deltas of each read.

    The table in docs/upstreams.md says what each form of data means. Comments and keepalives don't count as an answer.
    `silent` is set until the first deltas.
    """

    def __init__(
        self, read: Read, encoding: str, chunks: ChatChunks, deadline: MovingDeadline, wait_s: float, stall_s: float
    ) -> None:
        self._body = read
        # Rebound by the first read to a reader of the decoded body, so that later reads don't have to look for it.
        self._read: Read = self._first_read
        self._encoding = encoding
        self._chunks = chunks
        self._deadline = deadline
        self._wait_s = wait_s
        self._stall_s = stall_s
        self._end_wait_at: float | None = None
        self._broken: httpx.HTTPError | None = None
        self._body_ended = False
        self._flushed = False
        self._first_deltas: list[Delta] | None = None
        self.silent = True
        self.hosted = HostedWork()

    @property
    def finish_reason(self) -> str:
        """Why the model stopped; known after the iteration."""
        return self._chunks.finish_reason or UNKNOWN_REASON

    @property
    def usage(self) -> Usage:
        """The tokens of this turn; known after the iteration."""
        return self._chunks.usage

    @property
    def reasoning(self) -> dict[str, Any]:
        """The turn's reasoning as its provider wrote it, by field, to be sent back. Empty if there was none.

        `reasoning_content`, `reasoning` and `thinking` are text, or the one object in its place.
        `reasoning_details` and `thinking_blocks` are lists of entries, whose pieces are joined.
        """
        return self._chunks.reasoning

    @property
    def reports(self) -> ServerReports:
        """The facts that the upstream has reported beside the answer."""
        return self._chunks.reports

    async def begin(self) -> object:
        """Read up to the first deltas. Returns the error that the upstream reports in their place, None for none.

        If the stream ends here in another way, the iteration raises its error. The iteration begins with these deltas.
        """
        with suppress(AgentStreamError):
            self._first_deltas = await self.__anext__()
        return self._chunks.error_data if self.silent else None

    def __aiter__(self) -> "ModelTurn":
        """Itself."""
        return self

    async def __anext__(self) -> list[Delta]:
        """Return the deltas of one read. Raise the error with which the stream ended, if it ended with one."""
        if (first_deltas := self._first_deltas) is not None:
            self._first_deltas = None
            return first_deltas
        chunks = self._chunks
        self._deadline.within(self._wait_s)
        try:
            while not (chunks.over or self._body_ended):
                read = self._read if chunks.finish_reason is None else self._read_after_finish
                data = await read()
                deltas = chunks.feed(data) if data else self._last()
                if deltas:
                    self.silent = False
                    self._wait_s = self._stall_s
                    self._end_wait_at = None
                    self.hosted.note(deltas)
                    return deltas
        except httpx.HTTPError as error:
            shown = quoted(error, self._chunks.is_quoted)
            logger.warning("the upstream's stream broke: %s: %s", type(error).__name__, shown)
            self._broken = error
            if deltas := self._last():
                return deltas
        finally:
            self._deadline.lift()
        return self._end()

    def _last(self) -> list[Delta]:
        self._body_ended = True
        return self._chunks.last()

    async def _first_read(self) -> bytes:
        data, self._read = await decoded(self._body, self._encoding)
        return data

    async def _read_after_finish(self) -> bytes:
        """Read once after a finish reason. Empty at the end of the body, or if nothing arrives for AFTER_FINISH_S.

        A server may leave the body open there. It is a stall only if the upstream runs tools whose results are still
        to be answered, or if the reason arrived too early to be the end.
        """
        self._deadline.lift()
        owed = self.hosted.owed or not self._chunks.may_end
        if self._end_wait_at is None:
            patience_s = self._stall_s if owed else AFTER_FINISH_S
            self._end_wait_at = asyncio.get_running_loop().time() + patience_s
        try:
            async with asyncio.timeout_at(self._end_wait_at):
                return await self._read()
        except TimeoutError:
            if owed:
                raise UpstreamStalled from None
            return b""

    def _end(self) -> list[Delta]:
        """Decide how the stream ended: the first condition that holds counts.

        Raise the error for it, or return the text that was held back and raise StopAsyncIteration the next time.
        """
        if self._chunks.error_data is not None:
            shown = quoted(self._chunks.error_data, self._chunks.is_quoted)
            logger.warning("the upstream's stream ended with an error: %.500s", shown)
            raise error_of(self._chunks.error_data)
        if self._chunks.malformed:
            raise UpstreamProtocol
        if isinstance(self._broken, httpx.DecodingError) and not self._chunks.ended:
            raise UpstreamProtocol from self._broken
        if self._broken is not None and not self._chunks.ended:
            raise UpstreamDisconnected from self._broken
        if self._chunks.finish_reason is None and not self._chunks.done:
            raise UpstreamDisconnected
        if self._flushed:
            raise StopAsyncIteration
        self._flushed = True
        return self._chunks.flush()

    async def drain(self) -> None:
        """Read the rest of an ended body for DRAIN_S at most, so that its connection can be reused."""
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(DRAIN_S):
                while await self._body():
                    pass


@asynccontextmanager
async def model_turn(route: Route, body: Mapping[str, Any], deadlines: Deadlines) -> AsyncIterator[ModelTurn]:
    """Ask the route's upstream for one streamed turn. On leaving, the connection is released, reusable if possible.

    The request is sent in the form that the upstream accepts. If a refusal shows that it needs another form, the
    request is sent again, and the form is remembered. Some servers and gateways refuse in a stream with status 200.
    Raise an `UpstreamError`, `UpstreamRejected` or `ContextTooLong` for each way in which that can fail.
    """
    until = asyncio.get_running_loop().time() + deadlines.first_byte_s
    tried = [route.rules]
    while True:
        async with _attempt(route, body, until, deadlines.stall_s, tried) as turn:
            error_data = await turn.begin()
            refused = error_data is not None
            if refused and learned(route, tried, body, status_of(error_data), error_data):
                continue
            if not refused and len(tried) > 1:
                route.learn(tried[-1])
            yield turn
            return


@asynccontextmanager
async def _attempt(
    route: Route, body: Mapping[str, Any], until: float, stall_s: float, tried: list[WireRules]
) -> AsyncIterator[ModelTurn]:
    """Ask for one answer, whose first byte has to arrive before the time `until`."""
    response = await ask(route, body, until, tried)
    stream = cast("httpx.AsyncByteStream", response.stream)
    turn: ModelTurn | None = None
    try:
        first_wait_s = until - asyncio.get_running_loop().time()
        async with MovingDeadline() as deadline:
            encoding = response.headers.get("content-encoding", "").strip().lower()
            chunks = ChatChunks(route.think_tags.tags(route.model), is_quoted=route.upstream.is_quoted)
            turn = ModelTurn(reader(response), encoding, chunks, deadline, first_wait_s, stall_s)
            turn.hosted.own = _own_tools(route, body)
            del response  # it holds the request, whose body may be megabytes, for as long as the answer takes
            yield turn
            await turn.drain()
    except TimeoutError:
        raise (UpstreamTimeout if turn is None or turn.silent else UpstreamStalled) from None
    except UpstreamProtocol:
        if route.upstream.kind == "custom" and (turn is None or turn.silent):
            logger.warning(NO_CHAT_STREAM)
            raise UpstreamProtocol(NO_CHAT_STREAM) from None
        raise
    finally:
        await stream.aclose()


def _own_tools(route: Route, body: Mapping[str, Any]) -> frozenset[str] | None:
    """The tools that the upstream does not run. None if it runs none: with tools of ours and without MCP servers."""
    tools = body.get("tools", ())
    if not body.get("mcp_servers") and (tools or not route.upstream.hosts_mcp):
        return None
    return frozenset(tool["function"]["name"] for tool in tools)
