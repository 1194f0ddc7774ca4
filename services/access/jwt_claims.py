"""Makes the caller of a verified token's claims: its owner and its scopes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from access_models import OWNER_PATTERN, Scope
from errors import Unauthenticated
from services.access.caller import Caller

OWNER_PREFIX = "jwt:"
"""How the owners of tokens begin: a name at the issuer can't be that of an API key's owner, or `anonymous`."""

UNSAFE = re.compile(rb"[^A-Za-z0-9_.:@|+=-]")
"""The bytes of a claim that an owner can't have, and the mark of escapes, `~`."""

OWN_NAMES = frozenset((Scope.RUNS_READ, Scope.RUNS_WRITE))
"""The scopes that a token names itself. It isn't an admin by a value `admin`, which other applications may use, too."""

NO_OWNER = "The token's claim {} does not name its owner."


class ClaimRules(NamedTuple):
    """Which claims have a token's owner and scopes, and what their values mean.

    `scopes` are the scopes of the values that the operator has named. `runs:read` and `runs:write` mean themselves.
    """

    owner_claim: str
    scopes_claims: tuple[str, ...]
    scopes: Mapping[str, frozenset[Scope]]
    default_scopes: frozenset[Scope]

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Return the caller of a token. Raise `Unauthenticated` if its claims name no owner."""
        value = claim(claims, self.owner_claim)
        owner = owner_of(value) if isinstance(value, str) and value else ""
        if not re.fullmatch(OWNER_PATTERN, owner):
            raise Unauthenticated(NO_OWNER.format(self.owner_claim))
        return Caller(owner, self._scopes(claims))

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        """Return what the claims allow, or the default if none of their values means anything here."""
        values = [value for name in self.scopes_claims for value in _values(claim(claims, name))]
        known = [scopes for value in values if (scopes := self._meaning(value)) is not None]
        return frozenset[Scope]().union(*known) if known else self.default_scopes

    def _meaning(self, value: str) -> frozenset[Scope] | None:
        own = frozenset((Scope(value),)) if value in OWN_NAMES else None
        return self.scopes.get(value, own)


def owner_of(value: str) -> str:
    """Return the owner with this name at the issuer. Two names never have one owner."""
    escaped = UNSAFE.sub(lambda found: b"~%02x" % found[0][0], value.encode(errors="surrogatepass"))
    return OWNER_PREFIX + escaped.decode()


def claim(claims: Any, name: str) -> Any:
    """Return the value of a claim, None if there is none.

    A dot in the name leads into an object, as in `realm_access.roles`, unless a claim has that whole name.
    """
    if not isinstance(claims, Mapping):
        return None
    if name in claims:
        return claims[name]
    paths = ((name[: dot.start()], name[dot.end() :]) for dot in re.finditer(r"\.", name))
    found = (claim(claims[first], rest) for first, rest in paths if first in claims)
    return next((value for value in found if value is not None), None)


def _values(value: Any) -> Iterator[str]:
    """Yield the values of a claim: the words of a text, or the texts of a list."""
    match value:
        case str():
            yield from value.split()
        case list():
            yield from (item for item in value if isinstance(item, str))
