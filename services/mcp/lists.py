"""A server's list of tools as the SDK takes it: one bad tool costs itself, and not the list.

The SDK checks a page of `tools/list` as a whole, and refuses all of it for one tool (hermes-agent#101804).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mcp import Client
from mcp_types import Tool

from json_codec.text import dumps
from services.mcp.schemas import as_object

LEFT_OUT = "agent-stream/left-out"  # in a page's `_meta`: the names of what was left out of it
MAX_NAME = 128  # characters; the protocol's own limit
MAX_PAGES = 50
MAX_TOOLS = 1000
MAX_LIST_BYTES = 4 * 1024 * 1024
NOT_KEPT = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What the newest version of the protocol has in a page as well; this service keeps a list as it sees fit."""
HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


class Listing(NamedTuple):
    """A server's tools, and the names of those that can't be offered to a model."""

    tools: list[Tool]
    left_out: list[str]


async def all_tools(client: Client) -> Listing:
    """All pages of a server's list. Raise `RuntimeError` where they are too large together, or what the SDK raises."""
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
    """The page with the tools that can be offered to a model, and the names of the others in its `_meta`.

    Of a tool what this service uses is kept: its name, title, description, input schema and hints. An empty cursor
    is no cursor.
    """
    cursor = page.get("nextCursor")
    tools, left_out = [], []
    for place, tool in enumerate(_listed(page)):
        if (sound := _sound_tool(tool)) is not None:
            tools.append(sound)
        else:
            left_out.append(_name(tool, place))
    more = {"nextCursor": cursor} if cursor and isinstance(cursor, str) else {}
    return {**more, "tools": tools, "_meta": {LEFT_OUT: left_out}, **NOT_KEPT}


def _listed(page: Mapping[str, Any]) -> list[Any]:
    """What a page lists; also where the result is the list itself, and where tools are keyed by their names."""
    listed = page.get("tools", page.get("content"))
    if isinstance(listed, dict):
        return [{"name": name, **tool} for name, tool in listed.items() if isinstance(tool, dict)]
    return listed if isinstance(listed, list) else []


def _sound_tool(tool: Any) -> dict[str, Any] | None:
    """The tool; None for one that no model could call, or that couldn't be called by its name."""
    if not isinstance(tool, dict):
        return None
    name, schema = tool.get("name"), as_object(tool.get("inputSchema", tool.get("input_schema")))
    if not isinstance(name, str) or not name or schema is None:
        return None
    texts = {key: tool[key] for key in ("title", "description") if isinstance(tool.get(key), str)}
    given = tool.get("annotations")
    hints = {key: given.get(key) for key in HINTS} if isinstance(given, dict) else {}
    annotations = {key: hint for key, hint in hints.items() if isinstance(hint, bool)}
    return {"name": name, **texts, "inputSchema": schema, "annotations": annotations}


def _name(tool: Any, place: int) -> str:
    """The name of a tool for people: its own if it has one."""
    name = tool.get("name") if isinstance(tool, dict) else None
    text = name if isinstance(name, str) else dumps(name)
    return text[:MAX_NAME] if name not in (None, "") else f"tool {place + 1} of the list"
