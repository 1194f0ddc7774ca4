"""Tests where tools are found, in the folder and in the modules of AGENT_TOOLS, and what a reload changes."""

import asyncio
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from local_tools import a_context
from process import ROOT

from services.tooling.decorator import ToolsInvalid
from services.tooling.registry import ToolRegistry

pytestmark = pytest.mark.anyio

DICE = """
from tools import tool

@tool
def roll() -> str:
    return "4"
"""

FAULTY = """
class Faulty:
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        return {}["missing"]
"""


class Folder:
    """A package of tools, with modules beside it on Python's path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("kit/__init__.py", "")

    def write(self, file: str, source: str) -> None:
        (self.root / file).parent.mkdir(exist_ok=True)
        (self.root / file).write_text(source)

    def registry(self, *modules: str) -> ToolRegistry:
        return ToolRegistry(modules, timeout_s=5, threads=2, package="kit")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a cached file's time is in whole seconds
    before = set(sys.modules)
    yield Folder(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


async def test_the_service_s_own_tools() -> None:
    """The shipped tools are found without any setting."""
    registry = ToolRegistry((), timeout_s=7, threads=1)
    assert {"calculate", "current_time"} <= set(registry.all)
    assert await registry.all["calculate"].call({"expression": "6 * 7"}, a_context()) == "42"
    await registry.aclose()


async def test_marked_functions_of_the_folder_and_of_named_modules(folder: Folder) -> None:
    """Each is found once, wherever else it is imported.

    Modules that begin with `_` are skipped unless they are imported.
    """
    folder.write("kit/dice.py", DICE)
    folder.write("kit/again.py", "from kit.dice import roll\nfrom kit._shared import shared\n")
    folder.write("kit/_shared.py", DICE.replace("roll", "shared"))
    folder.write("kit/_hidden.py", DICE.replace("roll", "hidden"))
    folder.write("kit/sub/__init__.py", DICE.replace("roll", "sub"))
    folder.write("kit/sub/below.py", DICE.replace("roll", "below"))
    folder.write("ours/__init__.py", "")
    folder.write("ours/extra.py", DICE.replace("roll", "extra") + "\ndef unmarked() -> None: ...\n")
    registry = folder.registry("ours.extra")
    assert sorted(registry.all) == ["extra", "roll", "shared", "sub"]
    assert await registry.all["extra"].call({}, a_context()) == "4"


def test_two_tools_of_one_name(folder: Folder) -> None:
    """The error names both locations."""
    folder.write("kit/a.py", DICE)
    folder.write("kit/b.py", DICE.replace("@tool\n", "@tool(name='roll')\n").replace("def roll", "def other"))
    with pytest.raises(ToolsInvalid, match=r"two tools are called roll: .*kit/a\.py:4, roll, and .*kit/b\.py:4, other"):
        folder.registry()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nowhere_at_all\n",
            r"kit\.bad, of the folder kit, can't be imported: ModuleNotFoundError: .*bad\.py:1",
        ),
        ("\n\n1 / 0\n", r"ZeroDivisionError: division by zero \(.*kit/bad\.py:3\)"),
        ("def (\n", r"kit\.bad, .*SyntaxError: .* \(.*kit/bad\.py:1\)"),
        ("import sys\nsys.exit('bye')\n", r"SystemExit: bye"),
        (
            "from tools import tool\n\n@tool(nam='x')\ndef roll(): ...\n",
            r"unexpected keyword argument 'nam'.* \(.*bad\.py:3\)",
        ),
        ("from tools import tool\ntool('roll')\n", r"the module kit\.bad, of the folder kit: .*options by name"),
        (
            DICE.replace("@tool", "import functools\n\n@functools.lru_cache\n@tool"),
            r"kit/bad\.py:6, roll: _lru_cache_wrapper above @tool is not a function: put @tool at the top",
        ),
        (
            DICE.replace("@tool", "def plain(function):\n    return lambda *args: function(*args)\n\n@plain\n@tool"),
            r"kit/bad\.py:7, roll: the decorator above @tool has replaced it: put @tool at the top",
        ),
        (
            DICE.replace("@tool", "import functools\n\n@tool\n@functools.lru_cache"),
            r"kit/bad\.py:6, roll: the decorator below @tool makes a _lru_cache_wrapper of it",
        ),
        (
            DICE.replace("roll()", "roll(to: EmailStr)").replace("@tool", "from pydantic import EmailStr\n\n@tool"),
            r"kit/bad\.py:6, roll: the type hint of to has no JSON schema: email-validator is not installed",
        ),
        (DICE.replace("roll()", "roll(*any)"), r"kit/bad\.py:4, roll: a model has to know each argument"),
        (DICE.replace("roll()", "roll(sides)"), r"kit/bad\.py:4, roll: sides needs a type hint"),
    ],
)
def test_a_module_that_can_t_be_used_refuses_the_start(
    folder: Folder, source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start is refused in one line that names the file and the error."""
    monkeypatch.setitem(sys.modules, "email_validator", None)  # as if it weren't installed
    folder.write("kit/bad.py", source)
    with pytest.raises(ToolsInvalid, match=message) as raised:
        folder.registry()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["nowhere_at_all", "kit.nowhere", "nowhere_at_all.below"])
