"""Writes the files and recordings of messages in the form of a server, and refuses what it can't take.

`services/upstreams/providers.py` says which form each server has. docs/upstreams.md shows the table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from errors import ErrorDetail, InvalidRequest
from part_models import AudioPart, FilePart, Part
from setting_objects import WireRules

Json = Mapping[str, Any]

LEFT_OUT = "(A file was here. This model can't read it.)"


def check_parts(media: Mapping[str, Part], rules: WireRules, model: str) -> None:
    """Raise `InvalidRequest` for a part that the server of this model can't take. `media` are parts by their place."""
    for place, part in media.items():
        if fault := _fault(part, rules):
            raise InvalidRequest(details=[ErrorDetail(place, f"{model}: {fault}")])


def _fault(part: Part, rules: WireRules) -> str | None:
    match part:
        case FilePart() if rules.files == "none":
            return "the model server takes no PDF. Send its text, or use another model."
        case FilePart(url=url) if not (rules.file_urls or _is_data(url)):
            return "the model server fetches no files. Send the file as a data URL."
        case AudioPart() if rules.audio == "none":
            return "the model server takes no audio. Send its text, or use another model."
        case _:
            return None


def parts_in_form(parts: Sequence[Json], rules: WireRules) -> list[Json]:
    """Return the parts of a content in the form of the rules.

    The history of a session can have parts that this server can't take, because another model took them. A short text
    replaces them.
    """
    return [_in_form(part, rules) for part in parts]


def _in_form(part: Json, rules: WireRules) -> Json:
    match part:
        case {"type": "file", "file": file}:
            return _file(file["file_data"], file.get("filename"), rules) or _text(LEFT_OUT)
        case {"type": "input_audio", "input_audio": {"data": data}} if rules.audio == "text":
            return {"type": "input_audio", "input_audio": data}
        case {"type": "input_audio"} if rules.audio == "none":
            return _text(LEFT_OUT)
        case _:
            return part


def _file(url: str, name: str | None, rules: WireRules) -> Json | None:
    """Return a file in the server's form; None if the server can't take it."""
    if not (rules.file_urls or _is_data(url)):
        return None
    match rules.files:
        case "file":
            return {"type": "file", "file": {"file_data": url, **({"filename": name} if name else {})}}
        case "document_url":  # https://docs.mistral.ai/capabilities/document_ai/document_qna
            return {"type": "document_url", "document_url": url}
        case "file_url":  # base64 without its prefix: https://docs.perplexity.ai/guides/file-attachments
            sent = url.partition(",")[2] if _is_data(url) else url
            return {"type": "file_url", "file_url": {"url": sent}, **({"file_name": name} if name else {})}
        case "none":
            return None


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"
