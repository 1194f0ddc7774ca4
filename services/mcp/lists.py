"""Reads a server's list of tools. A bad tool is left out of it.

The SDK checks a page of `tools/list` as a whole, and refuses the page for one bad tool (hermes-agent#101804). So each
page is mended before (`sound_page`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mcp import Client
from mcp_types import Tool

from json_codec.text import dumps
from services.mcp.schemas import as_object

LEFT_OUT = "agent-stream/left-out"  # in a page's `_meta`: the names of the tools that were left out
MAX_NAME = 128  # characters; the protocol's own limit
MAX_PAGES = 50
MAX_TOOLS = 1000
MAX_LIST_BYTES = 4 * 1024 * 1024
REQUIRED_FIELDS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""Fields that the newest version of the protocol requires in a page. This service has caching rules of its own."""
HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


class Listing(NamedTuple):
    """A server's tools, and the names of those that can't be offered to a model."""

    tools: list[Tool]
    left_out: list[str]


async def all_tools(client: Client) -> Listing:
    """Read all pages of a server's list. Raise `RuntimeError` if they are too large, or what the SDK raises."""
    tools: dict[str, Tool] = {}
    left_out: list[str] = []
    size, cursor = 0, None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        size += len(page.model_dump_json())
        if size > MAX_LIST_BYTES:
            raise RuntimeError("the list of tools is too large")
        tools |= {tool.name: tool for tool in page.tools}
        left_out += (page.meta or {}).get(LEFT_OUT, ())
        cursor = page.next_cursor
        if cursor is None or len(tools) >= MAX_TOOLS:
            break
    return Listing(list(tools.values())[:MAX_TOOLS], left_out)


def sound_page(page: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page with the tools that can be offered to a model, and the names of the others in its `_meta`.

    A tool keeps the fields that this service uses: its name, title, description, input schema and hints. An empty
    cursor is dropped.
    """
    cursor = page.get("nextCursor")
    tools, left_out = [], []
    for number, tool in enumerate(_listed(page), start=1):
        if (sound := _sound_tool(tool)) is not None:
            tools.append(sound)
        else:
            left_out.append(_name(tool, number))
    next_page = {"nextCursor": cursor} if cursor and isinstance(cursor, str) else {}
    return {**next_page, "tools": tools, "_meta": {LEFT_OUT: left_out}, **REQUIRED_FIELDS}


def _listed(page: Mapping[str, Any]) -> list[Any]:
    """Return the entries of a page, also if the result is the list itself, or an object with the tools by name."""
    listed = page.get("tools", page.get("content"))
    if isinstance(listed, dict):
        return [{"name": name, **tool} for name, tool in listed.items() if isinstance(tool, dict)]
    return listed if isinstance(listed, list) else []


def _sound_tool(tool: Any) -> dict[str, Any] | None:
    """Return the tool, None if it has no name or no schema that a model can call it by."""
    if not isinstance(tool, dict):
        return None
    name, schema = tool.get("name"), as_object(tool.get("inputSchema", tool.get("input_schema")))
    if not isinstance(name, str) or not name or schema is None:
        return None
    texts = {key: tool[key] for key in ("title", "description") if isinstance(tool.get(key), str)}
    annotations = tool.get("annotations")
    hints = {key: annotations.get(key) for key in HINTS} if isinstance(annotations, dict) else {}
    sound_hints = {key: hint for key, hint in hints.items() if isinstance(hint, bool)}
    return {"name": name, **texts, "inputSchema": schema, "annotations": sound_hints}


def _name(tool: Any, number: int) -> str:
    """Return a tool's name for people, or its number in the list if it has none."""
    name = tool.get("name") if isinstance(tool, dict) else None
    text = name if isinstance(name, str) else dumps(name)
    return text[:MAX_NAME] if name not in (None, "") else f"tool {number} of the list"
