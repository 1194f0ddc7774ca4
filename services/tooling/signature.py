"""A function's signature as a JSON schema for models, and their arguments as what the function is called with."""

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
from services.tooling.argument_errors import told_faults
from services.tooling.base import InvalidArguments, ToolContext
from services.tooling.decorator import ToolsInvalid, place
from services.tooling.wrappers import parameters_of

logger = logging.getLogger(__name__)

SECTION = re.compile(r"(\n)((?:Args|Arguments|Params|Parameters|Returns|Raises|Yields|Keyword Args):\n[ \t])")
NO_SCHEMA = (PydanticUserError, SchemaError, NameError, TypeError, ValueError, ImportError)
"""What pydantic raises for hints; the last one where a hint needs another package, as `EmailStr` does."""


class Signature:
    """What a function takes. `parameters` is the JSON schema of its arguments, `description` its docstring's text.

    Raise `ToolsInvalid` where the type hints give no schema.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._place = place(function)
        self._defaults = {name: parameter.default for name, parameter in parameters_of(function).items()}
        hints = self._hints(function)
        self.context_names = [name for name, hint in hints.items() if _plain(hint) is ToolContext]
        self._taken = {name: hint for name, hint in hints.items() if name not in self.context_names}
        self.description, documented = _documented(inspect.getdoc(function) or "")
        try:
            self._model = self._arguments()
            schema = self._model.model_json_schema(schema_generator=_Schema)
            if "properties" not in schema:  # the model of the arguments is within itself
                raise TypeError("Self is of a class, not for parameters")
            dumps(_untitled(schema))
        except NO_SCHEMA as error:
            raise ToolsInvalid(f"{self._place}: {self._culprit()} has no JSON schema: {_first_line(error)}") from error
        for name, property_schema in schema["properties"].items():
            if name in documented:
                property_schema.setdefault("description", documented[name])
        self.parameters: Mapping[str, Any] = schema

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is to be called with. Raise `InvalidArguments`, with a message that a model can act on."""
        try:
            text = mend_text(dumps(arguments))
        except (TypeError, ValueError, RecursionError):
            raise InvalidArguments("The arguments are not JSON.") from None
        try:
            values = self._model.model_validate_json(text)
        except ValidationError as error:
            raise InvalidArguments(told_faults(error, arguments, self.parameters)) from None
        except Exception as error:  # of a validator of the tool's own
            logger.exception("the arguments of %s could not be checked", self._place)
            raise InvalidArguments(f"The arguments could not be checked: {type(error).__name__}.") from error
        return {
            name: getattr(values, field)
            for field, name in self._names.items()
            if field in values.model_fields_set or not self._has_default(name)
        }

    def _hints(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The type hint of each parameter."""
        try:
            hints = get_type_hints(inspect.unwrap(function), include_extras=True)
        except Exception as error:
            raise ToolsInvalid(
                f"{self._place}: a type hint can't be resolved: {_first_line(error)}"
                " (what hints name has to be there when the module runs, not only below `if TYPE_CHECKING`)"
            ) from error
        for name in self._defaults:
            if name not in hints:
                raise ToolsInvalid(f"{self._place}: {name} needs a type hint, for its schema; Any takes every value")
            if _plain(hints[name]) is not ToolContext and ToolContext in get_args(_plain(hints[name])):
                raise ToolsInvalid(f"{self._place}: {name} is always given: its type hint is ToolContext alone")
        return {name: hints[name] for name in self._defaults}

    def _arguments(self) -> type[BaseModel]:
        """A model of the arguments. Its own names are p0, p1 …, so that any name will do for an argument."""
        self._names = {f"p{n}": name for n, name in enumerate(self._taken)}
        fields: dict[str, Any] = {}
        for field, name in self._names.items():
            given = {"default": self._defaults[name]} if self._has_default(name) else {}
            extra = Field(alias=name, validation_alias=name, serialization_alias=name, **given)
            default = self._defaults[name]
            hint = Annotated[self._taken[name], default] if isinstance(default, FieldInfo) else self._taken[name]
            fields[field] = (hint, extra)
        model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
        if len(model.model_fields) < len(fields):
            raise TypeError("ClassVar and Final are not for parameters")
        return model

    def _has_default(self, name: str) -> bool:
        """Whether the function itself knows what to do without the argument."""
        default = self._defaults[name]
        return default is not inspect.Parameter.empty and not isinstance(default, FieldInfo)

    def _culprit(self) -> str:
        """The parameter whose type hint is at fault."""
        for name, hint in self._taken.items():
            try:
                TypeAdapter(hint).json_schema()
            except NO_SCHEMA:
                return f"the type hint of {name}"
        return "the signature"


class _Schema(GenerateJsonSchema):
    """Without the titles that pydantic makes of the arguments' names, which models read anyway."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - pydantic's own type

    def field_title_should_be_set(self, schema: Any) -> bool:
        """None of ours."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """A default is left out of the schema where that could not hold it, as NaN."""
        encoded = super().encode_default(dft)
        try:
            dumps(encoded)
        except (TypeError, ValueError) as error:
            raise PydanticSerializationError(str(error)) from error
        return encoded


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the titles that only repeat the name of a class."""
    del schema["title"]
    for name, definition in schema.get("$defs", {}).items():
        if "title" in definition and name.endswith(re.sub(r"\W", "_", definition["title"])):
            del definition["title"]
    return schema


def _plain(hint: Any) -> Any:
    """A type hint without what `Annotated` adds."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _documented(docstring: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring before its sections, and what it says of each parameter. In three styles."""
    styles = griffe.PerStyleOptions(
        google=griffe.GoogleOptions(warnings=False),
        numpy=griffe.NumpyOptions(warnings=False),
        sphinx=griffe.SphinxOptions(warnings=False),
    )
    apart = SECTION.sub(r"\1\n\2", docstring)  # a section's head counts below a blank line only
    below_a_line = f"\n\n{apart}"  # the first line has no indentation to go by
    sections = griffe.Docstring(below_a_line).parse("auto", default="google", per_style_options=styles)
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
