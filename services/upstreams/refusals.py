"""What a model's server refused, as an error that names the setting or the parameter to look at."""

import re
from collections.abc import Mapping
from typing import Any

from errors import AgentStreamError, UpstreamAuth, UpstreamError, UpstreamFailed, UpstreamProtocol, UpstreamRejected
from services.completions.errors import error_of
from services.upstreams.selection import UNREACHED, Upstream
from services.upstreams.wire_rules import refused_parameter

NOT_THERE = frozenset((404, 405, 501))
ELSEWHERE = range(300, 400)  # such as http to https, which isn't followed: the key would go along
TITLE = re.compile(r"<title[^<>]{0,100}>([^<]{1,200})", re.IGNORECASE)
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
    if upstream.kind == "custom" and _no_api(status, body):
        return type(error)(NO_API)
    if isinstance(error, UpstreamAuth):
        return UpstreamAuth(f"The model's server refused this service's key: the operator has to check {upstream.key}.")
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


def shown(body: object) -> object:
    """A refusal's body for the log: of a web page, its title."""
    if not (isinstance(body, str) and _is_page(body)):
        return body
    titled = TITLE.search(body)
    return f"a web page, {titled[1].strip()!r}" if titled else "a web page"


def _no_api(status: int, body: object) -> bool:
    """Whether what answers at the base URL is no API of models: a path that is not there, or a web page.

    A 404 that speaks of a model is about the model's name. A page under 429 or 5xx is of a proxy before the API.
    """
    if status in NOT_THERE or status in ELSEWHERE:
        return not (isinstance(body, Mapping) and "model" in str(body).lower())
    return _is_page(body) and status < 500 and status != 429


def _is_page(body: object) -> bool:
    return isinstance(body, str) and body.lstrip().startswith("<")


def _parameter(body: object) -> str | None:
    """The parameter that an error is about, such as `stop`, or `messages` for `messages[0].content`."""
    match body:
        case {"error": {"param": str(param)}} | {"param": str(param)}:
            return re.split(r"[.\[]", param)[0]
        case _:
            return None
