"""Warnings about what looks like a setting and has no effect: misspelt names, and lines of `.env` without a meaning."""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # anything else may be a key that was pasted to the wrong place
SUGGESTED = 0.6  # how alike the name of a setting has to be, from 0 to 1
NEARLY = 0.9  # the same for the environment, which is full of other programs' names
NEARLY_FIRST_WORD = 0.8  # ZAI_API_KEY and XAI_API_KEY are nearly the same, but of two providers


def doubts_of_file(file: Path, settings: Collection[str]) -> Iterator[str]:
    """What in `file` has no effect, a sentence each. `settings` are the known names, in lower case.

    Raise `OSError`, or `UnicodeError` for a file that is not UTF-8.
    """
    with file.open(encoding="utf-8") as lines:
        bindings = list(parse_stream(lines))
    for binding in bindings:
        name = binding.key or ""
        if binding.error or (name and binding.value is None):
            yield f"{file}, line {binding.original.line}: a line has the form NAME=value, so this one is ignored"
        elif name and name.lower() not in settings:
            shown = name if PLAIN_NAME.fullmatch(name) else "a name"
            yield f"{file}, line {binding.original.line}: {shown} is no setting of this service{_meant(name, settings)}"


def doubts_of_environment(names: Iterable[str], settings: Collection[str]) -> Iterator[str]:
    """The names of the environment that are nearly those of settings, a sentence each."""
    for name in names:
        like = get_close_matches(name.lower(), settings, 1, NEARLY)
        if like and name.lower() not in settings and _begins_like(name.lower(), like[0]):
            yield f"the environment's {name} is no setting of this service{_meant(name, settings)}"


def _meant(name: str, settings: Collection[str]) -> str:
    like = get_close_matches(name.lower(), settings, 1, SUGGESTED)
    return f": did you mean {like[0].upper()}?" if like else ""


def _begins_like(name: str, setting: str) -> bool:
    first, wanted = name.partition("_")[0], setting.partition("_")[0]
    return SequenceMatcher(None, first, wanted).ratio() >= NEARLY_FIRST_WORD
