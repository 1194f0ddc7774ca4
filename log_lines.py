"""Makes log records safe: text from outside can't forge a line, and no record contains a secret.

All other code logs names of tools, servers' errors, URLs and callers' text unchanged. Every record of the process, from
any logger and for any handler, then escapes what isn't printable and hides keys: the service's own, which servers
repeat in their errors and proxies in their pages, and those of callers, which can be in a path. A record made in the
task of a run ends with the run's id.
"""

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any

LONGEST = 8000  # characters of a message; longer ones are cut
SHORTEST_SECRET = 8  # characters; a shorter value, such as true or UTC, is no key, and is part of other words
HIDDEN = "[hidden]"
INDENT = "    "
CREDENTIAL = re.compile(r"\b(as_[a-z0-9]{12}_)[a-z0-9]{43}\b|\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")
"""An API key, whose id stays readable, or a signed token. Callers can put theirs into a path, which servers log."""
RUN_ID = re.compile(r"run_\w+")  # begins the names of the tasks that work for a run


_secrets: list[str] = []


def install(secrets: Iterable[str] = ()) -> None:
    """Use `CleanRecord` for all records of the process, and hide these secrets and each of their words."""
    words = {word for secret in secrets for word in (secret, *secret.split()) if len(word) >= SHORTEST_SECRET}
    _secrets[:] = sorted(words, key=len, reverse=True)  # the longest first: a secret can contain another
    logging.setLogRecordFactory(CleanRecord)


class CleanRecord(logging.LogRecord):
    """A record whose message is one printable line. Its traceback is indented, so that no line passes for a record."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run_id = _current_run()
        if isinstance(self.args, tuple):  # uvicorn's access log formats them itself
            self.args = tuple(cleaned(value) if isinstance(value, str) else value for value in self.args)

    def getMessage(self) -> str:  # noqa: N802 - the library's name
        """Return the message with its arguments, on one line and without secrets."""
        message = cleaned(super().getMessage())
        return message if self.run_id in message else f"{message} (run {self.run_id})"

    @property
    def exc_text(self) -> str | None:
        """The formatted traceback, which the first formatter keeps here for others."""
        return self._exc_text

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        lines = _without_secrets(text or "").split("\n")
        self._exc_text = text and "\n".join(INDENT + _printable(line) for line in lines)


def _current_run() -> str:
    """Return the id of the run that the task making a record works for, or an empty string."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return ""  # a thread without a loop
    found = task and RUN_ID.match(task.get_name())
    return found[0] if found else ""


def cleaned(text: str) -> str:
    """Return the text as one printable line of at most `LONGEST` characters. Control characters become escapes."""
    text = _without_secrets(text[: 2 * LONGEST])
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return _printable(text)


def _without_secrets(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    return CREDENTIAL.sub(rf"\1{HIDDEN}", text)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
