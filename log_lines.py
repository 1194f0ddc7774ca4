"""Log lines that nobody can forge and that hold no secret: what comes from outside stays in its line.

The one place where this is seen to. Names of tools, errors of servers, URLs and what callers send are logged as they
are; a record escapes what isn't printable in all of them, whoever logs it and whatever handler writes it. It hides the
service's own keys, which servers repeat in their errors and proxies in their pages.
"""

import logging
from collections.abc import Iterable
from typing import Any

LONGEST = 8000  # characters of a message
SHORTEST_SECRET = 8  # characters; a shorter value, such as true or UTC, is no key, and stands in other words
HIDDEN = "[hidden]"
INDENT = "    "


_secrets: list[str] = []


def install(secrets: Iterable[str] = ()) -> None:
    """Make each log record of the process one that keeps to its line and hides these secrets, and each word of them."""
    words = {word for secret in secrets for word in (secret, *secret.split()) if len(word) >= SHORTEST_SECRET}
    _secrets[:] = sorted(words, key=len, reverse=True)  # since a secret can hold another
    logging.setLogRecordFactory(CleanRecord)


class CleanRecord(logging.LogRecord):
    """A record whose message is one printable line, and whose traceback is indented and so looks like no record."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        if isinstance(self.args, tuple):  # uvicorn writes an access log's by themselves
            self.args = tuple(cleaned(value) if isinstance(value, str) else value for value in self.args)

    def getMessage(self) -> str:  # noqa: N802 - the library's name
        """The message with its arguments."""
        return cleaned(super().getMessage())

    @property
    def exc_text(self) -> str | None:
        """The traceback, which the first formatter writes and leaves here for others."""
        return self._exc_text

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        lines = _without_secrets(text or "").split("\n")
        self._exc_text = text and "\n".join(INDENT + _printable(line) for line in lines)


def cleaned(text: str) -> str:
    """The text as one printable line, cut where it is long. Line breaks and other controls are shown by their codes."""
    text = _without_secrets(text[: 2 * LONGEST])
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return _printable(text)


def _without_secrets(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
