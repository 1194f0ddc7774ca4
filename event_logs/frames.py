"""Events become frames: joined, numbered and encoded once, when they are committed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from event_logs.base import Fenced
from events import EVENT_TYPES, Complete, EventData, PartialOutput, Thinking, ToolUseDelta

MAX_DELTA_BYTES = 64 * 1024
_LONGEST_ESCAPE = 12  # "\ud83d\ude00", a character beyond the basic plane

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class FrameQueue:
    """The queued events of one run. Neighbouring deltas of one step and kind are one event by the time of a commit."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._queued: list[EventData] = []
        self._pieces: list[str] = []  # the text of the last queued event, where that is a delta
        self.last_seq = 0
        self.ended = False

    def put(self, data: EventData) -> None:
        """Queue an event, or join it to the one before. Raise `Fenced` after `complete`."""
        if self.ended:
            raise Fenced(self._run_id)
        match data:
            case PartialOutput(content=text) | Thinking(content=text):
                same = self._queued and type(self._queued[-1]) is type(data)
            case ToolUseDelta(arguments_delta=text):
                last = self._queued[-1] if self._queued else None
                same = isinstance(last, ToolUseDelta) and last.tool_call_id == data.tool_call_id
            case _:
                self._close_delta()
                self._queued.append(data)
                self.ended = isinstance(data, Complete)
                return
        if same:
            self._pieces.append(text)
        else:
            self._close_delta()
            self._queued.append(data)
            self._pieces = [text]

    def _close_delta(self) -> None:
        if self._pieces:
            self._queued[-1:] = _resized(self._queued[-1], "".join(self._pieces))
            self._pieces = []

    def take(self) -> list[bytes]:
        """The queued events as numbered frames; the queue is empty afterwards."""
        self._close_delta()
        queued, self._queued = self._queued, []
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        return [self._frame(data, now) for data in queued]

    def _frame(self, data: EventData, now: str) -> bytes:
        self.last_seq += 1
        event = EVENT_TYPES[type(data)]
        body = (
            f'{{"event":"{event}","data":{_encode(data.model_dump())},'
            f'"run_id":"{self._run_id}","seq":{self.last_seq},"timestamp":"{now}"}}'
        )
        return f"id: {self.last_seq}\nevent: {event}\ndata: {body}\n\n".encode("ascii")


def _resized(delta: EventData, text: str) -> Iterator[EventData]:
    """The delta with this text, as several where it would encode to more than MAX_DELTA_BYTES."""
    field = "arguments_delta" if isinstance(delta, ToolUseDelta) else "content"
    return (delta.model_copy(update={field: piece}) for piece in _split(text))


def _split(text: str) -> Iterator[str]:
    if len(text) * _LONGEST_ESCAPE <= MAX_DELTA_BYTES or len(_encode(text)) <= MAX_DELTA_BYTES:
        yield text
    else:
        middle = len(text) // 2
        yield from _split(text[:middle])
        yield from _split(text[middle:])
