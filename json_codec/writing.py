"""Values into JSON text, their long strings a piece at a time: 10 MB of text take a writer up to 70 ms in one go."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from json_codec.text import dumps

PIECE = 64 * 1024  # characters that are written at once
SHORT = 64  # characters of a string that is left to the writer of the rest
MANY = 1000  # strings, beyond which other tasks get a turn between the steps


async def written(value: Any) -> bytes:
    """The value as compact JSON in UTF-8. Other tasks get their turns while a long one is written.

    Raise TypeError or ValueError for what is no JSON.
    """
    return b"".join([piece async for piece in pieces(value)])


async def pieces(value: Any) -> AsyncIterator[bytes]:
    """The same, as it is written."""
    mark = secrets.token_hex(16)  # which no string can hold by chance, nor by intent
    strings: list[str] = []
    marked = _marked(value, mark, strings)
    if len(strings) > MANY:
        await asyncio.sleep(0)  # 24,000 strings take 10 ms to mark and as long to write
    first, *rest = dumps(marked).split(f'"{mark}"')
    yield first.encode()
    since_turn = PIECE if len(strings) > MANY else 0
    for string, between in zip(strings, rest, strict=True):
        yield b'"'
        for start in range(0, len(string), PIECE):
            yield dumps(string[start : start + PIECE])[1:-1].encode()
            since_turn += min(PIECE, len(string) - start)
            if since_turn >= PIECE:
                since_turn = 0
                await asyncio.sleep(0)
        yield f'"{between}'.encode()


def _marked(value: Any, mark: str, strings: list[str]) -> Any:
    """The value with a mark in the place of each string that isn't short, and those strings in their order."""
    kind = type(value)
    if kind is str:
        if len(value) <= SHORT:
            return value
        strings.append(value)
        return mark
    if kind is dict:
        return {name: _marked(one, mark, strings) for name, one in value.items()}
    return [_marked(one, mark, strings) for one in value] if kind in (list, tuple) else value
