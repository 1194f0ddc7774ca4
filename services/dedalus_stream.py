"""One model turn: the SDK call, its raw bytes parsed into deltas, its failures translated into ours.

The SDK keeps authentication, retries, headers, MCP serialisation and status errors; the body is parsed here, about
twenty times cheaper than through its typed chunks. What an upstream says of an error goes to the log, never further.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import httpx
from dedalus_labs import APIConnectionError, APIStatusError, AsyncStream

from errors import (
    AgentStreamError,
    McpAuthorizationRequired,
    UpstreamAuth,
    UpstreamDisconnected,
    UpstreamFailed,
    UpstreamProtocol,
    UpstreamQuota,
    UpstreamRejected,
    UpstreamStalled,
    UpstreamTimeout,
)
from events import Usage
from services.chat_chunks import ChatChunks, Delta
from services.moving_deadline import MovingDeadline
from services.upstream_client import Read, reader
from services.upstreams import Route
from services.wire_rules import MOST_TRIES, corrected, fitted

logger = logging.getLogger(__name__)

LAST_WORDS_S = 5.0  # how long what may still follow a finish reason is waited for
DRAIN_S = 0.1  # what may still follow [DONE]: the end of the body, after which the connection is reused


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an upstream may be silent: before the first byte of the body, and between deltas. In seconds."""

    first_byte_s: float
    stall_s: float


class ModelTurn:
    """An answer as it arrives: iterate for the deltas of each read. Comments don't count as an answer."""

    def __init__(self, read: Read, deadline: MovingDeadline, first_wait_s: float, stall_s: float) -> None:
        self._read = read
        self._chunks = ChatChunks()
        self._deadline = deadline
        self._wait_s = first_wait_s
        self._stall_s = stall_s
        self._last_words_at: float | None = None
        self._flushed = False
        self.silent = True

    @property
    def finish_reason(self) -> str:
        """Why the model stopped; known after the iteration."""
        return self._chunks.finish_reason or "unknown"

    @property
    def usage(self) -> Usage:
        """Tokens of this turn; known after the iteration."""
        return self._chunks.usage

    @property
    def correlation_id(self) -> str | None:
        """What the next turn has to echo, where the upstream gave it."""
        return self._chunks.correlation_id

    def __aiter__(self) -> "ModelTurn":
        """Itself."""
        return self

    async def __anext__(self) -> list[Delta]:
        """The deltas of one read. Raise what the stream ended with, unless it ended well."""
        chunks = self._chunks
        self._deadline.within(self._wait_s)
        try:
            while not chunks.over:
                read = self._read if chunks.finish_reason is None else self._last_words
                if not (data := await read()):
                    break
                if deltas := chunks.feed(data):
                    self.silent = False
                    self._wait_s = self._stall_s
                    return deltas
        except httpx.HTTPError as error:
            logger.warning("the upstream's stream broke: %s", type(error).__name__)
            if chunks.finish_reason is None:
                raise UpstreamDisconnected from error
        finally:
            self._deadline.lift()
        return self._end()

    async def _last_words(self) -> bytes:
        """What one read brings after the finish reason; empty at the end of the body, or when nothing comes for long.

        Only usage, hosted results and [DONE] may follow; not to send them is no fault.
        """
        self._deadline.lift()
        self._last_words_at = self._last_words_at or asyncio.get_running_loop().time() + LAST_WORDS_S
        try:
            async with asyncio.timeout_at(self._last_words_at):
                return await self._read()
        except TimeoutError:
            return b""

    def _end(self) -> list[Delta]:
        if self._chunks.fault is not None:
            raise _data_error(self._chunks.fault)
        if self._chunks.malformed:
            raise UpstreamProtocol
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
                while await self._read():
                    pass


