"""Describes the caller's functions as tools that a model can call."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Function = Callable[..., Any]
NAMES: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Tool:
    """A function that the caller's program runs when the model calls it."""

    function: Function
    description: str
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        """The name under which the model calls it."""
        return self.function.__name__

    @property
    def request(self) -> dict[str, Any]:
        """The tool as an item of a request's `client_tools`."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}


def described(function: Function, parameters: dict[str, Any] | None = None) -> Tool:
    """Return a function as a tool: its docstring, and the JSON schema `parameters` or one of its type hints.

    Raise `TypeError` if a hint has no schema here.
    """
    return Tool(function, inspect.getdoc(function) or "", parameters or _parameters(function))


def _parameters(function: Function) -> dict[str, Any]:
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind not in BY_NAME:
            raise TypeError(f"{function.__name__}: a model passes arguments by name, so {parameter} can't be one")
    return {
        "type": "object",
        "properties": {parameter.name: _schema(hints.get(parameter.name, Any)) for parameter in parameters},
        "required": [parameter.name for parameter in parameters if parameter.default is parameter.empty],
    }


def _schema(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type hint."""
    inner = get_args(hint)
    match get_origin(hint) or hint:
        case kind if kind in NAMES:
            return {"type": NAMES[kind]}
        case kind if kind is Any:
            return {}
        case kind if kind is dict:
            return {"type": "object"}
        case kind if kind is list:
            return {"type": "array", "items": _schema(inner[0]) if inner else {}}
        case kind if kind is Literal:
            return {"enum": list(inner)}
        case kind if kind in (Union, UnionType):
            return {"anyOf": [_schema(option) for option in inner]}
    raise TypeError(f"{hint} has no JSON schema here: pass the schema of the arguments, @agent.tool(parameters={{…}})")
