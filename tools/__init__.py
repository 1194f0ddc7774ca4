"""The tools that models can call: each function in a module of this folder that is marked with `@tool`.

docs/tools.md says how to write one.
"""

from services.tool_marks import tool
from services.tools import ToolContext, ToolError

__all__ = ["ToolContext", "ToolError", "tool"]
