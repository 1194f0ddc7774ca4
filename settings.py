"""Defines every setting. They are read once from the environment and `.env`, validated and frozen.

`.env.example` lists them all with their defaults. Times are in seconds, sizes in bytes.
"""

import ipaddress
import os
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from jwt_settings import JwtSettings
from setting_keys import EnvironmentKeys
from setting_names import did_you_mean, unused_in_environment, unused_in_file
from setting_objects import SETTING_OBJECTS, THINK_TAGS, FallbackModels, McpServers, ModelPrices, UpstreamRules
from setting_types import (
    BaseUrl,
    CommaSeparated,
    CommaSeparatedLower,
    DatabaseUrl,
    EventLogUrl,
    FunctionName,
    LogLevel,
    ModelFile,
    OptionalUrl,
    PlainUrl,
    Seconds,
    SecretKey,
)

ENV_FILE = Path(".env")


def validation_errors(error: ValidationError) -> str:
    """Return a line for each invalid setting, without its value, which may be secret."""
    lines = [": ".join((*_name(fault), _problem(fault))) for fault in error.errors()]
    return "These settings are not valid (see .env.example):\n  " + "\n  ".join(lines)


def _name(fault: ErrorDetails) -> tuple[str, ...]:
    """Return the name of the setting, none for a fault of several settings together."""
    return (".".join(map(str, fault["loc"])).upper(),) if fault["loc"] else ()


