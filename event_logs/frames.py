"""Events become frames: joined, numbered and encoded once, when they are committed."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from event_logs.base import Fenced
from events import EVENT_TYPES, ApprovalResponse, Complete, EventData, PartialOutput, Thinking, ToolUseDelta, Waiting

MAX_DELTA_BYTES = 64 * 1024
PAGE_BYTES = 32 * 1024
FRAME_END = b"\n\n"  # nowhere else in a frame, whose JSON escapes its line breaks
SETTLING = (Complete, Waiting, ApprovalResponse)  # what is done after them must not be undone by a power cut
_LONGEST_ESCAPE = 12  # "\\ud83d\\ude00", a character beyond the basic plane

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_quote = json.encoder.encode_basestring_ascii
_HEADS = {
    kind: f'\nevent: {name}\ndata: {{"event":"{name}","data":'
    for kind, name in ((kind, name.value) for kind, name in EVENT_TYPES.items())
}


class FrameQueue:
    """The queued events of one run. Neighbouring deltas of one step and kind are one event by the time of a commit."""

    def __init__(self, run_id: str, last_seq: int = 0) -> None:
        """The first event gets the number after `last_seq`."""
        self._run_id = run_id
        self._queued: list[tuple[str, str]] = []  # what stands before an event's data, and the data as JSON
        self._delta: PartialOutput | Thinking | ToolUseDelta | None = None  # the last one put, with its text in …
        self._pieces: list[str] = []  # … these, as long as the next one may join it
        self.last_seq = last_seq
        self.ended = False
        self.settles = False  # whether what is queued has to last before anything is done about it

    def put(self, data: EventData) -> None:
        """Queue an event, or join it to the one before. Raise `Fenced` after `complete` and after `close`."""
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
                self.settles = self.settles or isinstance(data, SETTLING)
                return
        if not joins:
            self._close_delta()
            self._delta = data
        self._pieces.append(text)

    def take(self) -> list[bytes]:
        """The queued events as numbered frames; the queue is empty afterwards."""
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
        self.settles = False
        return frames

    def close(self) -> None:
        """Forget what is queued, and take nothing more."""
        self.ended = True
        self._queued.clear()
        self._delta = None
        self._pieces.clear()

    def _close_delta(self) -> None:
        delta = self._delta
        if delta is None:
            return
        for text in _split("".join(self._pieces)):
            if type(delta) is ToolUseDelta:  # pydantic's own isinstance is slow to say no
                data = _encode(delta.model_copy(update={"arguments_delta": text}).model_dump())
            else:
                data = f'{{"content":{_quote(text)}}}'
            self._queued.append((_HEADS[type(delta)], data))
        self._delta = None
        self._pieces.clear()


def page_length(frames: bytes, *, within: bool, more: bool) -> int:
    """How much of these bytes is the next page.

    They are PAGE_BYTES at most, and begin with a frame, or `within` one that the last page has ended in. Where no
    `more` follow, they end with a frame.
    """
    if within:
        end = frames.find(FRAME_END)
    elif more:
        end = frames.rfind(FRAME_END)
    else:
        return len(frames)
    if end >= 0:
        return end + len(FRAME_END)
    return len(frames) - frames.endswith(b"\n")  # the blank line that ends a frame stays in one piece


def _timestamp() -> str:
    """Now, in UTC, with milliseconds."""
    since_1970 = str(int(time.time() * 1000))
    return f"{_second(since_1970[:-3])}.{since_1970[-3:]}Z"


@lru_cache(maxsize=1)
def _second(since_1970: str) -> str:
    return datetime.fromtimestamp(int(since_1970), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _split(text: str) -> Sequence[str]:
    """The text in pieces that encode to MAX_DELTA_BYTES at most."""
    if len(text) * _LONGEST_ESCAPE <= MAX_DELTA_BYTES or len(_quote(text)) <= MAX_DELTA_BYTES:
        return (text,)
    middle = len(text) // 2
    return (*_split(text[:middle]), *_split(text[middle:]))