@asynccontextmanager
async def model_turn(route: Route, body: Mapping[str, Any], deadlines: Deadlines) -> AsyncIterator[ModelTurn]:
    """Ask the route's upstream for one streamed turn. The connection is released on leaving, reusable if it can be.

    Raise an `UpstreamError` or `UpstreamRejected` for each way in which that can fail.
    """
    loop = asyncio.get_running_loop()
    first_deadline = loop.time() + deadlines.first_byte_s
    response = await _ask(route, body, first_deadline)
    stream = cast("httpx.AsyncByteStream", response.stream)
    turn: ModelTurn | None = None
    try:
        kind, encoding = (response.headers.get(f"content-{name}", "") for name in ("type", "encoding"))
        if not kind.lower().startswith("text/event-stream") or encoding not in {"", "identity"}:
            logger.warning("the upstream answered %s, encoded %s", kind, encoding or "plainly")
            raise UpstreamProtocol
        first_wait_s = first_deadline - loop.time()
        async with MovingDeadline() as deadline:
            turn = ModelTurn(reader(response), deadline, first_wait_s, deadlines.stall_s)
            del response  # and with it the request, whose body may be long
            yield turn
            await turn.drain()
    except TimeoutError:
        raise (UpstreamTimeout if turn is None or turn.silent else UpstreamStalled) from None
    finally:
        await stream.aclose()


async def _ask(route: Route, body: Mapping[str, Any], deadline: float) -> httpx.Response:
    """Ask in the form that the server takes; again where its refusal teaches another form, which is remembered."""
    rules, tried = route.rules, []
    while True:
        sent = fitted(body, rules)
        tried.append(rules)
        try:
            return await _post(route, sent, deadline)
        except APIStatusError as error:
            better = corrected(rules, sent, error.status_code, error.body)
            if better is None or better in tried or len(tried) == MOST_TRIES:
                raise _status_error(error) from error
            logger.info("the upstream refuses a parameter, and is asked otherwise: %.500s", error.body)
            rules = better
            route.learn(rules)


async def _post(route: Route, body: Mapping[str, Any], deadline: float) -> httpx.Response:
    """One exchange, to the head of the answer. Raise `APIStatusError` for a refusal."""
    try:
        async with asyncio.timeout_at(deadline):
            client = route.upstream.client
            url = f"{str(client.base_url).rstrip('/')}/chat/completions"  # a path costs the SDK two parses more
            response = await client.post(
                url,
                cast_to=httpx.Response,
                body=body,
                options={"headers": {"Accept-Encoding": "identity", **route.headers}},
                stream=True,
                stream_cls=AsyncStream[Any],
            )
            return cast("httpx.Response", response)  # which is what the SDK gives for this `cast_to`
    except TimeoutError:
        raise UpstreamTimeout from None
    except APIConnectionError as error:
        logger.warning("the upstream can't be reached: %s", error.__cause__)
        raise UpstreamFailed from error


def _status_error(error: APIStatusError) -> AgentStreamError:
    logger.warning("the upstream answered %d: %.500s", error.status_code, error.body)
    retry_after = error.response.headers.get("retry-after", "")
    return _error_for(error.status_code, error.body, int(retry_after) if retry_after.isdecimal() else None)


def _error_for(status: int, body: object, retry_after: int | None = None) -> AgentStreamError:
    match status:
        case 401 | 403 if _connect_url(body):
            return McpAuthorizationRequired()
        case 401 | 403:
            return UpstreamAuth()
        case 402 | 429:
            return UpstreamQuota(retry_after=retry_after)
        case 408 | 504:
            return UpstreamTimeout()
        case status if 400 <= status < 500:
            return UpstreamRejected()
        case _:
            return UpstreamFailed(retry_after=retry_after)


def _connect_url(body: object) -> bool:
    match body:
        case {"connect_url": str()} | {"detail": {"connect_url": str()}} | {"error": {"connect_url": str()}}:
            return True
        case _:
            return False


TYPE_STATUS = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "insufficient_quota": 402,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
}


def _data_error(body: Mapping[str, Any]) -> AgentStreamError:
    """The error that came as data in a stream: by its numeric code, its type or its name, else a plain failure."""
    logger.warning("the upstream's stream ended with an error: %.500s", body)
    said = body.get("error", body)
    if isinstance(said, dict):
        for key in ("code", "status", "type"):
            match said.get(key):
                case int() as status if 400 <= status < 600:
                    return _error_for(status, body)
                case str() as name if name in TYPE_STATUS:
                    return _error_for(TYPE_STATUS[name], body)
    return UpstreamFailed()
