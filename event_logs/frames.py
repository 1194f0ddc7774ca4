"""Turns events into frames: joins neighbouring deltas, and numbers and encodes each event once, at its commit."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from event_data import ApprovalResponse, Complete, EventData, PartialOutput, Thinking, ToolUseDelta, Waiting
from event_logs.base import Fenced
from events import EVENT_TYPES

MAX_DELTA_BYTES = 64 * 1024  # of a delta's text as JSON; a longer text becomes several events
PAGE_BYTES = 32 * 1024
FRAME_END = b"\n\n"  # occurs nowhere else in a frame, because JSON escapes line breaks
DURABLE = (Complete, Waiting, ApprovalResponse)  # the service acts on these, so a power cut must not undo them
_LONGEST_ESCAPE = 12  # bytes: "\\ud83d\\ude00", a character beyond the basic multilingual plane

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode  # made once: no setup
_quote = json.encoder.encode_basestring_ascii  # the C function by which the encoder writes a string
# A frame is `id: 7`, this head, the event's data as JSON, and the run's fields. Most of it is known beforehand, so a
# commit formats one string per event instead of encoding a nested object.
_HEADS = {kind: f'\nevent: {name.value}\ndata: {{"event":"{name.value}","data":' for kind, name in EVENT_TYPES.items()}


class FrameQueue:
    """The queued events of one run. Neighbouring deltas of one kind and step are joined into one event.

    A fast model sends many small deltas in one read. Joined, they cost one frame instead of one each.
    """

    def __init__(self, run_id: str, last_seq: int = 0) -> None:
        """Number the first event `last_seq + 1`."""
        self._run_id = run_id
        self._queued: list[tuple[str, str]] = []  # each event's head, and its data as JSON
        self._delta: PartialOutput | Thinking | ToolUseDelta | None = None  # the open one, which others may still join
        self._texts: list[str] = []  # the texts of the open delta and of those that joined it
        self.last_seq = last_seq
        self.ended = False
        self.has_durable = False  # whether a queued event must be on the disk before anybody acts on it

    def put(self, data: EventData) -> None:
        """Queue an event, or join it to the open delta. Raise `Fenced` after `complete` and after `close`."""
        if self.ended:
            raise Fenced(self._run_id)
        match data:
            case PartialOutput(content=text) | Thinking(content=text):
                joins = type(self._delta) is type(data)
            case ToolUseDelta(arguments_delta=text):
                joins = isinstance(self._delta, ToolUseDelta) and self._delta.tool_call_id == data.tool_call_id
            case _:
                self._close_delta()
                self._queued.append((_HEADS[type(data)], _encode(data.model_dump())))
                self.ended = isinstance(data, Complete)
                self.has_durable = self.has_durable or isinstance(data, DURABLE)
                return
        if not joins:
            self._close_delta()
            self._delta = data
        self._texts.append(text)

    def take(self) -> list[bytes]:
        """Empty the queue and return its events as numbered frames."""
        self._close_delta()
        if not self._queued:
            return []
        now = _timestamp()
        frames = []
        for head, data in self._queued:
            self.last_seq = seq = self.last_seq + 1
            frames.append(
                f'id: {seq}{head}{data},"run_id":"{self._run_id}","seq":{seq},"timestamp":"{now}"}}\n\n'.encode()
            )
        self._queued.clear()
        self.has_durable = False
        return frames

    def close(self) -> None:
        """Drop the queued events and refuse further ones."""
        self.ended = True
        self._queued.clear()
        self._delta = None
        self._texts.clear()

    def _close_delta(self) -> None:
        delta = self._delta
        if delta is None:
            return
        for text in _split("".join(self._texts)):
            # Not `isinstance`: pydantic's metaclass has its own, in Python, which is slow if the answer is no.
            if type(delta) is ToolUseDelta:
                data = _encode(delta.model_copy(update={"arguments_delta": text}).model_dump())
            else:
                data = f'{{"content":{_quote(text)}}}'
            self._queued.append((_HEADS[type(delta)], data))
        self._delta = None
        self._texts.clear()


def page_length(frames: bytes, *, within: bool, more: bool) -> int:
    """Return how many of these bytes, which are PAGE_BYTES at most, make the next page.

    They begin with a frame, or with the rest of one if the last page ended `within` it. `more` says that the file has
    more bytes after them; else they end with a frame.
    """
    if within:
        end = frames.find(FRAME_END)  # a page with a part of a long frame has no other frame
    elif more:
        end = frames.rfind(FRAME_END)  # as many whole frames as there are
    else:
        return len(frames)
    if end >= 0:
        return end + len(FRAME_END)
    # No frame ends here: the page is a part of a long one. A line break at the end could be the first half of the
    # FRAME_END, which must not be split, since readers take a page that ends with it for the end of a frame.
    return len(frames) - frames.endswith(b"\n")


def _timestamp() -> str:
    """Return the present time in UTC, with milliseconds."""
    milliseconds = str(int(time.time() * 1000))
    return f"{_to_the_second(milliseconds[:-3])}.{milliseconds[-3:]}Z"


@lru_cache(maxsize=1)  # every commit needs the time, and many fall into the same second
def _to_the_second(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _split(text: str) -> Sequence[str]:
    """Split the text into pieces that have at most MAX_DELTA_BYTES each as JSON."""
    if len(text) * _LONGEST_ESCAPE <= MAX_DELTA_BYTES:  # nearly always, and cheaper to find out than the exact length
        return (text,)
    if len(_quote(text)) <= MAX_DELTA_BYTES:
        return (text,)
    middle = len(text) // 2
    return (*_split(text[:middle]), *_split(text[middle:]))
