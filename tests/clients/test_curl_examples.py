"""Tests examples/curl.sh against a service with a fake upstream behind it."""

import json
import os
import re
import subprocess

from client_programs import Service
from fake_dedalus import FakeDedalus
from process import ROOT
from wire import answer

pytest_plugins = "client_fixtures"


def test_curl_examples(service: Service, upstream: FakeDedalus) -> None:
    """The script runs from top to bottom, and shows what it says it shows."""
    upstream.always(*answer("Hello world"))
    environment = os.environ | {"AGENT_STREAM_URL": service.url}
    done = subprocess.run(
        ["sh", "examples/curl.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    parts = dict(part.split("\n", 1) for part in shown.split("\n== ")[1:])
    ready, stream, execute, simulate, torn, resumed, cancelled, begun, polled, session, *others = parts.values()
    approval, twice, refused, mistake = others
    assert json.loads(ready)["status"] == "ready"
    assert '"event":"final_output","data":{"content":"Hello world"}' in stream
    assert json.loads(execute)["output"] == "Hello world"
    assert "event: tool_result\n" in simulate
    assert "exit status, 18" in torn
    ids = [int(number) for number in re.findall(r"^id: (\d+)$", resumed, re.MULTILINE)]
    assert ids == list(range(9, 9 + len(ids)))
    assert '"data":{"status":"succeeded"' in resumed
    assert '"data":{"status":"cancelled"' in cancelled
    events = [json.loads(line) for line in polled.splitlines() if line]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["run_id"], events[-1]["event"]) == (begun.strip(), "complete")
    *_, messages = session.strip().splitlines()
    assert [message["role"] for message in json.loads(messages)["messages"]] == ["user", "assistant"] * 2
    assert '"arguments":{"folder":"drafts"}' in approval
    assert '"data":{"status":"succeeded"' in approval
    first, second = twice.split()
    assert first == second
    assert re.findall(r"^event: (\w+)$", refused, re.MULTILINE) == ["error", "complete"]
    assert json.loads(mistake)["error"]["code"] == "invalid_request"
