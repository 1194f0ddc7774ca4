"""Tests that the page knows the shape of every event: it reads run files, which anybody may have written."""

import json
from pathlib import Path
from typing import Any

from node import run

from events import EVENT_TYPES

pytest_plugins = "node_fixtures"

USAGE = {"input_tokens": 4, "output_tokens": None, "total_tokens": 4, "cost_usd": 0.5}
CALL = {"tool_call_id": "call_1", "name": "echo"}
DECLARED = {**CALL, "source": "mcp", "server": "docs"}
BUDGET = {"kind": "budget", "spent_tokens": 4, "expires_at": "2026-11-28T10:00:00.000Z", "max_cost_usd": 0.5}
SAMPLES: dict[str, dict[str, Any]] = {
    "run_started": {"model": "a/one", "session_id": "chat", "owner": "ada"},
    "step_started": {"step": 1, "model": "a/one"},
    "thinking": {"content": "Hm."},
    "partial_output": {"content": "Hi."},
    "tool_use_delta": {**DECLARED, "arguments_delta": "{"},
    "tool_use": {**DECLARED, "arguments": {}, "invalid_arguments": "{"},
    "approval_request": {**CALL, "arguments": {}, "expires_at": "2026-11-28T10:00:00.000Z"},
    "waiting": {"pending": [{**CALL, "kind": "approval"}, BUDGET]},
    "approval_response": {"tool_call_id": "call_1", "approved": False, "arguments": {}, "reason": "No."},
    "budget_response": {"approved": True, "max_cost_usd": 0.5, "max_total_tokens": 4},
    "tool_progress": {"tool_call_id": "call_1", "message": "Half.", "progress": 0.5, "total": 1},
    "tool_result": {**CALL, "content": "5", "is_error": False, "duration_ms": 3, "truncated": False},
    "source": {"url": "https://a.example", "title": "A", "snippet": "B"},
    "step_restarted": {"step": 1, "reason": "fallback", "model": "b/two", "usage": USAGE},
    "step_finished": {"step": 1, "model": "a/one", "finish_reason": "stop", "usage": USAGE},
    "warning": {"code": "history_cut", "message": "Cut."},
    "final_output": {"content": "5", "data": 5, "attempts": 1},
    "error": {"code": "c", "message": "m", "retryable": True, "request_id": "req_1", "retry_after": 5},
    "complete": {
        "status": "succeeded",
        "finish_reason": "stop",
        "usage": USAGE,
        "steps": 1,
        "duration_ms": 3,
        "time_to_first_token_ms": 2,
    },
}
"""An event of each kind, with all its keys."""
ANY = ("final_output", "data")
"""A key that may have any value."""


def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"event": kind, "data": data, "run_id": "run_1", "seq": 1, "timestamp": "2026-11-28T10:00:00.000Z"}


def test_the_samples_have_every_key_of_every_event() -> None:
    """A new event or key fails here until there is a sample, and below until the page knows its shape."""
    keys = {name.value: set(kind.model_fields) for kind, name in EVENT_TYPES.items()}
    assert {kind: set(data) for kind, data in SAMPLES.items()} == keys


def test_the_page_finds_the_wrong_key(node: Path) -> None:
    """Each sample is right. With a value of another type in any of its keys, that key is wrong."""
    right = [event(kind, data) for kind, data in SAMPLES.items()]
    places = [(kind, key) for kind, data in SAMPLES.items() for key in data if (kind, key) != ANY]
    wrong = [event(kind, SAMPLES[kind] | {key: [[]]}) for kind, key in places]
    program = Path(__file__).with_name("shapes.mjs")
    found = json.loads(run(node, program, stdin=json.dumps([*right, *wrong])))
    assert found == [*[None] * len(right), *[f"data.{key}" for _, key in places]]
