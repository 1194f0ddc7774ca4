"""Tables that map the errors of model servers to ours: by names, by statuses and by fragments of messages.

Each table is searched in its order. The first kind with a fragment that occurs in the name or the message counts.
"""

import re
from collections.abc import Mapping

from errors import (
    AgentStreamError,
    ContextTooLong,
    UpstreamAuth,
    UpstreamDisconnected,
    UpstreamFailed,
    UpstreamModelNotFound,
    UpstreamProtocol,
    UpstreamQuota,
    UpstreamRejected,
    UpstreamStalled,
    UpstreamTimeout,
)

Kind = type[AgentStreamError]
Table = Mapping[Kind, tuple[str, ...]]

NAMES: Table = {
    UpstreamRejected: ("extraforbidden",),  # pydantic, for an unknown parameter: "forbidden" here is not about a key
    UpstreamModelNotFound: (
        *("modelnotfound", "modelnotavailable", "modelnotexist", "invalidmodel"),  # OpenAI, Together, Mistral
        *("deploymentnotfound", "modeldecommissioned", "modelpermissionblocked"),  # Azure; Groq
    ),
    ContextTooLong: (
        *("contextlength", "contextwindow", "contextsize"),  # OpenAI; LiteLLM, xAI; llama.cpp
        *("contextoverflow", "prompttoolong", "inputtoolong"),
    ),
    UpstreamQuota: (
        *("ratelimit", "toomanyrequests", "quota"),  # OpenAI, Anthropic, Groq, Azure
        *("resourceexhausted",),  # Gemini
        *("throttl", "arrearage"),  # Bedrock, Alibaba
        *("insufficientbalance", "insufficientcredit", "insufficientfunds", "billing", "paymentrequired"),
        *("usagelimit", "requestlimit", "concurrencylimit", "limitexceeded"),
    ),
    UpstreamAuth: (
        *("authentication", "invalidapikey", "apikeyinvalid", "incorrectapikey", "permission", "forbidden"),
        *("unauthenticated", "unauthorized", "accessdenied", "autherror", "invalidtoken", "invalidauth"),
    ),
    UpstreamTimeout: ("timeout", "timedout", "deadlineexceeded"),
}
"""Fragments of the machine-readable names of errors, in lower case and without punctuation."""

WEAK_NAMES: Table = {
    UpstreamFailed: ("servererror", "internalerror", "overloaded", "unavailable"),
    UpstreamRejected: (
        *("invalid", "badrequest", "notfound", "unsupported", "notsupported", "unprocessable", "validation"),
        *("failedprecondition", "unknownparameter", "contentfilter", "contentpolicy", "datainspection", "moderation"),
    ),
}
"""Fragments of names that are less specific than a status or a message may be."""

STATUSES: Mapping[int, Kind] = {
    401: UpstreamAuth,
    402: UpstreamQuota,
    408: UpstreamTimeout,
    429: UpstreamQuota,
    504: UpstreamTimeout,
    524: UpstreamTimeout,  # Cloudflare
}

