"""The URL of an image in a request: https, or the image itself as a data URL."""

from typing import Annotated

from pydantic import AfterValidator, AnyUrl, TypeAdapter, UrlConstraints, ValidationError, WithJsonSchema

IMAGE_URL = TypeAdapter(Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https", "data"])])
MAX_IMAGE_URL = 4096  # characters; a quarter of it where they aren't all ASCII. A thousand take 50 ms to parse
BLANKS = "\t\r\n"  # which a URL may be folded with, and loses


def _image_url(url: str) -> str:
    """The URL as the model's server gets it. A data URL isn't parsed, which takes 200 ms for 10 MB."""
    if url[:5].lower() != "data:":
        if len(url) * (1 if url.isascii() else 4) > MAX_IMAGE_URL:
            raise ValueError("the URL has too many characters: send a shorter one, or the image as a data URL")
        try:
            return str(IMAGE_URL.validate_python(url))
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None
    if not url.isascii():
        raise ValueError("a data URL is ASCII: encode the image in base64")
    for blank in BLANKS:
        url = url.replace(blank, "")
    return url


ImageUrl = Annotated[
    str, AfterValidator(_image_url), WithJsonSchema({"type": "string", "format": "uri", "minLength": 1})
]
