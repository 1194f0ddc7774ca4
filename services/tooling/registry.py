"""Holds the Python tools on offer. They are loaded at start, and in development again when their files change."""

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
    """The tools of a package's modules and of the named modules. Raises `ToolsInvalid` if they can't be offered.

    `timeout_s` is the default time limit of a tool. `threads` is how many calls of functions without `async` may run at
    once.
    """

    def __init__(self, modules: Sequence[str], *, timeout_s: float, threads: int, package: str = "tools") -> None:
        self._modules = tuple(modules)
        self._package = package
        self._timeout_s = timeout_s
        self._threads = ToolThreads(threads)
        self._tools = self._load()

    @property
    def all(self) -> Mapping[str, Tool]:
        """The current tools by name. A reload makes a new mapping, so the one that a run holds doesn't change."""
        return self._tools

    def reload(self) -> None:
        """Import everything again, for later runs. If that fails, keep the former tools and raise `ToolsInvalid`."""
        with imported_anew(self._package, self._modules):
            self._tools = self._load()

    async def watch(self) -> None:
        """Reload whenever a file in a folder of tools changes, until cancelled. For development.

        If loading fails, the error is logged and the tools don't change. A new folder needs a restart.
        """
        watched = folders(self._package, self._modules)
        logger.info("watching the tools' files in %s", ", ".join(sorted(map(str, watched))))
        async for _ in awatch(*watched, watch_filter=PythonFilter(), recursive=False):
            try:
                self.reload()
            except ToolsInvalid as error:
                logger.error("the tools are unchanged: %s", error, exc_info=error.__cause__)  # noqa: TRY400
            except Exception:  # a tool's own code can raise anything
                logger.exception("the tools are unchanged: loading them failed")
            else:
                logger.info("the tools were loaded again: %s", ", ".join(self._tools))

    async def aclose(self) -> None:
        """Start no more calls in threads. Calls in their threads are not waited for."""
        self._threads.close()

    def _load(self) -> Mapping[str, PythonTool]:
        tools: dict[str, PythonTool] = {}
        for function in functions_of(tool_modules(self._package, self._modules)):
            tool = self._tool(function, options_of(function) or ToolOptions())
            if other := tools.get(tool.name):
                raise ToolsInvalid(f"two tools are called {tool.name}: {other.location}, and {tool.location}")
            tools[tool.name] = tool
        return MappingProxyType(tools)  # runs hold it, so it must not change

    def _tool(self, function: Callable[..., Any], options: ToolOptions) -> PythonTool:
        return PythonTool(function, options, timeout_s=self._timeout_s, threads=self._threads)
