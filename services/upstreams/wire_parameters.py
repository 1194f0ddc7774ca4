"""Writes the parameters whose form differs between servers, and refuses what a server is known not to accept.

`services/upstreams/providers.py` says which form each server has. docs/upstreams.md shows the table.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from errors import ErrorDetail, InvalidRequest
from parameter_models import USE_INSTEAD, ModelParameters
from setting_objects import WireRules

Json = Mapping[str, Any]

RESERVED = frozenset(
    (
        *ModelParameters.model_fields,
        *USE_INSTEAD,
        *("model", "messages", "stream", "stream_options", "tools", "mcp_servers", "n", "random_seed"),
        *("correlation_id", "deferred_calls", "credentials", "automatic_tool_execution", "prompt_cache_key"),
    )
) - {"extra_body"}
"""Parameters that this service writes, or has under another name. `extra_body` is a field of Google's requests, too."""
NOT_ALLOWED = "PROVIDER_OPTIONS does not allow this parameter. The operator can add it."
OURS = "This service sets this parameter itself: use the field of the request."
TWICE = "Another field of the request sets this parameter: send one of the two."
UNNAMED = 'The model server can\'t be made to call one named tool. Send "required", "auto" or "none".'
UNFORCED = 'The model server can\'t be made to call a tool. Send "auto" or "none".'


def in_form(body: Json, rules: WireRules) -> dict[str, Any]:
    """Return the body with each parameter in the form of the rules. The others are unchanged."""
    sent = dict(body)
    for name, write in WRITERS.items():
        if name in sent:
            sent |= write(sent.pop(name), rules)
    return sent


def _thinking(budget: int | str, rules: WireRules) -> Json:
    adaptive = isinstance(budget, str)
    match rules.thinking:
        case "thinking":
            return {"thinking": {"type": "adaptive"} if adaptive else {"type": "enabled", "budget_tokens": budget}}
        case "reasoning":
            return {"reasoning": {"enabled": True} if adaptive else {"max_tokens": budget}}
        case "google":  # -1 lets Gemini decide: https://ai.google.dev/gemini-api/docs/thinking
            config = {"thinking_budget": -1 if adaptive else budget, "include_thoughts": True}
            return {"extra_body": {"google": {"thinking_config": config}}}


def _web_search(asked: bool | Json, rules: WireRules) -> Json:
    options = {} if isinstance(asked, bool) else dict(asked)
    place = options.pop("user_location", None)
    if place:
        nested = {"type": "approximate", "approximate": place}
        options["user_location"] = place if rules.web_search == "flat" else nested
    if rules.web_search != "plugin":
        return {"web_search_options": options}
    plugin: dict[str, Any] = {"plugins": [{"id": "web"}]}
    return {**plugin, "web_search_options": options} if options else plugin


def _tool_choice(choice: str | Json, rules: WireRules) -> Json:
    if isinstance(choice, str):
        return {"tool_choice": choice}
    return {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}}


def _provider_options(options: Json, rules: WireRules) -> Json:
    return options


WRITERS: Mapping[str, Callable[[Any, WireRules], Json]] = {
    "thinking_budget": _thinking,
    "web_search": _web_search,
    "tool_choice": _tool_choice,
    "provider_options": _provider_options,
}


def names_on_the_wire(name: str, sent: Json) -> list[str]:
    """Return the keys of a sent request that may hold a parameter of this name."""
    written = {
        "thinking_budget": ("thinking", "reasoning", "extra_body"),
        "web_search": ("web_search_options", "plugins"),
    }
    return [key for key in written.get(name, (name,)) if key in sent]


def check_options(options: Json, allowed: Collection[str]) -> None:
    """Raise `InvalidRequest` for provider options that the service writes itself, or that aren't allowed."""
    for name in options:
        if name in RESERVED or name not in allowed:
            raise _option_refused(name, OURS if name in RESERVED else NOT_ALLOWED)


def check_parameters(parameters: Json, rules: WireRules) -> None:
    """Raise `InvalidRequest` for a parameter that a server can't take and that decides the form of the answer.

    Raise it also for a provider option that would replace another parameter of the request to this server.
    """
    if fault := _choice_fault(parameters.get("tool_choice"), rules):
        raise InvalidRequest(details=[ErrorDetail("tool_choice", fault)])
    options = parameters.get("provider_options", {})
    written = in_form({key: value for key, value in parameters.items() if key != "provider_options"}, rules)
    if twice := sorted(options.keys() & written.keys()):
        raise _option_refused(twice[0], TWICE)


def _option_refused(name: str, fault: str) -> InvalidRequest:
    return InvalidRequest(details=[ErrorDetail(f"provider_options.{name}", fault)])


def _choice_fault(choice: str | Json | None, rules: WireRules) -> str | None:
    match choice, rules.tool_choice:
        case None | "auto" | "none", _:
            return None
        case _, "nothing":
            return UNFORCED
        case {"name": _}, "any":
            return UNNAMED
        case _:
            return None
