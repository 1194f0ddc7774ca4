"""The settings of tokens (JWT): who issues them, for whom, how they are signed, and what their claims mean."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from access_models import Scope
from setting_types import CommaSeparated, Seconds, SecretKey, json_such_as, split_commas

PUBLIC_ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""The algorithms with which most issuers sign by default."""
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2
PEM = ("-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----")


def _public_key(value: object) -> object:
    r"""Require the PEM form. In one line, as containers often need it, the lines are separated by \n."""
    if not isinstance(value, str):
        return value
    text = value.replace("\\n", "\n").strip()
    if not text.startswith(PEM):
        raise ValueError(f"set a public key in the PEM form, which begins with {PEM[0]}")
    return text


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret that signs tokens has at least {MIN_SECRET_BYTES} bytes")
    return value


def _none(value: object) -> object:
    """Read `none` as an empty list: a setting without a value has its default."""
    return () if isinstance(value, str) and value.strip().lower() == "none" else value


# fmt: off
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
# fmt: on
Algorithms = Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(split_commas)]
PublicKey = Annotated[str, BeforeValidator(_public_key)]
SharedSecret = Annotated[SecretKey, AfterValidator(_long_enough)]
Scopes = Annotated[tuple[Scope, ...], NoDecode, BeforeValidator(split_commas), BeforeValidator(_none)]
ScopesOfValues = Annotated[dict[str, tuple[Scope, ...]], NoDecode, json_such_as('{"agent-admins": ["admin"]}')]


class JwtSettings(BaseSettings):
    """The settings of tokens, a part of `Settings`."""

    jwt_issuer: str | None = None
    jwt_audience: CommaSeparated = ()
    jwt_audience_claim: str = "aud"
    jwt_algorithms: Algorithms = ()
    jwt_jwks_url: HttpUrl | None = None
    jwt_public_key: PublicKey | None = None
    jwt_secret: SharedSecret | None = None
    jwt_keys_ttl_s: Seconds = 300
    jwt_leeway_s: float = Field(default=30, ge=0, le=600)
    jwt_owner_claim: str = "sub"
    jwt_scopes_claim: CommaSeparated = ("scope", "scp")
    jwt_scopes: ScopesOfValues = {}
    jwt_default_scopes: Scopes = (Scope.RUNS_WRITE, Scope.RUNS_READ)

    def jwt_algorithms_in_use(self) -> tuple[str, ...]:
        """Return JWT_ALGORITHMS, or those that the keys suggest."""
        if self.jwt_algorithms:
            return self.jwt_algorithms
        public = self.jwt_public_key is not None or self.jwt_jwks_url is not None or self.jwt_secret is None
        return (*(PUBLIC_ALGORITHMS if public else ()), *(("HS256",) if self.jwt_secret is not None else ()))

    def jwt_keys_are_fetched(self) -> bool:
        """Whether the issuer's keys are fetched: unless a public key is set, or only a secret is used."""
        public = any(not name.startswith("HS") for name in self.jwt_algorithms_in_use())
        return public and self.jwt_public_key is None

    def jwt_fault(self) -> str | None:
        """Return what has to be set for tokens to be verified, None if nothing is missing."""
        if self.jwt_issuer is None:
            return "tokens need JWT_ISSUER, the issuer as their claim `iss` has it"
        if not self.jwt_audience:
            return (
                "tokens need JWT_AUDIENCE, this service's name in their claim `aud`: else those of any other are valid"
            )
        if self.jwt_secret is None and any(name.startswith("HS") for name in self.jwt_algorithms):
            return "JWT_ALGORITHMS has HS256 or the like, which needs JWT_SECRET"
        if self.jwt_keys_are_fetched() and self.jwt_jwks_url is None and not self.jwt_issuer.startswith("http"):
            return "JWT_ISSUER is not a URL: set JWT_JWKS_URL, JWT_PUBLIC_KEY or JWT_SECRET"
        return None
