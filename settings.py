"""Defines every setting. They are read once from the environment and `.env`, validated and frozen.

`.env.example` lists them all with their defaults. Times are in seconds, sizes in bytes.
"""

import ipaddress
import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import (
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from setting_names import did_you_mean, unused_in_environment, unused_in_file
from setting_objects import (
    JSON_SETTINGS,
    OFF,
    SETTING_OBJECTS,
    THINK_TAGS,
    FunctionName,
    McpServer,
    ModelFile,
    ModelList,
    ModelPrice,
    WireRules,
)

__all__ = (
    "ENV_FILE",
    "OFF",
    "McpServer",
    "Settings",
    "WireRules",
    "did_you_mean",
    "unused_names",
    "validation_errors",
)

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[float, Field(gt=0)]
SECRET_QUERY = re.compile(r"key|token|secret|password|signature|^sig$", re.IGNORECASE)
ENV_FILE = Path(".env")
McpServerName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=100)]


def validation_errors(error: ValidationError) -> str:
    """Return a line for each invalid setting, without its value, which may be secret."""
    lines = [f"{'.'.join(map(str, fault['loc'])).upper()}: {_problem(fault)}" for fault in error.errors()]
    return "These settings are not valid (see .env.example):\n  " + "\n  ".join(lines)


def _problem(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        setting, *_, key = map(str, fault["loc"])
        return f"there is no such key{did_you_mean(key.lower(), SETTING_OBJECTS[setting].model_fields)}"
    return fault["msg"].removeprefix("Value error, ")


class Settings(BaseSettings):
    """The operator's settings. Unsafe combinations are refused here, before anything starts."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_dir: Path = Path("data")
    event_log_url: str | None = None
    event_log_fsync: Literal["end", "commit", "never"] = "end"
    retention_days: float = Field(default=7, ge=1)
    session_retention_days: float | None = Field(default=None, ge=1)
    database_url: str | None = None
    cors_origins: CommaSeparated = ("http://localhost:3000", "http://localhost:3001")
    cors_credentials: bool = False
    allowed_hosts: CommaSeparated = ("localhost", "127.0.0.1", "[::1]")
    page: Literal["on", "off"] = "on"

    default_model: str | None = None
    fallback_models: Annotated[dict[str, ModelList], NoDecode] = {}
    model_prices: Annotated[dict[str, ModelPrice], NoDecode] = {}
    model_substitution: bool = True
    embedded_model: ModelFile | None = None
    embedded_context_tokens: int = Field(default=8192, ge=512)
    embedded_threads: int | None = Field(default=None, ge=1, le=512)  # 512 is llama.cpp's limit
    think_tags: CommaSeparated = THINK_TAGS
    think_tags_opened: CommaSeparated = ()
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
    mcp_servers: Annotated[dict[McpServerName, McpServer], NoDecode] = {}
    mcp_connect_timeout_s: Seconds = 15
    url_allowed: CommaSeparated = ()
    url_denied: CommaSeparated = ()
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
    marketplace_url: str = "https://www.dedaluslabs.ai/api/marketplace"

    dedalus_api_key: SecretStr | None = None
    dedalus_x_api_key: SecretStr | None = None
    dedalus_base_url: HttpUrl | None = None
    dedalus_as_url: HttpUrl | None = None
    dedalus_org_id: str | None = None
    dedalus_provider: str | None = None
    dedalus_provider_key: SecretStr | None = None
    dedalus_provider_model: str | None = None
    dedalus_base_url_hosts_mcp: bool = True
    upstream_rules: Annotated[dict[str, WireRules], NoDecode] = {}
    provider_options: CommaSeparated = ()
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None

    openai_api_key: SecretStr | None = None
    anthropic_api_key: SecretStr | None = None
    google_api_key: SecretStr | None = None
    gemini_api_key: SecretStr | None = None
    xai_api_key: SecretStr | None = None
    mistral_api_key: SecretStr | None = None
    deepseek_api_key: SecretStr | None = None
    groq_api_key: SecretStr | None = None
    cohere_api_key: SecretStr | None = None
    perplexity_api_key: SecretStr | None = None
    cerebras_api_key: SecretStr | None = None
    together_api_key: SecretStr | None = None
    fireworks_api_key: SecretStr | None = None
    moonshot_api_key: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def empty_is_unset(cls, values: dict[str, object]) -> dict[str, object]:
        """Read `NAME=` as the default. The exception is MARKETPLACE_URL, which it turns off."""
        return {name: value for name, value in values.items() if value != "" or name == "marketplace_url"}

    @field_validator(
        *("cors_origins", "allowed_hosts", "agent_tools", "url_allowed", "url_denied", "provider_options"),
        *("think_tags", "think_tags_opened"),
        mode="before",
    )
    @classmethod
    def split_commas(cls, value: object, info: ValidationInfo) -> object:
        """Split `a, b` into (a, b). All but the names of code are in lower case, as browsers send host names."""
        if not isinstance(value, str):
            return value
        text = value if info.field_name in {"agent_tools", "provider_options"} else value.lower()
        return tuple(part.strip() for part in text.split(",") if part.strip())

    @field_validator(*JSON_SETTINGS, mode="before")
    @classmethod
    def read_json(cls, value: object, info: ValidationInfo) -> object:
        """Parse JSON. In code, the value itself is accepted."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"the value is not JSON such as {JSON_SETTINGS[info.field_name or '']}") from None

    @field_validator("marketplace_url")
    @classmethod
    def web_address(cls, value: str) -> str:
        """Require a URL, or nothing."""
        if value:
            TypeAdapter(HttpUrl).validate_python(value)
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def any_case(cls, value: object) -> object:
        """Accept `INFO` for `info`."""
        return value.lower() if isinstance(value, str) else value

    @field_validator("event_log_url")
    @classmethod
    def known_event_log(cls, value: str | None) -> str | None:
        """Require a backend that this version has."""
        if value is not None and value != "memory://" and not value.startswith("file:///"):
            raise ValueError("set memory:// or file:///an/absolute/path")
        return value

    @field_validator("database_url")
    @classmethod
    def known_database(cls, value: str | None) -> str | None:
        """Require a database that this version has a driver for."""
        if value is not None and not re.fullmatch(r"sqlite\+aiosqlite://(/.*)?", value):
            raise ValueError("set sqlite+aiosqlite:////an/absolute/path.db")
        return value

    def secrets(self) -> frozenset[str]:
        """Return what must not be shown: the keys, and the headers and environments of MCP servers."""
        keys = [value for _, value in self if isinstance(value, SecretStr)]
        servers = self.mcp_servers.values()
        values = [value for server in servers for value in (*server.headers.values(), *server.env.values())]
        return frozenset(secret.get_secret_value() for secret in (*keys, *values))

    def on_loopback(self) -> bool:
        """Whether only this machine can connect to HOST."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

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

    @field_validator("*", mode="before")
    @classmethod
    def plain_key(cls, value: object, info: ValidationInfo) -> object:
        """Strip white space. Refuse characters that no header can have, such as typographic quotation marks."""
        if not (info.field_name or "").endswith("_key") or not isinstance(value, str):
            return value
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise ValueError("a key has only ASCII letters, digits and signs: copy it again")
        return value

    @field_validator("dedalus_base_url", mode="before")
    @classmethod
    def with_scheme(cls, value: object) -> object:
        """Require http or https: `localhost:11434` would be a URL of the scheme localhost."""
        if isinstance(value, str) and not re.match(r"\s*https?://", value, re.IGNORECASE):
            raise ValueError("the URL must begin with 'http' or 'https', such as http://localhost:11434")
        return value

    @field_validator("dedalus_base_url", "dedalus_as_url")
    @classmethod
    def plain_address(cls, value: HttpUrl | None) -> HttpUrl | None:
        """Refuse what would be lost when a path is appended (a fragment), and credentials."""
        if value is None:
            return None
        secret = any(SECRET_QUERY.search(name) for name, _ in value.query_params())
        if value.username or value.password or value.fragment or secret:
            raise ValueError("the URL must not contain a user, a # or keys: set the key as DEDALUS_API_KEY")
        return value

    @field_validator("dedalus_base_url")
    @classmethod
    def whole_azure_address(cls, value: HttpUrl | None) -> HttpUrl | None:
        """Require a deployment in Azure's URL if it has a dated api-version."""
        dated = value is not None and re.search(r"api-version=\d", value.query or "")
        if value is not None and dated and re.fullmatch(r"/?(openai/?)?", value.path or ""):
            raise ValueError(
                "with ?api-version=, the path must end in /openai/deployments/ and the name of the deployment"
            )
        return value

    @field_validator("cors_credentials")
    @classmethod
    def refuse_unsafe(cls, value: bool, info: ValidationInfo) -> bool:
        """Refuse credentials for every origin: any page could then act as the user."""
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError("CORS_CREDENTIALS=true can't be combined with CORS_ORIGINS=*: name the origins")
        return value


def unused_names() -> list[str]:
    """Return a sentence for everything in `.env` and the environment that looks like a setting and has no effect."""
    in_file = unused_in_file(ENV_FILE, Settings.model_fields) if ENV_FILE.is_file() else ()
    return [*in_file, *unused_in_environment(os.environ, Settings.model_fields)]
