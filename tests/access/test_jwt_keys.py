"""Tests which keys of a key set, a PEM text and a secret may verify which tokens."""

import json
from typing import Any

import pytest
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from key_server import Json, SigningKey, private_key

from services.access.jwt_keys import MAX_KEYS, MAX_TRIED, candidates, fixed_key, read_key_set

RS, ES, ED = SigningKey("rsa", "RS256"), SigningKey("ec", "ES256"), SigningKey("ed", "EdDSA")
ALL = frozenset(("RS256", "PS256", "RS512", "ES256", "ES384", "ES512", "EdDSA"))
SECRET = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}


def read(*entries: Any, allowed: frozenset[str] = ALL) -> dict[str | None, frozenset[str]]:
    """The algorithms of the keys that are read, by kid."""
    return {key.kid: key.algorithms for key in read_key_set({"keys": list(entries)}, allowed)}


@pytest.mark.parametrize(
    ("key", "more", "algorithms"),
    [
        (RS, {}, {"RS256", "RS512", "PS256"}),
        (RS, {"alg": "PS256"}, {"PS256"}),
        (RS, {"alg": None, "x5t": "x", "x5c": ["MII"]}, {"RS256", "RS512", "PS256"}),
        (RS, {"key_ops": ["verify"]}, {"RS256", "RS512", "PS256"}),
        (SigningKey("x", "ES384"), {}, {"ES384"}),
        (SigningKey("x", "ES512"), {"alg": "ES512"}, {"ES512"}),
        (SigningKey("x", "EdDSA"), {}, {"EdDSA"}),
    ],
)
def test_a_key_verifies_the_allowed_algorithms_of_its_kind(key: SigningKey, more: Json, algorithms: set[str]) -> None:
    """The key's type and curve decide, and its own `alg` if it has one."""
    assert read(key.published(**more)) == {key.kid: algorithms}


@pytest.mark.parametrize(
    "entry",
    [
        SECRET,
        {"use": "enc"},
        {"alg": "ECDH-ES"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["ES256"]},
        {"key_ops": ["encrypt"]},
        {"key_ops": 7},
        {"kid": 7},
        {"x": "!"},
        {"x": None},
        {"x": "AA"},
        {"kty": ["EC"]},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB", "e": 3},
        {"crv": "secp256k1"},
        {"crv": ["P-256"]},
        {"kty": "OKP", "crv": "X25519"},
        None,
        "key",
        [],
    ],
)
def test_keys_that_can_t_verify_tokens_are_left_out(entry: Any) -> None:
    """A shared secret, a key for encryption and a broken one are no reason to refuse the others."""
    bad = SigningKey("bad").published(**entry) if isinstance(entry, dict) else entry
    assert read(bad, ES.published()) == {"ec": {"ES256"}}


def test_a_short_rsa_key_is_left_out() -> None:
    """A key of 1024 bits can be broken."""
    short = RSAAlgorithm.to_jwk(private_key("RS256", bits=1024).public_key(), as_dict=True)
    assert read({**short, "key_ops": ["verify"]}, ES.published()) == {"ec": {"ES256"}}


def test_the_private_part_of_a_published_key_is_not_read() -> None:
    """A server that publishes its private key doesn't make this service hold it."""
    entry = {**ECAlgorithm.to_jwk(ES.private, as_dict=True), "kid": "leaked"}
    [key] = read_key_set({"keys": [entry]}, ALL)
    assert not hasattr(key.key, "private_numbers")


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [SECRET]}])
def test_a_document_without_a_usable_key_is_refused(document: Any) -> None:
    """The former keys stay in use then."""
    with pytest.raises(ValueError, match="key set"):
        read_key_set(document, ALL)


def test_a_set_of_too_many_keys_is_cut() -> None:
    """The number of keys in memory is bounded."""
    assert len(read_key_set({"keys": [ES.published()] * (MAX_KEYS + 1)}, ALL)) == MAX_KEYS


def test_a_token_is_tried_with_the_keys_of_its_kid_and_algorithm() -> None:
    """A key without a kid may have signed any token, and a token without a kid may be signed with any key."""
    nameless = SigningKey(None, "ES256", 1)
    keys = read_key_set({"keys": [RS.published(), ES.published(), ED.published(), nameless.published()]}, ALL)
    rsa, ec, ed, without = keys
    assert candidates(keys, "rsa", "RS256") == [rsa]
    assert candidates(keys, "rsa", "ES256") == [without]
    assert candidates(keys, "ec", "ES256") == [ec, without]
    assert candidates(keys, None, "ES256") == [ec, without]
    assert candidates(keys, "ed", "EdDSA") == [ed]
    assert candidates(keys, "rsa", "HS256") == []
    assert candidates(keys, "", "EdDSA") == []
    assert len(candidates(keys * 9, None, "ES256")) == MAX_TRIED


@pytest.mark.parametrize(
    ("text", "allowed", "algorithms"),
    [
        (RS, ("RS256", "PS256", "ES256"), {"RS256", "PS256"}),
        (ES, ("RS256", "ES256", "ES384"), {"ES256"}),
        (ED, ("RS256", "EdDSA"), {"EdDSA"}),
        ("s" * 32, ("HS256", "HS512"), {"HS256"}),
        ("s" * 64, ("HS256", "HS512"), {"HS256", "HS512"}),
    ],
)
def test_a_fixed_key_verifies_the_algorithms_that_it_fits(
    text: str | SigningKey, allowed: tuple[str, ...], algorithms: Any
) -> None:
    """A PEM text and a secret verify what they are long enough and of the right kind for."""
    key = fixed_key(text if isinstance(text, str) else text.pem(), allowed)
    assert (key.kid, key.algorithms) == (None, algorithms)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("s" * 31, ("HS256",)),
        (ES, ("RS256", "ES384")),
        ("-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----", ("RS256", "ES256", "EdDSA")),
        (RS, ("HS256",)),
        (json.dumps(SECRET), ("HS256",)),
        ("s" * 32, ()),
    ],
)
def test_a_text_that_is_no_key_is_refused(text: str | SigningKey, allowed: tuple[str, ...]) -> None:
    """A public key is never taken for a shared secret, which anybody could sign with."""
    with pytest.raises(ValueError, match="not a key for"):
        fixed_key(text if isinstance(text, str) else text.pem(), allowed)
