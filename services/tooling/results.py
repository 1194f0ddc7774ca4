"""Writes a tool's result as the text that a model reads: a string unchanged, any other value as JSON.

`pydantic_core.to_json` is fast, but lets no other thread run while it writes. So a value is weighed first, in steps
between which other threads can run, and refused if writing it would take too long.
"""

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

MAX_WEIGHT = 1_500_000  # of a whole value: a unit takes `to_json` about 10 ns, so a pause is below 20 ms
WEIGHTS = {type(None): 2, bool: 2, int: 2, float: 6, str: 2, list: 4, tuple: 4, dict: 4, set: 8, frozenset: 8}
DATACLASS, OTHER = 90, 30  # weights; OTHER is for models, dates and numbers of other types
KEY = 25  # weight of a key that isn't a string, or of one item of a tuple as a key
LONG = 2**63  # larger integers weigh as much as they have bits
MAX_BITS = 14_000  # of an integer: about 4200 digits, near the limit of Python's own conversion

MAX_PLAIN = 8 * 1024  # values that the event loop may write itself
CHARACTERS = 64  # that take as long to write as one value
SCALARS = {int, float, bool, type(None)}

MAX_DEPTH = 200  # levels; pydantic's limit is 255
CIRCULAR = ("Circular reference", "depth exceeded", "recursion depth")  # in messages of pydantic and json
NESTED = "The tool's result is not JSON: it contains itself or is nested too deeply."
ITERATOR = "The tool's result contains an iterator, which may have no end: return a list."
TOO_LARGE = "The tool's result is too large to be written as JSON, or contains itself: return less."
TOO_LONG = "The tool's result contains an integer that is too long: return it as a string."
BUILTIN = (list, tuple, set, frozenset)
SIZED = frozenset((*BUILTIN, dict, type({}.values())))
LEAVES = frozenset((type(None), bool, int, float, str))
LISTED = (deque, Sequence, Set, ValuesView)  # written as lists: a range, a mapping's keys
BYTES = (bytes, bytearray, memoryview)
TEXTS = (str, *BYTES)
BYTES_MODES: tuple[Literal["utf8", "base64"], ...] = ("utf8", "base64")


def as_text(value: Any, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return a string unchanged, and any other value as compact JSON.

    None is `null`, and NaN, which JSON doesn't have, is `"NaN"`. Models, dataclasses, dates, decimals, enums, sets and
    paths are written as pydantic writes them. Bytes are their text if they are UTF-8, else `{"base64": …}`. Raise
    `ToolError` for a value that isn't JSON, that has no end, or that weighs more than `MAX_WEIGHT`. Raise it, too, when
    `stopped` returns True while an object's own iterator is read.
    """
    if isinstance(value, str | UserString):
        return str(value)
    if isinstance(value, BYTES):
        return _text_of_bytes(bytes(value))
    writer = _Writer(stopped)
    try:
        return writer.write(value)
    except (TypeError, ValueError, RecursionError) as error:
        if writer.error:
            raise writer.error from None
        if any(words in str(error) for words in CIRCULAR):
            raise ToolError(NESTED) from None
        raise ToolError("The tool's result could not be written as JSON.") from error


def is_plain(value: Any) -> bool:
    """Return whether a value is small and of JSON's own types. `as_text` is then fast and runs no code of a tool."""
    left, parts = MAX_PLAIN, [value]
    while parts and left > 0:
        part = parts.pop()
        if type(part) is dict:
            left -= 2 * len(part)
            parts += [*part, *part.values()] if left > 0 else ()
        elif type(part) in (list, tuple):
            left -= len(part)
            parts += part if left > 0 else ()
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
    """Weighs a value and writes it. `error` is the reason why something in it can't be written."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.error: ToolError | None = None
        self._stopped = stopped
        self._left = MAX_WEIGHT

    def write(self, value: Any) -> str:
        """Return the JSON. If some bytes in the value aren't UTF-8, all of its bytes are written as base64."""
        self._weigh(value)
        for mode in BYTES_MODES:
            try:
                return to_json(value, inf_nan_mode="strings", fallback=self._convert, bytes_mode=mode).decode()
            except ValueError as error:
                if self.error or "utf-8" not in str(error):
                    raise
        return self._with_surrogates(value)

    def _with_surrogates(self, value: Any) -> str:
        """Return the JSON of a value with lone surrogates, which only Python's own writer accepts.

        `iterencode` writes in Python code, so other threads can run in between.
        """

        def default(value: Any) -> Any:
            return to_jsonable_python(value, fallback=self._convert, bytes_mode="base64")

        writer = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)
        return "".join(writer.iterencode(value))

    def _weigh(self, value: Any) -> None:
        """Subtract a value's weight from the allowance, level by level. Raise `ToolError` if that is used up."""
        level = [value]
        for _ in range(MAX_DEPTH):
            self._left -= _weight(level)
            if self._left < 0:
                raise ToolError(TOO_LARGE)
            level = self._inner(level)
            if not level:
                return
        raise ToolError(NESTED)

    def _inner(self, level: Iterable[Any]) -> list[Any]:
        """Return the next level: the values within these."""
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
        """Return iterables of the values within a value. Raise `ToolError` for an iterator."""
        if isinstance(value, dict):
            self._left -= sum(map(_key_weight, islice(dict.keys(value), max(self._left, 0))))
            return value, value.values()
        if isinstance(value, BUILTIN):
            return (value,)
        if isinstance(value, Iterator):
            raise ToolError(ITERATOR)
        if isinstance(value, BaseModel):
            return list(_written_fields(value).values()), list((value.model_extra or {}).values())
        if dataclasses.is_dataclass(value):
            return ([getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)],)
        return ()

    def _bounded(self, parts: Iterable[Any]) -> Iterator[Any]:
        """Yield as many parts as the allowance permits. An object's own iterator can be slow, or have no end."""
        for part in islice(parts, max(self._left, 0)):
            if self._stopped():
                raise ToolError("The tool's result was not written in time.")
            yield part

    def _convert(self, value: Any) -> Any:
        """Convert an object that pydantic doesn't know. Store the error if it can't be, as pydantic replaces it."""
        try:
            return self._converted(value)
        except ToolError as error:
            self.error = error
            raise

    def _converted(self, value: Any) -> Any:
        if isinstance(value, PurePath | UserString):
            return str(value)
        if not isinstance(value, (Mapping, *LISTED)):
            raise ToolError(f"The tool's result is not JSON: it contains a value of type {type(value).__name__}.")
        parts = list(self._bounded(value))
        converted = {key: value[key] for key in parts} if isinstance(value, Mapping) else parts
        self._weigh(converted)
        return converted


def _written_fields(model: BaseModel) -> dict[str, Any]:
    """Return the values that are written of a model's fields.

    Computed fields and iterators are written first, because only the model's own code knows their values.
    """
    fields = type(model).model_fields
    values = {name: value for name, value in vars(model).items() if name in fields and not fields[name].exclude}
    iterators = {name for name, value in values.items() if type(value) not in WEIGHTS and isinstance(value, Iterator)}
    computed = iterators | type(model).model_computed_fields.keys()
    return values | model.model_dump(include=computed) if computed else values


def _weight(level: list[Any]) -> int:
    """Return the weight of values without the values in them. Counting them by type is faster than one by one."""
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
