"""Tests tools with decorators: the model isn't asked for arguments that a decorator supplies, and unsupported
decorators are refused.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from local_tools import a_context

from services.tooling.decorator import ToolOptions, ToolsInvalid, options_of
from services.tooling.python_tool import PythonTool
from services.tooling.signature import Signature
from services.tooling.threads import ToolThreads
from tools import tool

pytestmark = pytest.mark.anyio

Function = Callable[..., Any]


@pytest.fixture
def threads() -> Iterator[ToolThreads]:
    threads = ToolThreads(2)
    yield threads
    threads.close()


def hands_on(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        repr((*args, kwargs))
        return function(*args, **kwargs)

    return wrapper


def gives_the_first(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function("Ann", *args, **kwargs)

    return wrapper


def knows_what_comes_later(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function("Ann", *args, **kwargs) if wrapper is not later else later

    tool(wrapper)
    later = object()
    return wrapper


def gives_later(function: Callable[..., Awaitable[Any]]) -> Function:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function("Ann", *args, **kwargs)

    return wrapper


def gives_by_name(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return function(*args, user="Ann", **kwargs)
        raise ValueError

    return wrapper


def puts_it_in(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        kwargs["user"] = "Ann"
        return function(*args, **kwargs)

    return wrapper


def names_the_others(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(greeting: str, times: int = 1) -> Any:
        return function("Ann", greeting, times)

    return wrapper


def shows_the_others(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(**kwargs: Any) -> Any:
        known = {"user": "Ann"}
        return function(**known, **kwargs)

    shown = [each for name, each in inspect.signature(function).parameters.items() if name != "user"]
    vars(wrapper)["__signature__"] = inspect.Signature(shown)
    return wrapper


def binds_the_first(function: Function) -> Function:
    bound = functools.partial(function, "Ann")

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return bound(*args, **kwargs)

    return wrapper


def binds_by_name(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(**kwargs: Any) -> Any:
        return functools.partial(function, user="Ann")(**kwargs)

    return wrapper


class Holds:
    """A decorator that keeps the function in its own object."""

    def __init__(self, user: str) -> None:
        self.user = user

    def __call__(self, function: Function) -> Function:
        """Decorate the function."""
        self.function = function

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self.function(self.user, *args, **kwargs)

        return wrapper


def changes_one(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(greeting: str, **kwargs: Any) -> Any:
        return function(greeting=greeting.upper(), **kwargs)

    return wrapper


def greet(user: str, greeting: str, times: int = 1) -> str:
    return f"{greeting * times} {user}"


def by_hand(*args: Any, **kwargs: Any) -> str:
    return greet("Ann", *args, **kwargs)


functools.update_wrapper(by_hand, greet)


async def greet_later(user: str, greeting: str, times: int = 1) -> str:
    return greet(user, greeting, times)


@pytest.mark.parametrize(
    "made",
    [
        gives_the_first(greet),
        gives_by_name(greet),
        puts_it_in(greet),
        names_the_others(greet),
        shows_the_others(greet),
        gives_later(greet_later),
        by_hand,
        knows_what_comes_later(greet),
        binds_the_first(greet),
        binds_by_name(greet),
        Holds("Ann")(greet),
        hands_on(gives_the_first(greet)),
        gives_the_first(hands_on(greet)),
        hands_on(names_the_others(hands_on(greet))),
    ],
    ids=(
        [
            "first",
            "by_name",
            "put_in",
            "named",
            "shown",
            "later",
            "by_hand",
            "not_yet",
            "bound",
            "bound_by_name",
            "held",
            "below",
            "above",
            "between",
        ]
    ),
)
async def test_the_model_is_not_asked_for_what_a_decorator_gives(made: Function, threads: ToolThreads) -> None:
    """The schema omits arguments that a decorator supplies, and a call with the others succeeds."""
    python_tool = PythonTool(tool(made), ToolOptions(), timeout_s=5, threads=threads)
    assert list(python_tool.parameters["properties"]) == ["greeting", "times"]
    assert python_tool.parameters["required"] == ["greeting"]
    assert await python_tool.call({"greeting": "Hi", "times": 2}, a_context()) == "HiHi Ann"


@pytest.mark.parametrize("made", [hands_on(greet), changes_one(greet)], ids=["hands on", "changes one"])
async def test_the_model_is_asked_for_what_a_decorator_hands_on(made: Function, threads: ToolThreads) -> None:
    """The schema has arguments that a decorator passes on, even if it reads or changes them."""
    python_tool = PythonTool(tool(made), ToolOptions(), timeout_s=5, threads=threads)
    assert set(python_tool.parameters["properties"]) == {"user", "greeting", "times"}
    assert (await python_tool.call({"user": "Bo", "greeting": "hi"}, a_context())).lower() == "hi bo"


def test_a_decorator_whose_source_is_gone_hands_everything_on() -> None:
    """Without its source a decorator can't be analysed, so the schema has all arguments."""
    names: dict[str, Any] = {"functools": functools, "greet": greet}
    exec("@functools.wraps(greet)\ndef made(*args, **kwargs):\n    return greet('Ann', *args, **kwargs)\n", names)
    assert list(Signature(names["made"]).parameters["properties"]) == ["user", "greeting", "times"]


