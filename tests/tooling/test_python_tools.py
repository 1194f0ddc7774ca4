"""Tests Python functions as tools: how they are marked, called, and limited in time and number."""

import asyncio
import contextvars
import datetime
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, assert_type

import pytest
from local_tools import a_context
from pydantic import BaseModel, computed_field

from services.tooling.base import InvalidArguments, Tool, ToolContext, ToolError
from services.tooling.decorator import ToolOptions, ToolsInvalid, options_of
from services.tooling.python_tool import PythonTool
from services.tooling.results import as_text
from services.tooling.threads import ToolThreads
from tools import tool

pytestmark = pytest.mark.anyio
WHO = contextvars.ContextVar("WHO", default="nobody")


@pytest.fixture
def threads() -> Iterator[ToolThreads]:
    pool = ToolThreads(4)
    yield pool
    pool.close()


def made(function: Callable[..., Any], threads: ToolThreads, timeout_s: float = 5) -> PythonTool:
    return PythonTool(function, options_of(function) or ToolOptions(), timeout_s=timeout_s, threads=threads)


# Marking


def test_a_marked_function_is_itself() -> None:
    """A marked function can be called as before, and type checkers see its own signature."""

    def double(value: int) -> int:
        return 2 * value

    marked = tool(double)
    assert marked is double
    assert_type(marked(2), int)
    assert marked(2) == 4
    assert options_of(marked) == ToolOptions()
    named = tool(name="twice", timeout=2.5, approval=True, idempotent=True, concurrency=3)(double)
    assert_type(named(2), int)
    assert options_of(named) == ToolOptions("twice", 2.5, approval=True, idempotent=True, concurrency=3)
    assert options_of(len) is options_of(lambda: 0) is options_of(ToolOptions) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": "no spaces"}, "not 'no spaces': set another one with name="),
        ({"name": ""}, "a tool's name is"),
        ({"name": "x" * 65}, "a tool's name is"),
        ({"name": 5}, "a tool's name is"),
        ({"timeout": 0}, "timeout is a number of seconds above 0, not 0"),
        ({"timeout": -1.5}, "not -1.5"),
        ({"timeout": float("inf")}, "not inf"),
        ({"timeout": float("nan")}, "not nan"),
        ({"timeout": "5"}, "not '5'"),
        ({"timeout": True}, "not True"),
        ({"concurrency": 0}, "1 or more, not 0"),
        ({"concurrency": 1.5}, "not 1.5"),
        ({"approval": "yes"}, "approval is True or False, not 'yes'"),
        ({"idempotent": None}, "idempotent is True or False, not None"),
    ],
)
def test_an_option_that_can_t_be_is_refused(options: dict[str, Any], expected: str) -> None:
    """An invalid option is refused when the module is imported, with the function's location and the valid values."""

    def roll() -> None: ...

    with pytest.raises(ToolsInvalid) as raised:
        tool(**options)(roll)
    assert str(raised.value).startswith(f"tests/tooling/test_python_tools.py:{roll.__code__.co_firstlineno}, ")
    assert expected in str(raised.value)


def anything(city: str, **more: str) -> None: ...


def any_number(*cities: str) -> None: ...


def by_position(city: str, /) -> None: ...


def several() -> Iterator[int]:
    yield 1


async def several_later() -> AsyncIterator[int]:
    yield 1


def größe() -> None: ...


class Weather:
    """A class, not a function."""

    def tell(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (anything, "name them instead of **more"),
        (any_number, "name them instead of *cities"),
        (by_position, "move city behind the /"),
        (several, "use return, not yield"),
        (several_later, "use return, not yield"),
        (größe, "set another one with name="),
        (lambda: 0, "a tool is a function written with def"),
        (Weather.tell, "a tool is a function of a module, not of a class"),
        ("roll", "options by name"),
        (Weather, "a tool is a function written with def"),
        (functools.partial(anything, "Oslo"), "a tool is a function written with def"),
        (len, "a tool is a function written with def"),
        (staticmethod(by_position), "a tool is a function written with def"),
    ],
)
def test_what_a_model_could_not_call_is_refused(function: Any, expected: str) -> None:
    """Parameters without names, generators and objects that aren't functions are refused."""
    with pytest.raises(ToolsInvalid) as raised:
        tool(function)
    assert expected in str(raised.value)


