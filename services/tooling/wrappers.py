"""What a function takes from its caller, through the decorators above it.

`functools.wraps` lets a decorated function show the parameters of the one below, but a decorator may give some of them
itself, such as a connection to a database. A model that was asked for those could never make a call that succeeds.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from inspect import Parameter
from types import FunctionType
from typing import Any


def parameters_of(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """The parameters that a caller can give, by name.

    A wrapper with a signature of its own has that one, and with `__signature__` the one that it shows. One that takes
    `**kwargs` hands on the parameters of the function below, but for those that it gives itself where it calls that.
    """
    below = getattr(function, "__wrapped__", None)
    if below is None or hasattr(function, "__signature__"):
        return inspect.signature(function, follow_wrapped=False).parameters
    own = inspect.signature(function, follow_wrapped=False).parameters
    if not any(each.kind is Parameter.VAR_KEYWORD for each in own.values()):
        return own
    named = {
        name: each for name, each in own.items() if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }
    handed_on = parameters_of(below)
    given = set(_given(function, below, list(handed_on))) - named.keys()
    return {**{name: each for name, each in handed_on.items() if name not in given}, **named}


def _given(wrapper: Callable[..., Any], below: Callable[..., Any], names: list[str]) -> Iterator[str]:
    """The parameters that a wrapper gives itself: beside its own `*args` and `**kwargs`, or by putting them there."""
    written = _written(wrapper)
    if written is None:
        return
    rest = written.args.vararg.arg if written.args.vararg else None
    keywords = written.args.kwarg.arg if written.args.kwarg else None
    known = _known(wrapper)
    yield from _given_by_partials(known, below, names)
    for node in ast.walk(written):
        match node:
            case ast.Call(func=called, args=[*arguments]) if _is(called, below, known):
                yield from _given_by_call(node, arguments, rest, names)
            case ast.Call(func=ast.Name("partial") | ast.Attribute(attr="partial"), args=[called, *arguments]) if _is(
                called, below, known
            ):
                yield from _given_by_call(node, arguments, rest, names)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)))]):
                if name == keywords:
                    yield key
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="setdefault"), args=[ast.Constant(), *_]):
                if name == keywords:
                    yield from _constants(node.args[:1])
            case (
                ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update"))
                | ast.AugAssign(target=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)])
            ):
                if name == keywords:
                    yield from _keys(node)


def _keys(node: ast.AST) -> Iterator[str]:
    """The keys that are written out in the dictionaries of an expression, such as `kwargs | {"db": db}`."""
    match node:
        case ast.Dict():
            yield from _constants(node.keys)
        case ast.BinOp(op=ast.BitOr()):
            yield from (key for side in (node.left, node.right) for key in _keys(side))
        case ast.AugAssign() | ast.Assign():
            yield from _keys(node.value)
        case ast.Call(func=ast.Name(id="dict") | ast.Attribute(attr="update")):
            yield from (each.arg for each in node.keywords if each.arg)
            yield from (key for each in node.args for key in _keys(each))


def _constants(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _written(wrapper: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The wrapper as it is written, if its source is at hand."""
    if not isinstance(wrapper, FunctionType):
        return None
    try:
        [node, *_] = ast.parse(textwrap.dedent(inspect.getsource(wrapper.__code__))).body
    except (OSError, SyntaxError, ValueError):
        return None
    return node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _given_by_call(node: ast.Call, arguments: list[ast.expr], rest: str | None, names: list[str]) -> Iterator[str]:
    places = [place for place, each in enumerate(arguments) if _is_starred(each, rest)]
    yield from names[: places[0] if places else len(arguments)]
    yield from (each.arg for each in node.keywords if each.arg)
    yield from (key for each in node.keywords if not each.arg for key in _keys(each.value))


def _given_by_partials(known: Mapping[str, Any], below: Callable[..., Any], names: list[str]) -> Iterator[str]:
    """The parameters that are bound in a `functools.partial` of the function below, which a wrapper knows by a name."""
    for value in known.values():
        if isinstance(value, partial) and value.func is below:
            yield from names[: len(value.args)]
            yield from value.keywords


def _known(wrapper: Callable[..., Any]) -> dict[str, Any]:
    """What a wrapper knows by the names in it."""
    code, cells = wrapper.__code__, wrapper.__closure__ or ()
    known = {name: wrapper.__globals__.get(name) for name in code.co_names}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with suppress(ValueError):  # it holds nothing yet
            known[name] = cell.cell_contents
    return known


def _is(node: ast.expr, function: Callable[..., Any], known: Mapping[str, Any]) -> bool:
    """Whether an expression names the function, or an attribute of an instance that holds it."""
    match node:
        case ast.Name(id=name):
            return known.get(name) is function
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return getattr(known.get(name), "__dict__", {}).get(attribute) is function
        case _:
            return False


def _is_starred(node: ast.expr, name: str | None) -> bool:
    return isinstance(node, ast.Starred) and isinstance(node.value, ast.Name) and node.value.id == name
