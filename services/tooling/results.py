"""Writes what a tool returns as the text that a model reads: text as it is, anything else as JSON, or a clear error."""

import dataclasses
import json
from collections import Counter, UserString, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from itertools import islice
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python

from services.tooling.base import ToolError

MAX_WEIGHT = 1_500_000  # of a value that is written: `to_json` lets no other thread run, and a unit is some 10 ns of it
WEIGHTS = {type(None): 2, bool: 2, int: 2, float: 6, str: 2, list: 4, tuple: 4, dict: 4, set: 8, frozenset: 8}
DATACLASS, OTHER = 90, 30  # the latter of a model, a date, a number of another type
KEY = 25  # that is no text, or one part of it
LONG = 2**63  # an integer beyond it weighs by its bits
MAX_BITS = 14_000  # of an integer, some 4200 digits; Python writes no longer ones

PLAIN = 8 * 1024  # values that the event loop has time to write
CHARACTERS = 64  # that take as long to write as such a value
SCALARS = {int, float, bool, type(None)}

MAX_DEPTH = 200  # levels; pydantic stops at 255
ENDLESS = ("Circular reference", "depth exceeded", "recursion depth")  # in the messages of the writers of JSON
ITSELF = "The tool's result is not JSON: it holds itself, or is nested too deep."
NO_END = "The tool's result has an iterator, which may have no end: return a list."
TOO_LARGE = "The tool's result is too large to be written as JSON, or holds itself: return less."
TOO_LONG = "The tool's result has an integer that is too long: return it as text, or less of it."
BUILTIN = (list, tuple, set, frozenset)
SIZED = frozenset((*BUILTIN, dict, type({}.values())))
LEAVES = frozenset((type(None), bool, int, float, str))
OPENED = (deque, Sequence, Set, ValuesView)  # written as lists, such as a range, or a mapping's keys
BYTES = (bytes, bytearray, memoryview)
TEXTS = (str, *BYTES)
BYTES_MODES: tuple[Literal["utf8", "base64"], ...] = ("utf8", "base64")


def as_text(value: Any, stopped: Callable[[], bool] = lambda: False) -> str:
    """Text as it is, another value as compact JSON; None is `null`, and NaN, which JSON doesn't have, `"NaN"`.

    Models, dataclasses, dates, decimals, enums, sets, paths and the like are written as pydantic writes them. Bytes are
    their text if they are UTF-8, else `{"base64": …}`. Raise `ToolError` for a value that is no JSON, that has no end,
    or that weighs more than `MAX_WEIGHT`; and when `stopped` returns True while an object's own iterator is read.
    """
    if isinstance(value, str | UserString):
        return str(value)
    if isinstance(value, BYTES):
        return _text_of_bytes(bytes(value))
    writer = _Writer(stopped)
    try:
        return writer.write(value)
    except (TypeError, ValueError, RecursionError) as error:
        if writer.fault:
            raise writer.fault from None
        if any(words in str(error) for words in ENDLESS):
            raise ToolError(ITSELF) from None
        raise ToolError("The tool's result could not be written as JSON.") from error


def is_plain(value: Any) -> bool:
    """Return whether a value is small, and JSON as it is: `as_text` is quick then, and runs no code but ours."""
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
        elif type(part) not in SCALARS or _is_too_long(part):
            return False
    return left > 0 or type(value) is str


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return to_json({"base64": value}, bytes_mode="base64").decode()


