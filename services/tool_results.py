"""What a tool gives, as the text that a model reads: text as it is, anything else as JSON, or a clear error."""

import codecs
import dataclasses
from collections import UserString, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from itertools import islice
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel
from pydantic_core import to_json

from services.json_text import dumps
from services.tools import ToolError

PLAIN = 8 * 1024  # values; writing so many takes no time to speak of
LIGHT = 16 * 1024  # values; writing more at once would hold up other threads
HEAVY = 128 * 1024  # values; what can only be written at once, and has more of them, isn't written
CHARACTERS = 64  # that take as long to write as a value
BATCH = 100  # values of a container that are written at once, if they are light
MAX_BITS = 14_000  # of an integer, some 4200 digits; writing a longer one lets no other thread run
MAX_DEPTH = 64  # of what isn't light: it is weighed at each level
MAX_CHARACTERS = 4 * 1024 * 1024  # of JSON that is written for a model, which gets less of it
ENDLESS = ("Circular reference", "depth exceeded", "recursion depth")  # as the writers of JSON say it
SEVERAL = (list, tuple, set, frozenset, deque, Sequence, Set, ValuesView)  # such as a range, or a mapping's keys
SCALARS = {int, float, bool, type(None)}
BYTES = (bytes, bytearray, memoryview)
TEXTS = (str, *BYTES)
UTF8 = codecs.getincrementaldecoder("utf-8")


def as_text(value: Any, stopped: Callable[[], bool] = lambda: False) -> str:
    """Text as it is, another value as compact JSON; None is `null`, and NaN, which JSON doesn't have, `"NaN"`.

    Models, dataclasses, dates, decimals, enums, sets, paths and the like are written as pydantic writes them. Bytes are
    their text if they are UTF-8, else `{"base64": …}`. JSON of more than `MAX_CHARACTERS` isn't written to its end.
    Raise `ToolError` for what is no JSON, has no end, or can only be written at once and is too large for that, and
    once `stopped` says that nobody waits for the text any more.
    """
    if isinstance(value, str | UserString):
        return str(value)
    if isinstance(value, BYTES):
        return _text_of_bytes(bytes(value))
    writer = _Writer(stopped)
    try:
        return writer.write(value)
    except (TypeError, ValueError, RecursionError) as error:
        if writer.strange:
            raise ToolError(f"The tool's result is not JSON: it holds a {writer.strange}.") from None
        if any(said in str(error) for said in ENDLESS):
            raise ToolError("The tool's result is not JSON: it holds itself, or is nested too deep.") from None
        raise ToolError("The tool's result could not be written as JSON.") from error


def is_plain(value: Any) -> bool:
    """Whether it is small and JSON as it is: `as_text` takes no time then, and runs no code but ours."""
    left, found = PLAIN, [value]
    while found and left > 0:
        part = found.pop()
        if type(part) is dict:
            left -= 2 * len(part)
            found += [*part, *part.values()] if left > 0 else ()
        elif type(part) in (list, tuple):
            left -= len(part)
            found += part if left > 0 else ()
        elif type(part) is str:
            left -= len(part) // CHARACTERS
        elif type(part) not in SCALARS or _is_long(part):
            return False
    return left > 0 or type(value) is str


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return to_json({"base64": value}, bytes_mode="base64").decode()


