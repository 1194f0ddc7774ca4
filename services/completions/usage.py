"""Reads token counts in every form in which servers report them. No form makes an answer fail. Pure."""

from collections.abc import Mapping
from typing import Any

from usage_models import Usage

MAX_COUNT = 2**53  # the largest whole number that every JSON reader reads exactly

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
        "cacheReadInputTokens",  # Bedrock
    ),
    "cache_write_input_tokens": (
        "prompt_tokens_details.cache_write_tokens",  # OpenRouter
        "prompt_tokens_details.cache_creation_tokens",  # LiteLLM
        "input_tokens_details.cache_write_tokens",
        "cache_creation_input_tokens",  # Anthropic
        "cacheWriteInputTokens",  # Bedrock
    ),
}
"""The names of each count at OpenAI, Anthropic, Gemini, Bedrock and Ollama. The first with a valid number counts."""

CACHED_APART = {
    "input_tokens": ("cache_read_input_tokens", "cache_creation_input_tokens"),
    "inputTokens": ("cacheReadInputTokens", "cacheWriteInputTokens"),
}
"""Counts that Anthropic and Bedrock leave out of their count of the input."""


def usage_of(report: object, before: Usage) -> Usage:
    """Combine the counts of a report with those of the reports before it.

    Counts only grow within a stream, so a later report that is partial or zero erases nothing.
    """
    if not isinstance(report, Mapping):
        return before
    counts = {count: _first_count(report, names) for count, names in NAMES.items()}
    if "prompt_tokens" not in report and counts["input_tokens"] is not None:
        apart = (name for count, names in CACHED_APART.items() if count in report for name in names)
        counts["input_tokens"] += sum(count_of(report.get(name)) or 0 for name in apart)
    if counts["total_tokens"] is None and counts["input_tokens"] is not None and counts["output_tokens"] is not None:
        counts["total_tokens"] = counts["input_tokens"] + counts["output_tokens"]
    return Usage(**{count: _larger(getattr(before, count), value) for count, value in counts.items()})


def _larger(before: int | None, now: int | None) -> int | None:
    if before is None or now is None:
        return now if before is None else before
    return max(before, now)


def _first_count(report: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    counts = (count_of(_at(report, name)) for name in names)
    return next((count for count in counts if count is not None), None)


def _at(value: object, path: str) -> object:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def count_of(value: object) -> int | None:
    """Return a whole number that is not negative, whether sent as a number or as text. None for any other value."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value <= MAX_COUNT else None
