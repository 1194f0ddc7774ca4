"""Tests that a text is found to be a JSON object, or not, as Python's parser finds it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_codec.text import is_object

TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from('\\"u\ud83d\udc4d{}'), max_size=20)
VALUES = st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=3) | st.dictionaries(TEXTS, TEXTS, max_size=3)


@given(VALUES, st.booleans(), st.integers(0, 9))
def test_a_value_is_an_object_as_python_says(value: Any, ascii_only: bool, cut: int) -> None:
    """Whatever its strings hold, lone surrogates and backslashes included, and wherever the text ends."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    text = text[: len(text) - cut]
    try:
        expected = isinstance(json.loads(text), dict)
    except ValueError:
        expected = False
    assert is_object(text) == expected


@pytest.mark.parametrize("text", ["", "{", "{}{}", '{"a":', '{"a":NaN}', "[{}]", "null", '"{}"', "{" * 100_000])
def test_anything_else_is_none(text: str) -> None:
    """Cut, repeated, nested too deep, or no JSON."""
    assert not is_object(text)
