"""Checks the arguments of a call against the tool's schema before the call is made.

The check helps the model, since the server checks for itself. The schema comes from the server. If it can't be used, or
if the check could take long, no errors are reported.
"""

from collections.abc import Mapping
from typing import Any

from json_schema.validation import described, errors, may_be_null


def validation_errors(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return a line for each of the first few errors in the arguments.

    There are none if the schema can't be used, or if the check could take long.
    """
    try:
        found = errors(schema, arguments)
    except (ValueError, TypeError):  # the schema is invalid, of an unknown version, or refers to another document
        return []
    return described([error for error in found if not may_be_null(error)], "the arguments")
