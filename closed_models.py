"""Defines what all models of the contract are built of: closed models, optional keys and amounts of money."""

from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, WithJsonSchema


def without_null(schema: dict[str, Any]) -> None:
    """Change a published schema so that an optional key may be absent, but not null."""
    for name, shape in schema.get("properties", {}).items():
        options = shape.get("anyOf", [])
        not_null = [option for option in options if option != {"type": "null"}]
        if name in schema.get("required", ()) or not_null == options:
            continue
        shape.pop("default", None)
        shape["anyOf"] = not_null
        if len(not_null) == 1:
            shape.update(shape.pop("anyOf")[0])


def with_examples(*examples: dict[str, JsonValue]) -> ConfigDict:
    """Return the configuration of a model whose published schema has these examples."""

    def publish(schema: dict[str, Any]) -> None:
        without_null(schema)
        schema["examples"] = list(examples)

    return ConfigDict(json_schema_extra=publish)


class Closed(BaseModel):
    """A frozen model that refuses unknown keys. Its errors don't quote the input, which a traceback would show."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=without_null)


T = TypeVar("T")
Maybe = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""An optional key. It is omitted if it is None."""

ABSENT = object()
"""The value of `data` if there is none. None would mean null, which a schema may allow."""
Data = Annotated[Any, Field(exclude_if=lambda value: value is ABSENT, description="Any JSON value.")]
"""An optional key with any JSON value. It is omitted if it is `ABSENT`."""

Dollars = Annotated[
    Decimal,
    Field(ge=0, allow_inf_nan=False),
    PlainSerializer(float, return_type=float, when_used="always"),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
"""An amount in US dollars: exact in this process, and a number where it is written."""
