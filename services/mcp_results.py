"""What an MCP tool gave, as the text that a model reads."""

from typing import Any

from mcp_types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from services.json_text import dumps


def text_of(result: CallToolResult) -> str:
    """Text as it is; what else there is as JSON that describes it; structured content where there is no text."""
    parts = [_part(block) for block in result.content]
    texts = any(isinstance(block, TextContent) for block in result.content)
    if result.structured_content is not None and not texts:
        parts.insert(0, dumps(result.structured_content))
    return "\n".join(parts)


def _part(block: Any) -> str:
    match block:
        case TextContent(text=text) | EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case ImageContent() | AudioContent():
            return dumps({"type": block.type, "mime_type": block.mime_type, "base64_bytes": len(block.data)})
        case EmbeddedResource(resource=blob):
            size = len(getattr(blob, "blob", ""))
            return dumps({"type": "resource", "uri": str(blob.uri), "mime_type": blob.mime_type, "base64_bytes": size})
        case ResourceLink():
            told = {"name": block.name, "description": block.description, "mime_type": block.mime_type}
            known = {name: value for name, value in told.items() if value is not None}
            return dumps({"type": "resource_link", "uri": str(block.uri), **known})
        case _:
            return dumps({"type": str(getattr(block, "type", "unknown"))})
