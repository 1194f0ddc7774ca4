"""Puts the tool calls of a model turn together from the pieces in which servers stream them. Does no I/O."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from errors import TooManyCalls, UpstreamProtocol
from services.completions.call_arguments import Arguments, read_arguments
from services.completions.chunks import CallDelta
from services.completions.deltas import Label

logger = logging.getLogger(__name__)

MAX_NAME = 256  # characters; servers accept names of 64 or 128
WHOLE_BEGINNING, WHOLE_END = ("{", "null"), ("}", "null")  # of arguments: a check that is cheaper than parsing them
MAX_PARSED = 512 * 1024  # characters that a turn may parse to see whether arguments are whole: about 100 ms
MAX_NAMELESS = 64 * 1024  # characters of arguments that are kept while their call has no name


@dataclass(slots=True, eq=False)
class GatheredCall:
    """One call, as far as it was received. `pieces` are those of its arguments, `size` counts their characters."""

    call_id: str = ""
    name: str = ""
    slot: Label | None = None
    pieces: list[str] = field(default_factory=list)
    size: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    _read: Arguments | None = None

    def add(self, piece: CallDelta) -> None:
        """Add a piece except its name. Raise `UpstreamProtocol` for long arguments without a name."""
        if piece.call_id and not self.call_id:
            self.call_id = piece.call_id
        if self.slot is None:
            self.slot = piece.slot
        if piece.extra:
            self.extra |= piece.extra
        if text := piece.arguments:
            self.pieces.append(text)
            self.size += len(text)
            self._read = None
        if not self.name and self.size > MAX_NAMELESS:
            logger.warning("the upstream sent a tool call with long arguments and no name")
            raise UpstreamProtocol

    def rename(self, name: str) -> None:
        """Set the name. Raise `UpstreamProtocol` if it is too long."""
        if len(name) > MAX_NAME:
            logger.warning("the upstream sent a tool call with an endless name")
            raise UpstreamProtocol
        self.name = name

    @property
    def arguments(self) -> Arguments:
        """The arguments so far, parsed. Adding a piece discards the result."""
        if self._read is None:
            self._read = read_arguments(self.pieces)
        return self._read

    @property
    def ends_whole(self) -> bool:
        """Whether the text of the arguments ends like an object or `null`."""
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith(WHOLE_END)

    def contradicts(self, piece: CallDelta) -> bool:
        """Return whether the piece has another index or another id than the call."""
        other_slot = None not in (self.slot, piece.slot) and self.slot != piece.slot
        other_id = "" not in (self.call_id, piece.call_id) and self.call_id != piece.call_id
        return other_slot or other_id

    def same_labels(self, piece: CallDelta) -> bool:
        """Return whether the piece has both the index and the id of the call."""
        return bool(self.call_id) and self.slot is not None and (self.slot, self.call_id) == (piece.slot, piece.call_id)


class CallGatherer:
    """Gathers the calls of a turn: each piece by its index, else by its id, else by its order.

    A call ends only with the turn, because text or reasoning may come between two of its pieces. Indices are labels:
    they may start at 1 and have gaps (vercel/ai#18333).

    **The candidate** for a piece is the latest call with its index. Without one, it is the call with its id. A piece
    that has neither goes to the latest call of all. A piece with a new index or id begins a call, with two exceptions
    that make the latest call the candidate:

    * the latest call lacks the index or the id, and it or the piece lacks a name;
    * the piece has no index and no name, and continues unfinished arguments. Some servers invent an id for every piece
      (poolsideai/pool#9).

    **A piece with a name begins another call** if its candidate has a name, too, in these cases:

    * Its index or id differs from the candidate's. Gemini sends all parallel calls with the index 0
      (hermes-agent#62937). It still belongs to the candidate if it has the same name and continues unfinished
      arguments or begins them.
    * The candidate has no arguments, and the names can't be pieces of one name. A piece without index, id and arguments
      begins another call even if it repeats the name.
    * The candidate's arguments are unfinished, the name differs, and the id isn't the same.
    * The candidate's arguments are whole, and the name differs or the piece begins an object or `null`. An object or
      `null` does not begin another call if the piece has the candidate's index and id, if the candidate's arguments are
      `{}`, or if they are repeated (elizaOS/eliza#9766). These exceptions need an index or an id.

    **The name** is joined from its pieces until the first arguments come (continue#5849). A piece that repeats or
    extends the name so far replaces it. Two `known` names, or a known name and another word, are two names, unless both
    together begin a known name. Two unknown words are one name if the piece has an index or an id. A name after
    arguments counts only if there was none before.
    """

    def __init__(self, known: Iterable[str], max_calls: int) -> None:
        self._known = frozenset(known)
        self._max_calls = max_calls
        self._by_slot: dict[Label, GatheredCall] = {}
        self._by_id: dict[str, GatheredCall] = {}
        self._latest: GatheredCall | None = None
        self._parsed = 0
        self.all: list[GatheredCall] = []

    def add(self, piece: CallDelta) -> GatheredCall:
        """Add a piece, and return the call that it belongs to.

        Raise `TooManyCalls`, or `UpstreamProtocol` for a call with an endless name or without one.
        """
        call = self._candidate(piece)
        if call is None or (piece.name and call.name and self._begins_another(piece, call)):
            call = self.begin()
        if piece.name and not (call.name and call.pieces):
            call.rename(self._joined(call.name, piece) or call.name)
        call.add(piece)
        if call is not self._latest or piece.call_id or piece.slot not in self._by_slot:
            self._register(call, piece)
        return call

    def begin(self) -> GatheredCall:
        """Begin a call without a piece. Raise `TooManyCalls`."""
        if len(self.all) == self._max_calls:
            raise TooManyCalls
        call = GatheredCall()
        self.all.append(call)
        return call

    def _candidate(self, piece: CallDelta) -> GatheredCall | None:
        if piece.slot is not None and piece.slot in self._by_slot:
            return self._by_slot[piece.slot]
        if piece.call_id in self._by_id:
            return self._by_id[piece.call_id]
        latest = self._latest
        if latest is None or (piece.slot is None and not piece.call_id):
            return latest
        if not latest.contradicts(piece):
            return None if latest.name and piece.name else latest
        continues = piece.slot is None and piece.arguments and not piece.name and not self._is_whole(latest)
        return latest if continues else None

    def _register(self, call: GatheredCall, piece: CallDelta) -> None:
        """Make the call the latest one, the one at the piece's index, and the one with its own id."""
        self._latest = call
        if piece.slot is not None:
            self._by_slot[piece.slot] = call
        if call.call_id:
            self._by_id[call.call_id] = call

    def _begins_another(self, piece: CallDelta, call: GatheredCall) -> bool:
        """Return whether a piece with a name begins another call than its candidate, which has a name, too."""
        begins_whole = piece.arguments.lstrip().startswith(WHOLE_BEGINNING)
        by_order = piece.slot is None and not piece.call_id
        other_name = piece.name != call.name
        if call.contradicts(piece):
            restarts = begins_whole and bool(call.pieces)
            return other_name or not piece.arguments or restarts or self._is_whole(call)
        if not call.pieces:
            name = self._joined(call.name, piece)
            return name is None or (name == call.name and by_order and not piece.arguments)
        if not self._is_whole(call):
            return other_name and (not piece.call_id or piece.call_id != call.call_id)
        if other_name or not begins_whole:
            return other_name
        repeated = call.same_labels(piece) or call.arguments.value in ({}, read_arguments([piece.arguments]).value)
        return by_order or not repeated

    def _is_whole(self, call: GatheredCall) -> bool:
        """Return whether a call's arguments are a whole object, or False once the turn has parsed `MAX_PARSED`.

        Each check parses all the arguments so far. A server that repeats the name on every piece would make this
        quadratic.
        """
        if not call.ends_whole:
            return False
        self._parsed += call.size
        return self._parsed <= MAX_PARSED and call.arguments.invalid is None

    def _joined(self, so_far: str, piece: CallDelta) -> str | None:
        """Return the name so far joined with the piece's, or None if they are two names."""
        added, known = piece.name, self._known
        both = so_far + added
        if both in known and so_far not in known:
            return both
        if added.startswith(so_far):
            return None if so_far in known and added in known and so_far != added else added
        if not added or any(name.startswith(both) for name in known):
            return both
        by_order = piece.slot is None and not piece.call_id
        return None if by_order or so_far in known or added in known else both