class _Writer:
    """Weighs one value, and writes it at once. `fault` is the error for something that pydantic found in it."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.fault: ToolError | None = None
        self._stopped = stopped
        self._left = MAX_WEIGHT

    def write(self, value: Any) -> str:
        """The JSON. Bytes are base64, all of them, where some are not UTF-8."""
        self._weigh(value)
        for mode in BYTES_MODES:
            try:
                return to_json(value, inf_nan_mode="strings", fallback=self._opened, bytes_mode=mode).decode()
            except ValueError as error:
                if self.fault or "utf-8" not in str(error):
                    raise
        return self._with_surrogates(value)

    def _with_surrogates(self, value: Any) -> str:
        """The JSON of text that isn't Unicode, by Python's own writer. In this form, it lets other threads run."""

        def default(found: Any) -> Any:
            return to_jsonable_python(found, fallback=self._opened, bytes_mode="base64")

        writer = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)
        return "".join(writer.iterencode(value))

    def _weigh(self, value: Any) -> None:
        """Subtract a value's weight from what is left, level by level. Raise `ToolError` when it is too heavy."""
        level = [value]
        for _ in range(MAX_DEPTH):
            self._left -= _weight(level)
            if self._left < 0:
                raise ToolError(TOO_LARGE)
            level = self._inner(level)
            if not level:
                return
        raise ToolError(ITSELF)

    def _inner(self, level: Iterable[Any]) -> list[Any]:
        """The next level: what is written of these parts beside themselves."""
        inner: list[Any] = []
        for part in level:
            kind = type(part)
            if kind in LEAVES:
                continue
            for parts in (part,) if kind in BUILTIN else self._parts(part):
                inner += parts if type(parts) in SIZED and len(parts) < self._left else self._bounded(parts)
                if len(inner) >= self._left:
                    raise ToolError(TOO_LARGE)
        return inner

    def _parts(self, value: Any) -> tuple[Any, ...]:
        """Iterables of what is written of a value beside itself. Raise `ToolError` for an iterator."""
        if isinstance(value, dict):
            self._left -= sum(map(_key_weight, islice(dict.keys(value), max(self._left, 0))))
            return value, value.values()
        if isinstance(value, BUILTIN):
            return (value,)
        if isinstance(value, Iterator):
            raise ToolError(NO_END)
        if isinstance(value, BaseModel):
            return list(_written_of(value).values()), list((value.model_extra or {}).values())
        if dataclasses.is_dataclass(value):
            return ([getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)],)
        return ()

    def _bounded(self, parts: Iterable[Any]) -> Iterator[Any]:
        """So many parts as may be written. An object's own iterator may be slow, and have no end."""
        for part in islice(parts, max(self._left, 0)):
            if self._stopped():
                raise ToolError("The tool's result was not written in time.")
            yield part

    def _opened(self, found: Any) -> Any:
        """Return what is written for an object that pydantic doesn't know. Set `fault` if that is nothing."""
        try:
            return self._open(found)
        except ToolError as error:
            self.fault = error
            raise

    def _open(self, found: Any) -> Any:
        if isinstance(found, PurePath | UserString):
            return str(found)
        if not isinstance(found, (Mapping, *OPENED)):
            raise ToolError(f"The tool's result is not JSON: it holds a {type(found).__name__}.")
        parts = list(self._bounded(found))
        opened = {key: found[key] for key in parts} if isinstance(found, Mapping) else parts
        self._weigh(opened)
        return opened


def _written_of(model: BaseModel) -> dict[str, Any]:
    """The values of a model's fields, and those that its own code makes of others: computed ones and iterators."""
    fields = type(model).model_fields
    values = {name: value for name, value in vars(model).items() if name in fields and not fields[name].exclude}
    iterators = {name for name, value in values.items() if type(value) not in WEIGHTS and isinstance(value, Iterator)}
    made = iterators | type(model).model_computed_fields.keys()
    return values | model.model_dump(include=made) if made else values


def _weight(level: list[Any]) -> int:
    """The weight of values without their parts. Values are counted by their types, which are few."""
    counts = Counter(map(type, level))
    weight = sum(_weight_of(kind) * count for kind, count in counts.items())
    if str in counts:
        weight += sum([len(part) for part in level if type(part) is str])
    if int in counts:
        weight += sum([_long_weight(part) for part in level if type(part) is int and not -LONG < part < LONG])
    if not counts.keys() <= WEIGHTS.keys():
        weight += sum([len(part) for part in level if isinstance(part, TEXTS) and type(part) is not str])
    return weight


def _weight_of(kind: type) -> int:
    return WEIGHTS.get(kind) or (DATACLASS if dataclasses.is_dataclass(kind) else OTHER)


def _long_weight(number: int) -> int:
    if _is_too_long(number):
        raise ToolError(TOO_LONG)
    return number.bit_length()


def _key_weight(key: Any) -> int:
    if type(key) is str:
        return 0
    return KEY + KEY * len(key) if isinstance(key, tuple) else KEY


def _is_too_long(number: Any) -> bool:
    return type(number) is int and number.bit_length() > MAX_BITS
