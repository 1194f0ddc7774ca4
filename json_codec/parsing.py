"""Parses JSON text, its long strings a piece at a time: in one go, 10 MB take a parser up to 70 ms.

A long text is parsed with a short name in place of each long string. The strings are decoded piece by piece before,
and put in the places of their names afterwards.
"""

import asyncio
import json
import re
import secrets
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from json_codec.text import loads_strictly

LONG = 256 * 1024  # bytes; a parser takes 2 ms for them
PIECE = 64 * 1024  # bytes of a long string that are parsed in one go, which takes less than 1 ms
SHORT = 64  # bytes; strings up to this length are left in the text
LONG_SPACE = re.compile(rb"[ \t\n\r]{%d,}" % (SHORT + 1))  # too long to be within a string that is left in the text
# Whole characters and escapes of a string. Atomic and possessive groups never backtrack, however long the string is.
CHARACTERS = re.compile(rb'(?>[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*+')
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
SURROGATE_LENGTH = len(r"\ud83d")


class LongString(NamedTuple):
    """A string's value, and its start and end in the text, without the quotes."""

    start: int
    end: int
    value: str


async def parse(text: bytes) -> Any:
    """Parse a text in UTF-8. Other tasks get turns while a long one is parsed.

    Raise `json.JSONDecodeError` for a text that isn't JSON. Raise another `ValueError` for NaN, for a number too
    large for a float, and for a lone surrogate.
    """
    if len(text) <= LONG:
        return _value(text)
    mark = secrets.token_hex(16)  # random, so that no string can contain it, even on purpose
    parts: list[bytes] = []
    strings: dict[str, str] = {}
    at = 0
    async for string in _long_strings(text):
        name = f"{mark}{len(strings)}"
        strings[name] = string.value
        parts += await _shortened(text[at : string.start]), name.encode()
        at = string.end
    value = _value(b"".join([*parts, await _shortened(text[at:])]))
    await asyncio.sleep(0)  # 24,000 strings take 10 ms to parse and 10 ms more to fill in
    return _filled(value, strings) if strings else value


async def _shortened(text: bytes) -> bytes:
    """Replace each long run of white space by one space: 10 MB of it take a parser 40 ms."""
    if len(text) <= PIECE:
        return text
    pieces = []
    for start in range(0, len(text), PIECE):
        pieces.append(LONG_SPACE.sub(b" ", text[start : start + PIECE]))
        await asyncio.sleep(0)
    return b"".join(pieces)


def _value(text: bytes) -> Any:
    value = loads_strictly(text)
    if SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # raises for a lone surrogate, and only for that
    return value


def _filled(value: Any, strings: Mapping[str, str]) -> Any:
    """Put the strings in the places of their names, which may also be keys of objects."""
    match value:
        case str():
            return strings.get(value, value)
        case list():
            return [_filled(one, strings) for one in value]
        case dict():
            return {strings.get(name, name): _filled(one, strings) for name, one in value.items()}
        case _:
            return value


async def _long_strings(text: bytes) -> AsyncIterator[LongString]:
    """Yield the strings of a text that are longer than SHORT."""
    start, since_turn = text.find(b'"') + 1, 0
    while start:
        end = _end_of_piece(text, start)
        if end - start > SHORT:
            yield (string := await _long_string(text, start))
            end = string.end
        since_turn += SHORT + end - start  # a short string costs as much as SHORT bytes
        if since_turn > PIECE:
            since_turn = 0
            await asyncio.sleep(0)
        start = text.find(b'"', end + 1) + 1


def _end_of_piece(text: bytes, start: int) -> int:
    """Return the end of a string, or of a piece of it that ends between two characters or escapes."""
    found = CHARACTERS.match(text, start, start + PIECE)
    assert found is not None  # the pattern also matches an empty piece
    return found.end()


async def _long_string(text: bytes, start: int) -> LongString:
    decode = getincrementaldecoder("utf-8")().decode
    pieces, at = [], start
    while (end := _end_of_piece(text, at)) > at:
        piece = json.loads(f'"{decode(text[at:end])}"')
        if "\ud800" <= piece[-1:] <= "\udbff" and end - at > SURROGATE_LENGTH:
            piece, end = piece[:-1], end - SURROGATE_LENGTH  # the other half of the pair may be in the next piece
        piece.encode()  # raises for a lone surrogate
        pieces.append(piece)
        at = end
        if at > start + PIECE // 2:  # a turn for each long string; shorter ones are counted by `_long_strings`
            await asyncio.sleep(0)
    if text[at : at + 1] != b'"':
        raise json.JSONDecodeError("Invalid string", "", at)
    return LongString(start, at, "".join(pieces))
