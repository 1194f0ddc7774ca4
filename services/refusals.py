"""What a model's server refused, as an error that names the setting or the parameter to look at."""

import re
from collections.abc import Mapping
from typing import Any

from errors import AgentStreamError, UpstreamAuth, UpstreamError, UpstreamFailed, UpstreamProtocol, UpstreamRejected
from services.upstream_errors import error_of
from services.upstreams import UNREACHED, Upstream
from services.wire_rules import refused_parameter

NOT_THERE = frozenset((404, 405))
ELSEWHERE = range(300, 400)  # such as http to https, which isn't followed: the key would go along
NO_API = "The model's server has no chat completions at this address: the operator has to check DEDALUS_BASE_URL."
NO_MCP = (
    "The model's server does not host MCP servers: the operator has to set DEDALUS_BASE_URL_HOSTS_MCP=false, so that "
    "this service calls them."
)
NO_CHAT_STREAM = f"{UpstreamProtocol.default} The operator has to check DEDALUS_BASE_URL."


def refusal(
    upstream: Upstream, sent: Mapping[str, Any], status: int, body: object, retry_after: int | None
) -> AgentStreamError:
    """The error of a request that got this status and this body in place of an answer."""
    error = error_of(body, status, retry_after)
    if isinstance(error, UpstreamAuth):
        return UpstreamAuth(f"The model's server refused this service's key: the operator has to check {upstream.key}.")
    if upstream.kind == "custom" and (status in NOT_THERE or status in ELSEWHERE) and not _about_a_model(body):
        return type(error)(NO_API)
    if type(error) is not UpstreamRejected:
        return error
    name = _parameter(body) or refused_parameter(sent, body)
    if name == "mcp_servers" and name in sent:
        return UpstreamRejected(NO_MCP)
    if name in sent:
        return UpstreamRejected(f"The model's server refused this request: it does not take {name} as it was sent.")
    return error


def unreached(upstream: Upstream) -> UpstreamError:
    """The error of a server that no connection leads to."""
    return UpstreamFailed(UNREACHED if upstream.kind == "custom" else "")


def _about_a_model(body: object) -> bool:
    """Whether a 404 is about the model's name; one about the path is a page, or says no more than that."""
    return isinstance(body, Mapping) and "model" in str(body).lower()


def _parameter(body: object) -> str | None:
    """The parameter that an error is about, such as `stop`, or `messages` for `messages[0].content`."""
    match body:
        case {"error": {"param": str(param)}} | {"param": str(param)}:
            return re.split(r"[.\[]", param)[0]
        case _:
            return None