CONTEXT_TEXTS = (
    "maximum context length",  # OpenAI, DeepSeek, vLLM, SGLang, Mistral
    "context length",  # Ollama, Together, LM Studio
    "contextwindow",  # LiteLLM: "ContextWindowExceededError"
    "context window",  # OpenAI, MiniMax
    "context_length",
    "context size",  # llama.cpp: "exceeds the available context size"
    "context limit",  # Anthropic: "input length and `max_tokens` exceed context limit"
    "prompt is too long",  # Anthropic
    "prompt too long",  # Ollama
    "input is too long",  # Bedrock
    "prompt token count",  # GitHub
    "input token count",  # Gemini: "exceeds the maximum number of tokens allowed"
    "maximum prompt length",  # xAI
    "reduce the length of the messages",  # OpenAI, Groq
    "exceeded model token limit",  # Moonshot
    "token limit exceeded",
    "range of input length",  # Alibaba
    "when context the overflows",  # LM Studio
    "too many tokens:",  # Cohere; Bedrock's "Too many tokens, please wait" is about a rate
    "too many input tokens",  # Bedrock
    "number of input tokens",  # watsonx: "the number of input tokens 5000 cannot exceed the total tokens limit"
    "input too long",
    "input tokens exceed",  # OpenAI: "Input tokens exceed the configured limit of 272000 tokens"
    "tokens) is too long",  # vLLM: "Input prompt (n tokens) is too long and exceeds limit of m"
    "maximum model length",  # vLLM: "The decoder prompt (length n) is longer than the maximum model length"
    "tokens + `max_new_tokens`",  # Text Generation Inference
    "`inputs` must have less than",  # the same
    "maximum input length",  # TensorRT-LLM: "exceeds maximum input length"
    "max_seq_len",  # TabbyAPI
    "prompt tokens too long",  # Baidu
    "max message tokens",  # Volcengine: "Total tokens of image and text exceed max message tokens"
    "prompt exceeds max length",  # Zhipu
    "超长",  # Zhipu: "Prompt 超长"
    "maximum allowed input length",  # SGLang: "exceeds the maximum allowed length"
    "longer than the model's",  # SGLang: "The input (n tokens) is longer than the model's context length"
    "too large for model",  # Mistral
)
NO_MODEL_TEXTS = (
    "model not exist",  # DeepSeek
    "model does not exist",
    "model not found",  # Fireworks
    "not a valid model",  # OpenRouter
    "invalid model",  # Mistral, Perplexity, LiteLLM
    "not found the model",  # Moonshot
    "have access to model",  # OpenAI: "Project … does not have access to model …"
    "unable to access model",  # Together
    "no endpoints found",  # OpenRouter
    "is not found for api version",  # Gemini
    "模型不存在",  # Zhipu
)
NO_MODEL = re.compile(
    r"\bmodel[\s:]{1,3}[\"'`]?[\w./:@-]{1,200}[\"'`]? "
    r"(does not exist|is not found|not found|is not available|has been (decommissioned|deprecated))"
)
"""The message of a refused model with its name in the middle: OpenAI, vLLM, xAI, Ollama, Cohere, Cerebras, Groq."""

TEXTS: Table = {
    UpstreamQuota: (
        *("rate limit", "rate-limit", "ratelimit", "rate_limit", "too many requests", "quota", "throttl"),
        *(
            "requests per min",
            "tokens per min",
            "request limit",
            "usage limit",
            "resource has been exhausted",
            "resource exhausted",
        ),
        *("insufficient balance", "insufficient credit", "insufficient fund", "credit balance", "out of credits"),
        *("available credits", "any credits", "spending limit", "included credits"),  # xAI, Hugging Face
        *("billing", "payment required", "余额不足", "欠费", "速率限制", "并发"),  # Zhipu, MiniMax
    ),
    UpstreamAuth: (
        *("api key not valid", "invalid api key", "incorrect api key", "invalid api_key", "invalid x-api-key"),
        *("no api key", "missing api key", "api key is invalid", "invalid apikey", "unauthorized", "access denied"),
        *("not authenticated", "unauthenticated", "authentication", "permission denied", "login fail"),
    ),
    UpstreamTimeout: (
        *("timed out", "request timeout", "gateway timeout", "upstream timeout", "timeout error", "timeout exceeded"),
        *("deadline exceeded", "litellm.timeout"),
    ),
}
"""Fragments of the messages of servers that send no name, in lower case."""

ANOTHER_MODEL_MAY_HELP: tuple[Kind, ...] = (
    UpstreamQuota,
    UpstreamFailed,
    UpstreamDisconnected,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamStalled,
    ContextTooLong,
    UpstreamModelNotFound,
)
"""The errors after which another model is asked, if the request or FALLBACK_MODELS names one."""
