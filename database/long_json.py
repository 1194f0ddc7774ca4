"""A column type for JSON as long as a request may be.

Parsing 10 MB in one go blocks the event loop for 100 ms. So the driver reads and writes such a column as UTF-8 bytes,
which costs a copy, and `to_json` and `of_json` translate them a piece at a time.
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
    """SQL: a column's JSON as UTF-8 bytes."""

    inherit_cache = True
    type = sa.LargeBinary()


class _OfBytes(FunctionElement[bytes]):
    """SQL: UTF-8 bytes as the type that the column holds."""

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
    """JSON or NULL, read and written as UTF-8 bytes."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in the database."""
        return "JSON"

    def bind_expression(self, bindvalue: sa.BindParameter[bytes]) -> sa.ColumnElement[bytes]:
        """Wrap a parameter, so that its bytes are stored as JSON."""
        return _OfBytes(sa.type_coerce(bindvalue, sa.LargeBinary()))

    def column_expression(self, colexpr: sa.ColumnElement[bytes]) -> sa.ColumnElement[bytes]:
        """Wrap a column, so that its JSON is read as bytes."""
        return _AsBytes(colexpr)


async def to_json(value: Any) -> bytes | None:
    """Encode a value for such a column; None is NULL. Other tasks get turns while a long value is written."""
    return None if value is None else await written(value)


async def of_json(stored: bytes | None) -> Any:
    """Decode the value of such a column. Other tasks get turns while a long value is parsed."""
    return None if stored is None else await parse(stored)
