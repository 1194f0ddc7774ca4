"""Makes objects of this package's dataclasses from JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

UNKNOWN = object()
"""The result for an object of none of the classes."""


def decode(kind: Any, value: Any) -> Any:
    """Return a JSON value as an object of a class, or as a list of them.

    A key that the class doesn't have is ignored: later versions of the service add some. So is an item of a list that
    is of none of several classes.
    """
    if value is None or kind is None:
        return value
    if isinstance(value, list):
        items = (decode(kind, item) for item in value)
        return [item for item in items if item is not UNKNOWN]
    if isinstance(kind, tuple):
        return next((decode(each, value) for each in kind if _required(each) <= value.keys()), UNKNOWN)
    return kind(**{name: decode(inner, value[name]) for name, inner in _fields(kind).items() if name in value})


@cache
def _fields(kind: type) -> Mapping[str, type | tuple[type, ...] | None]:
    """Return the fields of a class, with the dataclasses of which each has one or a list, or None."""
    hints = get_type_hints(kind)
    found = {field.name: (*_dataclasses_in(hints[field.name]),) for field in fields(kind)}
    return {name: kinds if len(kinds) > 1 else next(iter(kinds), None) for name, kinds in found.items()}


@cache
def _required(kind: type) -> frozenset[str]:
    """Return the names of a class's fields without a default."""
    return frozenset(field.name for field in fields(kind) if field.default is MISSING)


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if get_origin(hint) is not None:
        for inner in get_args(hint):
            yield from _dataclasses_in(inner)
    elif isinstance(hint, type) and is_dataclass(hint):
        yield hint
