"""The error that a model's server reports, in whatever shape, and which of ours it is. Pure.

Machine-readable names count first, then status numbers, then well-known fragments of messages. A name or a status that
says little (a bad request, a failure) is refined by a message that says more.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from errors import (
    AgentStreamError,
    ContextTooLong,
    McpAuthorizationRequired,
    UpstreamAuth,
    UpstreamFailed,
    UpstreamQuota,
    UpstreamRejected,
)
from services.error_tables import CONTEXT_TEXTS, NAMES, STATUSES, TEXTS, WEAK_NAMES, Kind, Table
from services.json_text import loads

NO_ERROR = frozenset(("", "0", "200", "ok", "success", "succeeded", "completed", "none", "null", "no error", "false"))
FAILED_STATES = frozenset(("error", "failed", "failure", "fail", "err"))
ERROR_KEYS = ("error", "errors", "Error", "fault", "exception", "detail")
CODE_KEYS = (
    "code",
    "error_code",
    "errorCode",
    "errorcode",
    "errcode",
    "status_code",
    "statusCode",
    "http_code",
    "err_code",
    "ret",
)
STATUS_KEYS = (*CODE_KEYS, "status")
NAME_KEYS = (*CODE_KEYS, "type", "status", "name", "reason", "__type", "error", "error_type", "errorType", "Code")
MESSAGE_KEYS = (
    *("message", "msg", "Message", "error_message", "error_msg", "errorMessage", "errmsg", "err_msg", "status_msg"),
    *("detail", "error_description", "faultstring", "title"),
)
TEXT_KEYS = (*MESSAGE_KEYS, "error", "errors", "description", "reason", "raw")
INNER_KEYS = (
    *ERROR_KEYS,
    "message",
    "base_resp",
    "metadata",
    "details",
    "innererror",
    "inner_error",
    "header",
    "choices",
)
SELF_KEYS = ("type", "object", "status", "state", "event", "success", "ok")
MAX_DEPTH = 6
MAX_PARTS = 50
MAX_TEXT = 4000  # of a message, beyond which nothing is looked for


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error says of itself, outermost first: names, HTTP statuses, and texts."""

    names: tuple[str, ...]
    statuses: tuple[int, ...]
    texts: tuple[str, ...]


# Whether something is an error


def is_error(value: object) -> bool:
    """Whether a JSON value that came in an answer's place, or in a chunk's, reports an error.

    An object that has choices is an answer, unless it holds an `error` or calls itself one.
    """
    match value:
        case list():
            return any(map(is_error, value))
        case dict():
            return _admits(value) or (not _has_choices(value) and _complains(value))
        case _:
            return False


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


def _has_choices(value: Mapping[str, Any]) -> bool:
    """Whether a choice says something: a finish reason, or more than a role."""
    choices = value.get("choices")
    return isinstance(choices, list) and any(isinstance(choice, dict) and _says(choice) for choice in choices)


def _says(choice: Mapping[str, Any]) -> bool:
    inner = [choice[key] for key in ("delta", "message") if isinstance(choice.get(key), dict)]
    said = (value for part in inner for key, value in part.items() if key != "role")
    return bool(choice.get("finish_reason") or choice.get("text")) or any(said)


def _admits(value: Mapping[str, Any]) -> bool:
    """Whether an object says that it is an error, whatever else it holds."""
    base = value.get("base_resp")  # MiniMax
    return (
        any(says_error(value.get(key)) for key in ("error", "errors", "fault"))
        or "error" in (value.get("object"), value.get("type"))
        or (isinstance(base, Mapping) and says_error(base.get("status_code")))
    )


