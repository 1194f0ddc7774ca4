"""Makes warnings of the MCP servers that the model server could not use."""

import re
from collections.abc import Container, Mapping

from event_data import RunWarning, WarningCode

SLUG = re.compile(r"[\w-]{1,100}/[\w.-]{1,100}", re.ASCII)
MAX_ADVICE = 300  # characters
MAX_WORD = 24  # characters
SAFE_WORD = re.compile(r"""[("']?(?:[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\W_]{1,8}|\d{1,4}\.\d{1,3})[)"'.,;:!?]*""")
"""A word without the characters of URLs, paths, addresses and settings, and too short to be a key."""


def failure_warning(name: str, advice: str, hosted: Container[str]) -> RunWarning:
    """Return the warning about a server. `advice` is the recommendation of the model server, which may be unsafe."""
    server = name if name in hosted and SLUG.fullmatch(name) else "An MCP server of the request"
    message = f"{server} could not be used. The model server reported an error."
    return RunWarning(
        code=WarningCode.MCP_SERVER_UNAVAILABLE, message=f"{message} {advice.strip()}" if is_safe(advice) else message
    )


def failure_warnings(errors: Mapping[str, str], hosted: Container[str]) -> list[RunWarning]:
    """Return a warning for each server, by the recommendations that belong to their names. Equal ones come once."""
    return list(dict.fromkeys(failure_warning(name, advice, hosted) for name, advice in errors.items()))


def is_safe(advice: str) -> bool:
    """Return whether a text is plain words: without a URL, a path, an address or anything that could be a key."""
    words = advice.split()
    is_short = len(words) > 0 and len(advice) <= MAX_ADVICE and all(len(word) <= MAX_WORD for word in words)
    return is_short and all(SAFE_WORD.fullmatch(word) for word in words)
