"""Reads DEDALUS_BASE_URL as people write it, and returns the base URL to which `/chat/completions` is added."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from services.upstreams.providers import KNOWN, provider_at

ENDPOINT = re.compile(
    r"/(chat/completions|completions|responses|messages|embeddings|models|(?<=/v\d/)chat)$", re.IGNORECASE
)
VERSIONED = re.compile(r"/v\d\w*(/|$)")  # a path with a version, such as /v1 or /v1beta/openai
CAPITAL = re.compile(r"/V(?=\d\w*(/|$))")
DOUBLED = re.compile(r"(/v\d\w*)\1(?=/|$)")
DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)$")


class Address(NamedTuple):
    """The address of an API. `url` has no slash at its end, and `query` is sent with each request.

    `provider` is the name of the provider that owns the host. `deployment` is the model in a classic Azure URL, which
    serves no other model. `azure` is set for Azure, which accepts its key in a header of its own.
    """

    url: str
    query: Mapping[str, str]
    provider: str | None
    deployment: str | None
    azure: bool


def address(base_url: str) -> Address:
    """Read a base URL: it may lack its version, contain // or /V1, or end with the path of an endpoint."""
    parts = urlsplit(base_url)
    provider, query = provider_at(parts.hostname or ""), dict(parse_qsl(parts.query, keep_blank_values=True))
    path = CAPITAL.sub("/v", re.sub("/{2,}", "/", parts.path))
    path = DOUBLED.sub(r"\1", path).rstrip("/")
    azure_models = (
        provider == "azure" and path == "/models"
    )  # https://….services.ai.azure.com/models is a base URL, not an endpoint
    endpoint = None if azure_models else ENDPOINT.search(path)
    if endpoint is not None:
        path = path[: endpoint.start()]
    deployment = DEPLOYMENT.search(path)
    if not (endpoint or deployment or azure_models):
        path = _versioned(path, provider)
    return Address(
        f"{parts.scheme}://{parts.netloc}{path}",
        query,
        provider,
        deployment[1] if deployment else None,
        azure=provider == "azure" or deployment is not None or "api-version" in query,
    )


def _versioned(path: str, provider: str | None) -> str:
    """Complete a path to the API's version: to the known provider's own path if it begins like that, else with /v1."""
    if provider and (own := urlsplit(KNOWN[provider].url).path).startswith(path):
        return own
    return path if VERSIONED.search(path) else f"{path}/v1"
