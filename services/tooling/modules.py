"""The modules that tools are in: found by their names, imported, and let go of to be imported again."""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from services.tooling.decorator import ToolsInvalid, hidden_in, options_of, place, short_path

SETTING = "AGENT_TOOLS"


def tool_modules(package: str, named: Iterable[str]) -> list[ModuleType]:
    """The package, its modules but for those that begin with `_`, and the named ones, imported.

    Raise `ToolsInvalid` for one that isn't there, or can't be imported.
    """
    found = _imported(package, f"the folder {package}")
    names = [m.name for m in pkgutil.iter_modules(found.__path__) if not m.name.startswith("_")]
    inside = [_imported(f"{package}.{name}", f"the folder {package}") for name in names]
    return [found, *inside, *(_imported(name, f"the setting {SETTING}") for name in named)]


def functions_of(modules: Iterable[ModuleType]) -> Iterator[Callable[..., Any]]:
    """The marked functions that the modules define or name, each once. Raise `ToolsInvalid` for one that is hidden."""
    found: dict[int, Callable[..., Any]] = {}
    for module in modules:
        found |= {id(value): value for value in list(vars(module).values()) if options_of(value)}
        for function in hidden_in(module):
            raise ToolsInvalid(f"{place(function)}: what stands above @tool has taken its place: put @tool above all")
    yield from found.values()


@contextmanager
def imported_anew(package: str, named: Iterable[str]) -> Iterator[None]:
    """Within, these modules and what is below them are imported anew. If that raises, they are again what they were."""
    roots = (package, *named)
    former = _let_go(roots)
    caches = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # to a cache, two saves within a second may look the same
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        _let_go(roots)
        sys.modules.update(former)
        raise
    finally:
        sys.dont_write_bytecode = caches


def folders(package: str, named: Iterable[str]) -> set[Path]:
    """Where the imported modules' files are."""
    roots = (package, *named)
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if _is_below(name, roots)]
    return {Path(file).parent for file in files if file}


def _let_go(roots: Iterable[str]) -> dict[str, ModuleType]:
    """Forget what was imported of these modules, and give it."""
    former = {name: module for name, module in list(sys.modules.items()) if _is_below(name, roots)}
    for name in former:
        del sys.modules[name]
    return former


def _imported(name: str, because: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ToolsInvalid as error:
        raise ToolsInvalid(f"the module {name}, of {because}: {error}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_below(name, (error.name,)):
            raise ToolsInvalid(f"there is no module {name}, which {because} names: is it on PYTHONPATH?") from error
        raise ToolsInvalid(f"the module {name}, of {because}, can't be imported: {_what(error, name)}") from error


def _what(error: BaseException, name: str) -> str:
    """An exception in one line, with the place of what raised it, or called that, in the module or its neighbours."""
    said = str(error).partition("\n")[0]
    if isinstance(error, SyntaxError) and error.filename:  # it is in no frame
        return f"{type(error).__name__}: {error.msg} ({short_path(error.filename)}:{error.lineno})"
    frames = list(traceback.walk_tb(error.__traceback__))
    root = name.partition(".")[0]
    inside = [(f, line) for f, line in frames if _is_below(f.f_globals.get("__name__", ""), (root,))]
    frame, line = (inside or frames)[-1]
    return f"{type(error).__name__}: {said} ({short_path(frame.f_code.co_filename)}:{line})"


def _is_below(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)
