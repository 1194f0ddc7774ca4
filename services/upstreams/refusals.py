"""Turns the refusals of model servers into errors that name the setting or the parameter to check."""

import re
from collections.abc import Mapping
from typing import Any

from errors import AgentStreamError, UpstreamAuth, UpstreamProtocol, UpstreamRejected
from services.completions.errors import error_of
from services.upstreams.corrections import refused_parameter
from services.upstreams.upstream import Upstream

NO_SUCH_PATH = frozenset((404, 405, 501))
REDIRECTS = range(300, 400)  # such as http to https. They are not followed, since the key would be sent along
TITLE = re.compile(r"<title[^<>]{0,100}>([^<]{1,200})", re.IGNORECASE)
UNREACHED = "The model server could not be reached. Check DEDALUS_BASE_URL."
NO_API = "The model server has no chat completions at this address. The operator has to check DEDALUS_BASE_URL."
NO_MCP = (
    "The model server does not host MCP servers. The operator has to set DEDALUS_BASE_URL_HOSTS_MCP=false, so that "
    "this service calls them."
)
NO_CHAT_STREAM = f"{UpstreamProtocol.default} The operator has to check DEDALUS_BASE_URL."


def refusal(
    upstream: Upstream, sent: Mapping[str, Any], status: int, body: object, retry_after: int | None
) -> AgentStreamError:
    """Return the error for a request that was refused with this status and this body."""
    error = error_of(body, status, retry_after)
    if upstream.kind == "custom" and _no_api(status, body):
        return type(error)(NO_API)
    if isinstance(error, UpstreamAuth):
        return UpstreamAuth(f"The model server refused this service's key. The operator has to check {upstream.key}.")
    if type(error) is not UpstreamRejected:
        return error
    name = _parameter(body) or refused_parameter(sent, body)
    if name == "mcp_servers" and name in sent:
        return UpstreamRejected(NO_MCP)
    if name in sent:
        return UpstreamRejected(f"The model server refused this request. It does not accept {name} as it was sent.")
    return error


def shown(body: object) -> object:
    """Return a refusal's body for the log: only the title, if it is a web page."""
    if not (isinstance(body, str) and _is_page(body)):
        return body
    title = TITLE.search(body)
    return f"a web page, {title[1].strip()!r}" if title else "a web page"


def _no_api(status: int, body: object) -> bool:
    """Whether there is no API for models at the base URL: the path does not exist, or a web page answers.

    A 404 that mentions a model is about the model's name. A web page with 429 or 5xx comes from a proxy before the API.
    """
    if status in NO_SUCH_PATH or status in REDIRECTS:
        return not (isinstance(body, Mapping) and "model" in str(body).lower())
    return _is_page(body) and status < 500 and status != 429


def _is_page(body: object) -> bool:
    return isinstance(body, str) and body.lstrip().startswith("<")


def _parameter(body: object) -> str | None:
    """Return the parameter that an error names, such as `stop`, or `messages` for `messages[0].content`."""
    match body:
        case {"error": {"param": str(param)}} | {"param": str(param)}:
            return re.split(r"[.\[]", param)[0]
        case _:
            return None
