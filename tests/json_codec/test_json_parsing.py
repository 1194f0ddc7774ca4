"""Parsing JSON a piece at a time returns the values and errors of parsing it at once, wherever the pieces end."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_codec.parsing import LONG, PIECE, parse

JSON = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('[{"\\/ué\n😀', max_size=99),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\é', max_size=99), inner, max_size=4),
    max_leaves=20,
)
PADDING = " " * LONG  # makes a short text be parsed as a long one


def parsed(text: str) -> Any:
    return asyncio.run(parse(text.encode()))


@given(JSON, st.booleans())
def test_a_long_text_has_the_values_of_a_short_one(value: Any, ascii_only: bool) -> None:
    """Strings, keys, escapes and numbers have the same values, at any depth."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parsed(text) == parsed(PADDING + text) == value


@pytest.mark.parametrize("before", range(13))
@pytest.mark.parametrize("text", ["x", "\n", '\\"', "é", "中", "😀", "\\u005b"])
def test_a_piece_may_end_within_any_character(text: str, before: int) -> None:
    """Escapes, surrogate pairs and UTF-8 of two to four bytes may be at any offset to the piece's end."""
    repeated = text * (LONG // len(json.dumps(text)))
    value = {"x" * before + repeated: ["y" * before + repeated, 1]}
    for ascii_only in (True, False):
        assert parsed(json.dumps(value, ensure_ascii=ascii_only)) == value


HALVES = [r"\ud83d", r"\ude00", r"\ude00\ud83d", r"\ud83d\n", r"\ud83dx", r"\ud83d\ud83d\ude00"]


@pytest.mark.parametrize("where", ["short", "end of a piece", "end", "beginning", "key"])
@pytest.mark.parametrize("half", HALVES)
def test_half_a_surrogate_pair_is_no_text(half: str, where: str) -> None:
    """It is refused alone, at the end of a piece where its other half could follow, and in names."""
    filling = "x" * (PIECE - 6)
    texts = {
        "short": f'["{half}"]',
        "end of a piece": f'["{filling}{half}{filling * 5}"]',
        "end": f'["{filling * 5}{half}"]',
        "beginning": f'["{half}{filling * 5}"]',
        "key": f'{{"{half}{filling * 5}": 1}}',
    }
    with pytest.raises(UnicodeEncodeError):
        parsed(texts[where])


@pytest.mark.parametrize(
    "text",
    [
        '["{}',
        '["{}]',
        r'["{}\x"]',
        r'["{}\u12"]',
        r'["{}\u12',
        '["{}\n"]',
        '["{}" 1]',
        '["{}",]',
        '["{}""{}"]',
        "",
        '{{"{}"}}',
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """Strings without an end, wrong escapes, line breaks and wrong structure are refused, in short and long texts."""
    for filling in ("", "x" * LONG, r"\n" * LONG):
        with pytest.raises(json.JSONDecodeError):
            parsed(text.format(filling, filling))
        with pytest.raises(json.JSONDecodeError):
            parsed(PADDING + text.format(filling, filling))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1E+400"])
def test_what_is_no_number_is_refused(number: str) -> None:
    """Numbers that Python's parser accepts, but no model server does, are refused."""
    for text in (f"[{number}]", f'["{"x" * LONG}", {number}]'):
        with pytest.raises(ValueError, match=r"JSON|number"):
            parsed(text)


async def turns_during(text: bytes) -> int:
    """The number of turns that another task gets while a text is parsed."""
    turns, task = 0, asyncio.create_task(parse(text))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(["x" * 4_000_000]),
        json.dumps(["\n" * 2_000_000]),
        json.dumps(["x" * 1000] * 4000),
        json.dumps(["é" * 20] * 30_000),
    ],
    ids=["one string", "escapes", "strings", "short strings"],
)
def test_others_get_a_turn_for_each_piece(text: str) -> None:
    """Four megabytes allow some fifty turns or more, whatever strings they contain."""
    assert asyncio.run(turns_during(text.encode())) > len(text) / PIECE / 2


@pytest.mark.parametrize("space", [" ", "\n\t\r "])
def test_white_space_is_shortened_between_values_alone(space: str) -> None:
    """White space within strings is unchanged; white space between two values still separates them."""
    spaces = space * LONG
    value = {"short": "a" + " " * 62, "long": " " * LONG, "numbers": [1, 2]}
    assert parsed(json.dumps(value, separators=(f",{spaces}", f"{spaces}:"))) == value
    with pytest.raises(json.JSONDecodeError):
        parsed(f"[1{spaces}2]")
