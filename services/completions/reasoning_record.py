"""What a turn's reasoning was on the wire, field by field, so that it can go back to its provider as it came."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from json_codec.text import dumps, mend

logger = logging.getLogger(__name__)

MAX_BYTES = 1024 * 1024  # of one turn's record, as JSON
TEXT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
LIST_FIELDS = ("reasoning_details", "thinking_blocks")
OTHER_FIELDS = (
    *("reasoning_signature", "signature", "thought_signature", "extra_content"),
    "reasoning_opaque",  # GitHub Copilot, with reasoning_text
    "provider_specific_fields",  # LiteLLM: thought signatures of a text
)
FIELDS = frozenset((*TEXT_FIELDS, *LIST_FIELDS, *OTHER_FIELDS))
JOINED_KEYS = ("text", "summary", "thinking", "data")  # of which `data` comes whole
"""The keys of an entry whose values are pieces of one text (OpenRouter's `reasoning_details`, LiteLLM's
`thinking_blocks`)."""


class ReasoningRecord:
    """Gathers the reasoning fields of one turn's deltas. Beyond MAX_BYTES it holds nothing more and is empty."""

    def __init__(self) -> None:
        self._texts: defaultdict[str, list[str]] = defaultdict(list)
        self._lists: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._others: dict[str, Any] = {}
        self._size = 0

    def add(self, field: str, said: object) -> None:
        """Take in a field of a delta: one of `FIELDS`."""
        if isinstance(said, str) and field in TEXT_FIELDS:
            self._size += len(said)
            self._texts[field].append(said)
        else:
            self._size += len(dumps(said))
            self._other(field, said)
        if self._size > MAX_BYTES:
            self._texts.clear()
            self._lists.clear()
            self._others.clear()

    def _other(self, field: str, said: object) -> None:
        """Take in a field that isn't text. An object in the place of text is a list of one."""
        match said:
            case list():
                for entry in said:
                    if isinstance(entry, dict):
                        _join(self._lists[field], entry)
            case dict() if field in TEXT_FIELDS:
                _join(self._lists[field], said)
            case dict():
                self._others[field] = {**self._others.get(field, {}), **said}
            case str():
                self._others[field] = said

    def as_json(self) -> dict[str, Any]:
        """The fields as they came, their pieces joined; empty where there was none, or too much."""
        if not (self._size or self._texts):
            return {}
        if self._size > MAX_BYTES:
            logger.warning("the reasoning of a turn is longer than %d bytes and is not sent back", MAX_BYTES)
            return {}
        texts = {field: "".join(pieces) for field, pieces in self._texts.items()}
        lists: dict[str, Any] = {field: entries for field, entries in self._lists.items() if entries}
        objects = {field: entries[0] for field, entries in lists.items() if field in TEXT_FIELDS and len(entries) == 1}
        record: dict[str, Any] = mend(texts | lists | objects | self._others)
        return record


def _join(entries: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Add a piece of an entry: to the last one where it continues that one, else as an entry of its own.

    Pieces of one entry have the same type and index, and a text each (OpenRouter, "Preserving reasoning"). A signature
    closes an entry (Anthropic's thinking blocks). Of other keys, the last value counts.
    """
    last = entries[-1] if entries else {}
    told = {key: value for key, value in piece.items() if value not in (None, "")}
    text = next((key for key in JOINED_KEYS if key in told), None)
    closed = last.get("signature", told.get("signature")) != told.get("signature") and text is not None
    other = any(last.get(key) != piece.get(key) for key in ("type", "index"))
    if not entries or other or closed or (text == "data" and "data" in last):
        entries.append(dict(piece))
        return
    if text is not None:
        told[text] = f"{last.get(text) or ''}{told[text]}"
    last.update(told)
