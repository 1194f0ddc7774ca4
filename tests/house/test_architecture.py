"""Tests the rules for the source: which modules may import which, where each library is used, how long a module is."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from process import ROOT
from sources import imported

MODULES = (
    "access_models",
    "app",
    "catalog_models",
    "closed_models",
    "descriptors",
    "error_models",
    "errors",
    "event_data",
    "events",
    "image_urls",
    "jwt_settings",
    "log_lines",
    "message_models",
    "models",
    "parameter_models",
    "part_models",
    "resources",
    "run_models",
    "serving",
    "session_models",
    "setting_keys",
    "setting_names",
    "setting_objects",
    "setting_types",
    "settings",
    "tool_models",
    "usage_models",
)
PACKAGES = ("routers", "services", "event_logs", "database", "json_codec", "json_schema", "dialects", "tools", "cli")
MAX_LINES = 260  # of code: without blank lines, comments and docstrings
MAX_FUNCTION_LINES = 40
MAX_PARTS = 6  # that a constructor takes

VOCABULARY = (
    "access_models",
    "json_codec*",
    "json_schema*",
    "closed_models",
    "event_data",
    "events",
    "usage_models",
    "message_models",
    "models",
    "parameter_models",
    "part_models",
    "run_models",
    "session_models",
    "tool_models",
    "catalog_models",
    "errors",
    "settings",
    "jwt_settings",
    "setting_keys",
    "setting_names",
    "setting_objects",
    "setting_types",
    "services.leave_signal",
    "services.moving_deadline",
)

INNER: Mapping[str, tuple[str, ...]] = {
    "intake": (
        "services.sessions*",
        "services.agents*",
        "services.catalog*",
        "services.runs*",
        "services.upstreams*",
        "services.tooling*",
        "services.access*",
        "event_logs.base",
        "event_logs.reading",
    ),
    "sessions": ("services.runs*", "database*", "event_logs.base"),
    "agents": (
        "services.runs*",
        "services.upstreams*",
        "services.completions*",
        "services.mcp*",
        "services.tooling*",
        "services.outbound*",
        "database*",
        "event_logs.base",
    ),
    "catalog": ("services.upstreams*", "services.mcp.resolution", "services.outbound*"),
    "runs": ("database*", "event_logs.base", "event_logs.reading"),
    "mcp": ("services.tooling*", "services.outbound*"),
    "tooling": ("services.outbound*",),
    "upstreams": ("services.completions*",),
    "completions": (),
    "outbound": (),
    "access": ("database*", "services.outbound*"),
}
"""The modules that each package of the services may import beside itself and the vocabulary."""

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "access_models": ("closed_models", "run_models", "tool_models"),
    "cli*": (
        "cli*",
        "services.access*",
        "database*",
        "event_logs.directory_lock",
        "access_models",
        "errors",
        "run_models",
        "settings",
    ),
    "errors": (),
    "closed_models": (),
    "usage_models": ("closed_models",),
    "event_data": ("closed_models", "usage_models"),
    "events": ("closed_models", "event_data"),
    "setting_keys": ("access_models", "setting_types"),
    "setting_names": (),
    "setting_types": (),
    "setting_objects": ("setting_types",),
    "jwt_settings": ("access_models", "setting_types"),
    "settings": ("jwt_settings", "setting_keys", "setting_names", "setting_objects", "setting_types"),
    "error_models": ("closed_models", "event_data"),
    "tool_models": ("closed_models", "event_data"),
    "catalog_models": ("closed_models", "event_data", "tool_models"),
    "image_urls": (),
    "parameter_models": ("tool_models",),
    "part_models": ("closed_models", "event_data", "image_urls", "tool_models"),
    "message_models": ("part_models", "tool_models"),
    "run_models": ("closed_models", "usage_models", "event_data", "tool_models"),
    "models": (
        "closed_models",
        "events",
        "message_models",
        "parameter_models",
        "part_models",
        "run_models",
        "tool_models",
    ),
    "session_models": ("closed_models", "usage_models", "event_data", "part_models", "run_models", "tool_models"),
    "event_logs.file*": (
        "event_logs",
        "event_logs.base",
        "event_logs.frames",
        "event_logs.file_*",
        "event_logs.directory_lock",
        "event_data",
        "events",
        "errors",
    ),
    "event_logs*": (
        "event_logs",
        "event_logs.base",
        "event_logs.frames",
        "json_codec*",
        "event_data",
        "events",
        "errors",
    ),
    "database.__main__": ("database*", "errors", "settings"),
    "json_codec*": ("json_codec*",),
    "json_schema*": ("json_schema*", "json_codec*"),
    "database*": (
        "database*",
        "json_codec*",
        "access_models",
        "usage_models",
        "run_models",
        "session_models",
        "tool_models",
        "errors",
    ),
    "dialects*": ("dialects*", "events", "models"),
    "tools*": (
        "tools*",
        "services.tooling.base",
        "services.tooling.checks",
        "services.tooling.decorator",
        "services.outbound.client",
        "services.outbound.fetch",
        "services.outbound.url_guard",
        "errors",
    ),
    **{f"services.{package}*": (f"services.{package}*", *inner, *VOCABULARY) for package, inner in INNER.items()},
    "services*": ("services*", "event_logs", "event_logs.base", "event_logs.reading", "database*", *VOCABULARY),
    "routers*": (
        "routers*",
        "services*",
        "dialects*",
        "json_codec*",
        "event_logs.reading",
        "access_models",
        "closed_models",
        "error_models",
        "usage_models",
        "event_data",
        "events",
        "models",
        "run_models",
        "session_models",
        "tool_models",
        "catalog_models",
        "errors",
        "settings",
    ),
    "descriptors": ("settings",),
    "log_lines": (),
    "serving": ("routers*", "services*", "settings"),
    "resources": ("services*", "event_logs*", "database*", "settings"),
    "app": ("*",),
}
"""The modules that each part of the house may import: only those further in."""

HOMES: Mapping[str, tuple[str, ...]] = {
    "fastapi": ("app", "serving", "routers.*"),
    "starlette": ("app", "routers.*"),
    "fastapi_offline": ("app",),
    "uvicorn": ("serving", "routers.http_server.*"),
    "sse_starlette": ("routers.sse",),
    "dedalus_labs": (
        "services.upstreams.model_request",
        "services.upstreams.prepared_client",
        "services.upstreams.selection",
        "services.upstreams.upstream",
    ),
    "httpx": (
        "services.upstreams.http_client",
        "services.upstreams.http_*",
        "services.upstreams.model_*",
        "services.upstreams.prepared_client",
        "services.upstreams.body_decoding",
        "services.upstreams.scripted_model",
    ),
    "httpx2": ("services.outbound.client", "services.outbound.fetch", "services.mcp.http"),
    "httpcore2": ("services.outbound.client",),
    "aiohappyeyeballs": ("services.upstreams.http_pool",),
    "griffe": ("services.tooling.signature",),
    "httptools": ("routers.http_server.protocol", "services.upstreams.http_connection"),
    "genai_prices": ("services.upstreams.price_snapshot",),
    "jsonschema_rs": ("json_schema.validation",),
    "jwt": ("services.access.run_tokens", "services.access.jwt_*"),
    "mcp": ("services.mcp.*",),
    "mcp_types": ("services.mcp.*",),
    "orjson": ("json_codec.text",),
    "uuid_utils": ("services.intake.starting", "services.sessions.sessions"),
    "xllamacpp": ("services.upstreams.embedded_model_server",),
    "typer": ("cli.*",),
    "sqlalchemy": ("database.*",),
    "alembic": ("database.*",),
    "pydantic": ("*",),
    "pydantic_core": (
        "models",
        "settings",
        "tool_models",
        "events",
        "services.tooling.results",
        "services.tooling.signature",
        "services.tooling.argument_errors",
    ),
    "pydantic_settings": ("jwt_settings", "settings", "setting_keys", "setting_objects", "setting_types"),
    "watchfiles": ("services.tooling.registry",),
    "dotenv": ("setting_names",),
}
"""The modules that may import each library. One that is not here is new, and needs a home."""

OPERATORS = ("tools", "tools.*")
"""Modules that the operator writes: they use the libraries and the environment as they like."""
LATE = ("services.tooling.modules", "services.mcp.client", "services.upstreams.price_list")
"""The modules that import others by name, because a setting names those, or because they are large and seldom used."""

EXECUTED = ("database.migrations.*",)
"""Modules that aren't imported but executed, by alembic."""

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
EVERYTHING = {"Exception", "BaseException"}


