"""Tests that the Python client reads JSON while it is written."""

import json
from typing import Any

import pytest
from agent_stream.partial_json import partial_value

WHOLE: dict[str, Any] = {
    "city": 'O"s\\lo\n❄',
    "days": [{"celsius": -3.5, "snow": True}, {"celsius": 12345678901234567890, "snow": None}, [], {}],
    "note": "",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("It is", None),
        ("Well: {", None),
        ("{", {}),
        ('{"ci', {}),
        ('{"city"', {}),
        ('{"city":', {}),
        ('{"city": "Os', {"city": "Os"}),
        ('{"city": "Os\\', {"city": "Os"}),
        ('{"city": "Os\\u00', {"city": "Os"}),
        ('{"city": "Os\\\\', {"city": "Os\\"}),
        ('{"city": "Os\\ud83d', {"city": "Os"}),
        ('{"city": "Os\\ud83d\\ude', {"city": "Os"}),
        ('{"city": "Os\\ud83d\\ude00', {"city": "Os\U0001f600"}),
        ('{"city": "Os\\\\ud83d', {"city": "Os\\ud83d"}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": [1, 2', {"a": [1]}),
        ('{"a": [1, "x"], "b": {"c": [', {"a": [1, "x"], "b": {"c": []}}),
        ('```json\n[{"a": "b', [{"a": "b"}]),
        ('{"a": 1} and more', {"a": 1}),
        ('{"a": ]', {}),
        ("[x, y", None),
    ],
)
def test_as_much_of_the_value_as_has_been_written(text: str, value: Any) -> None:
    """Strings grow, other values count when something follows them, and broken JSON ends the value."""
    assert partial_value(text) == value


@pytest.mark.parametrize("ascii_only", [True, False])
def test_every_beginning_of_a_value_has_a_value(ascii_only: bool) -> None:
    """From the first bracket on there is a value at each character, and at the end it is the whole one."""
    text = json.dumps(WHOLE, ensure_ascii=ascii_only)
    partial = [partial_value(text[:end]) for end in range(1, len(text) + 1)]
    assert all(isinstance(value, dict) for value in partial)
    assert partial[-1] == WHOLE
