"""The caller of a request: its owner and what it may do."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from access_models import CALLS, Scope
from errors import Forbidden
from run_models import ANONYMOUS, caller_name

NOT_AN_ADMIN = "Only a caller with the scope admin may send X-Act-As."


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. What it makes belongs to `owner`, and it sees nothing else.

    `key_id` is the API key of the database that the request had. `models` are the models that it may use, None for
    all. `run_id` is the one run that a run token may read. `admin` is the admin that acts for the owner.
    """

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    models: tuple[str, ...] | None = None
    run_id: str | None = None
    admin: str | None = None

    @property
    def name(self) -> str | None:
        """The owner as clients and tools see it: None while authentication is off."""
        return caller_name(self.owner)

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a scope. An admin has all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_use(self, model: str) -> bool:
        """Whether the caller may use a model."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

    def acting_for(self, owner: str) -> "Caller":
        """Return the caller of an admin's request in the name of another owner. Raise `Forbidden`."""
        if not self.may(Scope.ADMIN):
            raise Forbidden(NOT_AN_ADMIN)
        return replace(self, owner=owner, admin=self.owner)


ANYBODY = Caller(ANONYMOUS, frozenset(CALLS))
"""The caller of every request while authentication is off."""
