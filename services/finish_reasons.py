"""Why a model stopped, as servers say it: which reasons mean an error, and which that the answer was cut.

Every other reason means that the answer is complete. Reasons are compared without case, and each part of
`function_call_filter: MALFORMED_FUNCTION_CALL` (Gemini's OpenAI endpoint) counts.
"""

import re
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
        "abort",  # SGLang, vLLM: the engine gave the request up
        "aborted",
        "cancelled",
        "canceled",
        "malformed_function_call",  # Gemini, these four: the call that the model wrote can't be read
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
        "safety",  # Gemini, and what follows
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


def means_error(reason: str) -> bool:
    """Whether a finish reason says that the model's server failed."""
    return not ERRORS.isdisjoint(_parts(reason))


def means_cut(reason: str) -> bool:
    """Whether it says that the answer ends before its end, so that the last of its tool calls may be incomplete."""
    return not CUTS.isdisjoint(_parts(reason))


@lru_cache(maxsize=256)
def _parts(reason: str) -> frozenset[str]:
    return frozenset(re.sub(r"[\s-]+", "_", part.strip().lower()) for part in reason[:200].split(":"))
