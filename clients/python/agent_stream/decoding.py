"""Makes objects of this package's dataclasses from JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints


def decode(kind: Any, value: Any) -> Any:
    """Return a JSON value as an object of a class, or as a list of them.

    A key that the class doesn't have is ignored: later versions of the service add some.
    """
    if value is None or kind is None:
        return value
    if isinstance(value, list):
        return [decode(kind, item) for item in value]
    return kind(**{name: decode(inner, value[name]) for name, inner in _fields(kind).items() if name in value})


@cache
def _fields(kind: type) -> Mapping[str, type | None]:
    """Return the fields of a class, with the dataclass of which each has one or a list, or None."""
    hints = get_type_hints(kind)
    return {field.name: _dataclass_in(hints[field.name]) for field in fields(kind)}


def _dataclass_in(hint: Any) -> type | None:
    if get_origin(hint) is None:
        return hint if isinstance(hint, type) and is_dataclass(hint) else None
    found = (_dataclass_in(inner) for inner in get_args(hint))
    return next(filter(None, found), None)
