"""Makes a JSON schema of a function's signature, and converts a model's arguments to the function's types."""

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import griffe
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, SchemaError

from json_codec.text import dumps, mend_text
from services.tooling.argument_errors import describe_errors
from services.tooling.base import InvalidArguments, ToolContext
from services.tooling.decorator import ToolsInvalid, source_location
from services.tooling.wrappers import parameters_of

logger = logging.getLogger(__name__)

SECTION = re.compile(r"(\n)((?:Args|Arguments|Params|Parameters|Returns|Raises|Yields|Keyword Args):\n[ \t])")
NO_SCHEMA = (PydanticUserError, SchemaError, NameError, TypeError, ValueError, ImportError)
"""The exceptions that pydantic raises for type hints.

ImportError is for a hint that needs another package, as `EmailStr` does.
"""


class Signature:
    """A function's arguments. `parameters` is their JSON schema, `description` the text of the docstring.

    Raises `ToolsInvalid` for type hints without a schema.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._location = source_location(function)
        self._defaults = {name: parameter.default for name, parameter in parameters_of(function).items()}
        hints = self._hints(function)
        self.context_names = [name for name, hint in hints.items() if _plain(hint) is ToolContext]
        self._argument_hints = {name: hint for name, hint in hints.items() if name not in self.context_names}
        self.description, documented = _documented(inspect.getdoc(function) or "")
        try:
            self._model = self._arguments()
            schema = self._model.model_json_schema(schema_generator=_Schema)
            if "properties" not in schema:  # the arguments refer to their own model
                raise TypeError("Self belongs into a class, not into parameters")
            dumps(_untitled(schema))
        except NO_SCHEMA as error:
            raise ToolsInvalid(
                f"{self._location}: {self._culprit()} has no JSON schema: {_first_line(error)}"
            ) from error
        for name, property_schema in schema["properties"].items():
            if name in documented:
                property_schema.setdefault("description", documented[name])
        self.parameters: Mapping[str, Any] = schema

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a model's arguments to the function's types. Raise `InvalidArguments`, to be read by the model."""
        try:
            text = mend_text(dumps(arguments))
        except (TypeError, ValueError, RecursionError):
            raise InvalidArguments("The arguments are not JSON.") from None
        try:
            values = self._model.model_validate_json(text)
        except ValidationError as error:
            raise InvalidArguments(describe_errors(error, arguments, self.parameters)) from None
        except Exception as error:  # a validator of the tool's own can raise anything
            logger.exception("the arguments of %s could not be checked", self._location)
            raise InvalidArguments(f"The arguments could not be checked: {type(error).__name__}.") from error
        return {
            name: getattr(values, field)
            for field, name in self._names.items()
            if field in values.model_fields_set or not self._has_default(name)
        }

    def _hints(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the type hint of each parameter. Raise `ToolsInvalid` for a missing or unresolvable one."""
        try:
            hints = get_type_hints(inspect.unwrap(function), include_extras=True)
        except Exception as error:
            raise ToolsInvalid(
                f"{self._location}: a type hint can't be resolved: {_first_line(error)}"
                " (import its names when the module runs, not only below `if TYPE_CHECKING`)"
            ) from error
        for name in self._defaults:
            if name not in hints:
                raise ToolsInvalid(
                    f"{self._location}: {name} needs a type hint, for its schema; Any accepts every value"
                )
            if _plain(hints[name]) is not ToolContext and ToolContext in get_args(_plain(hints[name])):
                raise ToolsInvalid(
                    f"{self._location}: {name} is never missing: its type hint has to be ToolContext alone"
                )
        return {name: hints[name] for name in self._defaults}

    def _arguments(self) -> type[BaseModel]:
        """Make a model of the arguments.

        Its fields are p0, p1 …, with the arguments' names as aliases, because pydantic doesn't allow every name.
        """
        self._names = {f"p{n}": name for n, name in enumerate(self._argument_hints)}
        fields: dict[str, Any] = {}
        for field, name in self._names.items():
            default, hint = self._defaults[name], self._argument_hints[name]
            if isinstance(default, FieldInfo):
                hint = Annotated[hint, default]
            options = {"default": default} if self._has_default(name) else {}
            fields[field] = (hint, Field(alias=name, validation_alias=name, serialization_alias=name, **options))
        model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
        if len(model.model_fields) < len(fields):
            raise TypeError("ClassVar and Final don't belong into parameters")
        return model

    def _has_default(self, name: str) -> bool:
        """Return whether the function itself has a default. One in a pydantic `Field` is the schema's instead."""
        default = self._defaults[name]
        return default is not inspect.Parameter.empty and not isinstance(default, FieldInfo)

    def _culprit(self) -> str:
        """Return the parameter whose type hint has no schema."""
        for name, hint in self._argument_hints.items():
            try:
                TypeAdapter(hint).json_schema()
            except NO_SCHEMA:
                return f"the type hint of {name}"
        return "the signature"


class _Schema(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the arguments' names, which are tokens without information."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - pydantic's own type

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never add a title to an argument."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """Leave a default out of the schema if JSON can't hold it, such as NaN."""
        encoded = super().encode_default(dft)
        try:
            dumps(encoded)
        except (TypeError, ValueError) as error:
            raise PydanticSerializationError(str(error)) from error
        return encoded


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove the titles that only repeat the name of a class."""
    del schema["title"]
    for name, definition in schema.get("$defs", {}).items():
        if "title" in definition and name.endswith(re.sub(r"\W", "_", definition["title"])):
            del definition["title"]
    return schema


def _plain(hint: Any) -> Any:
    """Return a type hint without its `Annotated`."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _documented(docstring: str) -> tuple[str, dict[str, str]]:
    """Return a docstring's text before its sections, and its description of each parameter.

    Understands the styles of Google, NumPy and Sphinx.
    """
    styles = griffe.PerStyleOptions(
        google=griffe.GoogleOptions(warnings=False),
        numpy=griffe.NumpyOptions(warnings=False),
        sphinx=griffe.SphinxOptions(warnings=False),
    )
    separated = SECTION.sub(r"\1\n\2", docstring)  # griffe wants a blank line above a section's head
    indented = f"\n\n{separated}"  # and would take the indentation from the first line, which has none
    sections = griffe.Docstring(indented).parse("auto", default="google", per_style_options=styles)
    texts: list[str] = []
    for section in sections:
        match section:
            case griffe.DocstringSectionText(value=text):
                texts.append(text)
            case griffe.DocstringSectionAdmonition(title=title, value=note):
                texts.append(f"{title}:\n{note.contents}")
            case _:
                break
    parameters = [p for s in sections if isinstance(s, griffe.DocstringSectionParameters) for p in s.value]
    return "\n\n".join(texts).strip(), {p.name: " ".join(p.description.split()) for p in parameters if p.description}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
