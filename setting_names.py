"""Finds what looks like a setting and has no effect: misspelt names, and lines of `.env` that can't be read."""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

PLAIN_NAME = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]{0,63}"
)  # anything else may be a key in the wrong place, and is not shown
SUGGESTED = 0.6  # similarity, from 0 to 1, from which a setting is suggested
NEARLY = 0.9  # the same for the environment, which has the names of many other programs
NEARLY_FIRST_WORD = 0.8  # ZAI_API_KEY and XAI_API_KEY are similar, but belong to two providers


def unused_in_file(file: Path, settings: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each line of `file` that has no effect. `settings` are the known names, in lower case.

    Raise `OSError`, or `UnicodeError` for a file that is not UTF-8.
    """
    with file.open(encoding="utf-8") as lines:
        bindings = list(parse_stream(lines))
    for binding in bindings:
        name = binding.key or ""
        if binding.error or (name and binding.value is None):
            yield f"{file}, line {binding.original.line}: ignored, because it does not have the form NAME=value"
        elif name and name.lower() not in settings:
            is_plain = PLAIN_NAME.fullmatch(name)
            shown = name if is_plain else "a name"
            suggestion = did_you_mean(name.upper(), map(str.upper, settings)) if is_plain else ""
            yield f"{file}, line {binding.original.line}: {shown} is not a setting of this service{suggestion}"


def unused_in_environment(names: Iterable[str], settings: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each variable whose name is almost that of a setting."""
    for name in names:
        similar = get_close_matches(name.lower(), settings, 1, NEARLY)
        if similar and name.lower() not in settings and _first_words_are_similar(name.lower(), similar[0]):
            suggestion = did_you_mean(name.upper(), map(str.upper, settings))
            yield f"environment variable {name} is not a setting of this service{suggestion}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence, which suggests the most similar of the known names if one is similar."""
    similar = get_close_matches(name, list(known), 1, SUGGESTED)
    return f": did you mean {similar[0]}?" if similar else ""


def _first_words_are_similar(name: str, setting: str) -> bool:
    first, expected = name.partition("_")[0], setting.partition("_")[0]
    return SequenceMatcher(None, first, expected).ratio() >= NEARLY_FIRST_WORD