@dataclass(frozen=True)
class Import:
    """The target of an import statement, as a dotted name."""

    target: str
    line: int
    in_function: bool


class House:
    """The service's source in a directory, by dotted module names."""

    def __init__(self, root: Path) -> None:
        files = [
            *(root / f"{name}.py" for name in MODULES),
            *(p for name in PACKAGES for p in (root / name).rglob("*.py")),
        ]
        self.sources = {_dotted(file.relative_to(root)): file.read_text() for file in files if file.exists()}
        self.trees = {module: ast.parse(source) for module, source in self.sources.items()}
        self.nodes = {module: list(ast.walk(tree)) for module, tree in self.trees.items()}
        self.imports = {module: list(self._imports(module, tree)) for module, tree in self.trees.items()}

    def ours(self, target: str) -> bool:
        """Return whether a dotted name belongs to the service."""
        return target.partition(".")[0] in {*MODULES, *PACKAGES}

    def _imports(self, module: str, node: ast.AST, in_function: bool = False) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    yield from (Import(name.name, child.lineno, in_function) for name in names)
                case ast.ImportFrom(names=names):
                    source = self._source(module, child)
                    targets = (f"{source}.{name.name}" for name in names)
                    yield from (Import(self._module(target), child.lineno, in_function) for target in targets)
                case ast.Call(func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module")):
                    yield Import("", child.lineno, True)
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from self._imports(module, child, inside)

    def _source(self, module: str, node: ast.ImportFrom) -> str:
        parts = module.split(".")[: -node.level] if node.level else []
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _module(self, target: str) -> str:
        """Return the module that a name is imported from, or the name itself if it is one of the service's modules."""
        return target if target in self.sources or not target.count(".") else target.rpartition(".")[0]


def _dotted(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


# The rules: each returns the violations that it finds, with their locations


def imports_point_one_way(house: House) -> Iterator[str]:
    for module, imports in house.imports.items():
        allowed = next(allowed for part, allowed in MAY_IMPORT.items() if fnmatch(module, part))
        for found in imports:
            if house.ours(found.target) and not _fits(found.target, allowed):
                yield f"{module}:{found.line} imports {found.target}"


def imports_have_no_circle(house: House) -> Iterator[str]:
    """Imports have no cycles, also within a package."""
    needs = {module: {found.target for found in imports} for module, imports in house.imports.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield " needs ".join(error.args[1])


def each_library_has_one_home(house: House) -> Iterator[str]:
    for module, imports in house.imports.items():
        for found in imports:
            library = found.target.partition(".")[0]
            if not library or library in sys.stdlib_module_names or house.ours(library) or _fits(module, OPERATORS):
                continue
            if not _fits(module, HOMES.get(library, ())):
                yield f"{module}:{found.line} imports {library}"


def each_home_is_used(house: House) -> Iterator[str]:
    """A library that no module imports must not be in the table of homes."""
    used = {found.target.partition(".")[0] for imports in house.imports.values() for found in imports}
    yield from (f"{library} has a home and no user" for library in sorted(HOMES.keys() - used))


def packages_are_entered_by_their_doors(house: House) -> Iterator[str]:
    """Other packages import only the modules that the docstring of a services package names as doors."""
    doors = {package: _doors(house, package) for package in INNER}
    for module, imports in house.imports.items():
        for found in imports:
            match found.target.split("."):
                case ["services", package, name, *_] if package in doors:
                    within = module.startswith(f"services.{package}")
                    if not (within or name in doors[package]):
                        yield f"{module}:{found.line} enters services.{package} by {name}"


def _doors(house: House, package: str) -> set[str]:
    docstring = ast.get_docstring(house.trees.get(f"services.{package}", ast.parse(""))) or ""
    return set(re.findall(r"`(\w+)`", docstring.partition("Doors:")[2]))


def the_environment_is_read_by_the_settings(house: House) -> Iterator[str]:
    for module, nodes in house.nodes.items():
        for node in nodes if not _fits(module, OPERATORS) else ():
            match node:
                case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in ENVIRONMENT and module != "settings":
                    yield f"{module}:{node.lineno} reads os.{name}"
                case ast.ImportFrom(module="os", names=names) if module != "settings":
                    if used := ENVIRONMENT & {name.name for name in names}:
                        yield f"{module}:{node.lineno} imports {', '.join(used)}"


def imports_are_at_the_top(house: House) -> Iterator[str]:
    for module, imports in house.imports.items():
        by_name = _fits(module, LATE)
        late = [found for found in imports if found.in_function and (found.target or not by_name)]
        yield from (f"{module}:{found.line} imports in a function" for found in late)


def imports_have_no_effect(house: House) -> Iterator[str]:
    """A module only defines names: importing it must have no effect."""
    for module, tree in house.trees.items():
        for statement in () if _fits(module, (*OPERATORS, *EXECUTED)) else tree.body:
            if _has_effect(statement):
                yield f"{module}:{statement.lineno} does something when it is imported"


def _has_effect(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call()) | ast.For() | ast.While() | ast.With() | ast.Try() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return isinstance(target, ast.Attribute | ast.Subscript)
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return False
        case ast.If(body=body, orelse=orelse):
            return any(map(_has_effect, [*body, *orelse]))
        case _:
            return False


def modules_are_short(house: House) -> Iterator[str]:
    for module, source in house.sources.items():
        if source.count("\n") > MAX_LINES and (lines := lines_of_code(source)) > MAX_LINES:
            yield f"{module} has {lines} lines of code"


def no_exception_is_swallowed(house: House) -> Iterator[str]:
    for module, nodes in house.nodes.items():
        for node in nodes:
            match node:
                case ast.ExceptHandler(type=caught, body=body) if _everything(caught) and all(map(_nothing, body)):
                    yield f"{module}:{node.lineno} catches everything and continues"
                case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=caught):
                    if any(map(_everything, caught)):
                        yield f"{module}:{node.lineno} suppresses everything"


def _everything(caught: ast.expr | None) -> bool:
    """Return whether a handler catches every exception."""
    match caught:
        case None:
            return True
        case ast.Tuple(elts=several):
            return any(map(_everything, several))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in EVERYTHING
        case _:
            return False


def _nothing(statement: ast.stmt) -> bool:
    """Return whether a statement does nothing about an exception."""
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Return(value=None | ast.Constant()):
            return True
        case _:
            return False


def lines_of_code(source: str) -> int:
    """Return the number of lines without blank lines, comments and docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in silent
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstrings)


def classes_have_one_name(house: House) -> Iterator[str]:
    """Two classes of one name can't be distinguished in a search or a traceback."""
    first: dict[str, str] = {}
    for module, nodes in house.nodes.items():
        for node in nodes if not _fits(module, OPERATORS) else ():
            if isinstance(node, ast.ClassDef):
                here = f"{module}:{node.lineno}"
                if (other := first.setdefault(node.name, here)) != here:
                    yield f"{here} has a class {node.name}, as {other} has"


def functions_are_short(house: House) -> Iterator[str]:
    for module, nodes in house.nodes.items():
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{module}:{node.lineno} has a function of {lines} lines, {node.name}"


def constructors_take_few_parts(house: House) -> Iterator[str]:
    """A class that needs more parts has more than one job, or some of the parts belong together."""
    for module, nodes in house.nodes.items():
        for node in nodes if not _fits(module, OPERATORS) else ():
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                parts = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][1:]
                if len(parts) > MAX_PARTS:
                    yield f"{module}:{node.lineno} has a constructor that takes {len(parts)} parts"


def each_door_is_used(house: House) -> Iterator[str]:
    """A door is a module that another package imports."""
    for package in INNER:
        within = f"services.{package}"
        targets = {
            found.target
            for module, imports in house.imports.items()
            if not module.startswith(within)
            for found in imports
        }
        for door in sorted(_doors(house, package)):
            if f"{within}.{door}" not in targets:
                yield f"{within} has a door that nobody uses, {door}"


Rule = Callable[[House], Iterator[str]]
RULES: tuple[Rule, ...] = (
    imports_point_one_way,
    imports_have_no_circle,
    each_library_has_one_home,
    packages_are_entered_by_their_doors,
    the_environment_is_read_by_the_settings,
    imports_are_at_the_top,
    imports_have_no_effect,
    modules_are_short,
    functions_are_short,
    constructors_take_few_parts,
    classes_have_one_name,
    no_exception_is_swallowed,
)


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule, house: House) -> None:
    """The service's source breaks none of the rules."""
    assert list(rule(house)) == []


