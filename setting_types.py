"""The types of settings: how each is read from its text, and what it has to be."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr, TypeAdapter
from pydantic_settings import NoDecode

Seconds = Annotated[float, Field(gt=0)]
OFF = Path("off")  # the value of EMBEDDED_MODEL=off
SECRET_QUERY = re.compile(r"key|token|secret|password|signature|^sig$", re.IGNORECASE)


def split_commas(value: object) -> object:
    """Split `a, b` into (a, b). In code, the value itself is accepted."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
"""Names of code, separated by commas."""
CommaSeparatedLower = Annotated[CommaSeparated, BeforeValidator(_lower_case)]
"""The same in lower case, in which browsers send host names and in which patterns of models are compared."""
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower_case)]


def json_such_as(example: str) -> BeforeValidator:
    """Return a validator that parses JSON. Its error message shows the example. In code, the value is accepted."""

    def read(value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"the value is not JSON such as {example}") from None

    return BeforeValidator(read)


def _plain_key(value: object) -> object:
    """Strip white space. Refuse characters that no header can have, such as typographic quotation marks."""
    if not isinstance(value, str):
        return value
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a key has only ASCII letters, digits and signs: copy it again")
    return value


SecretKey = Annotated[SecretStr, BeforeValidator(_plain_key)]
"""A key that is sent as a header."""


def _with_scheme(value: object) -> object:
    """Require http or https: `localhost:11434` would be a URL of the scheme localhost."""
    if isinstance(value, str) and not re.match(r"\s*https?://", value, re.IGNORECASE):
        raise ValueError("the URL must begin with 'http' or 'https', such as http://localhost:11434")
    return value


def _plain_address(value: HttpUrl) -> HttpUrl:
    """Refuse what would be lost when a path is appended (a fragment), and credentials."""
    secret = any(SECRET_QUERY.search(name) for name, _ in value.query_params())
    if value.username or value.password or value.fragment or secret:
        raise ValueError("the URL must not contain a user, a # or keys: set the key as DEDALUS_API_KEY")
    return value


def _whole_azure_address(value: HttpUrl) -> HttpUrl:
    """Require a deployment in Azure's URL if it has a dated api-version."""
    dated = re.search(r"api-version=\d", value.query or "")
    if dated and re.fullmatch(r"/?(openai/?)?", value.path or ""):
        raise ValueError("with ?api-version=, the path must end in /openai/deployments/ and the name of the deployment")
    return value


PlainUrl = Annotated[HttpUrl, AfterValidator(_plain_address)]
BaseUrl = Annotated[PlainUrl, BeforeValidator(_with_scheme), AfterValidator(_whole_azure_address)]
"""The URL of a model server, to which paths are appended."""


def _url_or_nothing(value: str) -> str:
    if value:
        TypeAdapter(HttpUrl).validate_python(value)
    return value


OptionalUrl = Annotated[str, AfterValidator(_url_or_nothing)]
"""A URL, or an empty text, which turns off what it is for."""


def _known_event_log(value: str) -> str:
    """Require a backend that this version has."""
    if value != "memory://" and not value.startswith("file:///"):
        raise ValueError("set memory:// or file:///an/absolute/path")
    return value


def _known_database(value: str) -> str:
    """Require a database that this version has a driver for."""
    if not re.fullmatch(r"sqlite\+aiosqlite://(/.*)?", value):
        raise ValueError("set sqlite+aiosqlite:////an/absolute/path.db")
    return value


EventLogUrl = Annotated[str, AfterValidator(_known_event_log)]
DatabaseUrl = Annotated[str, AfterValidator(_known_database)]


def _gguf_file(value: Path) -> Path:
    """Require `off` or a GGUF file, known by its first bytes."""
    if str(value).lower() == str(OFF):
        return OFF
    value = value.expanduser().absolute()
    try:
        with value.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ValueError(f"the file can't be read ({error.strerror}): set the path of a GGUF file, or off") from None
    if magic != b"GGUF":
        raise ValueError("the file is not a model in the GGUF format")
    return value


ModelFile = Annotated[Path, AfterValidator(_gguf_file)]
"""The file of a model, or `OFF`."""


def _function_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise ValueError("name a function as module:function, such as my_project.checks:no_secrets")
    return value


FunctionName = Annotated[str, AfterValidator(_function_name)]
"""The place of a function of the operator's: its module and its name."""
