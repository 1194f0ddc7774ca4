"""Records a turn's reasoning as its provider wrote it, field by field, so that it can be sent back unchanged."""

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
JOINED_KEYS = ("text", "summary", "thinking", "data")
"""The keys of an entry whose values are pieces of one text (OpenRouter's `reasoning_details`, LiteLLM's
`thinking_blocks`). `data` is never in pieces: a second one begins another entry."""


class ReasoningRecord:
    """Gathers the reasoning fields of one turn's deltas. Beyond MAX_BYTES it is emptied and stays empty."""

    def __init__(self) -> None:
        self._texts: defaultdict[str, list[str]] = defaultdict(list)
        self._lists: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._others: dict[str, Any] = {}
        self._size = 0

    def add(self, field: str, value: object) -> None:
        """Add a field of a delta: one of `FIELDS`."""
        if isinstance(value, str) and field in TEXT_FIELDS:
            self._size += len(value)
            self._texts[field].append(value)
        else:
            self._size += len(dumps(value))
            self._add_other(field, value)
        if self._size > MAX_BYTES:
            self._texts.clear()
            self._lists.clear()
            self._others.clear()

    def _add_other(self, field: str, value: object) -> None:
        """Add a field that isn't text. An object in the place of text is a list of one."""
        match value:
            case list():
                for entry in value:
                    if isinstance(entry, dict):
                        _join(self._lists[field], entry)
            case dict() if field in TEXT_FIELDS:
                _join(self._lists[field], value)
            case dict():
                self._others[field] = {**self._others.get(field, {}), **value}
            case str():
                self._others[field] = value

    def as_json(self) -> dict[str, Any]:
        """Return the fields with their pieces joined. Empty if there was no reasoning, or too much."""
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
    """Add a piece to the last entry if it continues that entry, else as an entry of its own.

    Pieces of one entry have the same type and index, and each has a text (OpenRouter, "Preserving reasoning"). A
    signature closes an entry (Anthropic's thinking blocks). For other keys, the last value counts.
    """
    last = entries[-1] if entries else {}
    present = {key: value for key, value in piece.items() if value not in (None, "")}
    text = next((key for key in JOINED_KEYS if key in present), None)
    closed = last.get("signature", present.get("signature")) != present.get("signature") and text is not None
    other = any(last.get(key) != piece.get(key) for key in ("type", "index"))
    if not entries or other or closed or (text == "data" and "data" in last):
        entries.append(dict(piece))
        return
    if text is not None:
        present[text] = f"{last.get(text) or ''}{present[text]}"
    last.update(present)