def _problem(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        setting, *_, key = map(str, fault["loc"])
        return f"there is no such key{did_you_mean(key.lower(), SETTING_OBJECTS[setting].model_fields)}"
    return fault["msg"].removeprefix("Value error, ")


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address, or to the name `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Settings(JwtSettings, BaseSettings):
    """The operator's settings. Unsafe combinations are refused here, before anything starts."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: LogLevel = "info"
    data_dir: Path = Path("data")
    event_log_url: EventLogUrl | None = None
    event_log_fsync: Literal["end", "commit", "never"] = "end"
    retention_days: float = Field(default=7, ge=1)
    session_retention_days: float | None = Field(default=None, ge=1)
    database_url: DatabaseUrl | None = None
    cors_origins: CommaSeparatedLower = ("http://localhost:3000", "http://localhost:3001")
    cors_credentials: bool = False
    allowed_hosts: CommaSeparatedLower = ("localhost", "127.0.0.1", "[::1]")
    page: Literal["on", "off"] = "on"

    auth: Literal["off", "keys", "jwt", "keys+jwt"] = "off"
    allow_anonymous: bool = False
    api_keys: EnvironmentKeys = ()
    auth_secret: SecretKey | None = Field(default=None, min_length=32)

    default_model: str | None = None
    fallback_models: FallbackModels = {}
    model_prices: ModelPrices = {}
    model_substitution: bool = True
    embedded_model: ModelFile | None = None
    embedded_context_tokens: int = Field(default=8192, ge=512)
    embedded_threads: int | None = Field(default=None, ge=1, le=512)  # 512 is llama.cpp's limit
    think_tags: CommaSeparatedLower = THINK_TAGS
    think_tags_opened: CommaSeparatedLower = ()
    default_context_tokens: int = Field(default=128_000, ge=1024)
    agent_tools: CommaSeparated = ()
    tools_by_default: Literal["none", "all"] = "none"
    tools_reload: bool = False
    tool_timeout_s: Seconds = 60
    tool_threads: int = Field(default=32, ge=1, le=1000)
    check_input: FunctionName | None = None
    check_output: FunctionName | None = None
    check_output_window_chars: int = Field(default=200, ge=0, le=100_000)
    check_output_restart: bool = False
    check_timeout_s: Seconds = 10
    approval_timeout_s: float = Field(default=86400, gt=0, le=10 * 365 * 86400)  # ten years
    mcp_servers: McpServers = {}
    mcp_connect_timeout_s: Seconds = 15
    url_allowed: CommaSeparatedLower = ()
    url_denied: CommaSeparatedLower = ()
    max_steps: int = Field(default=10, ge=1, le=100)
    max_cost_usd: Decimal | None = Field(default=None, gt=0, le=1_000_000, allow_inf_nan=False)
    max_total_tokens: int | None = Field(default=None, ge=1, le=1_000_000_000)
    max_calls_per_turn: int = Field(default=128, ge=1, le=1000)
    max_concurrent_runs: int = Field(default=1000, ge=1)
    max_waiting_runs: int = Field(default=10_000, ge=1)

    disconnect_grace_s: float = Field(default=30, ge=0)
    heartbeat_s: Seconds = 4
    send_timeout_s: Seconds = 30
    first_byte_timeout_s: Seconds = 120
    stall_timeout_s: Seconds = 300
    run_timeout_s: Seconds = 1800
    drain_s: float = Field(default=25, ge=3, le=3600)

    max_connections: int = Field(default=10_000, ge=1)
    head_timeout_s: Seconds = 30
    body_timeout_s: Seconds = 120
    max_bodies_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_json_values: int = Field(default=25_000, ge=1000)
    max_json_depth: int = Field(default=64, ge=8, le=500)
    max_tool_result_bytes: int = Field(default=256 * 1024, ge=1024, le=4 * 1024 * 1024)
    max_output_bytes: int = Field(default=1024 * 1024, ge=1024)
    memory_log_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)

    models_ttl_s: Seconds = 300
    marketplace_url: OptionalUrl = "https://www.dedaluslabs.ai/api/marketplace"

    dedalus_api_key: SecretKey | None = None
    dedalus_x_api_key: SecretKey | None = None
    dedalus_base_url: BaseUrl | None = None
    dedalus_as_url: PlainUrl | None = None
    dedalus_org_id: str | None = None
    dedalus_provider: str | None = None
    dedalus_provider_key: SecretKey | None = None
    dedalus_provider_model: str | None = None
    dedalus_base_url_hosts_mcp: bool = True
    upstream_rules: UpstreamRules = {}
    provider_options: CommaSeparated = ()
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None

    openai_api_key: SecretKey | None = None
    anthropic_api_key: SecretKey | None = None
    google_api_key: SecretKey | None = None
    gemini_api_key: SecretKey | None = None
    xai_api_key: SecretKey | None = None
    mistral_api_key: SecretKey | None = None
    deepseek_api_key: SecretKey | None = None
    groq_api_key: SecretKey | None = None
    cohere_api_key: SecretKey | None = None
    perplexity_api_key: SecretKey | None = None
    cerebras_api_key: SecretKey | None = None
    together_api_key: SecretKey | None = None
    fireworks_api_key: SecretKey | None = None
    moonshot_api_key: SecretKey | None = None

    @model_validator(mode="before")
    @classmethod
    def empty_is_unset(cls, values: dict[str, object]) -> dict[str, object]:
        """Read `NAME=` as the default. The exception is MARKETPLACE_URL, which it turns off."""
        return {name: value for name, value in values.items() if value != "" or name == "marketplace_url"}

    @field_validator("cors_credentials")
    @classmethod
    def refuse_unsafe(cls, value: bool, info: ValidationInfo) -> bool:
        """Refuse credentials for every origin: any page could then act as the user."""
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError("CORS_CREDENTIALS=true can't be combined with CORS_ORIGINS=*: name the origins")
        return value

    @model_validator(mode="after")
    def verifiable(self) -> Self:
        """Require what tokens are verified by."""
        if self.accepts_tokens and (fault := self.jwt_fault()):
            raise ValueError(f"AUTH={self.auth}: {fault}")
        return self

    def secrets(self) -> frozenset[str]:
        """Return what must not be shown: the keys, and the headers and environments of MCP servers."""
        keys = [value for _, value in self if isinstance(value, SecretStr)] + [known.key for known in self.api_keys]
        servers = self.mcp_servers.values()
        values = [value for server in servers for value in (*server.headers.values(), *server.env.values())]
        return frozenset(secret.get_secret_value() for secret in (*keys, *values))

    @property
    def authenticates(self) -> bool:
        """Whether callers need credentials."""
        return self.auth != "off"

    @property
    def accepts_keys(self) -> bool:
        """Whether API keys are credentials."""
        return "keys" in self.auth

    @property
    def accepts_tokens(self) -> bool:
        """Whether tokens of the issuer are credentials."""
        return "jwt" in self.auth

    def on_loopback(self) -> bool:
        """Whether only this machine can connect to HOST."""
        return is_loopback(self.host)

    def local_pages_allowed(self) -> bool:
        """Whether local pages may use the service from any port: on loopback, unless CORS_ORIGINS is set."""
        return self.on_loopback() and "cors_origins" not in self.model_fields_set

    def event_log_directory(self) -> Path | None:
        """Return the directory of the event log, or None if it is in memory."""
        if self.event_log_url is None:
            return self.data_dir / "runs"
        return None if self.event_log_url == "memory://" else Path(unquote(self.event_log_url.removeprefix("file://")))

    def database_url_or_default(self) -> str:
        """Return DATABASE_URL, or a file in the data directory."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'agent_stream.db'}"


def unused_names() -> list[str]:
    """Return a sentence for everything in `.env` and the environment that looks like a setting and has no effect."""
    in_file = unused_in_file(ENV_FILE, Settings.model_fields) if ENV_FILE.is_file() else ()
    return [*in_file, *unused_in_environment(os.environ, Settings.model_fields)]
