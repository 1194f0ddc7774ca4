"""JSON text into values, its long strings a piece at a time: 10 MB of text take a parser up to 70 ms in one go."""

import asyncio
import json
import re
import secrets
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from json_codec.text import loads_strictly

LONG = 256 * 1024  # bytes; a parser takes 2 ms for them
PIECE = 64 * 1024  # bytes of a long string that are parsed at once
SHORT = 64  # bytes of a string that is left to the parser of the rest
LONG_SPACE = re.compile(rb"[ \t\n\r]{%d,}" % (SHORT + 1))  # which no string that is left there can hold
CHARACTERS = re.compile(rb'(?>[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*+')
HALF = re.compile(rb"\\u[dD][89a-fA-F]")
HALF_LENGTH = len(r"\ud83d")


class LongString(NamedTuple):
    """A string's value, and where it begins and ends in its text, between the quotes."""

    start: int
    end: int
    value: str


async def parse(text: bytes) -> Any:
    """The value of a text in UTF-8. Other tasks get their turns while a long one is parsed.

    Raise `json.JSONDecodeError` for what is no JSON, another `ValueError` for NaN, for a number beyond a float, and for
    half of a surrogate pair, which is no text.
    """
    if len(text) <= LONG:
        return _value(text)
    mark = secrets.token_hex(16)  # which no string can hold by chance, nor by intent
    parts: list[bytes] = []
    strings: dict[str, str] = {}
    at = 0
    async for string in _long_strings(text):
        name = f"{mark}{len(strings)}"
        strings[name] = string.value
        parts += await _shortened(text[at : string.start]), name.encode()
        at = string.end
    value = _value(b"".join([*parts, await _shortened(text[at:])]))
    await asyncio.sleep(0)  # 24,000 strings take 10 ms to parse and as long to fill in
    return _filled(value, strings) if strings else value


async def _shortened(text: bytes) -> bytes:
    """The text with one space in the place of many, of which 10 MB take a parser 40 ms."""
    if len(text) <= PIECE:
        return text
    pieces = []
    for start in range(0, len(text), PIECE):
        pieces.append(LONG_SPACE.sub(b" ", text[start : start + PIECE]))
        await asyncio.sleep(0)
    return b"".join(pieces)


def _value(text: bytes) -> Any:
    value = loads_strictly(text)
    if HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _filled(value: Any, strings: Mapping[str, str]) -> Any:
    """The value with the strings in the places of their names."""
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
    start, since_turn = text.find(b'"') + 1, 0
    while start:
        end = _end_of_piece(text, start)
        if end - start > SHORT:
            yield (string := await _long_string(text, start))
            end = string.end
        since_turn += SHORT + end - start
        if since_turn > PIECE:
            since_turn = 0
            await asyncio.sleep(0)
        start = text.find(b'"', end + 1) + 1


def _end_of_piece(text: bytes, start: int) -> int:
    """Where a string ends, or a piece of it: between two characters, as far as JSON writes them."""
    found = CHARACTERS.match(text, start, start + PIECE)
    assert found is not None  # nothing is a match, too
    return found.end()


async def _long_string(text: bytes, start: int) -> LongString:
    decode = getincrementaldecoder("utf-8")().decode
    pieces, at = [], start
    while (end := _end_of_piece(text, at)) > at:
        piece = json.loads(f'"{decode(text[at:end])}"')
        if "\ud800" <= piece[-1:] <= "\udbff" and end - at > HALF_LENGTH:
            piece, end = piece[:-1], end - HALF_LENGTH  # its other half may follow
        piece.encode()
        pieces.append(piece)
        at = end
        if at > start + PIECE // 2:
            await asyncio.sleep(0)
    if text[at : at + 1] != b'"':
        raise json.JSONDecodeError("Invalid string", "", at)
    return LongString(start, at, "".join(pieces))
