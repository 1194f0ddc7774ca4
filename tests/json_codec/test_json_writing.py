"""Writing JSON a piece at a time produces the same text as writing it at once, with turns for other tasks."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_codec.text import dumps
from json_codec.writing import PIECE, SHORT, written

TEXT = st.text('"\\\n[é😀', max_size=2 * SHORT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_it_is_the_same_text(value: Any) -> None:
    """The text is the same for short and long strings, keys, escapes and numbers, at any depth."""
    assert asyncio.run(written(value)) == dumps(value).encode()


@pytest.mark.parametrize("text", ["x", "\n", '"', "é", "😀"])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_piece_may_end_anywhere(text: str, extra: int) -> None:
    """Strings may be exactly as long as a piece, or a character longer."""
    value = {"a": [text * (2 * PIECE + extra), "b"], "c": text * (SHORT + extra)}
    assert json.loads(asyncio.run(written(value))) == value


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}, ["\ud83d"], ["x" * 100 + "\ud83d"]])
def test_what_is_no_json_is_refused(value: Any) -> None:
    """A value that isn't JSON is refused, also in a long string."""
    with pytest.raises((TypeError, ValueError)):
        asyncio.run(written(value))


async def turns_during(value: Any) -> int:
    turns, task = 0, asyncio.create_task(written(value))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


@pytest.mark.parametrize("value", [["x" * 4_000_000], ["x" * 1000] * 4000], ids=["one string", "many"])
def test_others_get_a_turn_for_each_piece(value: Any) -> None:
    """Four megabytes allow some sixty turns."""
    assert asyncio.run(turns_during(value)) > 4_000_000 / PIECE / 2
