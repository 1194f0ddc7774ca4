"""The parts of a message: text, images, files and audio, as clients send them and as a session keeps them.

Chat clients write the same part in several forms. Each is converted to the one form of this service, which is stored
and shown.
"""

import re
from base64 import b64decode, b64encode
from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from closed_models import Maybe
from image_urls import ImageUrl
from tool_models import Asked

MAX_NAME = 200
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII | re.IGNORECASE)
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
CHECKED = 4096  # characters of a text in base64 that are decoded to check it
PDF = "application/pdf"
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")
AUDIO_FORMATS = {"audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav", "audio/mpeg": "mp3"}
NO_ID = "file_id is an upload at one provider: send the file as a data URL, or as an https URL"
IGNORED = frozenset(
    (
        *("annotations", "cache_control", "extras", "id", "index", "phase", "providerMetadata", "providerOptions"),
        *("source_type", "state", "tool_call_ids"),
    )
)
"""Keys of parts that only one client or provider understands, or none at all. They are dropped."""
IMAGE_TYPES = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""The types of images by the beginning of their base64."""


def media_type(url: str) -> str | None:
    """Return the media type of a data URL, or None if it has none or the URL is https."""
    found = DATA_URL.match(url)
    return found[1].lower() if found and found[1] else None


class TextPart(Asked):
    """A piece of text."""

    type: Literal["text"]
    text: str = Field(description="The text.")


class ImagePart(Asked):
    """An image: an https URL that the model server fetches, or a data URL."""

    type: Literal["image"]
    url: ImageUrl = Field(description="An https URL, or a data URL in base64.")
    detail: Maybe[Literal["auto", "low", "high"]] = Field(
        None, description="The resolution at which the model looks at the image, if the model server has a choice."
    )


class FilePart(Asked):
    """A PDF or a text: a data URL, or an https URL that the model server fetches."""

    type: Literal["file"]
    url: ImageUrl = Field(description="An https URL, or a data URL in base64.")
    name: Maybe[Annotated[str, Field(max_length=MAX_NAME)]] = Field(None, description="The name of the file.")

    @model_validator(mode="after")
    def readable(self) -> Self:
        """Refuse a type that no model reads, and a text that isn't UTF-8 in base64."""
        found = DATA_URL.match(self.url)
        if found and media_type(self.url) != PDF and not self.is_text:
            raise ValueError("the file is neither a PDF nor a text: its data URL begins with data:application/pdf")
        if found and self.is_text and not (found[3] and _is_base64_of_text(self.url[found.end() :])):
            raise ValueError("the file is not a UTF-8 text in base64")
        return self

    @property
    def is_text(self) -> bool:
        """Whether the file is a text in a data URL, which every model can read."""
        kind = media_type(self.url)
        return kind is not None and kind.startswith(TEXT_TYPES)

    def text(self) -> str:
        """Return the text of a text file. Decoding takes 4 ms for each megabyte."""
        return b64decode(self.url.partition(",")[2]).decode("utf-8", "replace")


def _is_base64_of_text(data: str) -> bool:
    """Return whether this is base64, and its beginning UTF-8. Decoding all of it would block the event loop."""
    written = data.rstrip("=")
    if len(data) % 4 or len(data) - len(written) > 2 or written.encode().translate(None, BASE64):
        return False
    try:
        getincrementaldecoder("utf-8")().decode(b64decode(data[:CHECKED]))
    except UnicodeDecodeError:
        return False
    return True


class AudioPart(Asked):
    """Recorded sound, as a data URL in base64."""

    type: Literal["audio"]
    url: ImageUrl = Field(description="A data URL in base64, such as `data:audio/wav;base64,…`.")

    @model_validator(mode="after")
    def audible(self) -> Self:
        """Refuse anything but sound in a data URL: no server fetches audio from a URL."""
        found = DATA_URL.match(self.url)
        if not (found and found[3] and (media_type(self.url) or "").startswith("audio/")):
            raise ValueError("send audio as a data URL in base64, such as data:audio/wav;base64,…")
        return self

    @property
    def format(self) -> str:
        """The format by its short name, such as `wav` or `mp3`."""
        kind = media_type(self.url) or ""
        return AUDIO_FORMATS.get(kind, kind.removeprefix("audio/"))


