"""Gathers the tool calls of a model turn from the pieces in which servers stream them. Pure."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from errors import TooManyCalls, UpstreamProtocol
from services.completions.call_arguments import Arguments, read_arguments
from services.completions.chunks import CallDelta
from services.completions.deltas import Label

logger = logging.getLogger(__name__)

MAX_NAME = 256  # characters; servers take names of 64 or 128
WHOLE_BEGINNING, WHOLE_END = ("{", "null"), ("}", "null")  # of arguments; to look at them is cheaper than to read all
MAX_LOOKED_AT = 512 * 1024  # characters that are read in a turn to see whether arguments are whole: some 100 ms
MAX_NAMELESS = 64 * 1024  # characters of arguments that are kept while their call has no name


@dataclass(slots=True, eq=False)
class GatheredCall:
    """One call as far as it has come. `pieces` are those of its arguments that aren't empty, `size` is their length."""

    call_id: str = ""
    name: str = ""
    slot: Label | None = None
    pieces: list[str] = field(default_factory=list)
    size: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    _read: Arguments | None = None

    def add(self, piece: CallDelta) -> None:
        """Add a piece, but for its name."""
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
            logger.warning("the upstream sent a tool call whose name doesn't come")
            raise UpstreamProtocol

    def rename(self, name: str) -> None:
        """Take this name from now on."""
        if len(name) > MAX_NAME:
            logger.warning("the upstream sent a tool call whose name doesn't end")
            raise UpstreamProtocol
        self.name = name

    @property
    def arguments(self) -> Arguments:
        """What the arguments are, if nothing follows."""
        if self._read is None:
            self._read = read_arguments(self.pieces)
        return self._read

    @property
    def ends_whole(self) -> bool:
        """Whether the arguments end as an object or `null` does."""
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith(WHOLE_END)

    def contradicts(self, piece: CallDelta) -> bool:
        """Whether the piece has another index or id than the call."""
        other_slot = None not in (self.slot, piece.slot) and self.slot != piece.slot
        other_id = "" not in (self.call_id, piece.call_id) and self.call_id != piece.call_id
        return other_slot or other_id

    def same_labels(self, piece: CallDelta) -> bool:
        """Whether the piece has the call's index and its id."""
        return bool(self.call_id) and self.slot is not None and (self.slot, self.call_id) == (piece.slot, piece.call_id)