# Calling


async def test_a_tool_is_what_its_function_and_options_say(threads: ToolThreads) -> None:
    """Name, description, schema and approval come from the function and its options, for `GET /tools` and for
    models.
    """

    @tool(name="weather-now", approval=True, timeout=7)
    async def weather(city: str) -> str:
        """Tell the weather."""
        return city

    made_tool: Tool = made(weather, threads)
    assert (made_tool.name, made_tool.description) == ("weather-now", "Tell the weather.")
    assert (made_tool.source, made_tool.server, made_tool.approval, made_tool.idempotent) == (
        "python",
        None,
        True,
        False,
    )
    assert made(weather, threads).timeout_s == 7
    assert await made_tool.call({"city": "Oslo"}, a_context(session_id="session_1")) == "Oslo"


async def test_a_function_gets_its_context(threads: ToolThreads) -> None:
    """The context is passed wherever it is in the signature, and the model can't set it."""

    def sync(first: int, context: ToolContext, second: int = 2) -> list[Any]:
        return [first, context.run_id, context.caller, second]

    async def later(*, about: ToolContext) -> str:
        return about.metadata["team"]

    assert await made(sync, threads).call({"first": 1}, a_context(session_id="session_1")) == '[1,"run_1","Ann",2]'
    assert await made(later, threads).call({}, a_context(session_id="session_1")) == "red"
    with pytest.raises(InvalidArguments, match="context: not known here"):
        await made(sync, threads).call({"first": 1, "context": {}}, a_context(session_id="session_1"))


async def test_arguments_are_checked_before_anything_is_called(threads: ToolThreads) -> None:
    """Arguments are checked by `check`, and again by each call."""
    calls: list[int] = []
    count = made(_taking_an_int(calls), threads)
    count.check({"value": 1})
    with pytest.raises(InvalidArguments, match="value: Input should be a valid integer"):
        count.check({"value": "many"})
    with pytest.raises(InvalidArguments, match="value: missing"):
        await count.call({}, a_context(session_id="session_1"))
    assert calls == []


def _taking_an_int(calls: list[int]) -> Callable[..., Any]:
    def count(value: int) -> None:
        calls.append(value)

    return count


async def test_context_variables_are_carried_into_the_thread(threads: ToolThreads) -> None:
    """Context variables reach the thread, as tracing needs. Changes by the tool stay in its own context."""

    def who() -> str:
        before = WHO.get()
        WHO.set("the tool")
        return before

    WHO.set("Ann")
    assert await made(who, threads).call({}, a_context(session_id="session_1")) == "Ann"
    assert WHO.get() == "Ann"


async def test_a_tool_that_blocks_holds_up_nothing_else(threads: ToolThreads) -> None:
    """A blocking tool delays neither the event loop nor code that uses asyncio's own threads."""
    entered, release = threading.Event(), threading.Event()

    def block() -> bool:
        entered.set()
        return release.wait(20)

    calls = [asyncio.create_task(made(block, threads).call({}, a_context(session_id="session_1"))) for _ in range(4)]
    assert await asyncio.to_thread(entered.wait, 20)
    release.set()
    assert await asyncio.gather(*calls) == ["true"] * 4


