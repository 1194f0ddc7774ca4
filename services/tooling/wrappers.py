"""Finds the parameters that callers of a decorated function can pass.

`functools.wraps` makes a decorated function show the parameters of the function below. But a decorator may pass some of
them itself, such as a connection to a database. If a model were asked for those, its calls could never succeed. So the
wrapper's source is searched for the arguments that it passes.
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

VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """Return the parameters that a caller can pass, by name.

    A wrapper without `**kwargs` has its own parameters, and one with `__signature__` those that it declares. A wrapper
    with `**kwargs` has its own named parameters and those of the function below, without those that it passes itself.
    """
    below = getattr(function, "__wrapped__", None)
    own = inspect.signature(function, follow_wrapped=False).parameters
    takes_any_name = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in own.values())
    if below is None or hasattr(function, "__signature__") or not takes_any_name:
        return own
    named = {name: parameter for name, parameter in own.items() if parameter.kind not in VARIADIC}
    inherited = parameters_of(below)
    passed = set(_passed_names(function, below, list(inherited))) - named.keys()
    return {**{name: parameter for name, parameter in inherited.items() if name not in passed}, **named}


def _passed_names(wrapper: Callable[..., Any], below: Callable[..., Any], names: list[str]) -> Iterator[str]:
    """Yield the parameters that a wrapper passes itself, in a call or by adding them to its own `**kwargs`."""
    source = _source_of(wrapper)
    if source is None:
        return
    args_name = source.args.vararg.arg if source.args.vararg else None
    kwargs_name = source.args.kwarg.arg if source.args.kwarg else None
    namespace = _namespace_of(wrapper)
    yield from _bound_by_partials(namespace, below, names)
    for node in ast.walk(source):
        match node:
            case ast.Call(func=called, args=[*arguments]) if _refers_to(called, below, namespace):
                yield from _passed_by_call(node, arguments, args_name, names)
            case ast.Call(func=ast.Name("partial") | ast.Attribute(attr="partial"), args=[called, *arguments]) if (
                _refers_to(called, below, namespace)
            ):
                yield from _passed_by_call(node, arguments, args_name, names)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)))]):
                if name == kwargs_name:
                    yield key
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="setdefault"), args=[ast.Constant(), *_]):
                if name == kwargs_name:
                    yield from _strings(node.args[:1])
            case (
                ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update"))
                | ast.AugAssign(target=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)])
            ):
                if name == kwargs_name:
                    yield from _keys(node)


def _keys(node: ast.AST) -> Iterator[str]:
    """Yield the keys that are written in the dictionaries of an expression, such as `kwargs | {"db": db}`."""
    match node:
        case ast.Dict():
            yield from _strings(node.keys)
        case ast.BinOp(op=ast.BitOr()):
            yield from (key for side in (node.left, node.right) for key in _keys(side))
        case ast.AugAssign() | ast.Assign():
            yield from _keys(node.value)
        case ast.Call(func=ast.Name(id="dict") | ast.Attribute(attr="update")):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
            yield from (key for argument in node.args for key in _keys(argument))


def _strings(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _source_of(wrapper: Callable[..., Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the syntax tree of a wrapper, or None if its source isn't available."""
    if not isinstance(wrapper, FunctionType):
        return None
    try:
        [node, *_] = ast.parse(textwrap.dedent(inspect.getsource(wrapper.__code__))).body
    except (OSError, SyntaxError, ValueError):
        return None
    return node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _passed_by_call(
    node: ast.Call, arguments: list[ast.expr], args_name: str | None, names: list[str]
) -> Iterator[str]:
    """Yield the parameters that a call passes: by position before the wrapper's own `*args`, and by name."""
    starred = [index for index, argument in enumerate(arguments) if _is_starred(argument, args_name)]
    yield from names[: starred[0] if starred else len(arguments)]
    yield from (keyword.arg for keyword in node.keywords if keyword.arg)
    yield from (key for keyword in node.keywords if not keyword.arg for key in _keys(keyword.value))


def _bound_by_partials(namespace: Mapping[str, Any], below: Callable[..., Any], names: list[str]) -> Iterator[str]:
    """Yield the parameters that a `functools.partial` of the function below binds, if the wrapper uses one."""
    for value in namespace.values():
        if isinstance(value, partial) and value.func is below:
            yield from names[: len(value.args)]
            yield from value.keywords


def _namespace_of(wrapper: Callable[..., Any]) -> dict[str, Any]:
    """Return the values of the global and enclosing names that a wrapper uses."""
    code, cells = wrapper.__code__, wrapper.__closure__ or ()
    namespace = {name: wrapper.__globals__.get(name) for name in code.co_names}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with suppress(ValueError):  # the cell is empty
            namespace[name] = cell.cell_contents
    return namespace


def _refers_to(node: ast.expr, function: Callable[..., Any], namespace: Mapping[str, Any]) -> bool:
    """Return whether an expression names the function, or an instance's attribute that holds it."""
    match node:
        case ast.Name(id=name):
            return namespace.get(name) is function
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return getattr(namespace.get(name), "__dict__", {}).get(attribute) is function
        case _:
            return False


def _is_starred(node: ast.expr, name: str | None) -> bool:
    return isinstance(node, ast.Starred) and isinstance(node.value, ast.Name) and node.value.id == name
