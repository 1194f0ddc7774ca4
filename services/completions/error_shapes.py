"""Decides whether JSON in an answer's place reports an error, in the shapes of many servers. Pure."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

NO_ERROR = frozenset(("", "0", "200", "ok", "success", "succeeded", "completed", "none", "null", "no error", "false"))
FAILED_STATES = frozenset(("error", "failed", "failure", "fail", "err"))
CODE_KEYS = frozenset(("code", "statuscode", "httpcode", "ret", "errno"))
STATUS_KEYS = CODE_KEYS | {"status", "errorcode", "errcode"}
MESSAGE_KEYS = frozenset(("message", "msg", "statusmsg", "detail", "faultstring", "title"))
KIND_KEYS = frozenset(("type", "object", "event", "eventtype", "kind", "finishreason", "status", "state"))
SELF_KEYS = KIND_KEYS | {"success", "ok"}
ENVELOPES = frozenset(("response", "result", "data", "header", "message", "body", "output", "responsemetadata"))
"""Keys without case and punctuation, so that `error_code`, `errorCode` and `ErrorCode` are one."""

ERROR_KEY = re.compile("^(?!contentfilter|mcpservererrors).*(error|exception)|^err(no|code|msg|message|s)?$|^fault$")
"""Two keys are left out. In `content_filter_error` Azure reports that its filter failed, and in `mcp_server_errors`
Dedalus names servers whose tools are missing. Neither ends the answer."""
ERROR_KIND = re.compile(
    "^error|(error|exception|failed|failure)$|ratelimit|throttl|quota|overloaded|unavailable|timeout|timedout"
)


def is_error(value: object) -> bool:
    """Whether a JSON value in the place of an answer or a chunk reports an error.

    An object with a piece of the answer is no error, unless it holds an `error` or is named as one.
    """
    match value:
        case list():
            return any(map(is_error, value))
        case dict():
            return _is_declared(value) or (not _has_piece(value) and _is_implied(value))
        case _:
            return False


def is_failed_choice(choice: Mapping[str, Any]) -> bool:
    """Whether a choice, or its delta or message, holds an error."""
    parts = (choice, choice.get("delta"), choice.get("message"))
    return any(
        names_error(key) and means_error_value(part[key]) for part in parts if isinstance(part, Mapping) for key in part
    )


def means_error_value(value: object) -> bool:
    """Whether the value of a field such as `error` is an error: neither empty nor a word for none."""
    match value:
        case str():
            return value.strip().lower() not in NO_ERROR
        case Mapping():
            return any(map(means_error_value, value.values()))
        case list():
            return any(map(means_error_value, value))
        case bool() | None:
            return value is True
        case int() | float():
            return value not in (0, 200)
        case _:
            return False


@lru_cache(maxsize=1024)
def plain(name: str) -> str:
    """Return a machine-readable name without case and punctuation. Empty for a sentence."""
    return "" if len(name) > 100 or " " in name.strip() else re.sub(r"[^a-z]", "", name.lower())


@lru_cache(maxsize=1024)
def names_error(key: str) -> bool:
    """Whether errors are reported under this key, such as `error_code` or `throttlingException`."""
    return ERROR_KEY.search(plain(key)) is not None


@lru_cache(maxsize=1024)
def is_kind_of_error(kind: str) -> bool:
    """Whether the type of an object, or the name of an event, means an error, such as `response.failed`."""
    return ERROR_KIND.search(plain(kind)) is not None


def http_status(value: object) -> int:
    """Read an HTTP status, which may be digits in a text. 0 for any other value."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _has_piece(value: Mapping[str, Any]) -> bool:
    """Whether a chunk holds a piece of the answer, beyond a role."""
    choices = value.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and _is_more_than_a_role(choice) for choice in choices
    )


def _is_more_than_a_role(choice: Mapping[str, Any]) -> bool:
    parts = (choice.get("delta"), choice.get("message"), {key: choice.get(key) for key in ("text", "content")})
    return any(part[key] for part in parts if isinstance(part, dict) for key in part if key != "role")


def _is_declared(value: Mapping[str, Any]) -> bool:
    """Whether an object declares an error, whatever else it holds."""
    base = value.get("base_resp")  # MiniMax
    return (
        any(means_error_value(value.get(key)) for key in ("error", "errors", "fault"))
        or "error" in (value.get("object"), value.get("type"))
        or (isinstance(base, Mapping) and means_error_value(base.get("status_code")))
    )


def _is_implied(value: Mapping[str, Any]) -> bool:
    """Whether an object without a piece of the answer reports an error: by a key, a kind, a state, a status or a code.

    A code or a message that doesn't mention an error still is one if there are no choices at all, unless the object
    has another kind, such as `{"type": "ping"}` or a place in a queue.
    """
    by_name = {plain(key): inner for key, inner in value.items()}
    return (
        any(names_error(key) and means_error_value(inner) for key, inner in value.items())
        or means_error_value(by_name.get("detail"))
        or any(by_name.get(key) in (False, "false") for key in ("success", "ok"))
        or any(is_kind_of_error(text) or text.strip().lower() in FAILED_STATES for text in _texts(by_name, KIND_KEYS))
        or any(400 <= http_status(by_name.get(key)) < 600 for key in STATUS_KEYS)
        or any(is_kind_of_error(text) for text in _texts(by_name, CODE_KEYS))
        or any(is_error(inner) for key in ENVELOPES if isinstance(inner := by_name.get(key), dict))
        or (not any(_choices(value)) and _has_only_a_message(by_name))
    )


def _has_only_a_message(by_name: Mapping[str, Any]) -> bool:
    if not any(means_error_value(text) for text in _texts(by_name, MESSAGE_KEYS)):
        return False
    if codes := [by_name[key] for key in CODE_KEYS if by_name.get(key) is not None]:
        return any(map(means_error_value, codes))
    return all(by_name.get(key) is None for key in SELF_KEYS)


def _choices(value: Mapping[str, Any]) -> list[Any]:
    choices = value.get("choices")
    return choices if isinstance(choices, list) else []


def _texts(by_name: Mapping[str, Any], keys: frozenset[str]) -> Iterator[str]:
    return (text for key in keys if isinstance(text := by_name.get(key), str))
