"""Reads the frames of a stream of events."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx2

MAX_EVENT_BYTES = 64 * 2**20
KEYS = {"event", "data", "run_id", "seq", "timestamp"}


class Frame(NamedTuple):
    """A frame: the JSON of its event, and after how many seconds the service asks the client to reconnect."""

    event: Mapping[str, Any] | None
    retry_s: float | None


def frame_of(sent: httpx2.ServerSentEvent) -> Frame:
    """Return a frame. A comment, and the frame with which a service that stops ends its streams, have no event.

    Raise `ValueError` if it is not one of the service's.
    """
    event = json.loads(sent.data) if sent.data else None
    if event is not None and not (isinstance(event, dict) and event.keys() >= KEYS):
        raise ValueError("this is not a frame of Agent Stream")
    return Frame(event, None if sent.retry is None else sent.retry / 1000)