def test_the_whole_house_is_looked_at(house: House) -> None:
    """Every module of the service is checked, and a new package fails the test until the tables have its place."""
    assert {"app", "settings", "services.agent_service", "routers.sse", "event_logs.memory"} <= set(house.trees)
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} <= set(PACKAGES)
    assert {file.parent.name for file in ROOT.glob("services/*/__init__.py")} == set(INNER)
    assert {file.stem for file in ROOT.glob("*.py")} - {"test_client"} <= set(MODULES)
    assert sum(len(imports) for imports in house.imports.values()) > 200


def test_each_home_is_used(house: House) -> None:
    """A library that the service no longer imports has to be removed from the table."""
    assert list(each_home_is_used(house)) == []
    assert "griffe has a home and no user" in set(each_home_is_used(House(Path("/nowhere"))))


def test_each_door_is_used(house: House, tmp_path: Path) -> None:
    """A door that no other package enters is only a module of its package."""
    assert list(each_door_is_used(house)) == []
    planted = build(tmp_path, {"services/runs/__init__.py": '"""Doors: `task`."""\n'})
    assert list(each_door_is_used(planted)) == ["services.runs has a door that nobody uses, task"]


def test_what_stands_outside_of_the_house_uses_nothing_of_it() -> None:
    """The command-line client and the examples are made to be copied, so they import nothing of the service and use
    only its HTTP API.
    """
    for file in (ROOT / "test_client.py", *(ROOT / "examples").glob("*.py")):
        assert not imported(file) & {*MODULES, *PACKAGES}, file.name


