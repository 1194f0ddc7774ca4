"""The Python tools on offer: found at start, and in development again whenever their files change."""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from watchfiles import PythonFilter, awatch

from services.tooling.base import Tool
from services.tooling.decorator import ToolOptions, ToolsInvalid, options_of
from services.tooling.modules import folders, functions_of, imported_anew, tool_modules
from services.tooling.python_tool import PythonTool
from services.tooling.threads import ToolThreads

logger = logging.getLogger(__name__)


class ToolRegistry:
    """The tools of a package's modules and of the named ones. Raise `ToolsInvalid` where they can't be offered.

    `timeout_s` is for tools that don't say their own, `threads` how many calls without `async` may run at once.
    """

    def __init__(self, modules: Sequence[str], *, timeout_s: float, threads: int, package: str = "tools") -> None:
        self._modules = tuple(modules)
        self._package = package
        self._timeout_s = timeout_s
        self._threads = ToolThreads(threads)
        self._tools = self._found()

    @property
    def all(self) -> Mapping[str, Tool]:
        """The tools by name, as they are now. A run takes them once: what it took doesn't change under it."""
        return self._tools

    def reload(self) -> None:
        """Import everything again, for the runs from now on. Raise `ToolsInvalid` and keep the former tools instead."""
        with imported_anew(self._package, self._modules):
            self._tools = self._found()

    async def watch(self) -> None:
        """For development: reload whenever a file beside the tools' modules changes. Until it is cancelled.

        A broken file is logged, and leaves the tools as they were, whatever it raises. A folder that is new needs a
        restart.
        """
        places = folders(self._package, self._modules)
        logger.info("the tools' files are watched: %s", ", ".join(sorted(map(str, places))))
        async for _ in awatch(*places, watch_filter=PythonFilter(), recursive=False):
            try:
                self.reload()
            except ToolsInvalid as error:
                logger.error("the tools stay as they were: %s", error, exc_info=error.__cause__)  # noqa: TRY400
            except Exception:  # a type's own code can raise anything
                logger.exception("the tools stay as they were: loading them failed")
            else:
                logger.info("the tools are loaded again: %s", ", ".join(self._tools))

    async def aclose(self) -> None:
        """Start no more calls in threads, and wait for none."""
        self._threads.close()

    def _found(self) -> Mapping[str, PythonTool]:
        tools: dict[str, PythonTool] = {}
        for function in functions_of(tool_modules(self._package, self._modules)):
            tool = self._tool(function, options_of(function) or ToolOptions())
            if other := tools.get(tool.name):
                raise ToolsInvalid(f"two tools are called {tool.name}: {other.place}, and {tool.place}")
            tools[tool.name] = tool
        return MappingProxyType(tools)

    def _tool(self, function: Callable[..., Any], options: ToolOptions) -> PythonTool:
        return PythonTool(function, options, timeout_s=self._timeout_s, threads=self._threads)
