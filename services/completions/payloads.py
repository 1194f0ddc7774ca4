"""Recognises the payload of one event: JSON, an error's name, a keepalive, a whole or a cut event. Pure."""

import re
import sys
from typing import Any

from json_codec.scan import JsonLimits, scan
from json_codec.text import loads_leniently
from services.completions.error_shapes import is_kind_of_error

DONE = b"[DONE]"
SCAN_BYTES = 64 * 1024  # events longer than this are scanned before they are parsed; a token's is about 300 bytes
LIMITS = JsonLimits(values=100_000, depth=sys.maxsize, number=sys.maxsize)
"""For one event: parsing 100,000 values takes about 20 ms, during which every other stream stops."""
KEEPALIVE = re.compile(
    rb"|\.+|:.*|\W*(null|undefined|none|ping|pong|keep[ _-]?alive|heart[ _-]?beat)\b[\W\dTZ]*", re.IGNORECASE
)
"""Nothing, a comment that a proxy has made into data, or one of the known words, in brackets or before a time."""


def parse_payload(payload: bytes) -> tuple[Any, bool]:
    """Parse an event's JSON. Returns the value, and whether its strings may hold lone surrogates.

    Raise ValueError if it is not JSON, or more than a parser should be given.
    """
    if len(payload) > SCAN_BYTES:
        scan(payload, LIMITS)
    return loads_leniently(payload)


def is_json(payload: bytes) -> bool:
    """Whether the payload can be parsed."""
    try:
        parse_payload(payload)
    except (ValueError, RecursionError):
        return False
    return True


def is_keepalive(name: bytes, text: bytes) -> bool:
    """Whether an event only keeps the connection open, by its text or by its name."""
    return bool(KEEPALIVE.fullmatch(text) or (name and KEEPALIVE.fullmatch(name)))


def is_error_name(name: bytes) -> bool:
    """Whether an event's name says that its data is an error."""
    return bool(name) and is_kind_of_error(name.decode(errors="replace"))


def is_whole(payload: bytes) -> bool:
    """Whether the last event of a body, which has no blank line after it, was not cut."""
    text = payload.strip().removeprefix(b"data:").strip()
    return text == DONE or is_json(text)
