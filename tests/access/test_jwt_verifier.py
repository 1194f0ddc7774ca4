"""Tests which tokens are verified and which are refused: claims, algorithms, and attacks on both."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jwt.utils import base64url_encode
from key_server import AUDIENCE, Json, KeyServer, Seconds, SigningKey, claims, key_server

from errors import IssuerUnavailable, Unauthenticated
from jwt_settings import JwtSettings
from services.access.jwt_verifier import MAX_TOKEN_CHARACTERS, JwtVerifier

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example"
KEY, OTHER = SigningKey("first"), SigningKey("first", number=1)
SECRET = "s" * 32


@asynccontextmanager
async def verifier(issuer: KeyServer | None = None, **given: Any) -> AsyncIterator[JwtVerifier]:
    """A verifier of the issuer's tokens, or else of those that are signed with `KEY`."""
    of = {"jwt_issuer": ISSUER, "jwt_public_key": KEY.pem()} if issuer is None else {"jwt_issuer": issuer.issuer}
    made = JwtVerifier(JwtSettings(**{"jwt_audience": (AUDIENCE,), **of, **given}))
    try:
        yield made
    finally:
        await made.aclose()


async def refusal(token: str, **given: Any) -> str:
    """The message with which a token is refused."""
    async with verifier(**given) as tokens:
        with pytest.raises(Unauthenticated) as refused:
            await tokens.caller(token)
    return refused.value.message


def by_hand(header: Json, payload: Json, signature: bytes = b"") -> str:
    """A token made of these parts, as no library would make it."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return b".".join(map(base64url_encode, parts)).decode()


def signed_with_text(header: Json, payload: Json, secret: str) -> str:
    """A token whose HMAC is made with this text as the secret."""
    signing_input = by_hand(header, payload).rpartition(".")[0].encode()
    signature = hmac.new(secret.encode(), signing_input, hashlib.sha256).digest()
    return f"{signing_input.decode()}.{base64url_encode(signature).decode()}"


# Valid tokens


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_the_issuer_is_accepted(algorithm: str) -> None:
    """Its key is fetched, and its subject is the owner."""
    key = SigningKey("first", algorithm)
    async with key_server(key) as issuer, verifier(issuer) as tokens:
        assert (await tokens.caller(issuer.token(key))).owner == "jwt:ann"


@pytest.mark.parametrize("kid", ["first", None, "unknown"])
async def test_a_token_is_verified_with_the_key_of_the_settings(kid: str | None) -> None:
    """JWT_PUBLIC_KEY is the key of every token, whatever its kid, and nothing is fetched."""
    async with verifier() as tokens:
        assert (await tokens.caller(KEY.sign(claims(ISSUER), kid=kid))).owner == "jwt:ann"
        assert tokens._keys is None


async def test_a_token_is_verified_with_a_shared_secret() -> None:
    """JWT_SECRET is for HS256. Without JWT_JWKS_URL nothing is fetched."""
    token = signed_with_text({"alg": "HS256", "typ": "JWT"}, claims(ISSUER), SECRET)
    async with verifier(jwt_public_key=None, jwt_secret=SECRET) as tokens:
        assert (await tokens.caller(token)).owner == "jwt:ann"
        assert tokens._keys is None


async def test_a_secret_and_an_issuer_s_keys_go_together() -> None:
    """While a project moves from its secret to keys (Supabase), tokens of both kinds are valid."""
    async with key_server(KEY) as issuer:
        settings = {"jwt_secret": SECRET, "jwt_jwks_url": f"{issuer.issuer}/keys"}
        async with verifier(issuer, **settings) as tokens:
            old = signed_with_text({"alg": "HS256"}, claims(issuer.issuer), SECRET)
            assert (await tokens.caller(old)).owner == (await tokens.caller(issuer.token(KEY))).owner


async def test_keys_of_one_kid_are_all_tried() -> None:
    """An issuer that publishes a new key under the old name breaks no token of the old one."""
    async with key_server(KEY, OTHER) as issuer, verifier(issuer) as tokens:
        for key in (KEY, OTHER):
            assert (await tokens.caller(issuer.token(key))).owner == "jwt:ann"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_the_types_of_access_and_id_tokens_are_accepted(kind: str | None) -> None:
    """Auth0 sends `at+jwt` or `JWT`, Cognito no type."""
    async with verifier() as tokens:
        assert (await tokens.caller(KEY.sign(claims(ISSUER), typ=kind or ""))).owner == "jwt:ann"


@pytest.mark.parametrize(
    "more",
    [
        {"exp": Seconds(-10)},
        {"nbf": Seconds(20)},
        {"iat": Seconds(20)},
        {"iat": None},
        {"exp": 4102444800.5},
        {"aud": ["other", AUDIENCE]},
        {"jti": "x", "azp": "client", "scope": "openid"},
    ],
)
async def test_clocks_may_differ_by_the_leeway(more: Json) -> None:
    """By default the issuer's clock may be 30 s off. `iat` and `nbf` are optional."""
    async with verifier() as tokens:
        assert (await tokens.caller(KEY.sign(claims(ISSUER, **more)))).owner == "jwt:ann"