SOUND = {
    "app.py": "import fastapi\nfrom event_logs.memory import MemoryEventLog\nfrom routers import agent_router\n",
    "errors.py": "class AgentStreamError(Exception): ...\n",
    "events.py": "from pydantic import BaseModel\n",
    "models.py": "from events import EventType\n",
    "settings.py": "import os\nENVIRONMENT = dict(os.environ)\n",
    "event_logs/__init__.py": "",
    "event_logs/base.py": "from event_data import EventData\n",
    "event_logs/memory.py": "from errors import RunExpired\nfrom event_logs.base import Fenced\n",
    "routers/__init__.py": "",
    "routers/agent_router.py": "from fastapi import APIRouter\nfrom services.agent_service import AgentService\n",
    "services/__init__.py": "",
    "services/agent_service.py": "from event_logs.base import EventLog\nfrom services.tooling import base\n",
    "services/tooling/__init__.py": '"""Tools.\n\nDoors: `base`.\n"""\n',
    "services/runs/__init__.py": '"""Runs.\n\nDoors: `task`.\n"""\n',
    "services/runs/task.py": "from database.runs import save_runs\n",
    "services/tooling/modules.py": "import importlib\ndef load(name):\n    return importlib.import_module(name)\n",
    "tools/__init__.py": "from services.tooling.base import ToolContext\n",
    "tools/dice.py": "import os\nimport something_new\nfrom tools import ToolContext\nprint(os.environ)\n",
    "services/tooling/base.py": (
        "import json\ndef f():\n    try:\n        json.loads('')\n    except ValueError:\n        pass\n"
    ),
}