def _native(part: Any) -> Any:
    """Convert a part from the forms of OpenAI, the AI SDK and LangChain."""
    if not isinstance(part, dict):
        return part
    part = {key: value for key, value in part.items() if key not in IGNORED}
    match part:
        case {"type": "input_text" | "output_text", "text": text}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": text}:
            return {"type": "text", "text": text}
        case {"type": "image_url" | "input_image", "image_url": {"url": url, **options}}:
            return _image(url, options)
        case {"type": "image_url" | "input_image", "image_url": url, **options}:
            return _image(url, options)
        case {"type": "document", "source": {"type": "text", "data": str(text)}, **document}:
            return _with_name({"type": "file", "url": _text_url(text)}, document.get("title"))
        case {"type": "image" | "document" as kind, "source": dict(source)}:
            return _media("image" if kind == "image" else "file", source | {"filename": part.get("title")})
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)}}:
            return {"type": "audio", "url": _data_url(f"audio/{kind}", data)}
        case {"type": "file", "file": dict(file)} | {"type": "input_file", **file}:
            return _file(file)
        case {"type": "file" | "image" | "audio" as kind, **media} if (
            "url" not in media or _media_type(media) or "filename" in media
        ):
            return _media(kind, media)
        case _:
            return part


def _image(url: Any, options: Mapping[Any, Any]) -> dict[str, Any]:
    detail = options.get("detail")
    return {"type": "image", "url": url, **({"detail": detail} if detail else {})}


def _file(file: Mapping[Any, Any]) -> dict[str, Any]:
    url = file.get("file_data") or file.get("file_url")
    if url is None and file.get("file_id"):
        raise ValueError(NO_ID)
    name = file.get("filename")
    if isinstance(url, str) and not _is_url(url):
        url = _data_url(_type_of_name(name), url)
    return _with_name({"type": "file", "url": url}, name)


def _media(kind: str, media: Mapping[Any, Any]) -> dict[str, Any]:
    """Convert a part with a media type, in the forms of the AI SDK and LangChain. The type decides its kind."""
    url = media.get("url") or media.get("base64") or media.get("data") or media.get("image")
    if url is None and media.get("file_id"):
        raise ValueError(NO_ID)
    named = _media_type(media)
    if isinstance(url, str) and not _is_url(url):
        named = named or (_type_of_image(url) if kind == "image" else None)
        url = _data_url(named or "application/octet-stream", url)
    general = (named or "").partition("/")[0]
    kind = general if general in {"image", "audio"} else kind
    part = {"type": kind, "url": url}
    return _with_name(part, media.get("filename") or media.get("name")) if kind == "file" else part


def _media_type(media: Mapping[Any, Any]) -> str | None:
    given = (media.get(name) for name in ("mediaType", "media_type", "mime_type", "mimeType"))
    return next((value for value in given if value and isinstance(value, str)), None)


def _is_url(data: str) -> bool:
    return data[:5].lower().startswith(("data:", "http"))


def _type_of_image(data: str) -> str | None:
    return next((kind for beginning, kind in IMAGE_TYPES.items() if data.startswith(beginning)), None)


def _with_name(part: dict[str, Any], name: Any) -> dict[str, Any]:
    return part | {"name": name} if name else part


def _type_of_name(name: Any) -> str:
    return "text/plain" if isinstance(name, str) and name.lower().endswith((".txt", ".md", ".csv")) else PDF


def _text_url(text: str) -> str:
    return _data_url("text/plain", b64encode(text.encode("utf-8", "replace")).decode())


def _data_url(kind: str, data: str) -> str:
    return f"data:{kind};base64,{data}"


Part = Annotated[
    Annotated[TextPart | ImagePart | FilePart | AudioPart, Field(discriminator="type")], BeforeValidator(_native)
]
Content = str | Annotated[list[Part], Field(min_length=1, max_length=1000, fail_fast=True)]


def has_words(text: str) -> bool:
    """Return whether a text is more than white space. `strip` would copy a long one, which takes 20 ms for 10 MB."""
    return bool(text) and not text.isspace()


def texts_in(content: Content) -> list[str]:
    """Return the texts of a content."""
    if isinstance(content, str):
        return [content]
    return [part.text for part in content if isinstance(part, TextPart)]


def not_blank(content: Content) -> Content:
    """Refuse text that is only white space, as the servers of Anthropic, Bedrock and vLLM do."""
    if not all(map(has_words, texts_in(content))):
        raise ValueError("the text is empty: write some, or leave out this part or message")
    return content
