"""The caller of a request: its owner and what it may do."""

from dataclasses import dataclass

from access_models import Scope
from run_models import ANONYMOUS, caller_name


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. Everything that it makes belongs to `owner`, and it sees nothing else."""

    owner: str
    scopes: frozenset[Scope]

    @property
    def name(self) -> str | None:
        """The owner as clients and tools see it: None while authentication is off."""
        return caller_name(self.owner)


ANYBODY = Caller(ANONYMOUS, frozenset((Scope.RUNS_WRITE, Scope.RUNS_READ)))
"""The caller of every request while authentication is off."""
