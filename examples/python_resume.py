"""Resumes a broken stream at its last event: `python examples/python_resume.py "How is the weather in Oslo?"`.

The run is a scripted one whose first connection breaks. For a real run, post {"input": …} to /api/agent/stream.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
from httpx_sse import connect_sse

URL = os.environ.get("AGENT_STREAM_URL", "http://127.0.0.1:8000")
TRIES = 5


def events_of_run(client: httpx.Client, question: str) -> Iterator[dict[str, Any]]:
    """Start a run. Yield each event once and in order, over as many connections as necessary."""
    body = {"input": question, "scenario": "truncated"}
    request: dict[str, Any] = {"method": "POST", "url": f"{URL}/api/agent/stream/simulate", "json": body}
    headers: dict[str, str] = {}
    for attempt in range(TRIES):
        try:
            with connect_sse(client, **request, headers=headers) as source:
                if source.response.is_error:
                    sys.exit(source.response.read().decode())
                request = {"method": "GET", "url": source.response.url.join(source.response.headers["Location"])}
                for frame in source.iter_sse():
                    if frame.data:  # a ping has none
                        headers["Last-Event-ID"] = frame.id
                        yield frame.json()
                        if frame.event == "complete":
                            return
        except httpx.TransportError as error:
            print(f"\n[{error}: resuming]", file=sys.stderr)
        time.sleep(2**attempt / 4)
    sys.exit("The stream is incomplete: no try to resume it was successful.")


with httpx.Client(timeout=60) as http:
    for event in events_of_run(http, " ".join(sys.argv[1:]) or "How is the weather in Oslo?"):
        match event["event"]:
            case "thinking" | "partial_output":
                print(event["data"]["content"], end="", flush=True)
            case "step_finished":
                print()
            case "complete":
                sys.exit(event["data"]["status"] != "succeeded")
