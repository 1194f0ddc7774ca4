"""One model turn: the SDK call, its raw bytes parsed into deltas, its failures translated into ours.

The SDK keeps authentication, retries, headers, the form of MCP servers and status errors. The request is written here,
where a long one holds up nobody, and the answer is parsed here, about twenty times cheaper than through the SDK's typed
chunks. What an upstream says of an error goes to the log, never further.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import httpx
from dedalus_labs import APIConnectionError, APIStatusError
from dedalus_labs.lib.mcp import serialize_mcp_servers

from errors import (
    AgentStreamError,
    UpstreamDisconnected,
    UpstreamProtocol,
    UpstreamStalled,
    UpstreamTimeout,
)
from events import Usage
from json_codec.writing import written
from services.completions.chunks import CallDelta, ChatChunks, Delta, TextDelta
from services.completions.errors import error_of, status_of
from services.moving_deadline import MovingDeadline
from services.upstreams.body_decoding import Read, decoded
from services.upstreams.http_client import reader
from services.upstreams.refusals import NO_CHAT_STREAM, refusal, shown, unreached
from services.upstreams.selection import Route
from services.upstreams.wire_rules import MOST_TRIES, corrected, fitted
from settings import WireRules

logger = logging.getLogger(__name__)

LAST_WORDS_S = 5.0  # how long what may still follow a finish reason is waited for
UNKNOWN_REASON = "unknown"  # of an answer that ended with [DONE] and without a finish reason
DRAIN_S = 0.1  # what may still follow [DONE]: the end of the body, after which the connection is reused


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an upstream may be silent: before the first byte of the body, and between deltas. In seconds."""

    first_byte_s: float
    stall_s: float


class ModelTurn:
    """An answer as it arrives: iterate for the deltas of each read. Comments don't count as an answer.

    What each thing that comes means is the table in docs/upstreams.md.
    """

    def __init__(
        self, read: Read, encoding: str, chunks: ChatChunks, deadline: MovingDeadline, wait_s: float, stall_s: float
    ) -> None:
        self._body = read
        self._read: Read = self._first_read
        self._encoding = encoding
        self._chunks = chunks
        self._deadline = deadline
        self._wait_s = wait_s
        self._stall_s = stall_s
        self._last_words_at: float | None = None
        self._broken: httpx.HTTPError | None = None
        self._ended = False
        self._flushed = False
        self._ahead: list[Delta] | None = None
        self.silent = True
        self.hosted = HostedWork()

    @property
    def finish_reason(self) -> str:
        """Why the model stopped; known after the iteration."""
        return self._chunks.finish_reason or UNKNOWN_REASON

    @property
    def usage(self) -> Usage:
        """Tokens of this turn; known after the iteration."""
        return self._chunks.usage

    @property
    def reasoning(self) -> dict[str, Any]:
        """The turn's reasoning as its provider wrote it, by field, to be sent back; empty where there was none.

        `reasoning_content`, `reasoning` and `thinking` are text, or the one object that came in its place;
        `reasoning_details` and `thinking_blocks` are lists of entries, whose pieces are joined.
        """
        return self._chunks.reasoning

    @property
    def correlation_id(self) -> str | None:
        """What the next turn has to echo, where the upstream gave it."""
        return self._chunks.correlation_id

    async def begin(self) -> object:
        """Read up to the first deltas. Return the error that the upstream reports in their place, None for none.

        Whatever the stream ends with is raised by the iteration, which begins with these deltas.
        """
        with suppress(AgentStreamError):
            self._ahead = await self.__anext__()
        return self._chunks.fault if self.silent else None

    def __aiter__(self) -> "ModelTurn":
        """Itself."""
        return self

    async def __anext__(self) -> list[Delta]:
        """The deltas of one read. Raise what the stream ended with, unless it ended well."""
        if (ahead := self._ahead) is not None:
            self._ahead = None
            return ahead
        chunks = self._chunks
        self._deadline.within(self._wait_s)
        try:
            while not (chunks.over or self._ended):
                read = self._read if chunks.finish_reason is None else self._last_words
                data = await read()
                deltas = chunks.feed(data) if data else self._last()
                if deltas:
                    self.silent = False
                    self._wait_s = self._stall_s
                    self._last_words_at = None
                    self.hosted.note(deltas)
                    return deltas
        except httpx.HTTPError as error:
            logger.warning("the upstream's stream broke: %r", error)
            self._broken = error
            if deltas := self._last():
                return deltas
        finally:
            self._deadline.lift()
        return self._end()

    def _last(self) -> list[Delta]:
        self._ended = True
        return self._chunks.last()

    async def _first_read(self) -> bytes:
        data, self._read = await decoded(self._body, self._encoding)
        return data

    async def _last_words(self) -> bytes:
        """What one read brings after a finish reason; empty at the end of the body, or when nothing comes for long.

        Not to send anything is no fault, unless the upstream runs tools whose results are still to be answered, or the
        reason came too early to be the end.
        """
        self._deadline.lift()
        owed = self.hosted.owed or not self._chunks.may_end
        if self._last_words_at is None:
            patience_s = self._stall_s if owed else LAST_WORDS_S
            self._last_words_at = asyncio.get_running_loop().time() + patience_s
        try:
            async with asyncio.timeout_at(self._last_words_at):
                return await self._read()
        except TimeoutError:
            if owed:
                raise UpstreamStalled from None
            return b""

    def _end(self) -> list[Delta]:
        """The stream is over. Raise what it means, by the first line of the table that is true."""
        if self._chunks.fault is not None:
            logger.warning("the upstream's stream ended with an error: %.500s", self._chunks.fault)
            raise error_of(self._chunks.fault)
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
        """Read what is left of an ended body, briefly, so that its connection can be used again."""
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(DRAIN_S):
                while await self._body():
                    pass


