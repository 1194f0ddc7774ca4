"""Tests how the functions of CHECK_INPUT and CHECK_OUTPUT are found and called: a failing one lets nothing pass."""

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errors import CheckFailed
from services.tooling.checks import Blocked, CheckContext, TextCheck
from services.tooling.decorator import ToolsInvalid
from services.tooling.threads import ToolThreads

pytestmark = pytest.mark.anyio

SECRET = "the text of the answer"
CONTEXT = CheckContext("text", "run_1", None, None, {})
ASYNC = "async def check(context, text):\n    "
PLAIN = "def check(context, text):\n    "
Load = Callable[..., TextCheck]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Makes a check of a module's source, with the function that a setting names."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    threads = ToolThreads(2)

    def loaded(source: str, named: str = "my_checks:check", timeout_s: float = 5) -> TextCheck:
        (tmp_path / "my_checks.py").write_text(f"import asyncio, sys\nfrom tools import Blocked\n\n{source}\n")
        return TextCheck("CHECK_OUTPUT", named, timeout_s=timeout_s, threads=threads)

    yield loaded
    threads.close()
    sys.modules.pop("my_checks", None)


@pytest.mark.parametrize("kind", [ASYNC, PLAIN, "class Check:\n    async def __call__(self, context, text):\n        "])
async def test_a_function_of_each_kind_decides(kind: str, load: Load) -> None:
    """`None` lets a text pass, and `Blocked` doesn't."""
    check = load(f"{kind}return Blocked('bad') if 'x' in text else None\n\nif 'Check' in vars():\n    check = Check()")
    assert await check.blocks(CONTEXT, "y") is None
    assert await check.blocks(CONTEXT, "x") == Blocked("bad")


async def test_a_function_without_async_runs_in_a_thread(load: Load) -> None:
    """It may block, so it doesn't run in the event loop's thread. It gets the context and the text."""
    check = load(f"import threading\n{PLAIN}return Blocked(f'{{threading.get_ident()}} {{context.kind}} {{text}}')")
    blocked = await check.blocks(CONTEXT, "abc")
    assert blocked is not None
    thread, *rest = blocked.reason.split()
    assert rest == ["text", "abc"]
    assert int(thread) != threading.get_ident()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (f"{PLAIN}raise ValueError(text)", "raised ValueError ("),
        (f"{ASYNC}raise ValueError(text)", "raised ValueError ("),
        (f"{PLAIN}sys.exit(text)", "raised RuntimeError ("),
        (f"{ASYNC}sys.exit(text)", "raised RuntimeError ("),
        (f"{ASYNC}raise asyncio.CancelledError(text)", "cancelled itself"),
        (f"{PLAIN}return text", "returned a str"),
        (f"{PLAIN}return True", "returned a bool"),
        (f"{ASYNC}await asyncio.Event().wait()", "did not finish within 0.2 s (CHECK_TIMEOUT_S)"),
    ],
)
async def test_a_failing_check_lets_nothing_pass(
    source: str, problem: str, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets `CheckFailed`, and the log says what happened, without the text."""
    check = load(source, timeout_s=0.2)
    with caplog.at_level(logging.DEBUG), pytest.raises(CheckFailed):
        await check.blocks(CONTEXT, SECRET)
    assert f"CHECK_OUTPUT {problem}" in caplog.text
    assert SECRET not in caplog.text


async def test_the_log_has_the_place_of_an_exception(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    """The place is the last one in the operator's module, also if a library has raised the exception."""
    check = load(f"import json\n\n{PLAIN}json.loads(text)")
    with pytest.raises(CheckFailed):
        await check.blocks(CONTEXT, SECRET)
    assert "raised JSONDecodeError (" in caplog.text
    assert "my_checks.py:7)" in caplog.text


async def test_a_thread_that_hangs_is_not_waited_for(load: Load) -> None:
    """The time limit holds for a function that can't be cancelled, too."""
    check = load(f"import threading\nfree = threading.Event()\n{PLAIN}free.wait()", timeout_s=0.2)
    with pytest.raises(CheckFailed):
        await check.blocks(CONTEXT, "x")
    sys.modules["my_checks"].free.set()


async def test_a_cancelled_run_does_not_wait_for_its_check(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    """The check is cancelled with the run. What it raises then is not logged, because it may quote the text."""
    source = f"begun = asyncio.Event()\n{ASYNC}begun.set()\n    try:\n        await asyncio.Event().wait()"
    check = load(f"{source}\n    finally:\n        raise ValueError(text)")
    calling = asyncio.create_task(check.blocks(CONTEXT, SECRET))
    await sys.modules["my_checks"].begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.wait(set(check._under_way))
    gc.collect()  # asyncio logs an exception that nothing has retrieved when its task is collected
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("source", "named", "message"),
    [
        (
            "",
            "no_such_module:check",
            "there is no module no_such_module, which the setting CHECK_OUTPUT names: is",
        ),
        (
            "def checks(context, text): ...",
            "my_checks:check",
            "has no check, which the setting CHECK_OUTPUT names: did",
        ),
        ("check = 'x'", "my_checks:check", "CHECK_OUTPUT names my_checks:check, which is a str and not a function"),
        ("def check(text): ...", "my_checks:check", "a check takes two arguments, a CheckContext and a text"),
        (f"{PLAIN}yield", "my_checks:check", "a check returns its decision: use return, not yield"),
        (
            "1 / 0",
            "my_checks:check",
            "the module my_checks, of the setting CHECK_OUTPUT, can't be imported: Zero",
        ),
    ],
)
def test_a_setting_that_names_no_check_is_refused(source: str, named: str, message: str, load: Load) -> None:
    """The message names the setting, the module and what to do."""
    with pytest.raises(ToolsInvalid) as refused:
        load(source, named)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("reason", "explained"),
    [
        ("", "No."),
        ("two\nlines ", "No. Reason: two lines"),
        ("x" * 300, f"No. Reason: {'x' * 200}"),
        (7, "No. Reason: 7"),
    ],
)
def test_a_reason_is_one_short_line(reason: Any, explained: str) -> None:
    """A reason is a part of an error message and of a line in the log."""
    assert Blocked(reason).explained("No.") == explained
