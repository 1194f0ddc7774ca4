"""Validates the URL of an image in a request: https, or the image itself as a data URL."""

from typing import Annotated

from pydantic import AfterValidator, AnyUrl, TypeAdapter, UrlConstraints, ValidationError, WithJsonSchema

IMAGE_URL = TypeAdapter(Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https", "data"])])
MAX_IMAGE_URL = 4096  # characters, and a quarter of that with others than ASCII: parsing 1,000 such URLs takes 50 ms
BLANKS = "\t\r\n"  # URL parsers remove these; encoders of base64 wrap lines with them


def _image_url(url: str) -> str:
    """Return the URL to send to the model server. A data URL is not parsed: 10 MB would take 200 ms."""
    if url[:5].lower() != "data:":
        if len(url) * (1 if url.isascii() else 4) > MAX_IMAGE_URL:
            raise ValueError("the URL is too long: send a shorter one, or the image as a data URL")
        try:
            return str(IMAGE_URL.validate_python(url))
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None
    if not url.isascii():
        raise ValueError("a data URL must be ASCII: encode the image in base64")
    for blank in BLANKS:
        url = url.replace(blank, "")
    return url


ImageUrl = Annotated[
    str, AfterValidator(_image_url), WithJsonSchema({"type": "string", "format": "uri", "minLength": 1})
]
