"""Tests what the claims of a token mean: whose it is, and what it allows."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_models import OWNER_PATTERN, Scope
from errors import Unauthenticated
from services.access.jwt_claims import ClaimRules, claim, owner_of

NAMES = st.text(st.characters(exclude_categories=()))  # lone surrogates, too
READ, WRITE, ADMIN = Scope.RUNS_READ, Scope.RUNS_WRITE, Scope.ADMIN
DEFAULT = frozenset((READ, WRITE))


def rules(
    owner: str = "sub", claims: tuple[str, ...] = ("scope", "scp"), default: frozenset[Scope] = DEFAULT, **scopes: Scope
) -> ClaimRules:
    return ClaimRules(owner, claims, {value: frozenset((scope,)) for value, scope in scopes.items()}, default)


# Where a claim is

KEYCLOAK = {"realm_access": {"roles": ["a"]}, "resource_access": {"my.client": {"roles": ["b"]}}, "realm_access.x": 7}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("realm_access.roles", ["a"]),
        ("resource_access.my.client.roles", ["b"]),
        ("realm_access.x", 7),
        ("realm_access", {"roles": ["a"]}),
        ("realm_access.", None),
        (".realm_access", None),
        ("realm_access.roles.0", None),
        ("resource_access.other.roles", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_a_claim_is_found_by_its_name_or_by_its_path(name: str, value: Any) -> None:
    """Names with dots, as in Auth0's `https://example.com/roles` or Keycloak's client ids, need no escape."""
    assert claim(KEYCLOAK, name) == value
    assert claim({"https://example.com/roles": ["c"]}, "https://example.com/roles") == ["c"]


# The owner


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("auth0|6553da60-5", "jwt:auth0|6553da60-5"),
        ("ann+lee@example.com", "jwt:ann+lee@example.com"),
        ("repo:org/app:ref:refs/heads/main", "jwt:repo:org~2fapp:ref:refs~2fheads~2fmain"),
        ("Ann Lee", "jwt:Ann~20Lee"),
        ("änn\n", "jwt:~c3~a4nn~0a"),
        ("~20", "jwt:~7e20"),
        ("\ud800", "jwt:~ed~a0~80"),
        ("a" * 124, "jwt:" + "a" * 124),
    ],
)
def test_the_owner_is_the_claim_with_a_prefix(name: str, owner: str) -> None:
    """Characters that paths and headers can't have are escaped, so that two names are never one owner."""
    assert rules().caller({"sub": name}).owner == owner
    assert rules("user.id").caller({"sub": "x", "user": {"id": name}}).owner == owner


@given(NAMES, NAMES)
def test_two_names_are_two_owners(one: str, other: str) -> None:
    """Escaping loses nothing, and makes owners that an admin can name in X-Act-As and in paths."""
    assert (owner_of(one) == owner_of(other)) == (one == other)
    assert re.fullmatch(OWNER_PATTERN.replace("{0,127}", "*"), owner_of(one))


@pytest.mark.parametrize("owner", ["anonymous", "jwt:ann", "key-owner", "env:alice"])
def test_no_name_at_the_issuer_is_another_kind_of_owner(owner: str) -> None:
    """A user who can choose a name at the issuer can't choose whose sessions it sees."""
    assert rules("name").caller({"name": owner}).owner == f"jwt:{owner}"


@pytest.mark.parametrize("owner", [None, "", 7, True, ["ann"], {"sub": "ann"}, "a" * 125, "ä" * 30])
def test_a_token_without_an_owner_is_refused(owner: Any) -> None:
    """An owner is a text of a bounded length. There is no owner for all the others."""
    with pytest.raises(Unauthenticated, match="claim sub does not name its owner"):
        rules().caller({"sub": owner})
    with pytest.raises(Unauthenticated):
        rules().caller({})


# The scopes


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "openid runs:read profile"}, {READ}),
        ({"scope": "runs:read runs:write"}, {READ, WRITE}),
        ({"scp": ["runs:write"]}, {WRITE}),
        ({"scp": "runs:write"}, {WRITE}),
        ({"scope": "openid", "scp": ["runs:read"]}, {READ}),
        ({"scope": "openid profile"}, DEFAULT),
        ({"scope": ["runs:read openid"]}, DEFAULT),
        ({"scope": ["runs:read", 7, None]}, {READ}),
        ({"scope": {"runs:read": True}}, DEFAULT),
        ({"scope": 7}, DEFAULT),
        ({"roles": ["runs:read"]}, DEFAULT),
        ({}, DEFAULT),
    ],
)
def test_the_scopes_are_those_that_the_claims_name(claims: dict[str, Any], scopes: set[Scope]) -> None:
    """A text of words or a list names them. A token whose scopes all mean nothing here has the default."""
    assert rules().caller({"sub": "ann", **claims}).scopes == scopes


def test_the_operator_says_which_values_mean_what() -> None:
    """Roles in a nested claim are mapped to scopes, also to more than one."""
    mapped = ClaimRules(
        "sub", ("realm_access.roles",), {"agents": frozenset((READ, WRITE)), "boss": frozenset((ADMIN,))}, frozenset()
    )
    assert mapped.caller({"sub": "a", "realm_access": {"roles": ["agents", "x"]}}).scopes == {READ, WRITE}
    assert mapped.caller({"sub": "a", "realm_access": {"roles": ["boss", "agents"]}}).scopes == {ADMIN, READ, WRITE}
    assert mapped.caller({"sub": "a", "realm_access": {"roles": []}}).scopes == frozenset()


def test_a_value_can_mean_that_nothing_is_allowed() -> None:
    """A role that is mapped to no scope gives none, and takes the place of the default."""
    mapped = ClaimRules("sub", ("roles",), {"guest": frozenset()}, DEFAULT)
    assert mapped.caller({"sub": "ann", "roles": ["guest", "other"]}).scopes == frozenset()
    assert mapped.caller({"sub": "ann", "roles": ["other"]}).scopes == DEFAULT


@pytest.mark.parametrize("value", ["admin", "Admin", "ADMIN", "admin admin"])
def test_nobody_is_an_admin_without_the_operator_s_word(value: str) -> None:
    """A role `admin` of another application at the same issuer, or a scope that a client asked for, is not ours."""
    assert ADMIN not in rules().caller({"sub": "ann", "scope": value}).scopes
    assert ADMIN in rules(admin=ADMIN).caller({"sub": "ann", "scope": "admin"}).scopes