def test_a_decorator_that_takes_only_places_is_refused() -> None:
    """A decorator without keyword arguments is refused, because a model's arguments have names."""

    @functools.wraps(greet)
    def wrapper(*args: Any) -> Any:
        return greet(*args)

    with pytest.raises(ToolsInvalid, match=r"a model has to know each argument: name them instead of \*args"):
        tool(wrapper)


class Counted:
    """A decorator that is a class."""

    def __init__(self, function: Function) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


@pytest.mark.parametrize(
    ("above", "kind"),
    [(functools.lru_cache, "_lru_cache_wrapper"), (functools.cache, "_lru_cache_wrapper"), (Counted, "Counted")],
)
def test_what_stands_above_the_mark_and_is_no_function_is_refused(above: Function, kind: str) -> None:
    """An object that isn't a function is refused above the mark, where the tool would silently be missing, and
    below it.
    """

    @above
    @tool
    def roll(sides: int) -> int:
        return sides

    line = inspect.unwrap(roll).__code__.co_firstlineno
    with pytest.raises(ToolsInvalid) as raised:
        options_of(roll)
    place = f"tests/tooling/test_tool_wrappers.py:{line}, "
    assert str(raised.value).startswith(place)
    assert str(raised.value).endswith(f"roll: {kind} above @tool is not a function: put @tool at the top")
    with pytest.raises(ToolsInvalid, match=f"the decorator below @tool makes a {kind} of it"):
        tool(above(greet))


def test_what_a_wrapper_puts_among_its_keywords_is_not_asked_for() -> None:
    """Arguments that a wrapper adds by `update`, `setdefault`, `|=` or a new dictionary are not in the schema."""

    def below(db: int, city: str) -> str:
        """Tell the weather."""
        return f"{city} {db}"

    @functools.wraps(below)
    def updated(*args: Any, **kwargs: Any) -> str:
        kwargs.update(db=1)
        return below(*args, **kwargs)

    @functools.wraps(below)
    def defaulted(*args: Any, **kwargs: Any) -> str:
        kwargs.setdefault("db", 1)
        return below(*args, **kwargs)

    @functools.wraps(below)
    def joined(*args: Any, **kwargs: Any) -> str:
        kwargs |= {"db": 1}
        return below(*args, **kwargs)

    @functools.wraps(below)
    def replaced(*args: Any, **kwargs: Any) -> str:
        kwargs = dict(kwargs, db=1)
        return below(*args, **kwargs)

    @functools.wraps(below)
    def merged(*args: Any, **kwargs: Any) -> str:
        return below(*args, **{**kwargs, "db": 1})

    @functools.wraps(below)
    def either(*args: Any, **kwargs: Any) -> str:
        return below(*args, **(kwargs | {"db": 1}))

    for wrapper in (updated, defaulted, joined, replaced, merged, either):
        signature = Signature(wrapper)
        assert list(signature.parameters["properties"]) == ["city"]
        assert wrapper(**signature.read({"city": "Rome"})) == "Rome 1"
