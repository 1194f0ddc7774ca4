"""Makes one text of an MCP tool's result, for the model: everything in the result that can be read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcp_types import CallToolResult, TextContent

from json_codec.text import dumps, loads

MAX_CHARACTERS = 4 * 1024 * 1024  # of a result; the model gets MAX_TOOL_RESULT_BYTES of them
MAX_COMPARED = 512 * 1024  # characters of a text that is parsed to see whether it repeats the structured content
DESCRIPTION = ("type", "uri", "name", "title", "description", "mimeType")
CONTENTS = ("content", "structuredContent", "structured_content")
PROTOCOL_FIELDS = frozenset(
    {"content", "structuredContent", "structured_content", "isError", "is_error", "_meta", "resultType"}
)


def text_of(result: CallToolResult) -> str:
    """Return the text of a result that `sound_result` has made."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def sound_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the result of a call to one text, in a form that the SDK accepts.

    A result of the type `input_required`, by which a server asks for something, stays unchanged.
    """
    if result.get("resultType") == "input_required":
        return dict(result)
    text = "\n".join(_parts(result))[: MAX_CHARACTERS + 1]
    return {
        "content": [{"type": "text", "text": text}],
        "isError": _is_failure(result),
        "resultType": "complete",
    }


def _is_failure(result: Mapping[str, Any]) -> bool:
    """Return whether a result says that the call failed, or has an error and no content."""
    if any(str(result.get(name)).lower() in ("true", "1") for name in ("isError", "is_error")):
        return True
    return bool(result.get("error")) and not any(result.get(name) for name in CONTENTS)


def _parts(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of each block, then the structured content unless a text repeats it.

    If there is neither, yield the fields that the protocol doesn't know. Some servers send the names of Python's
    attributes, `structured_content` and `is_error`.
    """
    content = result.get("content")
    structured = result.get("structuredContent", result.get("structured_content"))
    if content is None:
        content = []
    blocks = content if isinstance(content, list) else [content]
    texts = [_part(block) for block in blocks]
    yield from texts
    if structured is not None and not _repeats(texts, structured):
        yield dumps(structured)
    others = {key: value for key, value in result.items() if key not in PROTOCOL_FIELDS}
    if others and structured is None and not any(texts):  # such as `toolResult`, of the protocol's first version
        yield _part(others.popitem()[1] if len(others) == 1 else others)


def _part(block: Any) -> str:
    """Return a block's text, plain or embedded; a description of a binary block; JSON of any other."""
    match block:
        case {"text": str(text)} | {"resource": {"text": str(text)}} | str(text):
            return text
        case {"data": str(data)}:
            return dumps(_described(block, data))
        case {"resource": {"blob": str(data)} as resource}:
            return dumps(_described({"type": "resource", **resource}, data))
        case {"type": "resource_link"}:
            return dumps(_described(block))
        case _:
            return dumps(block)


def _described(block: Mapping[str, Any], data: str | None = None) -> dict[str, Any]:
    """Describe a block, with the size of its data in place of the data, which no model could read."""
    fields = {key: block[key] for key in DESCRIPTION if block.get(key) is not None}
    described = {"mime_type" if key == "mimeType" else key: value for key, value in fields.items()}
    return described if data is None else {**described, "base64_bytes": len(data)}


def _repeats(texts: Sequence[str], structured: Any) -> bool:
    """Return whether the texts are the structured content in JSON, which servers repeat for older clients.

    FastMCP wraps a value that isn't an object as `{"result": …}`. Its text repeats the value alone, or the items of a
    list as a text each.
    """
    is_wrapped = isinstance(structured, dict) and list(structured) == ["result"]
    value = structured["result"] if is_wrapped else structured
    parsed = [_parsed(text) for text in texts]
    return bool(parsed) and (structured in parsed or value in parsed or value in (parsed, list(texts)))


def _parsed(text: str) -> Any:
    """Return the JSON value of a text, or the text if it has none."""
    try:
        return loads(text)[0] if len(text) <= MAX_COMPARED else text
    except (ValueError, RecursionError):
        return text
