"""Verifies tokens (JWT) of the issuer that the settings name, and returns their callers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)
from jwt.utils import base64url_decode

from errors import Unauthenticated
from jwt_settings import JwtSettings
from services.access.caller import Caller
from services.access.jwt_claims import ClaimRules, claim
from services.access.jwt_issuer import IssuerKeys, KeySource
from services.access.jwt_keys import HMAC, VerificationKey, candidates, fixed_key

MAX_TOKEN_CHARACTERS = 16_384  # decoding more takes over a millisecond; Entra tokens with 200 groups have about 11,000
MAX_KID_CHARACTERS = 256

TYPES = {"jwt", "at+jwt", "application/at+jwt"}
"""The types (`typ`) of access tokens and ID tokens. Tokens for other uses, such as logout tokens, have other types."""

REASONS: Mapping[type[PyJWTError], str] = {
    ExpiredSignatureError: "The token has expired.",
    ImmatureSignatureError: "The token is not valid yet.",
    InvalidIssuerError: "The token is of another issuer.",
    InvalidSignatureError: "The token's signature is not valid.",
    MissingRequiredClaimError: "The token lacks a claim: exp and iss are required.",
}
"""The messages for callers. They contain nothing of the token."""

MALFORMED = "The token is not a valid JWT."
WRONG_TYPE = "The token is of a type that is not accepted."
WRONG_ALGORITHM = "The token is signed with an algorithm that is not accepted."
WRONG_AUDIENCE = "The token is for another audience."
UNKNOWN_KEY = "The token is signed with an unknown key."


class JwtVerifier:
    """Verifies tokens. Create it in a running event loop. Raise ValueError if a key of the settings is none."""

    def __init__(self, settings: JwtSettings) -> None:
        self._algorithms = frozenset(settings.jwt_algorithms_in_use())
        self._issuer, self._leeway_s = settings.jwt_issuer, settings.jwt_leeway_s
        self._audiences, self._audience_claim = frozenset(settings.jwt_audience), settings.jwt_audience_claim
        self._rules = ClaimRules(
            settings.jwt_owner_claim,
            settings.jwt_scopes_claim,
            {value: frozenset(scopes) for value, scopes in settings.jwt_scopes.items()},
            frozenset(settings.jwt_default_scopes),
        )
        self._fixed = _fixed_keys(settings)
        self._keys = _issuer_keys(settings)

    async def caller(self, token: str) -> Caller:
        """Return the caller of a token.

        Raise `Unauthenticated`, or `IssuerUnavailable` if the issuer's keys, or this token's, can't be fetched now.
        """
        claims = self._verified(token, await self._candidates(_header(token)))
        self._check_audience(claims)
        return self._rules.caller(claims)

    async def aclose(self) -> None:
        """End the fetches of keys."""
        if self._keys is not None:
            await self._keys.aclose()

    async def _candidates(self, header: Mapping[str, Any]) -> Sequence[VerificationKey]:
        """Return the keys that a token may be signed with. Keys and URLs in its header (jwk, jku, x5u) are ignored."""
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in TYPES:
            raise Unauthenticated(WRONG_TYPE)
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unauthenticated(WRONG_ALGORITHM)
        if not isinstance(kid, str | None) or len(kid or "") > MAX_KID_CHARACTERS:
            raise Unauthenticated(UNKNOWN_KEY)
        found: Sequence[VerificationKey] = candidates(self._fixed, kid, algorithm)
        if not found and algorithm not in HMAC and self._keys is not None:
            found = await self._keys.candidates(kid, algorithm)
        return found

    def _verified(self, token: str, keys: Sequence[VerificationKey]) -> dict[str, Any]:
        """Return the claims of a token that one of the keys has signed. Raise `Unauthenticated`."""
        reason = UNKNOWN_KEY
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=sorted(key.algorithms),
                    issuer=self._issuer,
                    leeway=self._leeway_s,
                    options={"require": ["exp", "iss"], "verify_aud": False, "enforce_minimum_key_length": True},
                )
            except InvalidSignatureError as error:
                reason = REASONS[type(error)]
            except PyJWTError as error:
                raise Unauthenticated(REASONS.get(type(error), MALFORMED)) from None
        raise Unauthenticated(reason)

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        """Require one of the audiences. PyJWT's check is for the claim `aud` only, which some issuers leave out."""
        value = claim(claims, self._audience_claim)
        named = value if isinstance(value, list) else [value]
        if not any(isinstance(audience, str) and audience in self._audiences for audience in named):
            raise Unauthenticated(WRONG_AUDIENCE)


def _header(token: str) -> dict[str, Any]:
    """Return a token's header, which isn't verified yet. Raise `Unauthenticated` for a text that is no token.

    PyJWT's function for this also decodes the rest, which would add a quarter to a token's cost (70 µs to 280 µs).
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise Unauthenticated(MALFORMED)
    try:
        header = json.loads(base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        raise Unauthenticated(MALFORMED) from None
    if not isinstance(header, dict):
        raise Unauthenticated(MALFORMED)
    return header


def _fixed_keys(settings: JwtSettings) -> list[VerificationKey]:
    """Return the keys that are settings. Raise ValueError if one is no key."""
    keys, algorithms = [], settings.jwt_algorithms_in_use()
    secret, public = settings.jwt_secret, settings.jwt_public_key
    if secret is not None:
        keys.append(_named("JWT_SECRET", secret.get_secret_value(), [name for name in algorithms if name in HMAC]))
    if public is not None:
        keys.append(_named("JWT_PUBLIC_KEY", public, [name for name in algorithms if name not in HMAC]))
    return keys


def _named(setting: str, text: str, algorithms: Sequence[str]) -> VerificationKey:
    try:
        return fixed_key(text, algorithms)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None


def _issuer_keys(settings: JwtSettings) -> IssuerKeys | None:
    """Return the issuer's keys, or None if only keys of the settings are used."""
    if not settings.jwt_keys_are_fetched():
        return None
    algorithms = frozenset(settings.jwt_algorithms_in_use()) - HMAC
    url = None if settings.jwt_jwks_url is None else str(settings.jwt_jwks_url)
    return IssuerKeys(KeySource(settings.jwt_issuer or "", url, algorithms).load, settings.jwt_keys_ttl_s)
