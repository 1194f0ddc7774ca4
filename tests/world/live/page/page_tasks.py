"""Measures the tasks of a page's main thread, by Chromium's own trace."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from selenium.webdriver import Chrome
from websocket import WebSocket, create_connection

TRACED = {"includedCategories": ["toplevel"], "excludedCategories": ["*"]}
TASK, MAIN_THREAD = "ThreadControllerImpl::RunTask", "CrRendererMain"


@contextmanager
def tasks_of(browser: Chrome) -> Iterator[list[float]]:
    """A list that has, after the block, the milliseconds of each task of the pages' main threads.

    They are milliseconds of CPU: a task isn't longer because another program runs meanwhile.
    """
    address = browser.capabilities["goog:chromeOptions"]["debuggerAddress"]
    url = httpx.get(f"http://{address}/json/version").json()["webSocketDebuggerUrl"]
    connection = create_connection(url, suppress_origin=True, timeout=60)
    tasks: list[float] = []
    try:
        _send(connection, "Tracing.start", traceConfig=TRACED, transferMode="ReportEvents")
        yield tasks
        _send(connection, "Tracing.end")
        tasks += _durations(_traced(connection))
    finally:
        connection.close()


def _send(connection: WebSocket, method: str, **parameters: Any) -> None:
    connection.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    response = json.loads(connection.recv())
    assert "error" not in response, response


def _traced(connection: WebSocket) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        message = json.loads(connection.recv())
        if message.get("method") == "Tracing.dataCollected":
            events += message["params"]["value"]
        if message.get("method") == "Tracing.tracingComplete":
            return events


def _durations(events: list[dict[str, Any]]) -> list[float]:
    named = {_thread(event): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    tasks = [event for event in events if event["name"] == TASK and named.get(_thread(event)) == MAIN_THREAD]
    return [event.get("tdur", 0) / 1000 for event in tasks]


def _thread(event: dict[str, Any]) -> tuple[int, int]:
    return event["pid"], event["tid"]
