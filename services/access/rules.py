"""The rules of routes: the right that a caller needs."""

from dataclasses import dataclass

from access_models import Scope
from errors import Forbidden
from services.access.caller import Caller

LACKS = "The API key or token does not have the scope {scope}."
NOT_THIS = "A run token reads its own run, and nothing else."


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a route. A public one asks for no caller. `scope` is None where any API key will do.

    With `run_tokens`, a token for the run in the path will do, too.
    """

    scope: Scope | None = None
    public: bool = False
    run_tokens: bool = False

    def check(self, caller: Caller, run_id: str | None) -> None:
        """Raise `Forbidden` if the caller may not use the route, for the run in its path if there is one."""
        if caller.run_id is not None and not (self.run_tokens and caller.run_id == run_id):
            raise Forbidden(NOT_THIS)
        if self.scope is not None and not caller.may(self.scope):
            raise Forbidden(LACKS.format(scope=self.scope))


PUBLIC = Rule(public=True)
ANY_CALLER = Rule()
READS = Rule(Scope.RUNS_READ)
READS_RUN = Rule(Scope.RUNS_READ, run_tokens=True)
WRITES = Rule(Scope.RUNS_WRITE)
ADMINISTERS = Rule(Scope.ADMIN)