@pytest.mark.parametrize(
    ("claim", "value"),
    [("client_id", "app-1"), ("azp", "https://app.example"), ("resource.names", ["app-1", "app-2"])],
)
async def test_the_audience_can_be_in_another_claim(claim: str, value: Any) -> None:
    """Cognito's access tokens have a client_id and no aud, Clerk's session tokens an azp."""
    names = ["app-1", "https://app.example"]
    first, _, rest = claim.partition(".")
    body = claims(ISSUER, aud=None, **{first: {rest: value} if rest else value})
    async with verifier(jwt_audience=names, jwt_audience_claim=claim) as tokens:
        assert (await tokens.caller(KEY.sign(body))).owner == "jwt:ann"
        with pytest.raises(Unauthenticated, match="another audience"):
            await tokens.caller(KEY.sign(claims(ISSUER, aud="app-1")))


# Refused claims


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"exp": Seconds(-60)}, "has expired"),
        ({"exp": None}, "exp and iss are required"),
        ({"exp": "soon"}, "not a valid JWT"),
        ({"exp": 1e400}, "not a valid JWT"),
        ({"exp": float("nan")}, "not a valid JWT"),
        ({"exp": [4102444800]}, "not a valid JWT"),
        ({"nbf": Seconds(60)}, "not valid yet"),
        ({"nbf": 10**30}, "not valid yet"),
        ({"iat": Seconds(60)}, "not valid yet"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": f"{ISSUER}/"}, "another issuer"),
        ({"iss": None}, "exp and iss are required"),
        ({"aud": "other"}, "another audience"),
        ({"aud": f"{AUDIENCE} "}, "another audience"),
        ({"aud": [["agent-stream"]]}, "another audience"),
        ({"aud": {AUDIENCE: True}}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"sub": None}, "does not name its owner"),
        ({"sub": ""}, "does not name its owner"),
        ({"sub": 7}, "not a valid JWT"),
    ],
)
async def test_a_token_with_these_claims_is_refused(more: Json, message: str) -> None:
    """The caller is told which rule the token breaks, and nothing of the token."""
    assert message in await refusal(KEY.sign(claims(ISSUER, **more)))


async def test_the_issuer_of_a_list_is_refused() -> None:
    """`iss` is one text."""
    assert await refusal(by_hand({"alg": "ES256"}, claims(ISSUER) | {"iss": [ISSUER]}))


# Attacks


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", None, 7, ["ES256"], "es256", "ES256K", "ES521", "RS1"]
)
async def test_an_algorithm_that_is_not_set_is_refused(algorithm: Any) -> None:
    """An unsigned token is refused, in every spelling."""
    token = by_hand({"alg": algorithm, "typ": "JWT"}, claims(ISSUER))
    assert "algorithm that is not accepted" in await refusal(token)


@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_a_public_key_is_not_the_secret_of_an_hmac(form: str) -> None:
    """A token whose HS256 is made with the public key is refused, also where a secret is set as well."""
    secret = KEY.pem() if form == "pem" else json.dumps(KEY.published())
    token = signed_with_text({"alg": "HS256", "typ": "JWT", "kid": "first"}, claims(ISSUER), secret)
    assert "algorithm that is not accepted" in await refusal(token)
    assert "signature is not valid" in await refusal(token, jwt_secret=SECRET)


async def test_a_published_secret_verifies_nothing() -> None:
    """A shared secret in a key set, which everybody can read, is not used, also where HS256 is allowed."""
    secret = {"kty": "oct", "kid": "open", "k": base64.urlsafe_b64encode(b"k" * 32).decode(), "alg": "HS256"}
    async with key_server(KEY) as issuer:
        issuer.keys = [secret, KEY.published()]
        token = signed_with_text({"alg": "HS256", "kid": "open"}, claims(issuer.issuer), "k" * 32)
        for given in ({}, {"jwt_secret": SECRET, "jwt_jwks_url": f"{issuer.issuer}/keys"}):
            async with verifier(issuer, **given) as tokens:
                with pytest.raises(Unauthenticated):
                    await tokens.caller(token)
                assert (await tokens.caller(issuer.token(KEY))).owner == "jwt:ann"


async def test_a_key_is_bound_to_its_algorithm() -> None:
    """A key that is published for RS256 verifies no PS256, also where both are allowed."""
    key = SigningKey("rsa", "RS256")
    async with key_server() as issuer:
        issuer.keys = [key.published(alg="RS256")]
        async with verifier(issuer, jwt_algorithms=("RS256", "PS256")) as tokens:
            assert (await tokens.caller(issuer.token(key))).owner == "jwt:ann"
            with pytest.raises(Unauthenticated, match="unknown key"):
                await tokens.caller(SigningKey("rsa", "PS256").sign(claims(issuer.issuer)))