class CallGatherer:
    """Gathers the calls of a turn, by index, else by id, else by order.

    Only the end of the turn ends a call: text or reasoning may come between two of its pieces. Indices are labels,
    which may start at 1 and have gaps (vercel/ai#18333).

    **The call that is looked at** is the latest at the piece's index; else the one with its id; else, for a piece
    with neither, the latest of all. A piece with a new index or id begins a call. It belongs to the latest call instead
    where that one lacks the index or the id and one of both lacks a name, and where it goes on with unfinished
    arguments without a name (some servers make up an id for every piece: poolsideai/pool#9).

    **A named piece begins another call**, if the call that is looked at has a name, too,

    * under another index or id (Gemini gives all parallel calls the index 0: hermes-agent#62937), unless it goes on
      with unfinished arguments, or begins the arguments, under the same name;
    * before any arguments, if the names can't be pieces of one. So does the same name again, without arguments, where
      the piece has neither index nor id;
    * after unfinished arguments, if the name is another and the id isn't the same;
    * after whole arguments, if the name is another, or if it begins an object or `null`. That is not another call
      under both the same index and id, after a mere `{}`, or if the arguments are the same again
      (elizaOS/eliza#9766), unless the piece has neither index nor id.

    **The name** is joined from its pieces before any arguments (continue#5849); a piece that repeats or continues the
    name so far replaces it. Two of the `known` names, or one of them and another word, are not pieces of one name,
    unless both together begin a known name. Two unknown words are, where the piece has an index or an id. A name
    after arguments counts only where there was none.
    """

    def __init__(self, known: Iterable[str], max_calls: int) -> None:
        self._known = frozenset(known)
        self._max_calls = max_calls
        self._by_slot: dict[Label, GatheredCall] = {}
        self._by_id: dict[str, GatheredCall] = {}
        self._latest: GatheredCall | None = None
        self._looked_at = 0
        self.all: list[GatheredCall] = []

    def add(self, piece: CallDelta) -> GatheredCall:
        """Add a piece, and return the call that it belongs to.

        Raise `TooManyCalls`, or `UpstreamProtocol` for a call whose name doesn't end, or doesn't come.
        """
        call = self._at(piece)
        if call is None or (piece.name and call.name and self._begins_another(piece, call)):
            call = self.begin()
        if piece.name and not (call.name and call.pieces):
            call.rename(self._joined(call.name, piece) or call.name)
        call.add(piece)
        if call is not self._latest or piece.call_id or piece.slot not in self._by_slot:
            self._register(call, piece)
        return call

    def begin(self) -> GatheredCall:
        """Begin a call. Raise `TooManyCalls`."""
        if len(self.all) == self._max_calls:
            raise TooManyCalls
        call = GatheredCall()
        self.all.append(call)
        return call

    def _at(self, piece: CallDelta) -> GatheredCall | None:
        if piece.slot is not None and piece.slot in self._by_slot:
            return self._by_slot[piece.slot]
        if piece.call_id in self._by_id:
            return self._by_id[piece.call_id]
        latest = self._latest
        if latest is None or (piece.slot is None and not piece.call_id):
            return latest
        if not latest.contradicts(piece):
            return None if latest.name and piece.name else latest
        goes_on = piece.slot is None and piece.arguments and not piece.name and not self._is_whole(latest)
        return latest if goes_on else None

    def _register(self, call: GatheredCall, piece: CallDelta) -> None:
        """The call is the latest, and the one at the piece's index and with its own id."""
        self._latest = call
        if piece.slot is not None:
            self._by_slot[piece.slot] = call
        if call.call_id:
            self._by_id[call.call_id] = call

    def _begins_another(self, piece: CallDelta, call: GatheredCall) -> bool:
        """Whether a piece with a name is of another call than the one that it would belong to, which has a name."""
        begins_whole = piece.arguments.lstrip().startswith(WHOLE_BEGINNING)
        by_order = piece.slot is None and not piece.call_id
        if call.contradicts(piece):
            restarts = begins_whole and bool(call.pieces)
            return piece.name != call.name or not piece.arguments or restarts or self._is_whole(call)
        if not call.pieces:
            name = self._joined(call.name, piece)
            return name is None or (name == call.name and by_order and not piece.arguments)
        if not self._is_whole(call):
            return piece.name != call.name and (not piece.call_id or piece.call_id != call.call_id)
        if piece.name != call.name or not begins_whole:
            return piece.name != call.name
        again = call.same_labels(piece) or call.arguments.value in ({}, read_arguments([piece.arguments]).value)
        return by_order or not again

    def _is_whole(self, call: GatheredCall) -> bool:
        """Whether a call's arguments are an object as they are; no, once a turn has had too much text read for this.

        Each look reads all that has come, which would be without bound where a server repeats the name on every piece.
        """
        if call.ends_whole:
            self._looked_at += call.size
        return call.ends_whole and self._looked_at <= MAX_LOOKED_AT and call.arguments.invalid is None

    def _joined(self, first: str, piece: CallDelta) -> str | None:
        """The name so far with the piece's, None where they are two names."""
        more, known = piece.name, self._known
        both = first + more
        if both in known and first not in known:
            return both
        if more.startswith(first):
            return None if first in known and more in known and first != more else more
        if not more or any(name.startswith(both) for name in known):
            return both
        by_order = piece.slot is None and not piece.call_id
        return None if by_order or first in known or more in known else both
