"""The built-in lists, from Dedalus' documentation, used until an upstream or the marketplace has answered."""

MODELS = (
    "openai/gpt-5.2",
    "openai/gpt-5.1",
    "openai/gpt-5",
    "openai/gpt-5-mini",
    "openai/gpt-5-nano",
    "openai/gpt-4.1",
    "openai/gpt-4.1-mini",
    "openai/gpt-4.1-nano",
    "openai/gpt-4o",
    "openai/gpt-4o-mini",
    "openai/o3",
    "openai/o4-mini",
    "anthropic/claude-opus-4-5",
    "anthropic/claude-sonnet-4-5-20250929",
    "anthropic/claude-haiku-4-5-20251001",
    "google/gemini-3-pro-preview",
    "google/gemini-3-flash-preview",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
    "xai/grok-4-fast-reasoning",
    "xai/grok-4-fast-non-reasoning",
    "xai/grok-code-fast-1",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-reasoner",
    "mistral/mistral-large-latest",
    "mistral/mistral-small-latest",
    "mistral/codestral-2508",
)

MCP_SERVERS: tuple[dict[str, str], ...] = (
    {"server": "joerup/exa-mcp", "name": "Exa", "description": "Semantic web search."},
    {"server": "windsor/brave-search-mcp", "name": "Brave Search", "description": "Web search."},
    {"server": "joerup/open-meteo-mcp", "name": "Open-Meteo", "description": "Weather forecasts and history."},
    {"server": "windsor/ticketmaster-mcp", "name": "Ticketmaster", "description": "Events and venues."},
    {"server": "tsion/context7", "name": "Context7", "description": "Documentation of libraries."},
    {
        "server": "https://mcp.deepwiki.com/mcp",
        "name": "DeepWiki",
        "description": "Questions about GitHub repositories.",
    },
)
