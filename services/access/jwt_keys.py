"""The keys that tokens are verified with: an issuer's key set (RFC 7517), a public key, or a shared secret.

Each key has the algorithms that it may verify. They depend on the kind of key and on the settings, never on the token,
so a public key is never used as the secret of an HMAC.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jwt import PyJWK
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

logger = logging.getLogger(__name__)

MAX_KEYS = 64  # of a set; those of large issuers have about ten
MAX_TRIED = 8  # keys for one token; more than one only if the token or a key has no `kid`

RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
HMAC = frozenset(("HS256", "HS384", "HS512"))
BY_KIND: Mapping[tuple[Any, Any], frozenset[str]] = {
    ("EC", "P-256"): frozenset(("ES256",)),
    ("EC", "P-384"): frozenset(("ES384",)),
    ("EC", "P-521"): frozenset(("ES512",)),
    ("OKP", "Ed25519"): frozenset(("EdDSA",)),
    ("OKP", "Ed448"): frozenset(("EdDSA",)),
}
"""The algorithms of a key's type and curve, except for RSA. Keys of other kinds, such as secrets, are ignored."""

PUBLIC = ("kty", "crv", "n", "e", "x", "y")
"""The public members of a key. A private part that a server publishes by mistake isn't read."""

UNREADABLE = (PyJWTError, LookupError, TypeError, ValueError, AttributeError)
"""The exceptions that reading a key of an unknown shape can raise."""


class VerificationKey(NamedTuple):
    """A key, the algorithms that it may verify, and its name in tokens, if it has one."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


def candidates(keys: Iterable[VerificationKey], kid: str | None, algorithm: str) -> list[VerificationKey]:
    """Return the keys that a token with this `kid` and algorithm may be signed with.

    A token without a `kid` may be signed with any key, and a key without a `kid` may have signed any token.
    """
    fitting = (key for key in keys if algorithm in key.algorithms)
    return [key for key in fitting if kid is None or key.kid in {kid, None}][:MAX_TRIED]


def read_key_set(document: Any, allowed: frozenset[str]) -> list[VerificationKey]:
    """Return the keys of a key set that can verify one of the allowed algorithms.

    Raise ValueError for a document that is no key set, and for one without any such key.
    """
    match document:
        case {"keys": [*entries]}:
            if len(entries) > MAX_KEYS:
                logger.warning("a key set has %d keys: only the first %d are used", len(entries), MAX_KEYS)
            keys = [key for entry in entries[:MAX_KEYS] if (key := _read_key(entry, allowed))]
        case _:
            raise ValueError("the document is not a key set")
    if not keys:
        raise ValueError(f"the key set has no key for {', '.join(sorted(allowed))}")
    return keys


def _read_key(entry: Any, allowed: frozenset[str]) -> VerificationKey | None:
    """Return a key of a set, or None for one that is for another use, of another kind, or not valid."""
    try:
        if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ("verify",)):
            return None
        kid, algorithms = entry.get("kid"), _algorithms(entry) & allowed
        if not algorithms or not isinstance(kid, str | None):
            return None
        public = {name: entry[name] for name in PUBLIC if name in entry}
        key = PyJWK(public, algorithm=min(algorithms)).key
        if long_enough := _without_short(algorithms, key):
            return VerificationKey(kid, long_enough, key)
        logger.warning("a key of the key set is too short: %.100r", kid)
    except UNREADABLE as error:
        logger.warning("a key of the key set can't be read: %.200r", error)
    return None


def _algorithms(entry: Mapping[str, Any]) -> frozenset[str]:
    """Return the algorithms of a key's kind, or only the one that the key names."""
    of_kind = RSA if entry["kty"] == "RSA" else BY_KIND.get((entry["kty"], entry.get("crv")), frozenset())
    named = entry.get("alg")
    return of_kind if named is None else of_kind & {named}


def fixed_key(text: str, allowed: Sequence[str]) -> VerificationKey:
    """Return the key of a PEM text or of a shared secret. It fits tokens with any `kid`.

    Raise ValueError if it is not a key for any of the allowed algorithms.
    """
    prepared: dict[str, Any] = {}
    for name in allowed:
        try:
            prepared[name] = get_default_algorithms()[name].prepare_key(text)
        except UNREADABLE:
            continue
    algorithms = frozenset(name for name, key in prepared.items() if _without_short({name}, key))
    if not algorithms:
        raise ValueError(f"it is not a key for {', '.join(allowed)}, or it is too short")
    return VerificationKey(None, algorithms, prepared[min(algorithms)])


def _without_short(algorithms: Iterable[str], key: Any) -> frozenset[str]:
    """Return the algorithms for which the key is long enough (RFC 7518, NIST SP 800-131A)."""
    known = get_default_algorithms()
    return frozenset(name for name in algorithms if known[name].check_key_length(key) is None)
