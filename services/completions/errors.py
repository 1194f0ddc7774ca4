"""Translates the errors that model servers report, in any shape, into ours. Pure.

Machine-readable names count first, then status numbers, then well-known fragments of messages. An unspecific name or
status (a bad request, a failure) counts only if no message is more specific.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from errors import (
    AgentStreamError,
    ContextTooLong,
    McpAuthorizationRequired,
    UpstreamAuth,
    UpstreamFailed,
    UpstreamModelNotFound,
    UpstreamQuota,
    UpstreamRejected,
)
from json_codec.text import loads
from services.completions.error_shapes import ENVELOPES, MESSAGE_KEYS, STATUS_KEYS, http_status, names_error, plain
from services.completions.error_tables import (
    ANOTHER_MODEL_MAY_HELP,
    CONTEXT_TEXTS,
    NAMES,
    NO_MODEL,
    NO_MODEL_TEXTS,
    STATUSES,
    TEXTS,
    WEAK_NAMES,
    Kind,
    Table,
)

NAME_KEYS = STATUS_KEYS | {"type", "name", "reason", "error", "errortype", "event", "object", "state"}
TEXT_KEYS = MESSAGE_KEYS | {"description", "reason", "raw", "text"}
INNER_KEYS = ENVELOPES | {"detail", "details", "metadata", "innererror", "baseresp", "choices", "delta"}
"""Keys without case and punctuation. Keys that name an error are read as well."""

UNQUOTED = "(not quoted, because CHECK_OUTPUT has not checked it)"
MAX_DEPTH = 6
MAX_PARTS = 50
MAX_TEXT = 4000  # characters of a message that are searched


@dataclass(frozen=True, slots=True)
class ErrorParts:
    """The parts of a reported error, outermost first: names, HTTP statuses and texts."""

    names: tuple[str, ...]
    statuses: tuple[int, ...]
    texts: tuple[str, ...]


def parts_of(body: object) -> ErrorParts:
    """Collect the parts of an error from all known places of a body or a chunk."""
    names: list[str] = []
    statuses: list[int] = []
    texts: list[str] = []
    for part in _nested(body):
        if isinstance(part, str):
            texts.append(part[:MAX_TEXT].lower())
            continue
        for key, value in part.items():
            name, is_error_key = plain(key), names_error(key)
            if is_error_key:
                names.append(name)
            if name in STATUS_KEYS and 400 <= http_status(value) < 600:
                statuses.append(http_status(value))
            if isinstance(value, str):
                if is_error_key or name in NAME_KEYS:
                    names.append(plain(value))
                if is_error_key or name in TEXT_KEYS:
                    texts.append(value[:MAX_TEXT].lower())
    return ErrorParts(tuple(names), tuple(statuses), tuple(texts))


def status_of(error_data: object) -> int:
    """Return the HTTP status that an error in a stream names, 400 if it names none."""
    return next(iter(parts_of(error_data).statuses), 400)


def error_of(body: object, status: int | None = None, retry_after: int | None = None) -> AgentStreamError:
    """Return our error for one that the upstream reports: in a stream, or as a refusal with this HTTP status."""
    parts = parts_of(body)
    statuses = parts.statuses if status is None else (status, *parts.statuses)
    if any(number in (401, 403) for number in statuses) and _has_connect_url(body):
        return McpAuthorizationRequired()
    kind = _kind(parts, statuses)
    return kind(retry_after=retry_after if kind in (UpstreamQuota, UpstreamFailed) else None)


def quoted(sent: object, is_quoted: bool) -> object:
    """Return what an upstream has sent for a line of the log, unless the log must not quote it."""
    return sent if is_quoted else UNQUOTED


def another_model_may_help(error: AgentStreamError) -> bool:
    """Whether another model may answer after this error. docs/upstreams.md has the table."""
    return isinstance(error, ANOTHER_MODEL_MAY_HELP)


def _kind(parts: ErrorParts, statuses: tuple[int, ...]) -> Kind:
    """Decide by the most specific part: names, texts about context or model, statuses, other texts, weak names."""
    text = "\n".join(parts.texts)
    found = (
        next((kind for name in parts.names if (kind := _kind_of(name, NAMES))), None)
        or (ContextTooLong if any(fragment in text for fragment in CONTEXT_TEXTS) else None)
        or (UpstreamModelNotFound if _says_no_model(parts.texts, statuses) else None)
        or next((STATUSES[number] for number in statuses if number in STATUSES), None)
        or _kind_of(text, TEXTS)
        or (UpstreamAuth if 403 in statuses else None)
        or next((kind for name in parts.names if (kind := _kind_of(name, WEAK_NAMES))), None)
    )
    if found is not None:
        return found
    return UpstreamRejected if statuses and 400 <= statuses[0] < 500 else UpstreamFailed


def _says_no_model(texts: tuple[str, ...], statuses: tuple[int, ...]) -> bool:
    """Whether a refusal is about the model's name. A 404 that mentions a model is, as Anthropic's "model: claude-…"."""
    if any(number >= 500 for number in statuses):
        return False
    if 404 in statuses and any("model" in text for text in texts):
        return True
    return any(map(_mentions_no_model, texts))


def _mentions_no_model(text: str) -> bool:
    return NO_MODEL.search(text) is not None or any(part in text for part in NO_MODEL_TEXTS)


def _kind_of(text: str, table: Table) -> Kind | None:
    return next((kind for kind, fragments in table.items() if any(part in text for part in fragments)), None)


def _nested(body: object) -> Iterator[dict[str, Any] | str]:
    """Yield the objects and bare texts of an error, outermost first, as deep as any known server nests them."""
    level, count = [body], 0
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for part in level:
            if (count := count + 1) > MAX_PARTS:
                return
            match part:
                case str() if part.startswith("{") and (parsed := _json(part)) is not None:
                    inner.append(parsed)  # LiteLLM and OpenRouter forward an error as text
                case str():
                    yield part
                case list():
                    inner += part[:MAX_PARTS]
                case dict():
                    yield part
                    inner += [value for key, value in part.items() if _may_hold_more(key, value)]
        level = inner


def _may_hold_more(key: str, value: object) -> bool:
    """Whether the value of a key may hold more of the error."""
    if isinstance(value, str):
        return value.startswith("{") and (names_error(key) or plain(key) in TEXT_KEYS)
    return isinstance(value, dict | list) and (names_error(key) or plain(key) in INNER_KEYS)


def _json(text: str) -> object:
    try:
        return loads(text)[0] if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        return None


def _has_connect_url(body: object) -> bool:
    match body:
        case {"connect_url": str()} | {"detail": {"connect_url": str()}} | {"error": {"connect_url": str()}}:
            return True
        case _:
            return False
