"""Knows whether an upstream that runs tools itself has more to send after a finish reason. Pure."""

from collections.abc import Sequence

from services.completions.deltas import CallDelta, Delta, TextDelta


class HostedWork:
    """Follows the deltas of a turn. `owed` is set while the upstream runs a tool and has sent no text since its call.

    `own` are the tools that this service or the client runs. It is None if the upstream runs no tools at all.
    """

    def __init__(self) -> None:
        self.own: frozenset[str] | None = None
        self.owed = False

    def note(self, deltas: Sequence[Delta]) -> None:
        """Follow the deltas of one read."""
        if type(deltas[-1]) is TextDelta:  # nearly every read ends so, and needs no search
            self.owed = False
        elif self.own is not None:
            for delta in deltas:
                match delta:
                    case TextDelta():
                        self.owed = False
                    # A name may arrive in pieces, so its beginning counts as one of our own tools, too.
                    case CallDelta(name=name) if name and not any(tool.startswith(name) for tool in self.own):
                        self.owed = True
