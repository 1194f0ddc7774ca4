"""The error that a model's server reports, in whatever shape, and which of ours it is. Pure.

Machine-readable names count first, then status numbers, then well-known fragments of messages. A name or a status that
says little (a bad request, a failure) is refined by a message that says more.
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
    UpstreamQuota,
    UpstreamRejected,
)
from json_codec.text import loads
from services.completions.error_shapes import ENVELOPES, MESSAGE_KEYS, STATUS_KEYS, http_status, names_error, plain
from services.completions.error_tables import CONTEXT_TEXTS, NAMES, STATUSES, TEXTS, WEAK_NAMES, Kind, Table

NAME_KEYS = STATUS_KEYS | {"type", "name", "reason", "error", "errortype", "event", "object", "state"}
TEXT_KEYS = MESSAGE_KEYS | {"description", "reason", "raw", "text"}
INNER_KEYS = ENVELOPES | {"detail", "details", "metadata", "innererror", "baseresp", "choices", "delta"}
"""Keys without case and punctuation, beside those that name an error."""

MAX_DEPTH = 6
MAX_PARTS = 50
MAX_TEXT = 4000  # of a message, beyond which nothing is looked for


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error says of itself, outermost first: names, HTTP statuses, and texts."""

    names: tuple[str, ...]
    statuses: tuple[int, ...]
    texts: tuple[str, ...]


def complaint(body: object) -> Complaint:
    """What an error says, found in any of the known places of a body or of a chunk."""
    names: list[str] = []
    statuses: list[int] = []
    texts: list[str] = []
    for part in _parts(body):
        if isinstance(part, str):
            texts.append(part[:MAX_TEXT].lower())
            continue
        for key, value in part.items():
            name, error = plain(key), names_error(key)
            if error:
                names.append(name)
            if name in STATUS_KEYS and 400 <= http_status(value) < 600:
                statuses.append(http_status(value))
            if isinstance(value, str):
                names += [plain(value)] if error or name in NAME_KEYS else []
                texts += [value[:MAX_TEXT].lower()] if error or name in TEXT_KEYS else []
    return Complaint(tuple(names), tuple(statuses), tuple(texts))


def status_of(fault: object) -> int:
    """The status that an error would have had as a refusal, 400 where it names none."""
    return next(iter(complaint(fault).statuses), 400)


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
                    inner += [value for key, value in part.items() if _leads_on(key, value)]
        level = inner


def _leads_on(key: str, value: object) -> bool:
    """Whether the value of a key may hold more of the error."""
    if isinstance(value, str):
        return value.startswith("{") and (names_error(key) or plain(key) in TEXT_KEYS)
    return isinstance(value, dict | list) and (names_error(key) or plain(key) in INNER_KEYS)


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
