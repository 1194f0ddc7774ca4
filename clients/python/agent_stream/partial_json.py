"""Reads JSON that is still being written."""

import json
import re
from typing import Any

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?P<end>"?)|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)
HALF_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,3})?$"
)
"""The beginning of an escape at the end of a text, or of the two that are one character beyond U+FFFF."""
FENCE = re.compile(r"\s*(?:```\w*\s*)?(?=[\[{])")
CLOSING = {"{": "}", "[": "]"}
BRACKETS = frozenset("{}[]")


def partial_value(text: str) -> Any:
    """Return as much of a JSON object or array as has been written, perhaps in a code fence. None if there is none.

    The last string may be a part of the one that is meant. A number or a word counts once something follows it.
    """
    begin = FENCE.match(text)
    return None if begin is None else _value(_closed(text, begin.end()))


def _closed(text: str, start: int) -> str:
    """Return the text from `start` up to its last complete member, with the brackets closed."""
    brackets: list[str] = []
    is_key = False
    last, closing = None, ""
    for token in TOKEN.finditer(text, start):
        written = token[0]
        if written in CLOSING:
            brackets.append(CLOSING[written])
        elif written in {"}", "]"} and brackets.pop() != written:
            break
        is_skipped = written in {",", ":"} or is_key or (token["end"] is None and token.end() == len(text))
        if written in BRACKETS or not is_skipped:
            last, closing = token, "".join(reversed(brackets))
        if not brackets:
            break
        is_key = brackets[-1] == "}" and (written in {"{", ","} or (is_key and written != ":"))
    if last is None:
        return ""
    member = text[start : last.end()]
    if last["end"] == "":
        member = HALF_ESCAPE.sub(r"\1", member) + '"'
    return member + closing


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