def _complains(value: Mapping[str, Any]) -> bool:
    """Whether an object without choices reports an error: by a state, by a code beside a message, or by either alone.

    A message alone is one unless the object says what else it is, such as `{"type": "ping"}` or a place in a queue.
    """
    if says_error(value.get("detail")) or says_error(value.get("Error")) or False in map(value.get, ("success", "ok")):
        return True
    if any(state in FAILED_STATES for state in map(_word, (value.get("status"), value.get("state")))):
        return True
    if any(400 <= number < 600 for number in map(_number, map(value.get, STATUS_KEYS))):
        return True
    if not any(isinstance(value.get(key), str) and says_error(value[key]) for key in MESSAGE_KEYS):
        return False
    if coded := [value[key] for key in CODE_KEYS if value.get(key) is not None]:
        return any(map(says_error, coded))
    told = [value[key] for key in SELF_KEYS if value.get(key) is not None]
    return not told or any(_kind_of(_plain(name), NAMES) for name in told if isinstance(name, str))


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _number(value: object) -> int:
    """An HTTP status, as a number or as its digits; 0 for anything else."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


# What it is


def complaint(body: object) -> Complaint:
    """What an error says, found in any of the known places of a body or of a chunk."""
    names: list[str] = []
    statuses: list[int] = []
    texts: list[str] = []
    for part in _parts(body):
        if isinstance(part, str):
            texts.append(part[:MAX_TEXT].lower())
            continue
        names += [_plain(part[key]) for key in NAME_KEYS if isinstance(part.get(key), str)]
        statuses += [number for number in map(_number, map(part.get, STATUS_KEYS)) if 400 <= number < 600]
        texts += [part[key][:MAX_TEXT].lower() for key in TEXT_KEYS if isinstance(part.get(key), str)]
    return Complaint(tuple(names), tuple(statuses), tuple(texts))


def error_of(body: object, status: int | None = None, retry_after: int | None = None) -> AgentStreamError:
    """Our error for one that the upstream reports: in a stream, or as a refusal with this HTTP status."""
    said = complaint(body)
    statuses = said.statuses if status is None else (status, *said.statuses)
    if any(number in (401, 403) for number in statuses) and _connect_url(body):
        return McpAuthorizationRequired()
    kind = _kind(said, statuses)
    return kind(retry_after=retry_after if kind in (UpstreamQuota, UpstreamFailed) else None)


def _kind(said: Complaint, statuses: tuple[int, ...]) -> Kind:
    """The first of these that says something: strong names, messages about the context, strong statuses, messages."""
    text = "\n".join(said.texts)
    found = (
        next((kind for name in said.names if (kind := _kind_of(name, NAMES))), None)
        or (ContextTooLong if any(fragment in text for fragment in CONTEXT_TEXTS) else None)
        or next((STATUSES[number] for number in statuses if number in STATUSES), None)
        or _kind_of(text, TEXTS)
        or (UpstreamAuth if 403 in statuses else None)
        or next((kind for name in said.names if (kind := _kind_of(name, WEAK_NAMES))), None)
    )
    if found is not None:
        return found
    return UpstreamRejected if statuses and statuses[0] < 500 and statuses[0] >= 400 else UpstreamFailed


def _kind_of(text: str, table: Table) -> Kind | None:
    return next((kind for kind, fragments in table.items() if any(part in text for part in fragments)), None)


def _plain(name: str) -> str:
    """A machine-readable name without case and punctuation; nothing for a sentence."""
    return "" if len(name) > 100 or " " in name.strip() else re.sub(r"[^a-z]", "", name.lower())


def _parts(body: object) -> Iterator[dict[str, Any] | str]:
    """The objects and bare texts of an error, outermost first, as far as any known server nests them."""
    level, count = [body], 0
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for part in level:
            if (count := count + 1) > MAX_PARTS:
                return
            match part:
                case str() if part.startswith("{") and (said := _json(part)) is not None:
                    inner.append(said)  # LiteLLM and OpenRouter hand on what they got as text
                case str():
                    yield part
                case list():
                    inner += part[:MAX_PARTS]
                case dict():
                    yield part
                    inner += [part[key] for key in INNER_KEYS if isinstance(part.get(key), dict | list)]
                    inner += [text for key in TEXT_KEYS if isinstance(text := part.get(key), str) and "{" in text[:1]]
        level = inner


def _json(text: str) -> object:
    try:
        return loads(text)[0] if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        return None


def _connect_url(body: object) -> bool:
    match body:
        case {"connect_url": str()} | {"detail": {"connect_url": str()}} | {"error": {"connect_url": str()}}:
            return True
        case _:
            return False
