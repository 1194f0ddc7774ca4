"""Token counts as servers report them, in any of the known ways. No oddity of an account loses an answer."""

from collections.abc import Mapping
from typing import Any

from events import Usage

MOST = 2**53  # beyond which a count is no count, nor a number that every reader of JSON reads

NAMES: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens", "prompt_eval_count"),
    "output_tokens": ("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens", "eval_count"),
    "total_tokens": ("total_tokens", "totalTokenCount", "totalTokens"),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "reasoning_tokens",  # Perplexity
        "thoughtsTokenCount",  # Gemini
    ),
    "cached_input_tokens": (
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cache_read_input_tokens",  # Anthropic
        "prompt_cache_hit_tokens",  # DeepSeek
        "cached_tokens",  # Moonshot
        "cachedContentTokenCount",  # Gemini
    ),
}
"""Each count under the names that it has at OpenAI, Anthropic, Gemini, Bedrock and Ollama. The first that is a count
counts."""

CACHED_APART = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""What Anthropic leaves out of `input_tokens`."""


def usage_of(said: object, before: Usage) -> Usage:
    """The counts of a report, with those that came before.

    Counts only grow within a stream, so that a later report which is partial, or zero, erases nothing.
    """
    if not isinstance(said, Mapping):
        return before
    counts = {count: _first(said, names) for count, names in NAMES.items()}
    if "prompt_tokens" not in said and counts["input_tokens"] is not None:
        counts["input_tokens"] += sum(count_of(said.get(name)) or 0 for name in CACHED_APART)
    if counts["total_tokens"] is None and counts["input_tokens"] is not None and counts["output_tokens"] is not None:
        counts["total_tokens"] = counts["input_tokens"] + counts["output_tokens"]
    return Usage(**{count: _larger(getattr(before, count), value) for count, value in counts.items()})


def _larger(before: int | None, now: int | None) -> int | None:
    return now if before is None else before if now is None else max(before, now)


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    found = (count_of(_at(said, name)) for name in names)
    return next((count for count in found if count is not None), None)


def _at(said: object, path: str) -> object:
    for key in path.split("."):
        said = said.get(key) if isinstance(said, Mapping) else None
    return said


def count_of(value: object) -> int | None:
    """A whole number that is not negative, however it is written; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value <= MOST else None