FORBIDDEN = (
    ("runs", "agents"),
    ("runs", "sessions"),
    ("runs", "intake"),
    ("upstreams", "mcp"),
    ("mcp", "upstreams"),
    ("tooling", "mcp"),
    ("sessions", "agents"),
    ("agents", "sessions"),
    ("catalog", "runs"),
    ("completions", "upstreams"),
    ("outbound", "tooling"),
    ("agents", "intake"),
)
"""Packages of the services, each with one that it must not import."""

PLANTED: tuple[tuple[Rule, str, str], ...] = (
    (imports_point_one_way, "errors.py", "import models"),
    (imports_point_one_way, "settings.py", "from models import AgentRequest"),
    (imports_point_one_way, "events.py", "from errors import AgentStreamError"),
    (imports_point_one_way, "models.py", "from services.tooling.base import Tool"),
    (imports_point_one_way, "services/tooling/base.py", "from routers.agent_router import router"),
    (imports_point_one_way, "services/tooling/base.py", "from routers import agent_router"),
    (imports_point_one_way, "services/tooling/base.py", "import app"),
    (imports_point_one_way, "services/tooling/base.py", "from event_logs.memory import MemoryEventLog"),
    (imports_point_one_way, "services/tooling/base.py", "from event_logs import memory"),
    (imports_point_one_way, "services/tooling/base.py", "from ..routers import agent_router"),
    (imports_point_one_way, "routers/agent_router.py", "from event_logs.base import EventLog"),
    (imports_point_one_way, "event_logs/memory.py", "from settings import Settings"),
    (imports_point_one_way, "event_logs/memory.py", "def late():\n    import services.tooling.base"),
    (imports_point_one_way, "dialects/ai_sdk.py", "from services.tooling.base import Tool"),
    (imports_point_one_way, "services/tooling/base.py", "from tools import dice"),
    (imports_point_one_way, "tools/dice.py", "from services.agent_service import AgentService"),
    (imports_point_one_way, "tools/dice.py", "from database import runs"),
    *(
        (imports_point_one_way, f"services/{package}/a.py", f"from services.{other}.b import c")
        for package, other in FORBIDDEN
    ),
    (imports_point_one_way, "services/upstreams/a.py", "from database.runs import save_runs"),
    (imports_point_one_way, "json_codec/text.py", "from usage_models import Usage"),
    (packages_are_entered_by_their_doors, "routers/agent_router.py", "from services.tooling.modules import load"),
    (packages_are_entered_by_their_doors, "services/agents/loop.py", "from services.runs.projection import Transcript"),
    (imports_have_no_circle, "services/tooling/base.py", "from services.agent_service import AgentService"),
    (imports_have_no_circle, "services/tooling/base.py", "from .. import agent_service"),
    (each_library_has_one_home, "services/tooling/base.py", "from fastapi import Request"),
    (each_library_has_one_home, "services/tooling/base.py", "import starlette.requests"),
    (each_library_has_one_home, "services/tooling/base.py", "import dedalus_labs"),
    (each_library_has_one_home, "routers/agent_router.py", "from sse_starlette import EventSourceResponse"),
    (each_library_has_one_home, "routers/agent_router.py", "import uvicorn"),
    (each_library_has_one_home, "routers/agent_router.py", "from fastapi_offline import FastAPIOffline"),
    (each_library_has_one_home, "app.py", "import aiohttp"),
    (each_library_has_one_home, "app.py", "import orjson"),
    (each_library_has_one_home, "app.py", "import something_new"),
    (the_environment_is_read_by_the_settings, "app.py", "import os\nos.environ['A']"),
    (the_environment_is_read_by_the_settings, "app.py", "import os\nos.getenv('A')"),
    (the_environment_is_read_by_the_settings, "app.py", "from os import environ"),
    (imports_are_at_the_top, "services/tooling/base.py", "def late():\n    import json"),
    (
        imports_are_at_the_top,
        "services/tooling/base.py",
        "class A:\n    async def late(self):\n        from json import dumps",
    ),
    (imports_are_at_the_top, "services/tooling/base.py", "import importlib\nimportlib.import_module('json')"),
    (imports_are_at_the_top, "services/tooling/modules.py", "def late():\n    import json"),
    (imports_have_no_effect, "app.py", "import logging\nlogging.getLogger('x').setLevel(logging.INFO)"),
    (imports_have_no_effect, "app.py", "import logging\nlogging.raiseExceptions = False"),
    (imports_have_no_effect, "app.py", "A = {}\nA['b'] = 1"),
    (imports_have_no_effect, "app.py", "for name in ('a', 'b'):\n    print(name)"),
    (imports_have_no_effect, "app.py", "import sys\nif sys.platform == 'linux':\n    print('linux')"),
    (modules_are_short, "services/tooling/base.py", "a = 1\n" * (MAX_LINES + 1)),
    (functions_are_short, "app.py", "async def f():\n" + "    a = 1\n" * MAX_FUNCTION_LINES),
    (constructors_take_few_parts, "app.py", "class A:\n    def __init__(self, a, b, c, d, e, *, f, g): ..."),
    (classes_have_one_name, "services/tooling/base.py", "class A:\n    pass\n\n\nclass A:\n    pass"),
    (no_exception_is_swallowed, "app.py", "try:\n    pass\nexcept Exception:\n    pass"),
    (no_exception_is_swallowed, "app.py", "try:\n    pass\nexcept (ValueError, BaseException):\n    ..."),
    (no_exception_is_swallowed, "app.py", "for _ in ():\n    try:\n        pass\n    except:\n        continue"),
    (
        no_exception_is_swallowed,
        "app.py",
        "def f():\n    try:\n        pass\n    except Exception:\n        return None",
    ),
    (no_exception_is_swallowed, "app.py", "import contextlib\nwith contextlib.suppress(Exception):\n    pass"),
)


def build(root: Path, files: Mapping[str, str]) -> House:
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source)
    return House(root)


def test_a_sound_house_has_no_faults(tmp_path: Path) -> None:
    """The example source that the violations are planted in breaks no rule."""
    sound = build(tmp_path, SOUND)
    assert [fault for rule in RULES for fault in rule(sound)] == []


@pytest.mark.parametrize(("rule", "file", "source"), PLANTED)
def test_each_rule_finds_what_breaks_it(rule: Rule, file: str, source: str, tmp_path: Path) -> None:
    """Each planted violation is found in an otherwise valid source, and reported with its location."""
    planted = build(tmp_path, SOUND | {file: f"{SOUND.get(file, '')}\n{source}\n"})
    assert any(_dotted(Path(file)) in fault for fault in rule(planted))


def test_only_code_counts_as_lines_of_code() -> None:
    """Blank lines, comments and docstrings don't count. Each line of a long statement does."""
    source = '"""Doc\n\nstring."""\n\n# comment\nx = [\n    1,  # one\n]\n\n\ndef f():\n    """Doc."""\n'
    text = '    return """a\nb"""\n'
    assert lines_of_code(source + text) == 6
