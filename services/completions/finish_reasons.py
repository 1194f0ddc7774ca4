"""Why a model stopped, as servers say it: which reasons mean an error, and which that the answer was cut.

Every other reason means that the answer is complete. Reasons are compared without case, and each part of
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


UNTOLD = frozenset(("", "null", "none"))  # the first where it is text (Alibaba's own API)
OTHER_KEYS = ("finishReason", "stop_reason", "finish_details", "native_finish_reason")
"""Where a reason stands if not in `finish_reason`: Gemini, Anthropic, OpenAI's vision preview, OpenRouter."""
ERROR = re.compile(
    "error|exception|fail|abort|cancel|interrupt|timeout|timed_out|overload|unavailable|crash|disconnect"
)
CUT = re.compile(
    "length|limit|max_.*tokens|budget|truncat|incomplete|exceed|cut_?off|context_window"
    "|filter|block|safety|prohibit|sensitiv|moderat|guardrail|policy|violat|refus|pause"
)


def reason_of(choice: object) -> str | None:
    """The reason that a choice tells, or what is in its place; None where it tells none.

    OpenRouter tells its provider's own one beside it, which counts where that alone means an error or a cut.
    """
    if not isinstance(choice, Mapping):
        return None
    told = _text(choice.get("finish_reason"))
    if told is None:
        return next((reason for key in OTHER_KEYS if (reason := _text(choice.get(key))) is not None), None)
    native = _text(choice.get("native_finish_reason"))
    worse = native is not None and (means_error(native) or (means_cut(native) and not means_error(told)))
    return native if worse else told


def _text(said: object) -> str | None:
    """A reason's text. One that is an object has it as its type (`finish_details`)."""
    if isinstance(said, dict):
        said = said.get("type") or said.get("reason")
    if said is None or str(said).strip().lower() in UNTOLD:
        return None
    return str(said)


def means_error(reason: str) -> bool:
    """Whether a finish reason says that the model's server failed."""
    parts = _parts(reason)
    return not ERRORS.isdisjoint(parts) or any(map(ERROR.search, parts))


def means_cut(reason: str) -> bool:
    """Whether it says that the answer ends before its end, so that the last of its tool calls may be incomplete."""
    parts = _parts(reason)
    return not CUTS.isdisjoint(parts) or any(map(CUT.search, parts))


@lru_cache(maxsize=256)
def _parts(reason: str) -> frozenset[str]:
    return frozenset(re.sub(r"[\s-]+", "_", part.strip().lower()) for part in reason[:200].split(":"))
