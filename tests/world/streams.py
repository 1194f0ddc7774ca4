"""Streams of model servers, as documented or reported, with the answer that each should lead to.

The bytes are our own. Each server has a right answer, a tool call and an error at least. The tool is
`get_weather(city)`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wire import Head, RawBytes, Status, Step

Json = dict[str, Any]
Usage = tuple[int | None, int | None]

CALL = ("get_weather", {"city": "Oslo"})
ARGUMENTS = '{"city":"Oslo"}'
HTTP = "an HTTP refusal"


@dataclass(frozen=True)
class Stream:
    """The stream of a server, and the expected result: the parts of an answer, or the code of an error."""

    server: str
    what: str
    source: str
    steps: Sequence[Step]
    text: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str, Json]] = ()
    finish_reason: str = "stop"
    usage: Usage = (None, None)
    error: str | None = None
    model: str = "a-model"
    reasoning: Json = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.server}, {self.what}"


def event(data: Any, name: str | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return ("" if name is None else f"event: {name}\n") + f"data: {text}\n\n"


def sends(*events: str, **headers: str) -> list[Step]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [Head(named), RawBytes("".join(events).encode())]


def refuses(status: int, body: Any) -> list[Step]:
    return [Status(status, body if isinstance(body, str) else dict(body), {"x-should-retry": "false"})]


@dataclass(frozen=True)
class Chunks:
    """Writes chunks with the fields that a server puts around each delta."""

    top: Json
    choice: Json = field(default_factory=dict)
    delta: Json = field(default_factory=dict)

    def __call__(self, delta: Json, finish: str | None = None, of_choice: Json | None = None, **top: Any) -> str:
        choice = {"index": 0, **self.choice, "delta": {**self.delta, **delta}, "finish_reason": finish}
        return event({**self.top, "choices": [{**choice, **(of_choice or {})}], **top})

    def bare(self, **top: Any) -> str:
        return event({**self.top, "choices": [], **top})


def envelope(chunk_id: str, model: str, **more: Any) -> Json:
    return {"id": chunk_id, "object": "chat.completion.chunk", "created": 1764201600, "model": model, **more}


def function(arguments: str, name: str | None = None) -> Json:
    return {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}


def call(call_id: str, arguments: str = ARGUMENTS, **more: Any) -> Json:
    """A whole call in one piece, as many servers send it."""
    return {"id": call_id, "type": "function", "function": function(arguments, "get_weather"), **more}


def counts(prompt: int, completion: int, **more: Any) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


DONE = "data: [DONE]\n\n"

# OpenAI

OPENAI = "platform.openai.com/docs/api-reference/chat-streaming"
openai = Chunks(
    envelope("chatcmpl-C1", "gpt-4.1-2025-04-14", service_tier="default", system_fingerprint="fp_1", usage=None),
    {"logprobs": None},
)
FROM_OPENAI = [
    Stream(
        "OpenAI",
        "an answer",
        OPENAI,
        sends(
            openai({"role": "assistant", "content": "", "refusal": None}, obfuscation="aB3"),
            openai({"content": "Hello"}, obfuscation="x"),
            openai({"content": "!"}, obfuscation="yQ"),
            openai({}, "stop", obfuscation="z"),
            openai.bare(usage=counts(9, 2, prompt_tokens_details={"cached_tokens": 0}), obfuscation=""),
            DONE,
        ),
        text="Hello!",
        usage=(9, 2),
    ),
    Stream(
        "OpenAI",
        "a call",
        OPENAI,
        sends(
            openai({"role": "assistant", "content": None, "tool_calls": [call("call_a1", "", index=0)]}),
            openai({"tool_calls": [{"index": 0, "function": function('{"city"')}]}),
            openai({"tool_calls": [{"index": 0, "function": function(':"Oslo"}')}]}),
            openai({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "OpenAI",
        "a refusal of the model",
        OPENAI,
        sends(openai({"refusal": "I can't "}), openai({"refusal": "help."}), openai({}, "stop"), DONE),
        text="I can't help.",
    ),
    Stream(
        "OpenAI",
        "an error in the stream",
        "openai-python: `_streaming.py` raises for a chunk with `error`",
        sends(
            openai({"content": "Hel"}),
            event(
                {"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": None}}
            ),
        ),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "OpenAI",
        "a context that is too long",
        "platform.openai.com/docs/guides/error-codes",
        refuses(
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 128000 tokens. However, your messages resulted "
                    "in 130000 tokens.",
                    "type": "invalid_request_error",
                    "param": "messages",
                    "code": "context_length_exceeded",
                }
            },
        ),
        error="context_too_long",
    ),
    Stream(
        "OpenAI",
        "no quota",
        "platform.openai.com/docs/guides/error-codes",
        refuses(429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}),
        error="upstream_quota",
    ),
]

# Anthropic's OpenAI endpoint

ANTHROPIC = "docs.claude.com/en/api/openai-sdk"
anthropic = Chunks(envelope("msg_01", "claude-sonnet-4-5"))
FROM_ANTHROPIC = [
    Stream(
        "Anthropic",
        "an answer",
        ANTHROPIC,
        sends(
            anthropic({"role": "assistant", "content": "Hel"}),
            anthropic({"content": "lo!"}),
            anthropic({}, "stop", usage={"input_tokens": 7, "output_tokens": 2, "cache_read_input_tokens": 2}),
            DONE,
        ),
        text="Hello!",
        usage=(9, 2),
    ),
    Stream(
        "Anthropic",
        "a call",
        ANTHROPIC,
        sends(
            anthropic({"role": "assistant", "content": "Let me look. "}),
            anthropic({"tool_calls": [call("toolu_01", "", index=0)]}),
            anthropic({"tool_calls": [{"index": 0, "function": function(ARGUMENTS)}]}),
            anthropic({}, "tool_calls"),
            DONE,
        ),
        text="Let me look. ",
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "Anthropic",
        "overloaded in the stream",
        "docs.claude.com/en/api/errors",
        sends(
            anthropic({"content": "Hel"}),
            event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
        ),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "Anthropic",
        "a prompt that is too long",
        "docs.claude.com/en/api/errors",
        refuses(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 210000 tokens > 200000 maximum",
                },
            },
        ),
        error="context_too_long",
    ),
]

# Gemini's OpenAI endpoint

GEMINI = "ai.google.dev/gemini-api/docs/openai"
gemini = Chunks(envelope("aBcD", "gemini-2.5-flash"), delta={"role": "assistant"})
FROM_GEMINI = [
    Stream(
        "Gemini",
        "an answer with thoughts",
        GEMINI,
        sends(
            gemini({"content": "<thought>Hm, ", "extra_content": {"google": {"thought": True}}}, usage=counts(9, 0)),
            gemini({"content": "well.", "extra_content": {"google": {"thought": True}}}, usage=counts(9, 0)),
            gemini({"content": "</thought>Hel"}, usage=counts(9, 1)),
            gemini({"content": "lo!"}, "stop", usage=counts(9, 2)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm, well.",
        usage=(9, 2),
        model="google/gemini-2.5-flash",
    ),
    Stream(
        "Gemini",
        "a call without an index, and `stop`",
        "noho/dayu-agent#45",
        sends(
            gemini({"tool_calls": [call("function-call-1", extra_content={"google": {"thought_signature": "c2ln"}})]}),
            gemini({}, "stop"),
            DONE,
        ),
        calls=[CALL],
    ),
    Stream(
        "Gemini",
        "an error as a list",
        "googleapis/python-genai and OpenAI-compatible clients: errors of the REST gateway",
        sends(
            json.dumps(
                [{"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}}]
            ),
            content_type="application/json; charset=UTF-8",
        ),
        error="upstream_quota",
    ),
    Stream(
        "Gemini",
        "a call that the model wrote wrongly",
        "googleapis/python-genai#1836",
        sends(gemini({"content": ""}, "function_call_filter: MALFORMED_FUNCTION_CALL"), DONE),
        error="upstream_failed",
    ),
    Stream(
        "Gemini",
        "a key that is not valid",
        GEMINI,
        refuses(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
                }
            },
        ),
        error="upstream_auth",
    ),
]

# DeepSeek

DEEPSEEK = "api-docs.deepseek.com/api/create-chat-completion"
deepseek = Chunks(envelope("d1", "deepseek-chat", system_fingerprint="fp_2"), {"logprobs": None})
FROM_DEEPSEEK = [
    Stream(
        "DeepSeek",
        "an answer with reasoning",
        "api-docs.deepseek.com/guides/reasoning_model",
        sends(
            ": keep-alive\n\n",
            deepseek({"role": "assistant", "content": None, "reasoning_content": ""}),
            deepseek({"content": None, "reasoning_content": "Hm."}),
            deepseek({"content": "Hello!", "reasoning_content": None}),
            deepseek({"content": "", "reasoning_content": None}, "stop", usage=counts(9, 5, prompt_cache_hit_tokens=0)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "DeepSeek",
        "a call after reasoning",
        "api-docs.deepseek.com/guides/thinking_mode",
        sends(
            deepseek({"content": None, "reasoning_content": "I need "}),
            deepseek({"content": None, "reasoning_content": "the weather."}),
            deepseek({"tool_calls": [call("call_00_x", "", index=0)]}),
            deepseek({"tool_calls": [{"index": 0, "function": function(ARGUMENTS)}]}),
            deepseek({"content": ""}, "tool_calls", usage=counts(9, 5)),
            DONE,
        ),
        thinking="I need the weather.",
        calls=[CALL],
        finish_reason="tool_calls",
        usage=(9, 5),
        reasoning={"reasoning_content": "I need the weather."},
    ),
    Stream(
        "DeepSeek",
        "no resources",
        DEEPSEEK,
        sends(deepseek({"content": "Hel"}), deepseek({"content": ""}, "insufficient_system_resource"), DONE),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "DeepSeek",
        "no balance",
        "api-docs.deepseek.com/quick_start/error_codes",
        refuses(
            402,
            {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}},
        ),
        error="upstream_quota",
    ),
]

# Kimi

KIMI = "platform.moonshot.ai/docs/api/chat"
kimi = Chunks(envelope("cmpl-1", "kimi-k2-thinking", system_fingerprint="fpv0_1"))
FROM_KIMI = [
    Stream(
        "Kimi",
        "an answer with its usage in the choice",
        KIMI,
        sends(
            kimi({"role": "assistant", "content": ""}),
            kimi({"reasoning_content": "Hm."}),
            kimi({"content": "Hello!"}),
            kimi({}, "stop", {"usage": {**counts(9, 5), "cached_tokens": 9}}),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
        model="moonshot/kimi-k2-thinking",
    ),
    Stream(
        "Kimi",
        "a call",
        "platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model",
        sends(
            kimi({"reasoning_content": "Look."}),
            kimi({"tool_calls": [call("get_weather:0", "", index=0)]}),
            kimi({"tool_calls": [{"index": 0, "function": function(ARGUMENTS)}]}),
            kimi({}, "tool_calls", {"usage": counts(9, 5)}),
            DONE,
        ),
        thinking="Look.",
        calls=[CALL],
        finish_reason="tool_calls",
        usage=(9, 5),
        reasoning={"reasoning_content": "Look."},
    ),
    Stream(
        "Kimi",
        "too many tokens",
        KIMI,
        refuses(
            400,
            {
                "error": {
                    "message": "Invalid request: Your request exceeded model token limit: 8192",
                    "type": "invalid_request_error",
                }
            },
        ),
        error="context_too_long",
    ),
]

# Mistral

MISTRAL = "docs.mistral.ai/api"
mistral = Chunks(envelope("m1", "magistral-medium-latest"))
FROM_MISTRAL = [
    Stream(
        "Mistral",
        "an answer with thinking parts",
        "docs.mistral.ai/capabilities/reasoning",
        sends(
            mistral({"role": "assistant", "content": ""}),
            mistral({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
            mistral({"content": [{"type": "text", "text": "Hel"}]}),
            mistral({"content": "lo!"}),
            mistral({"content": ""}, "stop", usage=counts(9, 5)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "Mistral",
        "a call and its reason in one chunk",
        MISTRAL,
        sends(
            mistral({"role": "assistant", "content": ""}),
            mistral({"content": "", "tool_calls": [call("D681PevKs", index=0)]}, "tool_calls", usage=counts(9, 5)),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
        usage=(9, 5),
    ),
    Stream(
        "Mistral",
        "cut by the length of the model",
        MISTRAL,
        sends(mistral({"content": "Hel"}, "model_length"), DONE),
        text="Hel",
        finish_reason="model_length",
    ),
    Stream(
        "Mistral",
        "a prompt that is too long",
        "langchain and LiteLLM reports of code 3051",
        refuses(
            400,
            {
                "object": "error",
                "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
                "context length",
                "type": "invalid_request_error",
                "code": 3051,
            },
        ),
        error="context_too_long",
    ),
    Stream(
        "Mistral",
        "a message that is an object",
        MISTRAL,
        refuses(422, {"object": "error", "message": {"detail": [{"type": "missing", "msg": "Field required"}]}}),
        error="upstream_rejected",
    ),
]

# Groq

GROQ = "console.groq.com/docs/api-reference"
groq = Chunks(envelope("chatcmpl-g", "openai/gpt-oss-20b", system_fingerprint="fp_g"), {"logprobs": None})
FROM_GROQ = [
    Stream(
        "Groq",
        "an answer with its usage in x_groq",
        GROQ,
        sends(
            groq({"role": "assistant", "content": ""}, x_groq={"id": "req_1", "seed": 1}),
            groq({"reasoning": "Hm.", "channel": "analysis"}),
            groq({"content": "Hello!"}),
            groq({}, "stop", x_groq={"id": "req_1", "usage": {**counts(9, 5), "queue_time": 0.03}}),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "Groq",
        "a call",
        GROQ,
        sends(groq({"tool_calls": [call("fc_1", index=0)]}), groq({}, "tool_calls"), DONE),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "Groq",
        "a call that failed",
        "console.groq.com/docs/tool-use: tool_use_failed",
        sends(
            groq({"role": "assistant", "content": ""}),
            event(
                {
                    "error": {
                        "message": "Failed to call a function.",
                        "type": "invalid_request_error",
                        "code": "tool_use_failed",
                        "failed_generation": "<function=get_weather>",
                    }
                },
                "error",
            ),
        ),
        error="upstream_rejected",
    ),
]

# xAI

XAI = "docs.x.ai/docs/api-reference"
xai = Chunks(envelope("x1", "grok-4", system_fingerprint="fp_x"))
FROM_XAI = [
    Stream(
        "xAI",
        "an answer with reasoning",
        XAI,
        sends(
            xai({"role": "assistant", "reasoning_content": "Hm."}),
            xai({"content": "Hello!"}),
            xai({}, "stop"),
            xai.bare(usage=counts(9, 2, completion_tokens_details={"reasoning_tokens": 3}, num_sources_used=0)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 2),
    ),
    Stream(
        "xAI",
        "a whole call in one chunk",
        XAI,
        sends(xai({"tool_calls": [call("call_1", index=0)]}, "tool_calls"), DONE),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "xAI",
        "a prompt that is too long",
        XAI,
        refuses(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
            },
        ),
        error="context_too_long",
    ),
]

# OpenRouter

OPENROUTER = "openrouter.ai/docs/api-reference/streaming"
router = Chunks(envelope("gen-1", "anthropic/claude-sonnet-4.5", provider="Anthropic"), {"native_finish_reason": None})
DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
FROM_OPENROUTER = [
    Stream(
        "OpenRouter",
        "an answer with reasoning",
        "openrouter.ai/docs/use-cases/reasoning-tokens",
        sends(
            ": OPENROUTER PROCESSING\n\n",
            router(
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning": "Hm.",
                    "reasoning_details": [{**DETAIL, "text": "Hm."}],
                }
            ),
            router({"role": "assistant", "content": "Hello!"}),
            router({"role": "assistant", "content": ""}, "stop", {"native_finish_reason": "end_turn"}),
            router.bare(usage=counts(9, 5, cost=0.0001)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "OpenRouter",
        "a call after signed reasoning, in details alone",
        "openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks",
        sends(
            router({"content": "", "reasoning_details": [{**DETAIL, "text": "I need "}]}),
            router({"content": "", "reasoning_details": [{**DETAIL, "text": "it."}]}),
            router({"content": "", "reasoning_details": [{**DETAIL, "signature": "c2ln"}]}),
            router({"content": None, "tool_calls": [call("toolu_1", index=0)]}),
            router({"content": ""}, "tool_calls", {"native_finish_reason": "tool_use"}),
            DONE,
        ),
        thinking="I need it.",
        calls=[CALL],
        finish_reason="tool_calls",
        reasoning={"reasoning_details": [{**DETAIL, "text": "I need it.", "signature": "c2ln"}]},
    ),
    Stream(
        "OpenRouter",
        "an error in the choice",
        "OpenRouterTeam/openrouter-examples#67",
        sends(
            router({"content": "Hel"}),
            router({"content": ""}, "error", {"error": {"message": "upstream timed out", "code": 504}}),
            DONE,
        ),
        text="Hel",
        error="upstream_timeout",
    ),
    Stream(
        "OpenRouter",
        "an error in the middle of the stream",
        "openrouter.ai/docs/api-reference/errors-and-debugging",
        sends(
            router({"content": "Hel"}),
            router(
                {"content": ""},
                "error",
                error={"code": 429, "message": "Provider returned error", "metadata": {"provider_name": "X"}},
            ),
        ),
        text="Hel",
        error="upstream_quota",
    ),
]

# Azure

AZURE = "learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming"
azure = Chunks(envelope("chatcmpl-z", "gpt-4.1", system_fingerprint="fp_z"), {"content_filter_results": {}})
FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
FROM_AZURE = [
    Stream(
        "Azure",
        "an answer with filter results",
        AZURE,
        sends(
            event(
                {
                    "choices": [],
                    "created": 0,
                    "id": "",
                    "model": "",
                    "object": "",
                    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERS}],
                }
            ),
            azure({"role": "assistant", "content": ""}),
            azure({"content": "Hello!"}, None, {"content_filter_results": FILTERS}),
            azure({}, "stop"),
            azure.bare(usage=counts(9, 2)),
            event(
                {
                    "id": "",
                    "object": "",
                    "created": 0,
                    "model": "",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": None,
                            "content_filter_offsets": {"check_offset": 0},
                            "content_filter_results": {
                                "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
                            },
                        }
                    ],
                }
            ),
            DONE,
        ),
        text="Hello!",
        usage=(9, 2),
    ),
    Stream(
        "Azure",
        "a call",
        AZURE,
        sends(
            azure({"role": "assistant", "content": None, "tool_calls": [call("call_z", "", index=0)]}),
            azure({"tool_calls": [{"index": 0, "function": function(ARGUMENTS)}]}),
            azure({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "Azure",
        "an answer that was filtered",
        AZURE,
        sends(
            azure({"content": "Hel"}),
            azure({}, "content_filter", {"content_filter_results": {"hate": {"filtered": True, "severity": "high"}}}),
            DONE,
        ),
        text="Hel",
        finish_reason="content_filter",
    ),
    Stream(
        "Azure",
        "a prompt that was filtered",
        "learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter",
        refuses(
            400,
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering the content management policy.",
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        ),
        error="upstream_rejected",
    ),
]

# vLLM

VLLM = "docs.vllm.ai: the OpenAI-compatible server"
vllm = Chunks(envelope("chatcmpl-v", "qwen", usage=None), {"logprobs": None, "token_ids": None})
FROM_VLLM = [
    Stream(
        "vLLM",
        "an answer with reasoning under both names",
        "vllm-project/vllm#27752",
        sends(
            vllm({"role": "assistant", "content": ""}),
            vllm({"reasoning": "Hm.", "reasoning_content": "Hm."}),
            vllm({"content": "Hello!"}),
            vllm({"content": ""}, "stop", {"stop_reason": None}),
            vllm.bare(usage=counts(9, 5)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "vLLM",
        "a call",
        VLLM,
        sends(
            vllm({"tool_calls": [call("chatcmpl-tool-1", "", index=0)]}),
            vllm({"tool_calls": [{"index": 0, "function": function(ARGUMENTS)}]}),
            vllm({"content": ""}, "tool_calls", {"stop_reason": None}),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "vLLM",
        "thinking in the text, without a reasoning parser",
        "vllm-project/vllm docs: reasoning outputs",
        sends(
            vllm({"role": "assistant", "content": ""}),
            *(vllm({"content": piece}) for piece in ("<thi", "nk>\nHm", ".\n</", "think>", "\n\nHel", "lo!")),
            vllm({}, "stop"),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        model="Qwen/Qwen3-8B",
    ),
    Stream(
        "vLLM",
        "an older error in the stream",
        "firebase/genkit#6259",
        sends(
            event(
                {
                    "object": "error",
                    "message": "This model's maximum context length is 10 tokens.",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            ),
            DONE,
        ),
        error="context_too_long",
    ),
    Stream(
        "vLLM",
        "an engine that died",
        VLLM,
        sends(
            vllm({"content": "Hel"}),
            event({"error": {"message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500}}),
            DONE,
        ),
        text="Hel",
        error="upstream_failed",
    ),
]

# SGLang

SGLANG = "docs.sglang.ai: OpenAI-compatible APIs"
sglang = Chunks(
    envelope("s1", "qwen", usage=None),
    {"logprobs": None, "matched_stop": None},
    {"role": None, "content": None, "reasoning_content": None, "tool_calls": None},
)
FROM_SGLANG = [
    Stream(
        "SGLang",
        "an answer with nulls",
        SGLANG,
        sends(
            sglang({"role": "assistant", "content": ""}),
            sglang({"reasoning_content": "Hm."}),
            sglang({"content": "Hello!"}),
            sglang({}, "stop", {"matched_stop": 151645}),
            sglang.bare(usage=counts(9, 5)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "SGLang",
        "a call",
        SGLANG,
        sends(
            sglang({"tool_calls": [call("call_s", "", index=0)]}),
            sglang(
                {
                    "tool_calls": [
                        {"id": None, "index": 0, "type": "function", "function": {"name": None, "arguments": ARGUMENTS}}
                    ]
                }
            ),
            sglang({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "SGLang",
        "a request that was given up",
        "sgl-project/sglang: finish reason `abort`",
        sends(sglang({"content": "Hel"}), sglang({}, "abort"), DONE),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "SGLang",
        "an input that is too long",
        SGLANG,
        refuses(
            400,
            {
                "object": "error",
                "message": "The input (20000 tokens) is longer than the model's context length (8192 tokens).",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        error="context_too_long",
    ),
]

# llama.cpp

LLAMA = "github.com/ggml-org/llama.cpp: tools/server/README.md"
llama = Chunks(envelope("chatcmpl-l", "m.gguf", system_fingerprint="b7000"))
FROM_LLAMA = [
    Stream(
        "llama.cpp",
        "an answer with timings",
        LLAMA,
        sends(
            llama({"role": "assistant", "content": None}),
            llama({"reasoning_content": "Hm."}),
            llama({"content": "Hello!"}),
            llama({}, "stop"),
            llama.bare(usage=counts(9, 5), timings={"prompt_n": 9, "predicted_n": 5}),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "llama.cpp",
        "a call",
        LLAMA,
        sends(
            llama({"tool_calls": [call("w1", "{", index=0)]}),
            llama({"tool_calls": [{"index": 0, "function": function('"city":"Oslo"}')}]}),
            llama({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "llama.cpp",
        "an error under a field of its own",
        "ggml-org/llama.cpp#16104",
        sends(
            llama({"content": "Hel"}),
            'error: {"code":500,"message":"context shift is disabled","type":"server_error"}\n\n',
        ),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "llama.cpp",
        "a context that is too long",
        LLAMA,
        refuses(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "request (5000 tokens) exceeds the available context size (4096 tokens)",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 5000,
                    "n_ctx": 4096,
                }
            },
        ),
        error="context_too_long",
    ),
]

# Ollama

OLLAMA = "docs.ollama.com/api/openai-compatibility"
ollama = Chunks(envelope("chatcmpl-7", "qwen3:4b", system_fingerprint="fp_ollama"), delta={"role": "assistant"})
FROM_OLLAMA = [
    Stream(
        "Ollama",
        "an answer with reasoning",
        OLLAMA,
        sends(
            ollama({"content": "", "reasoning": "Hm."}),
            ollama({"content": "Hello!"}),
            ollama({"content": ""}, "stop"),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        model="qwen3:4b",
    ),
    Stream(
        "Ollama",
        "a call",
        OLLAMA,
        sends(
            ollama({"content": "", "tool_calls": [call("call_o", index=0)]}),
            ollama({"content": ""}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "Ollama",
        "an error as a bare line",
        "ollama/ollama: errors after the head are written as JSON lines",
        sends(ollama({"content": "Hel"}), '{"error":"an error was encountered while running the model"}\n'),
        text="Hel",
        error="upstream_failed",
    ),
    Stream(
        "Ollama",
        "a model that isn't there",
        OLLAMA,
        refuses(404, {"error": {"message": 'model "x" not found', "type": "api_error", "param": None, "code": None}}),
        error="upstream_rejected",
    ),
]

# LM Studio

LM_STUDIO = "lmstudio.ai/docs/app/api/endpoints/openai"
lm_studio = Chunks(envelope("chatcmpl-m", "gemma", system_fingerprint="gemma"), {"logprobs": None})
FROM_LM_STUDIO = [
    Stream(
        "LM Studio",
        "an answer",
        LM_STUDIO,
        sends(
            lm_studio({"role": "assistant", "content": "Hel"}),
            lm_studio({"content": "lo!"}),
            lm_studio({}, "stop"),
            DONE,
        ),
        text="Hello!",
    ),
    Stream(
        "LM Studio",
        "a call",
        LM_STUDIO,
        sends(
            lm_studio({"role": "assistant", "tool_calls": [call("4", "", index=0)]}),
            lm_studio(
                {"tool_calls": [{"index": 0, "type": "function", "function": {"name": "", "arguments": ARGUMENTS}}]}
            ),
            lm_studio({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "LM Studio",
        "a context that is too long",
        "lmstudio-ai/lmstudio-bug-tracker: reports of this message",
        sends(
            event(
                {
                    "error": {
                        "message": "Trying to keep the first 5000 tokens when context the overflows. However, the "
                        "model is loaded with context length of only 4096 tokens"
                    }
                },
                "error",
            ),
        ),
        error="context_too_long",
    ),
]

# LiteLLM's proxy

LITELLM = "docs.litellm.ai/docs/proxy"
litellm = Chunks(envelope("chatcmpl-t", "claude"))
BLOCK = {"type": "thinking"}
FROM_LITELLM = [
    Stream(
        "LiteLLM",
        "an answer with reasoning",
        "docs.litellm.ai/docs/reasoning_content",
        sends(
            litellm({"reasoning_content": "Hm.", "thinking_blocks": [{**BLOCK, "thinking": "Hm.", "signature": None}]}),
            litellm({"content": "Hello!"}),
            litellm({}, "stop"),
            litellm.bare(usage=counts(9, 5, cache_read_input_tokens=0, cache_creation_input_tokens=0)),
            DONE,
        ),
        text="Hello!",
        thinking="Hm.",
        usage=(9, 5),
    ),
    Stream(
        "LiteLLM",
        "a call after signed thinking",
        "docs.litellm.ai/docs/reasoning_content",
        sends(
            litellm({"reasoning_content": "I need ", "thinking_blocks": [{**BLOCK, "thinking": "I need "}]}),
            litellm({"reasoning_content": "it.", "thinking_blocks": [{**BLOCK, "thinking": "it."}]}),
            litellm({"reasoning_content": "", "thinking_blocks": [{**BLOCK, "thinking": "", "signature": "c2ln"}]}),
            litellm({"tool_calls": [call("toolu_2", "", index=0)]}),
            litellm({"tool_calls": [{"id": None, "index": 0, "type": "function", "function": function(ARGUMENTS)}]}),
            litellm({}, "tool_calls"),
            DONE,
        ),
        thinking="I need it.",
        calls=[CALL],
        finish_reason="tool_calls",
        reasoning={
            "reasoning_content": "I need it.",
            "thinking_blocks": [{**BLOCK, "thinking": "I need it.", "signature": "c2ln"}],
        },
    ),
    Stream(
        "LiteLLM",
        "an error in the stream, with its code as text",
        LITELLM,
        sends(
            litellm({"content": "Hel"}),
            event(
                {"error": {"message": "litellm.RateLimitError: slow down", "type": None, "param": None, "code": "429"}}
            ),
            DONE,
        ),
        text="Hel",
        error="upstream_quota",
    ),
    Stream(
        "LiteLLM",
        "a context that is too long",
        "docs.litellm.ai/docs/exception_mapping",
        refuses(
            400,
            {
                "error": {
                    "message": "litellm.ContextWindowExceededError: litellm.BadRequestError: too much",
                    "type": None,
                    "param": None,
                    "code": "400",
                }
            },
        ),
        error="context_too_long",
    ),
]

# Dedalus

DEDALUS = "docs.dedaluslabs.ai, and the SDK's types"
dedalus = Chunks(envelope("chatcmpl-d", "openai/gpt-4.1"))
FROM_DEDALUS = [
    Stream(
        "Dedalus",
        "an answer after a hosted tool",
        DEDALUS,
        sends(
            dedalus({"content": "Hel"}),
            dedalus({"content": "lo!"}),
            dedalus({}, "stop", usage=counts(9, 5)),
            DONE,
        ),
        text="Hello!",
        usage=(9, 5),
    ),
    Stream(
        "Dedalus",
        "a call",
        DEDALUS,
        sends(
            dedalus({"tool_calls": [call("call_d", index=0, thought_signature="c2ln")]}),
            dedalus({}, "tool_calls"),
            DONE,
        ),
        calls=[CALL],
        finish_reason="tool_calls",
    ),
    Stream(
        "Dedalus",
        "an error in the stream",
        DEDALUS,
        sends(dedalus({"content": "Hel"}), event({"detail": "Internal server error"})),
        text="Hel",
        error="upstream_failed",
    ),
]

STREAMS = [
    *FROM_OPENAI,
    *FROM_ANTHROPIC,
    *FROM_GEMINI,
    *FROM_DEEPSEEK,
    *FROM_KIMI,
    *FROM_MISTRAL,
    *FROM_GROQ,
    *FROM_XAI,
    *FROM_OPENROUTER,
    *FROM_AZURE,
    *FROM_VLLM,
    *FROM_SGLANG,
    *FROM_LLAMA,
    *FROM_OLLAMA,
    *FROM_LM_STUDIO,
    *FROM_LITELLM,
    *FROM_DEDALUS,
]
