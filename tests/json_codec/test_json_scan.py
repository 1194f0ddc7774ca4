"""The scan that a body passes before it is parsed: its counts are right for any text, wherever it is cut."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_codec.scan import JsonLimits, JsonScan, JsonTooLarge, scan

NO_LIMIT = JsonLimits(sys.maxsize, sys.maxsize, sys.maxsize)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('[]{},:"\\/ué\n', max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\,:', max_size=4), inner, max_size=4),
    max_leaves=20,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def values_of(value: Any) -> int:
    """The number of values, as `JsonLimits` counts them."""
    if isinstance(value, dict):
        return (1 + len(value) + sum(map(values_of, value.values()))) if value else 2
    return ((1 + sum(map(values_of, value))) if value else 2) if isinstance(value, list) else 1


def passes(pieces: Iterator[bytes], limits: JsonLimits) -> bool:
    scanning = JsonScan(limits)
    try:
        for piece in pieces:
            scanning.feed(piece)
    except JsonTooLarge:
        return False
    return True


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@given(JSON, st.booleans(), st.integers(1, 9))
def test_depth_and_values_are_counted_right_wherever_the_text_is_cut(value: Any, ascii_only: bool, size: int) -> None:
    """The counts equal those of the parsed value for strings full of brackets, commas, quotes and escapes."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    depth, values = depth_of(value), values_of(value)
    assert passes(cut(text, size), NO_LIMIT._replace(depth=depth, values=values))
    assert not passes(cut(text, size), NO_LIMIT._replace(values=values - 1))
    assert depth == 0 or not passes(cut(text, size), NO_LIMIT._replace(depth=depth - 1))


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("number", ["9" * 41, "-" + "9" * 40, "0." + "1" * 39, "1e" + "0" * 39])
def test_a_number_has_a_length(number: str, size: int) -> None:
    """The limit holds where slices cut a number, at the end, and beside strings of digits, which don't count."""
    limits = NO_LIMIT._replace(number=40)
    for text in (number, f'["{number}", {number}, 1]', f'{{"a": {number}}}'):
        assert not passes(cut(text.encode(), size), limits)
    short, digits = number[:40], "9" * 100
    assert passes(cut(f'["{digits}",{short},{short} ,"a{digits}", {short}]'.encode(), size), limits)


@pytest.mark.parametrize(
    "text",
    [
        '"' + "[" * 1_000_000 + '"',
        '"' + "A," * 1_000_000 + '"',
        json.dumps('\\"[{' * 200_000),
        '"' + "\\\\" * 500_000 + '"',
        '"' + "\\u005b" * 100_000 + '"',
        " " * 1_000_000,
    ],
    ids=["brackets", "commas", "escaped quotes", "backslashes", "escaped brackets", "spaces"],
)
def test_a_string_is_one_value_whatever_is_in_it(text: str) -> None:
    """A megabyte of an image, or of code, counts as one value."""
    scan(text.encode(), JsonLimits(values=1, depth=1))


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["{}"] * 1000) + "]",
        "[" * 1000,
        "[" + ",".join(["1"] * 1000) + "]",
        json.dumps(dict.fromkeys(map(str, range(1000)), 1)),
        "{" + ",".join(['"a":1'] * 1000) + "}",
        json.dumps([[[[[[]]]]]] * 200),
        '{"a":"\\\\","b":[' + "{}," * 1000,
        '"' * 2000,
    ],
    ids=["objects", "brackets", "numbers", "keys", "the same key", "nested", "after an escape", "quotes"],
)
def test_many_small_values_are_refused(text: str) -> None:
    """A few bytes each cost the parser and the validation a thousand times their size."""
    with pytest.raises(JsonTooLarge, match="MAX_JSON_VALUES"):
        scan(text.encode(), JsonLimits(values=500, depth=5000))
    scan(text.encode(), NO_LIMIT)
