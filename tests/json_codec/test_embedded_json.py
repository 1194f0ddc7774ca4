"""Tests that JSON is found between words, and that no piece of a broken value is taken for the value."""

import time
from typing import Any

import pytest

from json_codec.embedded import values_among


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}', [{"a": 1}]),
        (' \n{"a": 1}\n', [{"a": 1}]),
        ('\ufeff{"a": 1}', [{"a": 1}]),
        ("42", [42]),
        ("null", [None]),
        ('"yes"', ["yes"]),
        ('```json\n{"a": 1}\n```', [{"a": 1}]),
        ("```\n42\n```", [42]),
        ('Here it is:\n\n```json\n{"a": 1}\n```\n\nIs there more?', [{"a": 1}]),
        ("Here it is:\n\n```json\n42\n```\n\nIs there more?", [42]),
        ('As [1] says:\n```json\n"yes"\n```', [[1], "yes"]),
        ('The answer is {"a": [1, {"b": 2}]}.', [{"a": [1, {"b": 2}]}]),
        ('<json>{"a": "```"}</json>', [{"a": "```"}]),
        ('As {name} says [see below], "it" is {"a": 1}', [{"a": 1}]),
        ('{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('It follows from [1] that {"a": 1}', [[1], {"a": 1}]),
        ('{"n": 12345678901234567890123}', [{"n": 12345678901234567890123}]),
        ('{"s": "\\ud800"}', [{"s": "\ufffd"}]),
    ],
)
def test_values_are_found_among_words(text: str, values: list[Any]) -> None:
    """Fences and words around JSON are taken off, brackets in words aren't JSON, and numbers keep their digits."""
    assert [found.value for found in values_among(text)] == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I don't know.",
        "{name}",
        '{"a": [1, 2], "b": {"c": 1}',
        '{"a": 1, \'b\': {"c": 1}}',
        "{'a': {\"c\": 1}}",
        '{a: {"c": 1}}',
        '{"a": 1}}',
        '{"a": 1}, "b": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": {"b": 1}, }',
        '{"a": 1} {"b": ',
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_broken_json_is_refused(text: str) -> None:
    """A value inside of broken JSON, or beside it, is never taken for the whole."""
    with pytest.raises(ValueError, match=r"JSON|closes nothing"):
        values_among(text)


@pytest.mark.parametrize("text", ["[x] " * 100_000, "{x} " * 100_000, '[["x"], ' * 50_000, "```\n" * 100_000])
def test_a_long_text_takes_little_time(text: str) -> None:
    """The time is bounded by the text's length, not by its square."""
    began = time.thread_time()
    with pytest.raises(ValueError, match=r"JSON|text around"):
        values_among(text)
    assert time.thread_time() - began < 1
