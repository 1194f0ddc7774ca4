"""Tests the settings of docs/jwt.md for each provider with a token in the form that the provider documents."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from key_server import Json, SigningKey, claims
from process import ROOT

from errors import Unauthenticated
from jwt_settings import JwtSettings
from services.access.jwt_verifier import JwtVerifier

pytestmark = pytest.mark.anyio

KEY = SigningKey("first", "RS256")
BOTH = {"runs:read", "runs:write"}


def blocks() -> Iterator[tuple[str, dict[str, str]]]:
    """The settings of each block of the document, below the heading that it is in."""
    heading = ""
    text = (ROOT / "docs/jwt.md").read_text()
    for title, language, block in re.findall(r"^### ([^\n]+)$|^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        heading = title or heading
        if block and not language:
            lines = (line.partition("=") for line in block.splitlines())
            yield heading, {name.lower(): value for name, _, value in lines if name != "AUTH"}


def settings(block: dict[str, str], monkeypatch: pytest.MonkeyPatch, **more: str) -> JwtSettings:
    for name, value in {**block, **more}.items():
        monkeypatch.setenv(name.upper(), value)
    return JwtSettings()


def block_of(provider: str) -> dict[str, str]:
    return next(block for heading, block in blocks() if heading == provider)


@pytest.mark.parametrize("number", range(len(list(blocks()))))
def test_each_block_of_the_document_is_complete(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With these settings alone, tokens can be verified."""
    _, block = list(blocks())[number]
    assert settings(block, monkeypatch).jwt_fault() is None


# The claims beside iss, iat and exp, and the owner and the scopes that they mean.
TOKENS: dict[str, tuple[Json, str, set[str]]] = {
    "Auth0": (
        {
            "aud": ["https://agent.example.com", "https://YOUR_TENANT.auth0.com/userinfo"],
            "sub": "auth0|123456",
            "azp": "client",
            "scope": "openid profile",
            "permissions": ["agent:admin", "runs:read"],
        },
        "auth0|123456",
        {"admin", "runs:read"},
    ),
    "Clerk": (
        {
            "aud": None,
            "azp": "https://app.example.com",
            "sub": "user_2abc",
            "sid": "sess_123",
            "fva": [7, -1],
            "v": 2,
            "o": {"id": "org_1", "rol": "admin"},
        },
        "user_2abc",
        BOTH,
    ),
    "Supabase": (
        {
            "aud": "authenticated",
            "sub": "123e4567-e89b-12d3-a456-426614174000",
            "role": "authenticated",
            "aal": "aal1",
            "session_id": "s",
            "email": "ann@example.com",
            "phone": "",
            "app_metadata": {"provider": "email"},
            "user_metadata": {"roles": ["admin"]},
            "is_anonymous": False,
        },
        "123e4567-e89b-12d3-a456-426614174000",
        BOTH,
    ),
    "Keycloak": (
        {
            "aud": ["agent-stream", "account"],
            "sub": "f1c4f64e",
            "typ": "Bearer",
            "azp": "web",
            "scope": "openid profile email",
            "realm_access": {"roles": ["offline_access", "agent-admins", "admin"]},
        },
        "f1c4f64e",
        {"admin"},
    ),
    "Microsoft Entra ID": (
        {
            "aud": "00000000-0000-0000-0000-000000000000",
            "sub": "pairwise",
            "oid": "11111111-1111",
            "tid": "TENANT_ID",
            "ver": "2.0",
            "scp": "runs:read",
            "roles": ["Agent.Admin"],
            "azp": "client",
        },
        "11111111-1111",
        {"admin", "runs:read"},
    ),
    "Amazon Cognito": (
        {
            "aud": None,
            "client_id": "YOUR_APP_CLIENT_ID",
            "sub": "aaaaaaaa-bbbb",
            "token_use": "access",
            "scope": "aws.cognito.signin.user.admin",
            "cognito:groups": ["agent-admins"],
            "username": "ann",
        },
        "aaaaaaaa-bbbb",
        {"admin"},
    ),
    "Firebase": (
        {
            "aud": "PROJECT_ID",
            "sub": "uid1",
            "user_id": "uid1",
            "auth_time": 1,
            "firebase": {"identities": {}, "sign_in_provider": "password"},
        },
        "uid1",
        BOTH,
    ),
    "Okta": (
        {
            "aud": "api://default",
            "sub": "ann@example.com",
            "uid": "00u1",
            "cid": "client",
            "ver": 1,
            "scp": ["openid", "runs:read"],
        },
        "00u1",
        {"runs:read"},
    ),
}


def test_each_provider_of_the_document_is_in_this_test() -> None:
    """A provider that is added to the document needs a token here."""
    headings = [heading for heading, _ in blocks()]
    assert TOKENS.keys() == set(headings[1:])


@pytest.mark.parametrize("provider", TOKENS)
async def test_a_provider_s_token_is_accepted_with_the_settings_of_the_document(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner is the user, and the scopes are those that the roles mean."""
    more, owner, scopes = TOKENS[provider]
    block = block_of(provider)
    tokens = JwtVerifier(settings(block, monkeypatch, jwt_public_key=KEY.pem()))
    caller = await tokens.caller(KEY.sign(claims(block["jwt_issuer"], **more)))
    assert (caller.owner, set(caller.scopes)) == (f"jwt:{owner}", scopes)


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("Auth0", {"aud": "https://YOUR_TENANT.auth0.com/userinfo"}),
        ("Clerk", {"azp": None}),
        ("Clerk", {"azp": "https://evil.example"}),
        ("Supabase", {"aud": None, "sub": None, "role": "anon"}),
        ("Keycloak", {"aud": "account"}),
        ("Microsoft Entra ID", {"iss": "https://sts.windows.net/TENANT_ID/"}),
        ("Amazon Cognito", {"client_id": None, "aud": "YOUR_APP_CLIENT_ID", "token_use": "id"}),
        ("Firebase", {"aud": "OTHER_PROJECT"}),
        ("Okta", {"aud": "https://YOUR_DOMAIN.okta.com", "iss": "https://YOUR_DOMAIN.okta.com"}),
    ],
)
async def test_a_token_that_the_provider_issued_for_something_else_is_refused(
    provider: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another application's token, or one for another use, opens nothing here."""
    block = block_of(provider)
    tokens = JwtVerifier(settings(block, monkeypatch, jwt_public_key=KEY.pem()))
    with pytest.raises(Unauthenticated):
        await tokens.caller(KEY.sign(claims(block["jwt_issuer"], **{**TOKENS[provider][0], **more})))


def test_the_document_s_json_is_json() -> None:
    """The mapping in the text can be copied, too."""
    [mapping] = re.findall(r"as JSON: `(\{.*?\})`", (ROOT / "docs/jwt.md").read_text())
    assert json.loads(mapping)["agent-admins"] == ["admin"]