@pytest.mark.parametrize("error", [ValueError("no"), ToolError("no"), KeyError("no")])
async def test_what_a_function_raises_is_raised(error: Exception, threads: ToolThreads) -> None:
    """The same exception object is raised, from a thread and from a coroutine."""

    def sync() -> None:
        raise error

    async def later() -> None:
        raise error

    for function in (sync, later):
        with pytest.raises(type(error), match="no"):
            await made(function, threads).call({}, a_context(session_id="session_1"))


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
async def test_a_function_can_t_end_more_than_its_call(error: BaseException, threads: ToolThreads) -> None:
    """`sys.exit()` in a tool doesn't end the service."""

    def sync() -> None:
        raise error

    async def later() -> None:
        raise error

    for function in (sync, later):
        with pytest.raises(RuntimeError):
            await made(function, threads).call({}, a_context(session_id="session_1"))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_a_task_that_a_tool_leaves_behind_can_t_end_the_service(
    error: BaseException, threads: ToolThreads, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither can a task started by such a task or in a thread.

    The log names the tool, and the event loop continues.
    """
    left: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    async def bad() -> None:
        await asyncio.sleep(0)
        raise error

    async def worse() -> None:
        left.append(asyncio.create_task(bad()))

    async def leave() -> str:
        left.append(asyncio.create_task(worse()))
        return "left"

    def leave_from_a_thread() -> str:
        asyncio.run_coroutine_threadsafe(worse(), loop).result(5)
        return "left"

    for function in (leave, leave_from_a_thread):
        assert await made(function, threads).call({}, a_context()) == "left"
        while left:
            done = left.pop(0)
            await asyncio.wait({done})
        assert isinstance(done.exception(), RuntimeError)
        assert f"a task of the tool {function.__name__} tried to end the service, which keeps running" in caplog.text


async def test_a_coroutine_that_cancels_itself_has_only_failed(threads: ToolThreads) -> None:
    """A tool that cancels itself fails. Its run is not cancelled."""

    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ToolError, match="give_up cancelled itself"):
        await made(give_up, threads).call({}, a_context(session_id="session_1"))


async def test_a_wrapped_coroutine_is_awaited(threads: ToolThreads) -> None:
    """A coroutine is awaited behind a decorator that isn't `async` itself."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapped

    @tool
    @wrap
    async def add(a: int, b: int) -> int:
        return a + b

    assert await made(add, threads).call({"a": 1, "b": 2}, a_context(session_id="session_1")) == 3


# Time


async def test_a_coroutine_has_its_time(threads: ToolThreads) -> None:
    """After its time limit a coroutine is cancelled and cleans up, and the model gets an error."""
    cleaned = asyncio.Event()

    @tool(timeout=0.02)
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    call = a_context(session_id="session_1")
    with pytest.raises(ToolError, match=r"^wait did not finish within 0\.02 s\.$"):
        await made(wait, threads).call({}, call)
    assert cleaned.is_set()
    assert call.cancelled


async def test_a_coroutine_that_ignores_its_cancellation_is_left_behind(
    threads: ToolThreads, caplog: pytest.LogCaptureFixture
) -> None:
    """The call still ends within its time limit, and the log names the tool."""
    release, left = asyncio.Event(), asyncio.Event()

    async def cling() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        left.set()

    with pytest.raises(ToolError, match="did not finish within"):
        await made(cling, threads, timeout_s=0.02).call({}, a_context(session_id="session_1"))
    assert "the tool cling ignores its cancellation" in caplog.text
    release.set()
    await asyncio.wait_for(left.wait(), 5)


async def test_what_fails_while_it_is_stopped_is_logged(threads: ToolThreads, caplog: pytest.LogCaptureFixture) -> None:
    """An error during cancellation is only logged, because the model already has the timeout as its result."""

    async def stumble() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("in the cleaning up")

    with pytest.raises(ToolError, match="did not finish"):
        await made(stumble, threads, timeout_s=0.02).call({}, a_context(session_id="session_1"))
    assert "the tool stumble failed while it was stopped" in caplog.text


async def test_a_thread_is_asked_to_stop_and_not_waited_for(threads: ToolThreads) -> None:
    """The function can see that its time is up. The call doesn't wait for it to return."""
    seen = threading.Event()

    def wait(context: ToolContext) -> None:
        assert context.stopped.wait(20)
        seen.set()

    with pytest.raises(ToolError, match=r"^wait did not finish within 0\.3 s\.$"):
        await made(wait, threads, timeout_s=0.3).call({}, a_context(session_id="session_1"))
    assert await asyncio.to_thread(seen.wait, 20)


async def test_a_cancelled_call_is_over_at_once(threads: ToolThreads) -> None:
    """A cancelled call, as of a cancelled run, cancels the coroutine or notifies the thread, and ends."""
    begun = threading.Event()

    def in_thread(context: ToolContext) -> None:
        begun.set()
        context.stopped.wait(20)

    async def in_loop() -> None:
        begun.set()
        await asyncio.Event().wait()

    for function in (in_thread, in_loop):
        begun.clear()
        about = a_context(session_id="session_1")
        task = asyncio.create_task(made(function, threads).call({}, about))
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert about.cancelled


# Places


class Block:
    """A function that blocks its thread until it is released."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

        def block() -> None:
            self.entered.set()
            self.release.wait(20)

        self.function = block


async def cancelled(made_tool: PythonTool, block: Block) -> None:
    """Cancel a call whose thread continues."""
    task = asyncio.create_task(made_tool.call({}, a_context(session_id="session_1")))
    assert await asyncio.to_thread(block.entered.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_waiting_for_a_thread_counts_and_is_said() -> None:
    """Waiting for a thread counts towards the time limit.

    A call that got no thread in time is never made, and the error says so.
    """
    threads = ToolThreads(1)
    entered, release = threading.Event(), threading.Event()
    calls: list[str] = []

    def block(name: str) -> None:
        calls.append(name)
        entered.set()
        release.wait(20)

    first = asyncio.create_task(made(block, threads).call({"name": "first"}, a_context(session_id="session_1")))
    assert await asyncio.to_thread(entered.wait, 20)
    with pytest.raises(ToolError, match=r"^block did not begin within 0\.02 s: the service's threads for tools were"):
        await made(block, threads, timeout_s=0.02).call({"name": "second"}, a_context(session_id="session_1"))
    release.set()
    await first
    await made(block, threads).call({"name": "third"}, a_context(session_id="session_1"))
    assert calls == ["first", "third"]
    threads.close()


async def test_a_thread_keeps_its_place_until_it_returns() -> None:
    """A call that ends before its thread leaves the thread's slot taken, so the limit on threads holds."""
    threads = ToolThreads(1)
    block = Block()
    await cancelled(made(block.function, threads), block)
    with pytest.raises(ToolError, match="did not begin"):
        await made(block.function, threads, timeout_s=0.02).call({}, a_context(session_id="session_1"))
    block.release.set()
    assert await made(block.function, threads).call({}, a_context(session_id="session_1")) == "null"
    threads.close()


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_as_many_calls_as_a_tool_allows_are_made_at_once(kind: str, threads: ToolThreads) -> None:
    """Further calls wait. A call whose time is up keeps its slot until its thread returns."""
    full, release = threading.Event(), threading.Event()
    going: list[int] = []
    most: list[int] = []

    def enter() -> None:
        going.append(1)
        most.append(len(going))
        if len(going) == 2:
            full.set()

    @tool(concurrency=2)
    def in_thread() -> None:
        enter()
        release.wait(20)
        going.pop()

    @tool(concurrency=2)
    async def in_loop() -> None:
        enter()
        await asyncio.to_thread(release.wait, 20)
        going.pop()

    made_tool = made(in_loop if kind == "coroutine" else in_thread, threads, timeout_s=5)
    calls = [asyncio.create_task(made_tool.call({}, a_context(session_id="session_1"))) for _ in range(6)]
    assert await asyncio.to_thread(full.wait, 20)
    made_tool.timeout_s = 0.02
    with pytest.raises(ToolError, match=r"did not begin within 0\.02 s: it was running as many calls"):
        await made_tool.call({}, a_context(session_id="session_1"))
    release.set()
    await asyncio.gather(*calls)
    assert (len(most), max(most)) == (6, 2)


async def test_a_place_is_given_back_by_a_thread_that_nobody_waits_for(threads: ToolThreads) -> None:
    """A slot is released when its thread returns, and not before, even if no call waits for the thread."""
    block = Block()
    one = made(tool(concurrency=1)(block.function), threads)
    await cancelled(one, block)
    one.timeout_s = 0.02
    with pytest.raises(ToolError, match="did not begin"):
        await one.call({}, a_context(session_id="session_1"))
    block.release.set()
    one.timeout_s = 20
    assert await one.call({}, a_context(session_id="session_1")) == "null"


async def test_a_result_that_is_no_json_is_the_tool_s_error(threads: ToolThreads) -> None:
    """The result of a function in a thread is written there, and a result that isn't JSON is an error."""

    def strange() -> object:
        return object()

    with pytest.raises(ToolError, match="it contains a value of type object"):
        await made(strange, threads).call({}, a_context(session_id="session_1"))


class Slow(BaseModel):
    """A value that is not written until the test releases it."""

    @computed_field
    def late(self) -> bool:
        entered.set()
        return release.wait(20)


entered, release = threading.Event(), threading.Event()


async def later() -> Slow:
    return Slow()


def in_thread() -> Slow:
    return Slow()


def wrapped() -> Any:
    return later()


@pytest.mark.parametrize("function", [later, in_thread, wrapped])
async def test_the_writing_of_a_result_is_within_the_call_s_time(function: Callable[..., Any]) -> None:
    """A result whose writing is stuck ends its call in time, delays no other call, and keeps its thread until it is
    written.
    """
    threads = ToolThreads(3)
    entered.clear()
    release.clear()

    async def quick() -> Any:
        return {1, 2}

    slow = made(function, threads, timeout_s=0.3)
    for _ in range(2):
        with pytest.raises(ToolError, match=rf"^{function.__name__} did not finish within 0\.3 s\.$"):
            await slow.call({}, a_context())
    assert await asyncio.to_thread(entered.wait, 20)
    assert await made(quick, threads).call({}, a_context()) == "[1,2]"
    release.set()
    assert await made(function, threads).call({}, a_context()) == '{"late":true}'
    threads.close()


async def test_a_place_is_kept_while_a_result_is_written(threads: ToolThreads) -> None:
    """A tool that allows one call uses at most one thread, including the writing of results."""
    entered.clear()
    release.clear()

    @tool(concurrency=1)
    async def alone() -> Slow:
        return Slow()

    one = made(alone, threads, timeout_s=0.3)
    with pytest.raises(ToolError, match="did not finish"):
        await one.call({}, a_context())
    with pytest.raises(ToolError, match="did not begin"):
        await one.call({}, a_context())
    release.set()
    one.timeout_s = 20
    assert await one.call({}, a_context()) == '{"late":true}'


@pytest.mark.parametrize("result", [{"status": 200, "text": "x" * 100_000}, datetime.date(2026, 1, 2), 10**4000])
async def test_a_coroutine_s_result_needs_no_thread_of_the_calls(result: Any) -> None:
    """A coroutine's result is written even if every thread for calls is taken."""
    pool = ToolThreads(1)
    block = Block()
    blocked = asyncio.create_task(made(block.function, pool).call({}, a_context()))
    assert await asyncio.to_thread(block.entered.wait, 20)

    async def page() -> Any:
        return result

    assert as_text(await made(page, pool).call({}, a_context())) == as_text(result)
    block.release.set()
    await blocked
    pool.close()


async def test_closed_threads_take_no_more_calls(caplog: pytest.LogCaptureFixture) -> None:
    """When the service ends, waiting calls are dropped and running threads are not waited for."""
    threads = ToolThreads(1)
    block = Block()
    first = asyncio.create_task(made(block.function, threads).call({}, a_context(session_id="session_1")))
    assert await asyncio.to_thread(block.entered.wait, 20)
    second = asyncio.create_task(made(block.function, threads).call({}, a_context(session_id="session_1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    threads.close()
    with pytest.raises(ToolError, match="cancelled"):
        await second
    block.release.set()
    await first
    with caplog.at_level(logging.CRITICAL), pytest.raises(RuntimeError):
        await made(block.function, threads).call({}, a_context(session_id="session_1"))
