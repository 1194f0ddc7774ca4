"""The table of providers: the address of each API, its key, and the form of request that it accepts."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from setting_objects import WireRules

PLAIN = WireRules()
OPENAI_ONLY = ("verbosity", "prompt_cache_retention")
"""Parameters that no other provider accepts."""
OPENAI = WireRules(
    max_tokens="max_completion_tokens",
    call_ids="short",
    reasoning="never",
    prompt_cache_key=True,
    json_schema="always",
    left_out=("thinking_budget", "top_k"),
)
AZURE = OPENAI.model_copy(update={"prompt_cache_key": False})
ANTHROPIC = WireRules(
    reasoning="never",
    left_out=(*OPENAI_ONLY, "service_tier", "frequency_penalty", "presence_penalty", "top_k", "web_search"),
    files="none",
    audio="none",
)
GOOGLE = WireRules(
    call_ids="any",
    thinking="google",
    json_schema="without_tools",
    left_out=(*OPENAI_ONLY, "service_tier", "top_k", "parallel_tool_calls", "web_search"),
    files="none",
)
XAI = WireRules(
    reasoning="never",
    json_schema="without_tools",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "top_k", "web_search"),
    files="none",
    audio="none",
)
MISTRAL = WireRules(
    stream_options=False,
    seed="random_seed",
    call_ids="nine",
    reasoning="never",
    prompt_cache_key=True,  # anomalyco/opencode#50748
    json_schema="without_tools",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "top_k", "web_search"),
    files="document_url",
    file_urls=True,
    audio="text",
)
DEEPSEEK = WireRules(
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "top_k", "parallel_tool_calls", "web_search"),
    files="none",
    audio="none",
)
GROQ = WireRules(
    reasoning="never",
    left_out=("thinking_budget", *OPENAI_ONLY, "top_k", "web_search"),
    files="none",
    audio="none",
)
COHERE = WireRules(
    stream_options=False,
    tool_choice="any",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "top_k", "parallel_tool_calls", "web_search"),
    files="none",
    audio="none",
)
PERPLEXITY = WireRules(
    tool_choice="nothing",
    web_search="flat",
    json_schema="without_tools",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "parallel_tool_calls"),
    files="file_url",
    file_urls=True,
    audio="none",
)
CEREBRAS = WireRules(
    reasoning="never",
    json_schema="without_tools",
    left_out=("thinking_budget", *OPENAI_ONLY, "top_k", "frequency_penalty", "presence_penalty", "web_search"),
    files="none",
    audio="none",
)
TOGETHER = WireRules(
    json_schema="without_tools",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "web_search"),
    files="none",
    audio="none",
)
FIREWORKS = WireRules(
    json_schema="without_tools",
    left_out=(*OPENAI_ONLY, "web_search"),
    files="none",
    audio="none",
)
MOONSHOT = WireRules(
    tool_choice="nothing",
    left_out=("thinking_budget", *OPENAI_ONLY, "service_tier", "top_k", "parallel_tool_calls", "web_search"),
    files="none",
    audio="none",
)
OPENROUTER = WireRules(thinking="reasoning", web_search="plugin", file_urls=True)


class Provider(NamedTuple):
    """A provider's OpenAI-compatible endpoint. `url` is the base to which `/chat/completions` and `/models` are added.

    `keys` are the settings that may hold its key. `hosts` are domains of its API beside the URL's own host.
    """

    url: str
    keys: tuple[str, ...]
    default_model: str
    rules: WireRules = PLAIN
    hosts: tuple[str, ...] = ()


PROVIDERS: Mapping[str, Provider] = {
    # https://platform.openai.com/docs/api-reference/chat/create: max_tokens is refused by the o-series and gpt-5.
    "openai": Provider("https://api.openai.com/v1", ("openai_api_key",), "gpt-4.1-mini", OPENAI),
    # https://platform.claude.com/docs/en/api/openai-sdk: ignores seed, response_format and reasoning_effort, and what
    # ANTHROPIC leaves out, so that the caller learns of it.
    "anthropic": Provider(
        "https://api.anthropic.com/v1", ("anthropic_api_key",), "claude-sonnet-4-5-20250929", ANTHROPIC
    ),
    # https://ai.google.dev/gemini-api/docs/openai; thought signatures in extra_content have to be sent back:
    # https://ai.google.dev/gemini-api/docs/thought-signatures.
    "google": Provider(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("google_api_key", "gemini_api_key"),
        "gemini-2.5-flash",
        GOOGLE,
    ),
    # https://docs.x.ai/docs/api-reference; chat completions have no field for reasoning that is sent back:
    # https://docs.x.ai/developers/model-capabilities/text/best-practices.
    "xai": Provider("https://api.x.ai/v1", ("xai_api_key",), "grok-4-fast-non-reasoning", XAI),
    # https://docs.mistral.ai/api: unknown parameters are refused, and usage is sent without being asked for.
    # Ids: "must be a-z, A-Z, 0-9, with a length of 9" (anomalyco/opencode#1680). reasoning_content: crush#1590.
    "mistral": Provider("https://api.mistral.ai/v1", ("mistral_api_key",), "mistral-small-latest", MISTRAL),
    # https://api-docs.deepseek.com/api/create-chat-completion; reasoning_content has to be sent back with its calls:
    # https://api-docs.deepseek.com/guides/thinking_mode.
    "deepseek": Provider("https://api.deepseek.com/v1", ("deepseek_api_key",), "deepseek-chat", DEEPSEEK),
    # https://console.groq.com/docs/openai; "property 'reasoning_content' is unsupported" (janhq/jan#8136).
    "groq": Provider("https://api.groq.com/openai/v1", ("groq_api_key",), "llama-3.3-70b-versatile", GROQ),
    # https://docs.cohere.com/docs/compatibility-api; stream_options is refused (strandsagents.com, Cohere's page).
    "cohere": Provider(
        "https://api.cohere.ai/compatibility/v1",
        ("cohere_api_key",),
        "command-a-03-2025",
        COHERE,
    ),
    # https://docs.perplexity.ai/guides/chat-completions-guide; it has no function calling, and drops what PERPLEXITY
    # leaves out (https://docs.getbifrost.ai/providers/supported-providers/perplexity).
    "perplexity": Provider("https://api.perplexity.ai", ("perplexity_api_key",), "sonar", PERPLEXITY),
    # https://inference-docs.cerebras.ai/resources/openai; reasoning_content is refused (hermes-agent#28238).
    "cerebras": Provider("https://api.cerebras.ai/v1", ("cerebras_api_key",), "llama-3.3-70b", CEREBRAS),
    # https://docs.together.ai/docs/openai-api-compatibility
    "together_ai": Provider(
        "https://api.together.xyz/v1", ("together_api_key",), "meta-llama/Llama-3.3-70B-Instruct-Turbo", TOGETHER
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility; reasoning: https://docs.fireworks.ai/guides/reasoning.
    "fireworks_ai": Provider(
        "https://api.fireworks.ai/inference/v1",
        ("fireworks_api_key",),
        "accounts/fireworks/models/llama-v3p3-70b-instruct",
        FIREWORKS,
    ),
    # https://platform.moonshot.ai/docs/api/chat; a forced call is refused while the model thinks (harn-vm's
    # 35-moonshot.toml, probed with a key in 2026-07); reasoning_content has to be sent back:
    # https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model.
    "moonshot": Provider("https://api.moonshot.ai/v1", ("moonshot_api_key",), "kimi-k2-0905-preview", MOONSHOT),
}
"""Providers that need only a key: each is called at its own address."""

BY_BASE_URL: Mapping[str, Provider] = {
    # https://learn.microsoft.com/azure/ai-foundry/openai/reference: the key is sent in the header api-key.
    # Models that aren't OpenAI's refuse prompt_cache_key (zed-industries/zed#52000).
    "azure": Provider(
        "https://openai.azure.com/openai/v1", (), "", AZURE, ("services.ai.azure.com", "cognitiveservices.azure.com")
    ),
    # https://openrouter.ai/docs/api-reference/overview; reasoning_details are sent back unchanged:
    # https://openrouter.ai/docs/use-cases/reasoning-tokens.
    "openrouter": Provider("https://openrouter.ai/api/v1", (), "", OPENROUTER),
}
"""Servers that are configured by DEDALUS_BASE_URL and recognised by their host."""

KNOWN: Mapping[str, Provider] = {**PROVIDERS, **BY_BASE_URL}
MAKERS = {
    "mistralai": "mistral",
    "x-ai": "xai",
    "azure": "openai",
    "gemini": "google",
    "vertex_ai": "google",
    "moonshotai": "moonshot",
}
"""The providers' names in the model names of gateways, where they differ from the names here."""


def provider_at(host: str) -> str | None:
    """Return the name of the provider that owns a host; None if it is unknown."""
    for name, provider in KNOWN.items():
        own = (urlsplit(provider.url).hostname or "", *provider.hosts)
        if any(host == domain or host.endswith(f".{domain}") for domain in own):
            return name
    return None


def rules_of(name: str | None) -> WireRules:
    """Return the rules of a provider, by its name."""
    return PLAIN if name is None or name not in KNOWN else KNOWN[name].rules


def maker_of(name: str) -> str:
    """Return a provider's name in this table for its name in a gateway's model names."""
    return MAKERS.get(name, name)


def with_model(rules: WireRules, model: str) -> WireRules:
    """Return a gateway's rules for a model `provider/model`, with those that depend on the provider behind it."""
    provider = PROVIDERS.get(maker_of(model.partition("/")[0]))
    if provider is None:
        return rules
    known = provider.rules
    of_the_model = {"max_tokens": known.max_tokens, "call_ids": known.call_ids, "json_schema": known.json_schema}
    # Anthropic's own endpoint for OpenAI's protocol has no prompt cache, but gateways pass the marks for it on.
    return rules.model_copy(update={**of_the_model, "cache_control": provider is PROVIDERS["anthropic"]})