def test_a_named_module_that_isn_t_there(folder: Folder, name: str) -> None:
    """The error names the setting that has the module's name."""
    with pytest.raises(ToolsInvalid, match=f"there is no module {name}, which the setting AGENT_TOOLS names"):
        folder.registry(name)


async def test_a_reload_takes_up_what_is_new_changed_and_gone(folder: Folder) -> None:
    """A reload sees new, changed and deleted files, also of helper modules.

    A run keeps the tools that it began with.
    """
    folder.write("kit/dice.py", DICE.replace('"4"', "number()") + "\nfrom kit._numbers import number\n")
    folder.write("kit/_numbers.py", "def number() -> str: return 'four'\n")
    folder.write("kit/old.py", DICE.replace("roll", "old"))
    registry = folder.registry()
    before = registry.all
    folder.write("kit/_numbers.py", "def number() -> str: return 'six'\n")
    folder.write("kit/new.py", DICE.replace("roll", "new"))
    (folder.root / "kit/old.py").unlink()
    registry.reload()
    assert sorted(registry.all) == ["new", "roll"]
    assert await registry.all["roll"].call({}, a_context()) == "six"
    assert sorted(before) == ["old", "roll"]
    assert await before["roll"].call({}, a_context()) == "four"


async def test_a_broken_file_leaves_the_tools_as_they_were(folder: Folder) -> None:
    """A broken file changes neither tools nor modules. Once corrected, it is loaded."""
    folder.write("kit/dice.py", DICE)
    registry = folder.registry()
    before, module = registry.all, sys.modules["kit.dice"]
    folder.write("kit/dice.py", "def (\n")
    with pytest.raises(ToolsInvalid, match="SyntaxError"):
        registry.reload()
    assert registry.all is before
    assert sys.modules["kit.dice"] is module
    folder.write("kit/dice.py", DICE.replace("4", "six"))
    registry.reload()
    assert await registry.all["roll"].call({}, a_context()) == "six"


@pytest.mark.parametrize("document", ["README.md", "docs/tools.md"])
async def test_the_documents_tool_works_as_it_stands(folder: Folder, document: str) -> None:
    """The document's example works when it is copied unchanged into a file of the folder."""
    source = re.search(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert source is not None
    folder.write("kit/dice.py", source[1])
    roll = folder.registry().all["roll"]
    assert roll.description == "Roll a die with this number of sides."
    assert roll.parameters["properties"] == {"sides": {"type": "integer", "default": 6}}
    assert 1 <= int(await roll.call({"sides": 20}, a_context())) <= 20


class RecordQueue(logging.Handler):
    """A handler that queues the registry's log records, so that a test can wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: asyncio.Queue[logging.LogRecord] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.put_nowait(record)


async def test_watched_files_are_taken_up(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """The watch loads a changed file, logs one line with a traceback for each broken one, and loads a new file."""
    folder.write("kit/dice.py", DICE)
    registry = folder.registry()
    logger, handler = logging.getLogger("services.tooling.registry"), RecordQueue()
    logger.addHandler(handler)
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(registry.watch())
    try:
        record = await handler.records.get()
        assert "watched" in record.getMessage()
        folder.write("kit/dice.py", DICE.replace("roll", "throw"))
        record = await handler.records.get()
        assert "the tools were loaded again: throw" in record.getMessage()
        folder.write("kit/dice.py", "def (\n")
        record = await handler.records.get()
        assert "the tools are unchanged: the module kit.dice" in record.getMessage()
        assert record.exc_info
        assert list(registry.all) == ["throw"]
        folder.write("kit/dice.py", FAULTY + DICE.replace("roll()", "roll(side: Faulty)"))
        record = await asyncio.wait_for(handler.records.get(), 20)  # no record arrives if the watch has ended
        assert record.getMessage() == "the tools are unchanged: loading them failed"
        assert record.exc_info
        assert list(registry.all) == ["throw"]
        folder.write("kit/more.py", DICE)
        folder.write("kit/dice.py", "")
        while list(registry.all) != ["roll"]:
            await handler.records.get()
    finally:
        logger.removeHandler(handler)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
