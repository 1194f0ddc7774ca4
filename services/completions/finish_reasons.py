"""Classifies finish reasons: which mean an error, and which mean that the answer was cut.

Every other reason means that the answer is complete. Reasons are compared without case. Each part of
`function_call_filter: MALFORMED_FUNCTION_CALL` (Gemini's OpenAI endpoint) counts.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

ERRORS = frozenset(
    (
        "error",  # OpenRouter ("Streaming: mid-stream errors"), LiteLLM, Mistral
        "server_error",
        "internal_error",
        "failed",
        "failure",
        "network_error",  # Zhipu
        "insufficient_system_resource",  # DeepSeek: "interrupted due to insufficient resource of the inference system"
        "rate_limit_exceeded",
        "timeout",
        "timed_out",
        "abort",  # SGLang, vLLM: the engine dropped the request
        "aborted",
        "cancelled",
        "canceled",
        "malformed_function_call",  # Gemini, these four: the call that the model wrote is unreadable
        "malformed_response",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "missing_thought_signature",  # Gemini 3
    )
)
CUTS = frozenset(
    (
        "length",
        "max_tokens",  # Anthropic, Gemini
        "max_output_tokens",
        "max_completion_tokens",
        "max_length",
        "model_length",  # Mistral
        "token_limit",
        "context_length_exceeded",
        "model_context_window_exceeded",  # Anthropic
        "context_window_exceeded",
        "repetition_truncation",  # Xiaomi MiMo
        "time_limit",
        "truncated",
        "incomplete",
        "content_filter",
        "safety",  # Gemini, as the next ones
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "language",
        "model_armor",
        "other",
        "sensitive",  # Zhipu
        "guardrail_intervened",  # Bedrock
        "content_filtered",  # Bedrock
        "refusal",  # Anthropic
    )
)
CALL_REASONS = frozenset(("tool_calls", "function_call"))

NO_REASON = frozenset(("", "null", "none"))  # "null" is text in Alibaba's own API
OTHER_KEYS = ("finishReason", "stop_reason", "finish_details", "native_finish_reason")
"""Other keys that hold a reason: of Gemini, Anthropic, OpenAI's vision preview, OpenRouter."""
ERROR_WORDS = re.compile(
    "error|exception|fail|abort|cancel|interrupt|timeout|timed_out|overload|unavailable|crash|disconnect"
)
CUT_WORDS = re.compile(
    "length|limit|max_.*tokens|budget|truncat|incomplete|exceed|cut_?off|context_window"
    "|filter|block|safety|prohibit|sensitiv|moderat|guardrail|policy|violat|refus|pause"
)
"""Fragments that classify reasons which are not in the lists above."""


def reason_of(choice: object) -> str | None:
    """Return the reason in a choice, or in an object in its place. None if it has none.

    OpenRouter adds its provider's own reason, which counts if only that one means an error or a cut.
    """
    if not isinstance(choice, Mapping):
        return None
    reason = _text(choice.get("finish_reason"))
    if reason is None:
        return next((other for key in OTHER_KEYS if (other := _text(choice.get(key))) is not None), None)
    native = _text(choice.get("native_finish_reason"))
    worse = native is not None and (means_error(native) or (means_cut(native) and not means_error(reason)))
    return native if worse else reason


def _text(reason: object) -> str | None:
    """Return a reason's text; an object (`finish_details`) has it as its type. None for no reason."""
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    if reason is None or str(reason).strip().lower() in NO_REASON:
        return None
    return str(reason)


def means_error(reason: str) -> bool:
    """Whether a finish reason means that the model server failed."""
    parts = _parts(reason)
    return not ERRORS.isdisjoint(parts) or any(map(ERROR_WORDS.search, parts))


def means_cut(reason: str) -> bool:
    """Whether a finish reason means that the answer was cut, so that the last of its tool calls may be incomplete."""
    parts = _parts(reason)
    return not CUTS.isdisjoint(parts) or any(map(CUT_WORDS.search, parts))


@lru_cache(maxsize=256)
def _parts(reason: str) -> frozenset[str]:
    return frozenset(re.sub(r"[\s-]+", "_", part.strip().lower()) for part in reason[:200].split(":"))
