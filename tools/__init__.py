"""The tools that models can call: each function in a module of this folder that is marked with `@tool`.

docs/tools.md describes how to write one.
"""

from services.tooling.base import ToolContext, ToolError
from services.tooling.checks import Blocked, CheckContext
from services.tooling.decorator import tool

__all__ = ["Blocked", "CheckContext", "ToolContext", "ToolError", "tool"]
