"""What an MCP tool gave, as the text that a model reads: everything in it that can be read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcp_types import CallToolResult, TextContent

from json_codec.text import dumps, loads

MAX_CHARACTERS = 4 * 1024 * 1024  # of a result; a model gets less of it
MAX_COMPARED = 512 * 1024  # characters of a text; a longer one isn't parsed to see what it repeats
ABOUT = ("type", "uri", "name", "title", "description", "mimeType")
GIVES = ("content", "structuredContent", "structured_content")
OF_THE_PROTOCOL = frozenset(
    {"content", "structuredContent", "structured_content", "isError", "is_error", "_meta", "resultType"}
)


def text_of(result: CallToolResult) -> str:
    """The text of a result that `sound_result` has made."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def sound_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a call with all that it says in one text, which the SDK takes whatever it was.

    An `input_required` result, by which a server asks something, stays as it is.
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
    """Whether a result says that the call failed, or says nothing but an error."""
    if any(str(result.get(name)).lower() in ("true", "1") for name in ("isError", "is_error")):
        return True
    return bool(result.get("error")) and not any(result.get(name) for name in GIVES)


def _parts(result: Mapping[str, Any]) -> Iterator[str]:
    """Each block's text; then the structured content, unless a text says the same; else whatever there is.

    Servers that write Python's names on the wire send `structured_content` and `is_error`.
    """
    content = result.get("content")
    structured = result.get("structuredContent", result.get("structured_content"))
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    texts = [_part(block) for block in blocks]
    yield from texts
    if structured is not None and not _says(texts, structured):
        yield dumps(structured)
    rest = {key: value for key, value in result.items() if key not in OF_THE_PROTOCOL}
    if rest and structured is None and not any(texts):  # such as `toolResult`, of the protocol's first version
        yield _part(rest.popitem()[1] if len(rest) == 1 else rest)


def _part(block: Any) -> str:
    """Text as it is, an embedded text likewise, a description of what is binary, and anything else as JSON."""
    match block:
        case {"text": str(text)} | {"resource": {"text": str(text)}} | str(text):
            return text
        case {"data": str(data)}:
            return dumps(_about(block, data))
        case {"resource": {"blob": str(data)} as resource}:
            return dumps(_about({"type": "resource", **resource}, data))
        case {"type": "resource_link"}:
            return dumps(_about(block))
        case _:
            return dumps(block)


def _about(block: Mapping[str, Any], data: str | None = None) -> dict[str, Any]:
    """What is known of a block, and how large its data are, which no model could read."""
    known = {"mime_type" if key == "mimeType" else key: block[key] for key in ABOUT if block.get(key) is not None}
    return known if data is None else {**known, "base64_bytes": len(data)}


def _says(texts: Sequence[str], structured: Any) -> bool:
    """Whether the texts are the structured content in JSON, as servers repeat it for older clients.

    FastMCP wraps what isn't an object as `{"result": …}`, and repeats it without, a list item by item.
    """
    wrapped = structured["result"] if isinstance(structured, dict) and list(structured) == ["result"] else structured
    said = [_parsed(text) for text in texts]
    return bool(said) and (structured in said or wrapped in said or wrapped in (said, list(texts)))


def _parsed(text: str) -> Any:
    """The JSON value of a text, or the text."""
    try:
        return loads(text)[0] if len(text) <= MAX_COMPARED else text
    except (ValueError, RecursionError):
        return text
