"""Whether JSON that came in an answer's place reports an error, in the shapes of many servers. Pure."""

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

ERROR_KEY = re.compile("^(?!contentfilter).*(error|exception)|^err(no|code|msg|message|s)?$|^fault$")
"""Azure reports under `content_filter_error` that its filter failed, which the answer didn't."""
ERROR_KIND = re.compile(
    "^error|(error|exception|failed|failure)$|ratelimit|throttl|quota|overloaded|unavailable|timeout|timedout"
)


def is_error(value: object) -> bool:
    """Whether a JSON value that came in an answer's place, or in a chunk's, reports an error.

    An object that has a piece of the answer is none, unless it holds an `error` or calls itself one.
    """
    match value:
        case list():
            return any(map(is_error, value))
        case dict():
            return _admits(value) or (not _has_piece(value) and _complains(value))
        case _:
            return False


def is_failed_choice(choice: Mapping[str, Any]) -> bool:
    """Whether a choice, or the delta or message in it, holds an error."""
    parts = (choice, choice.get("delta"), choice.get("message"))
    return any(
        names_error(key) and says_error(part[key]) for part in parts if isinstance(part, Mapping) for key in part
    )


def says_error(value: object) -> bool:
    """Whether the value of a field such as `error` names an error: neither empty nor another word for none."""
    match value:
        case str():
            return value.strip().lower() not in NO_ERROR
        case Mapping():
            return any(map(says_error, value.values()))
        case list():
            return any(map(says_error, value))
        case bool() | None:
            return value is True
        case int() | float():
            return value not in (0, 200)
        case _:
            return False


@lru_cache(maxsize=1024)
def plain(name: str) -> str:
    """A machine-readable name without case and punctuation; nothing for a sentence."""
    return "" if len(name) > 100 or " " in name.strip() else re.sub(r"[^a-z]", "", name.lower())


@lru_cache(maxsize=1024)
def names_error(key: str) -> bool:
    """Whether a key is one under which errors are reported, such as `error_code` or `throttlingException`."""
    return ERROR_KEY.search(plain(key)) is not None


@lru_cache(maxsize=1024)
def is_kind_of_error(kind: str) -> bool:
    """Whether an object's type, or an event's name, says that it is an error, such as `response.failed`."""
    return ERROR_KIND.search(plain(kind)) is not None


def http_status(value: object) -> int:
    """An HTTP status, as a number or as its digits; 0 for anything else."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _has_piece(value: Mapping[str, Any]) -> bool:
    """Whether a chunk holds more of an answer than a role."""
    choices = value.get("choices")
    return isinstance(choices, list) and any(isinstance(choice, dict) and _says_something(choice) for choice in choices)


def _says_something(choice: Mapping[str, Any]) -> bool:
    parts = (choice.get("delta"), choice.get("message"), {key: choice.get(key) for key in ("text", "content")})
    return any(part[key] for part in parts if isinstance(part, dict) for key in part if key != "role")


def _admits(value: Mapping[str, Any]) -> bool:
    """Whether an object says that it is an error, whatever else it holds."""
    base = value.get("base_resp")  # MiniMax
    return (
        any(says_error(value.get(key)) for key in ("error", "errors", "fault"))
        or "error" in (value.get("object"), value.get("type"))
        or (isinstance(base, Mapping) and says_error(base.get("status_code")))
    )


def _complains(value: Mapping[str, Any]) -> bool:
    """Whether an object without a piece of the answer reports an error: by a key, a kind, a state, a status or a code.

    A code or a message that says nothing of an error is one where there are no choices at all, unless the object
    says what else it is, such as `{"type": "ping"}` or a place in a queue.
    """
    known = {plain(key): said for key, said in value.items()}
    return (
        any(names_error(key) and says_error(said) for key, said in value.items())
        or says_error(known.get("detail"))
        or any(known.get(key) in (False, "false") for key in ("success", "ok"))
        or any(is_kind_of_error(said) or _word(said) in FAILED_STATES for said in _texts(known, KIND_KEYS))
        or any(400 <= http_status(known.get(key)) < 600 for key in STATUS_KEYS)
        or any(is_kind_of_error(said) for said in _texts(known, CODE_KEYS))
        or any(is_error(inner) for key in ENVELOPES if isinstance(inner := known.get(key), dict))
        or (not any(_choices(value)) and _has_only_a_message(known))
    )


def _has_only_a_message(known: Mapping[str, Any]) -> bool:
    if not any(says_error(said) for said in _texts(known, MESSAGE_KEYS)):
        return False
    if coded := [known[key] for key in CODE_KEYS if known.get(key) is not None]:
        return any(map(says_error, coded))
    return all(known.get(key) is None for key in SELF_KEYS)


def _choices(value: Mapping[str, Any]) -> list[Any]:
    choices = value.get("choices")
    return choices if isinstance(choices, list) else []


def _texts(known: Mapping[str, Any], keys: frozenset[str]) -> Iterator[str]:
    return (said for key in keys if isinstance(said := known.get(key), str))


def _word(value: str) -> str:
    return value.strip().lower()
