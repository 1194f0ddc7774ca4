"""API keys and what they allow, as operators create them and as callers see them."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from closed_models import Closed, Maybe, with_examples
from run_models import ANONYMOUS
from tool_models import Asked

MAX_OVERLAP_S = 30 * 86400


class Scope(StrEnum):
    """A permission: to start and change runs and sessions, to read them, or everything, for every owner."""

    RUNS_WRITE = "runs:write"
    RUNS_READ = "runs:read"
    ADMIN = "admin"


CALLS = (Scope.RUNS_WRITE, Scope.RUNS_READ)
"""The scopes of a key that names none."""

OWNER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:@|+=~-]{0,127}$"
OwnerId = Annotated[str, Field(pattern=OWNER_PATTERN)]
"""A caller to whom runs and sessions belong, such as a user or a program."""


def _not_anonymous(owner: str) -> str:
    if owner == ANONYMOUS:
        raise ValueError(f"{ANONYMOUS} owns what was made without authentication: choose another name")
    return owner


KeyOwner = Annotated[OwnerId, AfterValidator(_not_anonymous)]
"""The owner of a key."""


class KeyCreate(Asked):
    """An API key to create."""

    model_config = with_examples({"owner": "ada", "name": "Ada's laptop"}, {"owner": "ops", "scopes": ["admin"]})

    owner: KeyOwner = Field(description="The owner of the key, and of the runs and sessions that it starts.")
    name: str | None = Field(None, max_length=200, description="A note, to tell the keys of an owner apart.")
    scopes: list[Scope] = Field(
        list(CALLS),
        min_length=1,
        max_length=len(Scope),
        description="The rights of the key. By default it may start and read runs.",
    )
    models: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, min_length=1, max_length=100, description="The models that it may use, such as openai/*. Without it, all."
    )
    expires_at: AwareDatetime | None = Field(None, description="When the key ends. Without it, never.")


class KeyRotation(Asked):
    """How an API key is replaced. With an overlap, programs can be changed to the new key one by one."""

    overlap_s: float = Field(0, ge=0, le=MAX_OVERLAP_S, description="How long the old key stays valid.")
    expires_at: AwareDatetime | None = Field(None, description="When the new key ends. Without it, as the old one.")


class ApiKey(Closed):
    """An API key, without the key itself, which is shown once. The key begins with `key_id`.

    Times are UTC, RFC 3339. `last_used_at` can be a minute late.
    """

    key_id: str
    owner: str
    name: Maybe[str] = None
    scopes: list[Scope]
    models: Maybe[list[str]] = None
    created_at: str
    expires_at: Maybe[str] = None
    last_used_at: Maybe[str] = None
    revoked_at: Maybe[str] = None


class NewApiKey(ApiKey):
    """A new API key with the key itself, which is not stored and can't be shown again."""

    key: str


class ApiKeyList(Closed):
    """API keys, the latest first. Send `next_cursor` as `cursor` for the next page, if there is one."""

    keys: list[ApiKey]
    next_cursor: Maybe[str] = None


class RunToken(Closed):
    """A token with which a page reads one run, in the query `?token=…` of a GET request. `expires_at` is in UTC."""

    token: str
    expires_at: str


class CallerInfo(Closed):
    """The caller of a request, and what it may do. `admin` is the admin that acts for the owner."""

    owner: str
    scopes: list[Scope]
    models: Maybe[list[str]] = None
    key_id: Maybe[str] = None
    admin: Maybe[str] = None
