"""Sends the request of a model turn through the SDK, in the form that the server accepts.

The SDK handles authentication, retries, headers, the form of MCP servers and status errors. The request's body is
written here, because the SDK would write a long one at once, and delay every other stream meanwhile.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httpx
from dedalus_labs import APIConnectionError, APIStatusError
from dedalus_labs.lib.mcp import serialize_mcp_servers

from errors import AgentStreamError, UpstreamDropped, UpstreamFailed, UpstreamTimeout, UpstreamUnreached
from json_codec.writing import written
from services.completions.errors import quoted
from services.upstreams.corrections import MAX_TRIES, REFUSED_STATUS, corrected, with_most_output
from services.upstreams.refusals import UNREACHED, refusal, shown
from services.upstreams.upstream import Route, Upstream
from services.upstreams.wire_rules import OUTPUT_LIMIT, fitted
from setting_objects import WireRules

logger = logging.getLogger(__name__)


async def ask(route: Route, body: Mapping[str, Any], until: float, tried: list[WireRules]) -> httpx.Response:
    """Send the request by the last of the tried rules, and again as long as a refusal corrects them.

    Return the response with its body unread. Raise an `UpstreamError`, `UpstreamRejected` or `ContextTooLong`, also
    if there is no response at the time `until`, by the event loop's clock.
    """
    while True:
        sent = fitted(body, tried[-1])
        try:
            return await _post(route, sent, until)
        except APIStatusError as error:
            if not learned(route, tried, body, error.status_code, error.body):
                raise _status_error(route, sent, error) from error


def learned(route: Route, tried: list[WireRules], body: Mapping[str, Any], status: int, refusal: object) -> bool:
    """Append the rules that a refusal corrects to the tried ones. Returns whether there are new ones to try."""
    rules = tried[-1]
    better = corrected(rules, fitted(body, rules), status, refusal)
    if better is None and OUTPUT_LIMIT in body and status in REFUSED_STATUS:
        better = with_most_output(rules, body[OUTPUT_LIMIT], refusal)
    if better is None or better in tried or len(tried) == MAX_TRIES:
        return False
    shown = quoted(refusal, route.upstream.is_quoted)
    logger.info("the upstream refuses a parameter; the request is sent again in another form: %.500s", shown)
    tried.append(better)
    return True


async def _post(route: Route, body: Mapping[str, Any], until: float) -> httpx.Response:
    """Send one request and wait for the head of its response. Raise `APIStatusError` for a refusal."""
    try:
        async with asyncio.timeout_at(until):
            headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **route.headers}
            return await route.upstream.client.chat_completion(headers, await written(_with_sdk_servers(body)))
    except TimeoutError:
        raise UpstreamTimeout from None
    except APIConnectionError as error:
        failed = _no_response(route.upstream, error.__cause__)
        logger.warning("the upstream can't be reached: %s (%s)", error.__cause__, failed.message)
        raise failed from error


def _no_response(upstream: Upstream, cause: BaseException | None) -> UpstreamFailed:
    """Return the error for a request without a response. `cause` is the failure of the transport."""
    kind = UpstreamUnreached if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout) else UpstreamDropped
    return kind(UNREACHED if upstream.kind == "custom" else "")


def _with_sdk_servers(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body with MCP servers in the SDK's form."""
    if "mcp_servers" not in body:
        return body
    return {**body, "mcp_servers": serialize_mcp_servers(body["mcp_servers"])}


def _status_error(route: Route, sent: Mapping[str, Any], error: APIStatusError) -> AgentStreamError:
    retry_after = error.response.headers.get("retry-after", "")
    seconds = int(retry_after) if retry_after.isdecimal() else None
    refused = refusal(route.upstream, sent, error.status_code, error.body, seconds)
    body = quoted(shown(error.body), route.upstream.is_quoted)
    logger.warning("the upstream answered %d: %.500s (%s)", error.status_code, body, refused.message)
    return refused
