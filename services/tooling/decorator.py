"""What makes a function a tool: `@tool` marks it, with its options, and leaves it as it is."""

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

MARK = "tool_options"  # the function's attribute
MARKED: WeakSet[Callable[..., Any]] = WeakSet()  # all marked functions

F = TypeVar("F", bound=Callable[..., Any])


class ToolsInvalid(Exception):
    """The tools can't be offered. The message says which function, module or setting it is, and what to do."""


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What `@tool` was given: the tool's name in place of the function's, its time in seconds, and so on.

    `concurrency` is how many calls may be made at once, over all runs. None leaves it to the service.
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

    Raise `ToolsInvalid` for options that can't be, and for a function that a model could not call by argument names.
    """
    given = ToolOptions(**options)

    def marked(function: F) -> F:
        for fault in chain(_faults_of_function(function), _faults_of_options(function, given)):
            raise ToolsInvalid(f"{place(function)}: {fault}")
        vars(function)[MARK] = given
        MARKED.add(function)
        return function

    return marked if function is None else marked(function)


def options_of(value: object) -> ToolOptions | None:
    """The options of a marked function; None of anything else.

    Raise `ToolsInvalid` for what has taken the place of a marked function, and can't be called as one.
    """
    try:
        options = vars(value).get(MARK)
    except TypeError:  # it has no attributes of its own
        return None
    if not isinstance(options, ToolOptions):
        return None
    if not isinstance(value, FunctionType):
        raise ToolsInvalid(f"{place(value)}: {type(value).__name__} above @tool is no function: put @tool above all")
    return options


def hidden_in(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """The marked functions of a module whose names mean something else now, which isn't marked."""
    for function in list(MARKED):
        named = vars(module).get(function.__name__, function)
        is_there = function.__globals__ is vars(module) and function.__qualname__ == function.__name__
        if is_there and options_of(named) is None:
            yield function


def place(function: Any) -> str:
    """Where a function is written, for people: `tools/dice.py:7, roll`."""
    name = getattr(function, "__qualname__", None) or repr(type(function).__name__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', None)}, {name}"
    return f"{short_path(code.co_filename)}:{code.co_firstlineno}, {name}"


def short_path(file: str) -> str:
    """A path as seen from the working directory, where it is below that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _faults_of_function(function: object) -> Iterator[str]:
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        told = "a tool is a function written with def or async def"
        if hasattr(function, "__wrapped__"):
            yield f"the decorator below @tool makes a {type(function).__name__} of it: {told}"
        else:
            yield f"{told}: put @tool above one, options by name"
        return
    if function.__qualname__.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>"):
        yield "a tool is a function of a module, not of a class"
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        yield "a tool gives one result: return it in place of yield, and report progress with ToolContext.progress"
    for parameter in parameters_of(function).values():
        match parameter.kind:
            case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
                yield f"a model has to know each argument: name them in place of {parameter}"
            case inspect.Parameter.POSITIONAL_ONLY:
                yield f"a model gives arguments by name: {parameter.name} can't stand before the / of a signature"


def _faults_of_options(function: Callable[..., Any], options: ToolOptions) -> Iterator[str]:
    name: object = options.name if options.name is not None else function.__name__
    if not isinstance(name, str) or not re.fullmatch(TOOL_NAME, name):
        yield f"a tool's name is 1 to 64 of a-z, A-Z, 0-9, _ and -, which {name!r} is not: give another with name="
    timeout: object = options.timeout
    if timeout is not None and not (_is_number(timeout) and 0 < timeout < math.inf):
        yield f"timeout is in seconds and more than 0, not {timeout!r}"
    count: object = options.concurrency
    if count is not None and not (_is_number(count) and isinstance(count, int) and count >= 1):
        yield f"concurrency is how many calls may be made at once, 1 or more, not {count!r}"
    for flag in ("approval", "idempotent"):
        if not isinstance(getattr(options, flag), bool):
            yield f"{flag} is True or False, not {getattr(options, flag)!r}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
