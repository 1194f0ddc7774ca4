"""Marks what Anthropic's models put into their prompt cache. Without marks they cache nothing.

A mark ends a prefix that is written to the cache, and is read from it by a later request that begins with the same
bytes (https://platform.claude.com/docs/en/build-with-claude/prompt-caching). A request may have four marks, and a
gateway may add some of its own, so there are three at most here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

MARK: Json = {"type": "ephemeral"}


def marked(messages: Sequence[Json]) -> list[Json]:
    """Return the messages with marks at the end of the instructions, of the former request, and of this one.

    The former request ended before the model's last message. Its mark is repeated because Anthropic looks for an
    earlier one at most 20 blocks back, and a step with many calls is longer.
    """
    roles = [message["role"] for message in messages]
    ends = {len(messages) - 1}
    if roles[0] == "system":
        ends.add(0)
    if "assistant" in roles:
        ends.add(len(roles) - roles[::-1].index("assistant") - 2)
    return [_with_mark(message) if place in ends else message for place, message in enumerate(messages)]


def has_marks(messages: Sequence[Json]) -> bool:
    """Return whether the messages of a sent request have marks."""
    contents = [message.get("content") for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any("cache_control" in each for each in (*messages, *parts))


def _with_mark(message: Json) -> Json:
    """Return a message with a mark. The mark of a result is beside its content, where gateways look for it."""
    if message["role"] == "tool":
        return {**message, "cache_control": MARK}
    content = message["content"]
    parts: Sequence[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    last = max((place for place, part in enumerate(parts) if _is_markable(part)), default=None)
    if last is None:
        return message
    return {**message, "content": [*parts[:last], {**parts[last], "cache_control": MARK}, *parts[last + 1 :]]}


def _is_markable(part: Json) -> bool:
    return part["type"] == "text" and bool(part["text"].strip())
