"""Finds and imports the modules of tools, and imports them again for a reload."""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from services.tooling.decorator import ToolsInvalid, hidden_in, options_of, short_path, source_location

SETTING = "AGENT_TOOLS"


def tool_modules(package: str, named: Iterable[str]) -> list[ModuleType]:
    """Import the package, its modules whose names don't begin with `_`, and the named modules.

    Raise `ToolsInvalid` for a module that doesn't exist or can't be imported.
    """
    folder = f"the folder {package}"
    parent = imported(package, folder)
    names = [m.name for m in pkgutil.iter_modules(parent.__path__) if not m.name.startswith("_")]
    children = [imported(f"{package}.{name}", folder) for name in names]
    return [parent, *children, *(imported(name, f"the setting {SETTING}") for name in named)]


def functions_of(modules: Iterable[ModuleType]) -> Iterator[Callable[..., Any]]:
    """Yield the marked functions in the modules, each once.

    Raise `ToolsInvalid` for a function whose name belongs to something else now.
    """
    found: dict[int, Callable[..., Any]] = {}
    for module in modules:
        found |= {id(value): value for value in list(vars(module).values()) if options_of(value)}
        for function in hidden_in(module):
            message = "the decorator above @tool has replaced it: put @tool at the top"
            raise ToolsInvalid(f"{source_location(function)}: {message}")
    yield from found.values()


@contextmanager
def imported_anew(package: str, named: Iterable[str]) -> Iterator[None]:
    """Within this context, import these modules and those below them anew. Restore the former ones if that raises."""
    roots = (package, *named)
    former = _forget(roots)
    caches = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a cache compares times in seconds, so two saves within one look the same
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        _forget(roots)
        sys.modules.update(former)
        raise
    finally:
        sys.dont_write_bytecode = caches


def folders(package: str, named: Iterable[str]) -> set[Path]:
    """Return the folders of the imported modules' files."""
    roots = (package, *named)
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if _is_below(name, roots)]
    return {Path(file).parent for file in files if file}


def imported(name: str, origin: str) -> ModuleType:
    """Import a module that `origin` names. Raise `ToolsInvalid` if it doesn't exist or can't be imported."""
    try:
        return importlib.import_module(name)
    except ToolsInvalid as error:
        raise ToolsInvalid(f"the module {name}, of {origin}: {error}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_below(name, (error.name,)):
            raise ToolsInvalid(f"there is no module {name}, which {origin} names: is it on PYTHONPATH?") from error
        raise ToolsInvalid(f"the module {name}, of {origin}, can't be imported: {_described(error, name)}") from error


def place_in(error: BaseException, name: str) -> str:
    """Return the last place, in the module or its package, that an exception passed through."""
    frames = list(traceback.walk_tb(error.__traceback__))
    root = name.partition(".")[0]
    inside = [(f, line) for f, line in frames if _is_below(f.f_globals.get("__name__", ""), (root,))]
    frame, line = (inside or frames)[-1]
    return f"{short_path(frame.f_code.co_filename)}:{line}"


def _forget(roots: Iterable[str]) -> dict[str, ModuleType]:
    """Remove the imported modules from `sys.modules`, and return them."""
    former = {name: module for name, module in list(sys.modules.items()) if _is_below(name, roots)}
    for name in former:
        del sys.modules[name]
    return former


def _described(error: BaseException, name: str) -> str:
    """Describe an exception in one line, with the last place in the module or its package that it passed through."""
    message = str(error).partition("\n")[0]
    if isinstance(error, SyntaxError) and error.filename:  # a syntax error has no frame in the module
        return f"{type(error).__name__}: {error.msg} ({short_path(error.filename)}:{error.lineno})"
    return f"{type(error).__name__}: {message} ({place_in(error, name)})"


def _is_below(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)