class _Writer:
    """Writes one value piece by piece, so that the size of the whole, and the time of a piece, are bounded.

    `strange` is the type that it has found to be no JSON, nor anything that pydantic knows.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.strange: str | None = None
        self._stopped = stopped
        self._bytes_mode: Literal["utf8", "base64"] = "utf8"
        self._inside: set[int] = set()  # the containers that are being written

    def write(self, value: Any) -> str:
        """As much of the JSON as may be wanted. Bytes are base64, all of them, where some are no text."""
        try:
            return self._beginning(value)
        except ValueError as error:
            if "utf-8" not in str(error):
                raise
        self._bytes_mode = "base64"
        self._inside.clear()
        return self._beginning(value)

    def _beginning(self, value: Any) -> str:
        written, left = [], MAX_CHARACTERS
        for piece in self._pieces(value):
            written.append(piece)
            left -= len(piece)
            if left < 0:
                break
        return "".join(written)[: MAX_CHARACTERS + 1]

    def _pieces(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield self._whole(value[:MAX_CHARACTERS])
        elif not self._weighs_more(value, LIGHT):
            yield self._whole(value)
        elif isinstance(value, BYTES):
            yield self._whole(self._cut(bytes(value)[:MAX_CHARACTERS]))
        elif (parts := _opened(value)) is None:
            if self._weighs_more(value, HEAVY):
                raise _too_large(value)
            yield self._whole(value)
        elif id(value) in self._inside or len(self._inside) >= MAX_DEPTH:
            raise ValueError(ENDLESS[0])
        else:
            self._inside.add(id(value))
            yield from self._mapping(parts) if isinstance(parts, Mapping) else self._several(parts)
            self._inside.remove(id(value))

    def _mapping(self, parts: Mapping[Any, Any]) -> Iterator[str]:
        yield "{"
        before = ""
        for items in self._batches(parts.items()):
            if not self._weighs_more(batch := dict(items), LIGHT):
                yield before + self._whole(batch)[1:-1]
                before = ","
                continue
            for key, value in items:
                if self._weighs_more(key, LIGHT):
                    raise _too_large(key)
                yield before + self._whole({key: None})[1 : -len("null}")]
                yield from self._pieces(value)
                before = ","
        yield "}"

    def _several(self, parts: Collection[Any]) -> Iterator[str]:
        yield "["
        before = ""
        for batch in self._batches(parts):
            if not self._weighs_more(batch, LIGHT):
                yield before + self._whole(batch)[1:-1]
                before = ","
                continue
            for value in batch:
                yield before
                yield from self._pieces(value)
                before = ","
        yield "]"

    def _batches(self, parts: Iterable[Any]) -> Iterator[list[Any]]:
        """The parts, some at a time, as long as somebody waits for them: a type of the tool's own may give no end."""
        left = iter(parts)
        while batch := list(islice(left, BATCH)):
            yield batch
            if self._stopped():
                raise ToolError("The tool's result was not written in time.")

    def _weighs_more(self, value: Any, limit: int) -> bool:
        """Whether it holds more than so many values. Raise `ToolError` for what may have no end."""
        left, found = limit, [value]
        while found and left > 0:
            part = found.pop()
            if type(part) in SCALARS:
                if _is_long(part):
                    raise ToolError(
                        "The tool's result has an integer that is too long: return it as text, or less of it."
                    )
                continue
            if isinstance(part, TEXTS):
                left -= len(part) // CHARACTERS
                continue
            for parts in _parts(part):
                left -= len(parts)
                for batch in self._batches(parts) if left > 0 else ():
                    found += batch
                    if len(found) > limit:
                        return True
        return left <= 0

    def _whole(self, value: Any) -> str:
        try:
            return dumps(value)  # plain values, with the surrogates that others mend
        except (TypeError, ValueError, RecursionError):
            pass
        return to_json(value, inf_nan_mode="strings", fallback=self._fallback, bytes_mode=self._bytes_mode).decode()

    def _cut(self, value: bytes) -> str | bytes:
        """The beginning of a text may end within a character. Raise `ValueError` for what is no text."""
        return UTF8().decode(value) if self._bytes_mode == "utf8" else value

    def _fallback(self, found: Any) -> Any:
        """What isn't JSON, nor anything that pydantic knows."""
        if isinstance(found, Mapping):
            return dict(found)
        if isinstance(found, PurePath):
            return str(found)
        if isinstance(found, SEVERAL):
            return list(found)
        self.strange = type(found).__name__
        raise TypeError


def _parts(value: Any) -> tuple[Collection[Any], ...]:
    """What is written of a value beside itself."""
    if isinstance(value, SEVERAL):
        return (value,)
    if isinstance(value, (dict, Mapping)):
        return value.keys(), value.values()
    if isinstance(value, Iterator):
        raise ToolError(f"The tool's result has a {type(value).__name__}, which may have no end: return a list.")
    if isinstance(value, BaseModel):
        return _written_of(value), (value.model_extra or {}).values()
    return (_fields(value).values(),) if _is_dataclass(value) else ()


def _written_of(model: BaseModel) -> list[Any]:
    """The values of a model that are written as they are."""
    kind = type(model)
    serializers = kind.__pydantic_decorators__.field_serializers.values()
    fields = {
        name for name, field in kind.model_fields.items() if not field.exclude
    } | kind.model_computed_fields.keys()
    fields -= {name for serializer in serializers for name in serializer.info.fields}
    return [inner for name, inner in vars(model).items() if name in fields]


def _is_long(number: Any) -> bool:
    return type(number) is int and number.bit_length() > MAX_BITS


def _opened(value: Any) -> Mapping[Any, Any] | Collection[Any] | None:
    """The value as a container, if it can be written part by part: only pydantic knows how a model wants to be."""
    if isinstance(value, (dict, Mapping, *SEVERAL)):
        return value
    return _fields(value) if _is_dataclass(value) and not hasattr(value, "__pydantic_serializer__") else None


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _fields(value: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(value)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _too_large(value: Any) -> ToolError:
    kind = type(value).__name__
    return ToolError(f"The tool's result has a {kind} that is too large to be written, or holds itself: return less.")