class HostedWork:
    """Knows whether the upstream owes more after a finish reason: it runs a tool, and hasn't said anything since.

    `own` are the tools that it does not run; None where it runs none at all.
    """

    def __init__(self) -> None:
        self.own: frozenset[str] | None = None
        self.owed = False

    def note(self, deltas: Sequence[Delta]) -> None:
        """Take in what has come."""
        if type(deltas[-1]) is TextDelta:
            self.owed = False
        elif self.own is not None:
            for delta in deltas:
                match delta:
                    case TextDelta():
                        self.owed = False
                    case CallDelta(name=name) if name and not any(tool.startswith(name) for tool in self.own):
                        self.owed = True


@asynccontextmanager
async def model_turn(route: Route, body: Mapping[str, Any], deadlines: Deadlines) -> AsyncIterator[ModelTurn]:
    """Ask the route's upstream for one streamed turn. The connection is released on leaving, reusable if it can be.

    It is asked in the form that it takes, and again where its refusal teaches another form, which is remembered. Some
    servers, and gateways before them, refuse in the stream, with status 200.
    Raise an `UpstreamError`, `UpstreamRejected` or `ContextTooLong` for each way in which that can fail.
    """
    until = asyncio.get_running_loop().time() + deadlines.first_byte_s
    tried = [route.rules]
    while True:
        async with _attempt(route, body, until, deadlines.stall_s, tried) as turn:
            fault = await turn.begin()
            if fault is None or not _learned(tried, fitted(body, tried[-1]), status_of(fault), fault):
                if fault is None and len(tried) > 1:
                    route.learn(tried[-1])
                yield turn
                return


@asynccontextmanager
async def _attempt(
    route: Route, body: Mapping[str, Any], until: float, stall_s: float, tried: list[WireRules]
) -> AsyncIterator[ModelTurn]:
    """One answer, whose first byte has to come until this time."""
    response = await _ask(route, body, until, tried)
    stream = cast("httpx.AsyncByteStream", response.stream)
    turn: ModelTurn | None = None
    try:
        first_wait_s = until - asyncio.get_running_loop().time()
        async with MovingDeadline() as deadline:
            encoding = response.headers.get("content-encoding", "").strip().lower()
            chunks = ChatChunks(route.think_tags.tags(route.model))
            turn = ModelTurn(reader(response), encoding, chunks, deadline, first_wait_s, stall_s)
            turn.hosted.own = _own_tools(route, body)
            del response  # and with it the request, whose body may be long
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


async def _ask(route: Route, body: Mapping[str, Any], until: float, tried: list[WireRules]) -> httpx.Response:
    """Ask by the last rules that were tried, and by better ones where a refusal teaches them."""
    while True:
        sent = fitted(body, tried[-1])
        try:
            return await _post(route, sent, until)
        except APIStatusError as error:
            if not _learned(tried, sent, error.status_code, error.body):
                raise _status_error(route, sent, error) from error


def _learned(tried: list[WireRules], sent: Mapping[str, Any], status: int, refusal: object) -> bool:
    """Add the rules that a refusal teaches to those that were tried. Whether there are any that are worth a try."""
    better = corrected(tried[-1], sent, status, refusal)
    if better is None or better in tried or len(tried) == MOST_TRIES:
        return False
    logger.info("the upstream refuses a parameter, and is asked otherwise: %.500s", refusal)
    tried.append(better)
    return True


async def _post(route: Route, body: Mapping[str, Any], deadline: float) -> httpx.Response:
    """One exchange, to the head of the answer. Raise `APIStatusError` for a refusal."""
    try:
        async with asyncio.timeout_at(deadline):
            headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **route.headers}
            return await route.upstream.client.chat_completion(headers, await written(_as_the_sdk(body)))
    except TimeoutError:
        raise UpstreamTimeout from None
    except APIConnectionError as error:
        failed = unreached(route.upstream)
        logger.warning("the upstream can't be reached: %s (%s)", error.__cause__, failed.message)
        raise failed from error


def _as_the_sdk(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with MCP servers in the SDK's form. The SDK would also copy it, and write it in one go."""
    if "mcp_servers" not in body:
        return body
    return {**body, "mcp_servers": serialize_mcp_servers(body["mcp_servers"])}


def _status_error(route: Route, sent: Mapping[str, Any], error: APIStatusError) -> AgentStreamError:
    said = error.response.headers.get("retry-after", "")
    refused = refusal(route.upstream, sent, error.status_code, error.body, int(said) if said.isdecimal() else None)
    logger.warning("the upstream answered %d: %.500s (%s)", error.status_code, shown(error.body), refused.message)
    return refused


def _own_tools(route: Route, body: Mapping[str, Any]) -> frozenset[str] | None:
    """The tools that the upstream does not run. None where it runs none: with tools of ours and without servers."""
    tools = body.get("tools", ())
    if not body.get("mcp_servers") and (tools or not route.upstream.hosts_mcp):
        return None
    return frozenset(tool["function"]["name"] for tool in tools)