async def test_a_token_that_brings_its_own_key_is_refused() -> None:
    """The header's keys and URLs are ignored, and nothing is fetched from them."""
    async with key_server(OTHER) as evil, key_server(KEY) as issuer, verifier(issuer) as tokens:
        brought = {
            "jwk": OTHER.published(),
            "jku": f"{evil.issuer}/keys",
            "x5u": f"{evil.issuer}/certificate",
            "x5c": ["MII"],
        }
        for name, value in brought.items():
            for kid in ("first", f"{evil.issuer}/keys", "other"):
                with pytest.raises(Unauthenticated):
                    await tokens.caller(OTHER.sign(claims(issuer.issuer), kid=kid, **{name: value}))
        assert evil.requests == []


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "/dev/null", "' OR 1=1 --", "http://127.0.0.1/keys", "\x00", "", "k" * 256]
)
async def test_a_kid_is_only_a_name(kid: str) -> None:
    """No kid is a path, a query or a URL: it is compared with the names of the keys."""
    async with key_server(KEY) as issuer, verifier(issuer) as tokens:
        with pytest.raises(Unauthenticated, match="unknown key"):
            await tokens.caller(OTHER.sign(claims(issuer.issuer), kid=kid))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": 7},
        {"kid": ["first"]},
        {"kid": {"first": 1}},
        {"kid": "k" * 257},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": "b64"},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "secevent+jwt"},
        {"typ": 7},
        {"typ": None},
    ],
)
async def test_a_header_that_asks_for_more_is_refused(header: Json) -> None:
    """Extensions that aren't understood, detached bodies, and tokens for other uses are refused."""
    payload = claims(ISSUER)
    signed = KEY.sign(payload)
    head = {"alg": "ES256", "typ": "JWT", **header}
    token = by_hand(head, payload, b"x" * 64)
    assert await refusal(token)
    assert await refusal(".".join((token.split(".")[0], *signed.split(".")[1:])))


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_changed_token_is_refused(part: int) -> None:
    """A token with one changed letter is not the one that was signed."""
    parts = KEY.sign(claims(ISSUER)).split(".")
    middle = len(parts[part]) // 2
    letter = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + letter + parts[part][middle + 1 :]
    assert await refusal(".".join(parts))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "é.é.é",
        "\x00.\x00.\x00",
        "e30.e30.",
        "e30.e30.e30",
        "bnVsbA.bnVsbA.bnVsbA",
        "W10.W10.W10",
        "A" * MAX_TOKEN_CHARACTERS,
        "A" * 1_000_000,
    ],
    ids=range(15),
)
async def test_a_text_that_is_no_token_is_refused(token: str) -> None:
    """Whatever is sent in place of a token, the answer is the same 401, at once."""
    begun = time.process_time()
    assert await refusal(token)
    assert time.process_time() - begun < 0.5


async def test_deep_and_large_json_is_refused() -> None:
    """A header or a body of brackets costs no stack, and a token over the limit is not even decoded."""
    deep = b"[" * 5000
    for token in (
        b".".join(map(base64url_encode, (deep, b"{}", b""))).decode(),
        b".".join(map(base64url_encode, (b'{"alg": "ES256", "kid": "first"}', deep, b"x" * 64))).decode(),
    ):
        assert await refusal(token)
    large = KEY.sign(claims(ISSUER, padding="x" * MAX_TOKEN_CHARACTERS))
    assert "not a valid JWT" in await refusal(large)


async def test_a_refusal_shows_nothing_of_the_token() -> None:
    """The message has none of the token's text, which may be another service's credential."""
    canary = "canary-5f3a"
    tokens = (
        by_hand({"alg": canary, "kid": canary, "typ": canary}, {canary: canary}),
        KEY.sign(claims(ISSUER, iss=canary)),
        KEY.sign(claims(ISSUER, aud=canary)),
        KEY.sign(claims(ISSUER, sub=[canary])),
        OTHER.sign(claims(ISSUER, sub=canary), kid=canary),
        canary,
    )
    assert [canary in await refusal(token) for token in tokens] == [False] * len(tokens)


# Without keys


async def test_a_token_is_not_refused_for_good_while_there_are_no_keys() -> None:
    """The issuer is down at the start. Its tokens may be valid, so the answer is 503, and 401 for other tokens."""
    async with key_server(KEY) as issuer:
        issuer.answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        async with verifier(issuer) as tokens:
            with pytest.raises(IssuerUnavailable):
                await tokens.caller(issuer.token(KEY))
            with pytest.raises(Unauthenticated):
                await tokens.caller(by_hand({"alg": "none"}, claims(issuer.issuer)))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"jwt_public_key": SigningKey("x", "ES384")}, "JWT_PUBLIC_KEY"),
        ({"jwt_secret": "s" * 32, "jwt_algorithms": ("HS512",)}, "JWT_SECRET"),
        ({"jwt_secret": "s" * 32, "jwt_algorithms": ("ES256",)}, "JWT_SECRET"),
        ({"jwt_algorithms": ("RS256",)}, "JWT_PUBLIC_KEY"),
    ],
)
async def test_a_key_that_fits_no_algorithm_stops_the_start(given: dict[str, Any], name: str) -> None:
    """The error names the setting, and not the key."""
    given = {key: value.pem() if isinstance(value, SigningKey) else value for key, value in given.items()}
    with pytest.raises(ValueError, match=name) as refused:
        async with verifier(**given):
            pass
    assert "ssss" not in str(refused.value)
