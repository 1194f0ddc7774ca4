"""Marks functions as tools: `@tool` attaches options to a function and returns it unchanged."""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeGuard, TypeVar, overload
from weakref import WeakSet

from services.tooling.wrappers import parameters_of
from tool_models import TOOL_NAME

MARK = "tool_options"  # the attribute of a marked function
MARKED: WeakSet[Callable[..., Any]] = WeakSet()  # all marked functions

F = TypeVar("F", bound=Callable[..., Any])


class ToolsInvalid(Exception):
    """The tools can't be offered. The message names the function, module or setting, and says what to do."""


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """The options of `@tool`.

    `name` replaces the function's name. `timeout` is in seconds. `approval` makes each call wait for a person.
    `idempotent` says that a call may be made twice. `concurrency` is how many calls may run at once, over all runs.
    None is the service's default.
    """

    name: str | None = None
    timeout: float | None = None
    approval: bool = False
    idempotent: bool = False
    concurrency: int | None = None


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    timeout: float | None = None,
    approval: bool = False,
    idempotent: bool = False,
    concurrency: int | None = None,
) -> Callable[[F], F]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Callable[..., Any]:
    """Mark a function as a tool that models can call, and return it unchanged.

    Raise `ToolsInvalid` for invalid options, and for a function that a model can't call by argument names.
    """
    tool_options = ToolOptions(**options)

    def marked(function: F) -> F:
        for error in chain(_function_errors(function), _option_errors(function, tool_options)):
            raise ToolsInvalid(f"{source_location(function)}: {error}")
        vars(function)[MARK] = tool_options
        MARKED.add(function)
        return function

    return marked if function is None else marked(function)


def options_of(value: object) -> ToolOptions | None:
    """Return the options of a marked function, or None for any other value.

    Raise `ToolsInvalid` for an object that a decorator above `@tool` has put in place of a marked function.
    """
    try:
        options = vars(value).get(MARK)
    except TypeError:  # the value has no attributes of its own
        return None
    if not isinstance(options, ToolOptions):
        return None
    if not isinstance(value, FunctionType):
        message = f"{type(value).__name__} above @tool is not a function: put @tool at the top"
        raise ToolsInvalid(f"{source_location(value)}: {message}")
    return options


def hidden_in(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """Yield the marked functions of a module whose names now belong to an unmarked object."""
    for function in list(MARKED):
        named = vars(module).get(function.__name__, function)
        is_top_level = function.__globals__ is vars(module) and function.__qualname__ == function.__name__
        if is_top_level and options_of(named) is None:
            yield function


def source_location(function: Any) -> str:
    """Return a function's place in the source, for error messages: `tools/dice.py:7, roll`."""
    name = getattr(function, "__qualname__", None) or repr(type(function).__name__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', None)}, {name}"
    return f"{short_path(code.co_filename)}:{code.co_firstlineno}, {name}"


def short_path(file: str) -> str:
    """Return a path relative to the working directory if it is below that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _function_errors(function: object) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        rule = "a tool is a function written with def or async def"
        if hasattr(function, "__wrapped__"):
            yield f"the decorator below @tool makes a {type(function).__name__} of it: {rule}"
        else:
            yield f"{rule}: put @tool above one, with its options by name"
        return
    if function.__qualname__.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>"):
        yield "a tool is a function of a module, not of a class"
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        yield "a tool returns one result: use return, not yield, and report progress with ToolContext.progress"
    for parameter in parameters_of(function).values():
        match parameter.kind:
            case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
                yield f"a model has to know each argument: name them instead of {parameter}"
            case inspect.Parameter.POSITIONAL_ONLY:
                yield f"a model passes arguments by name: move {parameter.name} behind the / of the signature"


def _option_errors(function: Callable[..., Any], options: ToolOptions) -> Iterator[str]:
    name: object = options.name if options.name is not None else function.__name__
    if not isinstance(name, str) or not re.fullmatch(TOOL_NAME, name):
        yield f"a tool's name is 1 to 64 of a-z, A-Z, 0-9, _ and -, not {name!r}: set another one with name="
    timeout: object = options.timeout
    if timeout is not None and not (_is_number(timeout) and 0 < timeout < math.inf):
        yield f"timeout is a number of seconds above 0, not {timeout!r}"
    count: object = options.concurrency
    if count is not None and not (_is_number(count) and isinstance(count, int) and count >= 1):
        yield f"concurrency is the number of calls that may run at once, 1 or more, not {count!r}"
    for flag in ("approval", "idempotent"):
        if not isinstance(getattr(options, flag), bool):
            yield f"{flag} is True or False, not {getattr(options, flag)!r}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
