"""Tests the settings: how each is set, which values are refused with which message, and that `.env.example` has all
of them.
"""

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked_command import forked_command
from process import ROOT, Nursery
from pydantic import ValidationError

from setting_names import unused_in_environment, unused_in_file
from setting_objects import ModelPrice, WireRules
from setting_types import OFF
from settings import Settings, validation_errors

EXAMPLE = ROOT / ".env.example"
DOCS = '{"docs": {"url": "https://mcp.example.com/mcp"}}'

DOCS_SERVER: dict[str, Any] = {
    "url": "https://mcp.example.com/mcp",
    "transport": "http",
    "headers": {},
    "command": None,
    "args": [],
    "env": {},
    "description": "",
}

# Each setting's value in the environment, and the resulting value as JSON.
SET: dict[str, tuple[str, Any]] = {
    "HOST": ("0.0.0.0", "0.0.0.0"),
    "PORT": ("9000", 9000),
    "LOG_LEVEL": ("debug", "debug"),
    "PAGE": ("off", "off"),
    "DATA_DIR": ("/var/lib/agent", "/var/lib/agent"),
    "AUTH": ("keys", "keys"),
    "ALLOW_ANONYMOUS": ("true", True),
    "API_KEYS": (
        "ada:sk-secret-sk-secret, ops:sk-secret-sk-secret:admin",
        [
            {"owner": "ada", "key": "**********", "scopes": ["runs:write", "runs:read"]},
            {"owner": "ops", "key": "**********", "scopes": ["admin"]},
        ],
    ),
    "EVENT_LOG_URL": ("memory://", "memory://"),
    "EVENT_LOG_FSYNC": ("never", "never"),
    "RETENTION_DAYS": ("30", 30.0),
    "SESSION_RETENTION_DAYS": ("30", 30.0),
    "DATABASE_URL": ("sqlite+aiosqlite:////var/lib/agent.db", "sqlite+aiosqlite:////var/lib/agent.db"),
    "DEFAULT_CONTEXT_TOKENS": ("8192", 8192),
    "CORS_ORIGINS": ("https://a.example, https://b.example", ["https://a.example", "https://b.example"]),
    "CORS_CREDENTIALS": ("true", True),
    "ALLOWED_HOSTS": ("a.example,b.example", ["a.example", "b.example"]),
    "DEFAULT_MODEL": ("openai/gpt-5", "openai/gpt-5"),
    "FALLBACK_MODELS": ('{"a/one": ["b/two"]}', {"a/one": ["b/two"]}),
    "MODEL_SUBSTITUTION": ("off", False),
    "THINK_TAGS": ("*R1*, my-model", ["*r1*", "my-model"]),
    "THINK_TAGS_OPENED": ("my-model", ["my-model"]),
    "EMBEDDED_MODEL": ("off", "off"),
    "EMBEDDED_CONTEXT_TOKENS": ("4096", 4096),
    "EMBEDDED_THREADS": ("2", 2),
    "AGENT_TOOLS": ("shop.Tools, more", ["shop.Tools", "more"]),
    "TOOLS_BY_DEFAULT": ("all", "all"),
    "TOOLS_RELOAD": ("true", True),
    "TOOL_TIMEOUT_S": ("2.5", 2.5),
    "TOOL_THREADS": ("4", 4),
    "CHECK_INPUT": ("my_project.checks:Polite", "my_project.checks:Polite"),
    "CHECK_OUTPUT": ("checks:no_secrets", "checks:no_secrets"),
    "CHECK_OUTPUT_WINDOW_CHARS": ("0", 0),
    "CHECK_OUTPUT_RESTART": ("true", True),
    "CHECK_TIMEOUT_S": ("2.5", 2.5),
    "APPROVAL_TIMEOUT_S": ("2.5", 2.5),
    "MCP_SERVERS": (DOCS, {"docs": DOCS_SERVER}),
    "MCP_CONNECT_TIMEOUT_S": ("2.5", 2.5),
    "URL_ALLOWED": ("*.Example.com,10.0.0.0/8", ["*.example.com", "10.0.0.0/8"]),
    "URL_DENIED": ("evil.example", ["evil.example"]),
    "MAX_STEPS": ("20", 20),
    "MAX_COST_USD": ("2.5", "2.5"),
    "MAX_TOTAL_TOKENS": ("9000", 9000),
    "MAX_CALLS_PER_TURN": ("20", 20),
    "MAX_CONCURRENT_RUNS": ("5", 5),
    "MAX_WAITING_RUNS": ("5", 5),
    "DISCONNECT_GRACE_S": ("0", 0.0),
    "HEARTBEAT_S": ("2.5", 2.5),
    "SEND_TIMEOUT_S": ("2.5", 2.5),
    "FIRST_BYTE_TIMEOUT_S": ("2.5", 2.5),
    "STALL_TIMEOUT_S": ("2.5", 2.5),
    "RUN_TIMEOUT_S": ("2.5", 2.5),
    "DRAIN_S": ("10", 10.0),
    "MAX_BODY_BYTES": ("2048", 2048),
    "MAX_JSON_DEPTH": ("9", 9),
    "MAX_CONNECTIONS": ("50", 50),
    "HEAD_TIMEOUT_S": ("1.5", 1.5),
    "BODY_TIMEOUT_S": ("2.5", 2.5),
    "MAX_BODIES_BYTES": ("2048", 2048),
    "MAX_JSON_VALUES": ("2000", 2000),
    "MAX_TOOL_RESULT_BYTES": ("2048", 2048),
    "MAX_OUTPUT_BYTES": ("2048", 2048),
    "MEMORY_LOG_BYTES": ("2097152", 2097152),
    "MODELS_TTL_S": ("2.5", 2.5),
    "MARKETPLACE_URL": ("https://example.com/api", "https://example.com/api"),
    "DEDALUS_BASE_URL": ("http://localhost:11434", "http://localhost:11434/"),
    "JWT_ISSUER": ("https://login.example.com/", "https://login.example.com/"),
    "JWT_AUDIENCE": ("agent-stream, Other", ["agent-stream", "Other"]),
    "JWT_AUDIENCE_CLAIM": ("client_id", "client_id"),
    "JWT_ALGORITHMS": ("RS256,HS256", ["RS256", "HS256"]),
    "JWT_JWKS_URL": ("http://keycloak:8080/certs", "http://keycloak:8080/certs"),
    "JWT_PUBLIC_KEY": (
        r"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    ),
    "JWT_KEYS_TTL_S": ("2.5", 2.5),
    "JWT_LEEWAY_S": ("0", 0.0),
    "JWT_OWNER_CLAIM": ("org.id", "org.id"),
    "JWT_SCOPES_CLAIM": ("roles, Groups", ["roles", "Groups"]),
    "JWT_SCOPES": ('{"boss": ["admin", "runs:read"]}', {"boss": ["admin", "runs:read"]}),
    "JWT_DEFAULT_SCOPES": ("none", []),
    "DEDALUS_AS_URL": ("https://as.example.com", "https://as.example.com/"),
    "DEDALUS_ORG_ID": ("org", "org"),
    "DEDALUS_PROVIDER": ("openai", "openai"),
    "DEDALUS_PROVIDER_MODEL": ("gpt-4.1", "gpt-4.1"),
    "DEDALUS_BASE_URL_HOSTS_MCP": ("false", False),
    "PROMPT_CACHE_RETENTION": ("24h", "24h"),
    "PROVIDER_OPTIONS": ("logit_bias,cachedContent", ["logit_bias", "cachedContent"]),
    "MODEL_PRICES": (
        '{"m": {"input_per_million": 2.5, "output_per_million": 8}}',
        {"m": ModelPrice(input_per_million=Decimal("2.5"), output_per_million=Decimal(8)).model_dump(mode="json")},
    ),
    "UPSTREAM_RULES": (
        '{"custom": {"stream_options": false}}',
        {"custom": WireRules(stream_options=False).model_dump(mode="json")},
    ),
}
PUBLIC = {"JWT_PUBLIC_KEY"}
SECRETS = tuple(
    name for name in map(str.upper, Settings.model_fields) if name.endswith(("_KEY", "_SECRET")) and name not in PUBLIC
)
SET |= dict.fromkeys(SECRETS, ("sk-secret" * 4, "**********"))


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, without the developer's `.env`."""
    monkeypatch.chdir(tmp_path)


def as_json(settings: Settings) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(settings.model_dump_json())
    return {name.upper(): value for name, value in read.items()}


DEFAULTS = as_json(Settings.model_construct())  # doesn't read the environment


# Setting


def test_every_setting_is_in_this_test() -> None:
    """A new setting needs a line in the table above, and every key is a secret."""
    assert set(SET) == {name.upper() for name in Settings.model_fields}
    assert {name for name in SET if name.endswith("_KEY")} | {"AUTH_SECRET", "JWT_SECRET"} == {*SECRETS, *PUBLIC}


@pytest.mark.parametrize("name", SET)
def test_each_setting_is_set_by_its_name_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable sets its own setting and no other."""
    given, expected = SET[name]
    monkeypatch.setenv(name, given)
    assert as_json(Settings()) == DEFAULTS | {name: expected}


def test_all_settings_are_read_from_an_env_file() -> None:
    """`.env` in the working directory may have comments, quotes and unknown names."""
    lines = [f"{name}='{given}'" for name, (given, _) in SET.items()]
    Path(".env").write_text("\n".join(["# a comment", "UNKNOWN=1", "", *lines]))
    assert as_json(Settings()) == {name: expected for name, (_, expected) in SET.items()}


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment overrides the file."""
    Path(".env").write_text("PORT=1111\nHOST=from.file\n")
    monkeypatch.setenv("PORT", "2222")
    settings = Settings()
    assert (settings.host, settings.port) == ("from.file", 2222)


def test_a_name_without_a_value_is_left_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NAME=` means the default, as usual in `.env` files and containers, for each setting but one."""
    for name in SET.keys() - {"MARKETPLACE_URL"}:
        monkeypatch.setenv(name, "")
    assert as_json(Settings()) == DEFAULTS


def test_the_marketplace_is_turned_off_by_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this setting an empty value turns it off instead of keeping the default."""
    monkeypatch.setenv("MARKETPLACE_URL", "")
    assert Settings().marketplace_url == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.example", ("a.example",)),
        (" a.example ,b.example,, ", ("a.example", "b.example")),
        ("A.Example,[::1]", ("a.example", "[::1]")),
        ("*", ("*",)),
        (",", ()),
    ],
)
@pytest.mark.parametrize("name", ["CORS_ORIGINS", "ALLOWED_HOSTS"])
def test_lists_are_separated_by_commas(
    name: str, given: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blanks and empty parts are ignored. Names become lower case, as browsers send them."""
    monkeypatch.setenv(name, given)
    assert getattr(Settings(), name.lower()) == expected


def test_settings_are_read_once_and_frozen() -> None:
    """Settings can't be changed while the service runs."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_keys_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are not printed, dumped, or repeated when another setting is refused."""
    for name in SECRETS:
        monkeypatch.setenv(name, "sk-secret" * 4)
    settings = Settings()
    assert "sk-secret" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    monkeypatch.setenv("PORT", "none")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "sk-secret" not in str(refused.value)


def test_the_white_space_around_a_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """White space is removed, because secrets in files end with a line break, which headers don't allow."""
    monkeypatch.setenv("DEDALUS_API_KEY", " sk-secret\n")
    key = Settings().dedalus_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-secret"


@pytest.mark.parametrize("off", ["off", "OFF", "Off"])
def test_the_embedded_model_is_turned_off_in_any_case(off: str) -> None:
    """The value is read in upper or lower case, as for other settings."""
    assert Settings.model_validate({"embedded_model": off}).embedded_model == OFF


def test_the_embedded_model_s_file_is_found_from_where_the_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from the service's working directory, because the model's process has another one."""
    Path("x.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("EMBEDDED_MODEL", "x.gguf")
    assert Settings().embedded_model == Path.cwd() / "x.gguf"


# Refusing


def test_a_misspelt_key_of_an_object_is_reported_with_a_similar_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unknown key of UPSTREAM_RULES and MCP_SERVERS has a line, with a suggestion if a key is similar."""
    monkeypatch.setenv("UPSTREAM_RULES", '{"custom": {"stream_option": false, "zzz": 1}}')
    monkeypatch.setenv("MCP_SERVERS", '{"docs": {"url": "https://mcp.example.com", "header": {}}}')
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert validation_errors(refused.value).splitlines()[1:] == [
        "  MCP_SERVERS.DOCS.HEADER: there is no such key: did you mean headers?",
        "  UPSTREAM_RULES.CUSTOM.STREAM_OPTION: there is no such key: did you mean stream_options?",
        "  UPSTREAM_RULES.CUSTOM.ZZZ: there is no such key",
    ]


REFUSED = [
    ("PORT", "http", "integer"),
    ("PORT", "65536", "65535"),
    ("PORT", "-1", "0"),
    ("EMBEDDED_THREADS", "513", "512"),
    ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("EVENT_LOG_URL", "redis://localhost", "memory://"),
    ("CORS_CREDENTIALS", "perhaps", "boolean"),
    ("MCP_SERVERS", "{", 'JSON such as {"name": {"url": "https://…"'),
    ("MCP_SERVERS", '["https://mcp.example.com"]', "dictionary"),
    ("MCP_SERVERS.DOCS.URL", '{"docs": {"url": "ftp://mcp.example.com"}}', "https"),
    ("MCP_SERVERS.DOCS", '{"docs": {}}', 'a "url" or a "command"'),
    ("MCP_SERVERS.DOCS", '{"docs": {"url": "https://a.example", "command": "b"}}', 'a "url" or a "command"'),
    ("MCP_SERVERS.DOCS", '{"docs": {"command": "b", "headers": {"A": "b"}}}', 'go with a "url"'),
    ("MCP_SERVERS.DOCS", '{"docs": {"url": "https://a.example", "args": ["b"]}}', 'go with a "command"'),
    ("MCP_SERVERS.DOCS.ULR", '{"docs": {"url": "https://mcp.example.com", "ulr": ""}}', "not permitted"),
    ("FALLBACK_MODELS", "a/one: b/two", 'JSON such as {"openai/gpt-4.1"'),
    ("FALLBACK_MODELS.A/ONE", '{"a/one": []}', "at least 1 item"),
    ("UPSTREAM_RULES", "{", 'JSON such as {"custom"'),
    ("UPSTREAM_RULES.CUSTOM.STREEM", '{"custom": {"streem": false}}', "not permitted"),
    ("UPSTREAM_RULES.CUSTOM.CALL_IDS", '{"custom": {"call_ids": 9}}', "'short' or 'nine'"),
    ("OPENAI_API_KEY", "\u201csk-secret\u201d", "copy it again"),
    ("DEDALUS_API_KEY", "sk-a\nsk-b", "copy it again"),
    ("EMBEDDED_MODEL", "/nowhere/x.gguf", "No such file"),
    ("EMBEDDED_MODEL", "/", "or off"),
    ("EMBEDDED_MODEL", "/etc/passwd", "GGUF format"),
    ("EMBEDDED_CONTEXT_TOKENS", "0", "512"),
    ("EMBEDDED_THREADS", "0", "1"),
    ("CHECK_INPUT", "my_project.checks", "module:function"),
    ("CHECK_OUTPUT", "checks.py:no_secrets(x)", "module:function"),
    ("CHECK_OUTPUT_WINDOW_CHARS", "-1", "0"),
    ("MAX_STEPS", "0", "1"),
    ("MAX_STEPS", "101", "100"),
    ("MAX_CALLS_PER_TURN", "0", "1"),
    ("MAX_CALLS_PER_TURN", "1001", "1000"),
    ("MAX_CONCURRENT_RUNS", "0", "1"),
    ("DISCONNECT_GRACE_S", "-1", "0"),
    ("DRAIN_S", "2", "3"),
    ("DRAIN_S", "3601", "3600"),
    ("MAX_BODY_BYTES", "1023", "1024"),
    ("MAX_BODY_BYTES", "10MB", "integer"),
    ("MAX_JSON_DEPTH", "7", "8"),
    ("MAX_CONNECTIONS", "0", "1"),
    ("HEAD_TIMEOUT_S", "0", "0"),
    ("BODY_TIMEOUT_S", "0", "0"),
    ("MAX_BODIES_BYTES", "1023", "1024"),
    ("MAX_JSON_VALUES", "999", "1000"),
    ("MAX_JSON_DEPTH", "501", "500"),
    ("MAX_TOOL_RESULT_BYTES", "0", "1024"),
    ("MAX_OUTPUT_BYTES", "0", "1024"),
    ("MEMORY_LOG_BYTES", "0", "1048576"),
    ("MARKETPLACE_URL", "dedaluslabs.ai", "URL"),
    ("MARKETPLACE_URL", "ftp://example.com", "'http' or 'https'"),
    ("DEDALUS_BASE_URL", "localhost:11434", "'http' or 'https'"),
    ("DEDALUS_BASE_URL", "https://user:sk-secret@example.com", "set the key as DEDALUS_API_KEY"),
    ("DEDALUS_BASE_URL", "https://example.com/v1?key=sk-secret", "set the key as DEDALUS_API_KEY"),
    ("DEDALUS_BASE_URL", "https://example.com/#v1", "must not contain a user, a # or keys"),
    ("DEDALUS_BASE_URL", "api.example.com/v1", "begin with 'http' or 'https'"),
    ("DEDALUS_BASE_URL", "https://x.openai.azure.com/?api-version=2024-10-21", "/openai/deployments/"),
    ("DEDALUS_BASE_URL", "https://x.openai.azure.com/openai?api-version=2024-10-21", "/openai/deployments/"),
    ("DEDALUS_AS_URL", "as", "URL"),
    ("AUTH", "on", "'jwt' or 'keys+jwt'"),
    ("AUTH_SECRET", "short", "32"),
    ("API_KEYS", "sk-secret-sk-secret", "owner:key:admin"),
    ("API_KEYS", "ada:short", "at least 16 characters"),
    ("API_KEYS", "anonymous:sk-secret-sk-secret", "choose another name"),
    ("API_KEYS", "a da:sk-secret-sk-secret", "match pattern"),
    ("API_KEYS", "ada:sk-secret-sk-secret:root", "'runs:write', 'runs:read' or 'admin'"),
    ("JWT_ALGORITHMS.0", "none", "'RS256'"),
    ("JWT_ALGORITHMS.1", "RS256,HS1", "'RS256'"),
    ("JWT_JWKS_URL", "keycloak:8080/certs", "'http' or 'https'"),
    ("JWT_PUBLIC_KEY", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ("JWT_SECRET", "s" * 31, "at least 32 bytes"),
    ("JWT_LEEWAY_S", "601", "600"),
    ("JWT_SCOPES", "admin", "not JSON such as"),
    ("JWT_DEFAULT_SCOPES.0", "read", "'runs:read'"),
    *((f"{name}_S", "0", "greater than 0") for name in ("HEARTBEAT", "SEND_TIMEOUT", "RUN_TIMEOUT", "MODELS_TTL")),
    *((f"{name}_TIMEOUT_S", "nan", "greater than 0") for name in ("FIRST_BYTE", "STALL")),
]


@pytest.mark.parametrize(("name", "given", "expected"), REFUSED)
def test_a_value_that_can_t_be_is_refused_with_what_can(
    name: str, given: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start is refused with the setting's name and the values that are allowed."""
    monkeypatch.setenv(name.partition(".")[0], given)
    with pytest.raises(ValidationError) as refused:
        Settings()
    [fault] = refused.value.errors()
    assert ".".join(map(str, fault["loc"])).upper() == name
    assert expected in fault["msg"]


def environment_outside() -> dict[str, str]:
    """The machine's environment, without settings."""
    return {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}


class Ended(NamedTuple):
    """The exit status and output of a service that has ended."""

    status: int
    out: str
    err: str


def started_with(nursery: Nursery, *lines: str, encoding: str = "utf-8", **environment: str) -> Ended:
    """Run the service with these lines in the `.env` of its working directory, until it ends."""
    Path(".env").write_text("\n".join(lines), encoding=encoding)
    with forked_command(nursery, "app", env=environment_outside() | environment, directory=Path.cwd()) as command:
        out, err = command.communicate()
        return Ended(command.wait(5), out.decode(), err.decode())


def test_the_service_refuses_to_start_and_names_every_fault(nursery: Nursery) -> None:
    """The exit status is 1. Each wrong setting has one line, without a traceback and without keys."""
    lines = ("PORT=http", "MCP_SERVERS={", "OPENAI_API_KEY=sk-secret", "CORS_CREDENTIALS=1")
    ended = started_with(nursery, *lines, CORS_ORIGINS="*")
    first, *faults = ended.err.splitlines()
    assert (ended.status, ended.out) == (1, "")
    assert first == "These settings are not valid (see .env.example):"
    assert [fault.partition(":")[0].strip() for fault in faults] == ["PORT", "CORS_CREDENTIALS", "MCP_SERVERS"]
    assert "name the origins" in ended.err
    assert "sk-secret" not in ended.err


# Names that have no effect


@pytest.mark.parametrize(
    ("line", "doubt"),
    [
        ("OPENAI_APIKEY=sk-secret", "OPENAI_APIKEY is not a setting of this service: did you mean OPENAI_API_KEY?"),
        ("export cors_origin=*", "cors_origin is not a setting of this service: did you mean CORS_ORIGINS?"),
        ("XQZ=1", "XQZ is not a setting of this service"),
        ("sk-9f2c81==", "a name is not a setting of this service"),
        ("gsk_secret", "ignored, because it does not have the form NAME=value"),
        ("PORT", "ignored, because it does not have the form NAME=value"),
        ("LOG_LEVEL: sk-secret", "ignored, because it does not have the form NAME=value"),
        ("port=8001", None),
        ("PORT=  # none", None),
        ("", None),
    ],
)
def test_a_line_of_the_file_that_has_no_effect_is_reported(line: str, doubt: str | None) -> None:
    """The report has the line's number and the setting with the most similar name, but nothing that may be a key."""
    Path(".env").write_text(f"# Mine\nHOST=127.0.0.1\n{line}\nDRAIN_S=3\n")
    expected = [] if doubt is None else [f".env, line 3: {doubt}"]
    assert list(unused_in_file(Path(".env"), Settings.model_fields)) == expected


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("EMBEDED_MODEL", "EMBEDDED_MODEL"),
        ("mcp_server", "MCP_SERVERS"),
        ("PORT", None),
        ("OPENAI_API_BASE", None),
        ("ZAI_API_KEY", None),
        ("HOSTNAME", None),
        ("XQZ", None),
    ],
)
def test_a_misspelt_name_of_the_environment_is_reported(name: str, setting: str | None) -> None:
    """Only names close to a setting's are reported, because the environment has variables of other programs."""
    expected = f"environment variable {name} is not a setting of this service: did you mean {setting}?"
    assert list(unused_in_environment([name], Settings.model_fields)) == ([] if setting is None else [expected])


def test_the_start_reports_names_that_have_no_effect(nursery: Nursery) -> None:
    """`python app.py` logs each name as a warning, and nothing else of the file."""
    error = started_with(nursery, "DEDALUS_BASE_URI=http://127.0.0.1:9", "what?", 'UPSTREAM_RULES={"nobody": {}}').err
    assert [line for line in error.splitlines() if ".env" in line] == [
        "WARNING agent_stream: .env, line 1: DEDALUS_BASE_URI is not a setting of this service: "
        "did you mean DEDALUS_BASE_URL?",
        "WARNING agent_stream: .env, line 2: ignored, because it does not have the form NAME=value",
    ]
    assert "dotenv" not in error
    assert "The service can't start" in error
    assert "Traceback" not in error


def test_a_file_in_another_encoding_is_refused(nursery: Nursery) -> None:
    """For a file as PowerShell writes it, one line names the file, without a traceback."""
    ended = started_with(nursery, "PORT=8001", encoding="utf-16")
    assert ended == (1, "", ".env is not UTF-8. Save it in that encoding.\n")


# .env.example


class Line(NamedTuple):
    """A setting in the example."""

    comment: str
    name: str
    value: str


def example_lines() -> Iterator[Line]:
    lines = EXAMPLE.read_text().splitlines()
    for before, line in pairwise(lines):
        if found := re.fullmatch(r"#([A-Z0-9_]+)=(.*)", line):
            yield Line(before, *found.groups())


def test_the_example_names_every_setting_once_with_a_comment() -> None:
    """Each setting has one line of plain English above it, and there are no unknown names."""
    lines = list(example_lines())
    assert sorted(line.name for line in lines) == sorted(SET)
    assert [line.name for line in lines if not re.match(r"# [A-Zx].{10}", line.comment)] == []


def test_the_example_shows_each_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value that is commented out is the default, and is empty only where there is none."""
    for line in example_lines():
        monkeypatch.setenv(line.name, line.value)
    assert as_json(Settings(_env_file=None)) == DEFAULTS
    assert {line.name for line in example_lines() if line.value == ""} == {
        name for name, value in DEFAULTS.items() if value in (None, [])
    }


def test_the_example_changes_nothing_as_it_is() -> None:
    """Copied to `.env`, the example leaves every default, also with all of its lines uncommented."""
    example = EXAMPLE.read_text()
    Path(".env").write_text(example)
    assert as_json(Settings()) == DEFAULTS
    Path(".env").write_text(re.sub(r"^#(?=[A-Z0-9_]+=)", "", example, flags=re.MULTILINE))
    assert as_json(Settings()) == DEFAULTS
    assert not re.search(r"^[^#\n]", example, re.MULTILINE)
