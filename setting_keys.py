"""The API keys of the setting API_KEYS: how they are written there."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode

from access_models import CALLS, KeyOwner, Scope
from setting_types import SecretKey

SHORTEST_KEY = 16  # characters of a key in API_KEYS


class EnvironmentKey(BaseModel):
    """An API key in API_KEYS: `owner:key`, or `owner:key:scopes` with a `+` between several scopes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    owner: KeyOwner
    key: SecretKey
    scopes: tuple[Scope, ...] = Field(CALLS, min_length=1)

    @field_validator("key")
    @classmethod
    def long_enough(cls, value: SecretStr) -> SecretStr:
        """Refuse a key that can be guessed."""
        if len(value.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"a key has at least {SHORTEST_KEY} characters")
        return value


def _read(value: object) -> object:
    """Read API_KEYS. The message of a ValueError has no key. In code, the keys themselves are accepted."""
    if not isinstance(value, str):
        return value
    return tuple(_environment_key(part.strip()) for part in value.split(",") if part.strip())


def _environment_key(text: str) -> EnvironmentKey:
    match text.split(":", 2):
        case [owner, key]:
            fields: dict[str, object] = {"owner": owner, "key": key}
        case [owner, key, scopes]:
            fields = {"owner": owner, "key": key, "scopes": scopes.replace("+", " ").split()}
        case _:
            raise ValueError("write each key as owner:key, or as owner:key:admin, with commas between them")
    try:
        return EnvironmentKey.model_validate(fields)
    except ValidationError as error:
        raise ValueError("; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())) from None


EnvironmentKeys = Annotated[tuple[EnvironmentKey, ...], NoDecode, BeforeValidator(_read)]
