"""Reads what Dedalus or a gateway reports beside an answer: state to send back, failed servers, the model. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from json_codec.text import dumps, mend

KEYS = frozenset(("correlation_id", "deferred", "mcp_server_errors", "dedalus_event", "x_dedalus_event"))
MAX_DEFERRED_BYTES = 1024 * 1024  # as JSON
MAX_SERVERS = 100
MAX_MODEL = 200  # characters
VERSION = re.compile(r"(?:-(?:\d{3,8}|\d{2}-\d{2}|latest|preview|exp))+$")


class ServerReports:
    """Collects the reports of one answer.

    `deferred_calls` are calls of the server that wait for results of ours. `mcp_server_errors` has the recommendation
    for each server that failed, empty if there is none. `routed_model` is the model that took over.
    """

    def __init__(self) -> None:
        self.correlation_id: str | None = None
        self.deferred_calls: list[dict[str, Any]] = []
        self.mcp_server_errors: dict[str, str] = {}
        self.routed_model: str | None = None
        self.model: str | None = None

    def begin(self, chunk: Mapping[str, Any]) -> None:
        """Read the model in the first chunk."""
        self.model = _model_name(chunk.get("model"))

    def read(self, chunk: Mapping[str, Any], has_surrogates: bool) -> None:
        """Read a chunk that has one of the `KEYS`. Values of another shape are left out."""
        part = {key: mend(chunk.get(key)) if has_surrogates else chunk.get(key) for key in KEYS}
        if correlation := part["correlation_id"]:
            self.correlation_id = str(correlation)
        if isinstance(deferred := part["deferred"], list):
            self.deferred_calls = _bounded([call for call in deferred if isinstance(call, dict)])
        if isinstance(errors := part["mcp_server_errors"], dict):
            self._add_errors(errors)
        for key in ("dedalus_event", "x_dedalus_event"):
            match part[key]:
                case {"type": "agent_updated", "model": model}:
                    self.routed_model = _model_name(model) or self.routed_model

    def model_in_place_of(self, wire_model: str) -> str | None:
        """Return the model that answers in place of the requested one, None if that one answers.

        An event of Dedalus decides. Else it is the model that the chunks name, if that isn't the requested one under
        another spelling: without its provider, or with its version.
        """
        if self.routed_model is not None:
            return None if self.routed_model == wire_model else self.routed_model
        return self.model if self.model and _base(self.model) != _base(wire_model) else None

    def _add_errors(self, errors: Mapping[str, Any]) -> None:
        for name, error in [*errors.items()][:MAX_SERVERS]:
            recommendation = error.get("recommendation") if isinstance(error, dict) else None
            self.mcp_server_errors[name] = recommendation if isinstance(recommendation, str) else ""


def _bounded(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return calls if len(dumps(calls)) <= MAX_DEFERRED_BYTES else []


def _model_name(value: object) -> str | None:
    is_name = isinstance(value, str) and 0 < len(value) <= MAX_MODEL and value.isprintable() and " " not in value
    return str(value) if is_name else None


def _base(model: str) -> str:
    """Return a model's name without its provider, its variant (`:free`) and its version."""
    name = model.lower().rpartition("/")[2].partition(":")[0]
    return VERSION.sub("", name)
