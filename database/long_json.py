"""Columns of JSON that is as long as a request may be: 10 MB hold up the event loop for 100 ms if parsed in one go.

The database gives and takes such a column as UTF-8, which costs a copy. `to_json` and `of_json` translate it a piece at
a time.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from json_codec.parsing import parse
from json_codec.writing import written


class _AsBytes(FunctionElement[bytes]):
    """A column's JSON as UTF-8."""

    inherit_cache = True
    type = sa.LargeBinary()


class _OfBytes(FunctionElement[bytes]):
    """UTF-8 as the text that a column holds."""

    inherit_cache = True
    type = sa.LargeBinary()


@compiles(_AsBytes, "sqlite")
def _as_blob(element: _AsBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


@compiles(_AsBytes, "postgresql")
def _as_bytea(element: _AsBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"convert_to(CAST({compiler.process(element.clauses, **options)} AS TEXT), 'UTF8')"


@compiles(_OfBytes, "sqlite")
def _of_blob(element: _OfBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


@compiles(_OfBytes, "postgresql")
def _of_bytea(element: _OfBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(convert_from({compiler.process(element.clauses, **options)}, 'UTF8') AS JSON)"


class LongJson(UserDefinedType[bytes]):
    """JSON, or NULL, as bytes of UTF-8."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in the database."""
        return "JSON"

    def bind_expression(self, bindvalue: sa.BindParameter[bytes]) -> sa.ColumnElement[bytes]:
        """What is stored of a parameter."""
        return _OfBytes(sa.type_coerce(bindvalue, sa.LargeBinary()))

    def column_expression(self, colexpr: sa.ColumnElement[bytes]) -> sa.ColumnElement[bytes]:
        """What is read of a column."""
        return _AsBytes(colexpr)


async def to_json(value: Any) -> bytes | None:
    """A value as such a column takes it; None is NULL. Other tasks get their turns while a long one is written."""
    return None if value is None else await written(value)


async def of_json(stored: bytes | None) -> Any:
    """The value of such a column. Other tasks get their turns while a long one is parsed."""
    return None if stored is None else await parse(stored)
