"""Finds the pages that an answer cites, in every form in which servers are known to send them. Pure.

The table "Sources" in docs/upstreams.md lists the forms.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from json_codec.text import mend
from services.completions.deltas import SourceDelta

PLACES = (
    *("annotations", "search_results", "citations", "web_search", "search_info"),
    *("groundingMetadata", "grounding_metadata", "vertex_ai_grounding_metadata"),
    *("provider_specific_fields", "context", "executed_tools"),
)
"""The keys of a chunk, a choice, a delta or a content part that can hold citations.

`search_results` is before `citations`, because Perplexity sends both, and only the former has titles.
"""
KEYS = frozenset(PLACES)
INNER_KEYS = (
    *("url_citation", "web", "maps", "retrievedContext", "retrieved_context", "document"),
    *("citation", "citations", "sources", "results", "search_results", "groundingChunks", "grounding_chunks"),
)
"""The keys under which an object that has no URL itself holds citations."""
URL_KEYS = ("url", "uri", "link")
NOT_IN_URLS = frozenset(' "<>\\`')
SNIPPET_KEYS = ("cited_text", "snippet", "content")
CITING_PARTS = ("tool_reference",)
"""The types of content parts that are a citation themselves (Mistral)."""
MAX_DEPTH = 6  # of lists and objects around a citation
MAX_SOURCES = 100  # of one answer
MAX_ENTRIES = 1000  # that are read of one list
MAX_URL = 2048  # characters
MAX_TITLE = 300  # characters
MAX_SNIPPET = 500  # characters
JOINERS = "\u200c\u200d"  # invisible characters that words of Persian and some emoji need
UNSHOWN = frozenset(("Cc", "Cf", "Co", "Cs"))
"""Unicode's categories of characters that aren't shown, among them those that reverse the direction of a text."""


class Citations:
    """Collects the sources of one answer, each URL once. `take` returns those that are new.

    Some servers repeat all their citations in each chunk. A value that is equal to the one before is skipped.
    """

    def __init__(self) -> None:
        self._values: dict[str, object] = {}
        self._urls: set[str] = set()
        self.new: list[SourceDelta] = []

    def read(self, part: Mapping[str, Any], has_surrogates: bool) -> None:
        """Read a chunk, a choice, a delta or a content part. With `has_surrogates`, it may hold lone surrogates."""
        for place in PLACES:
            value = part.get(place)
            if value and self._values.get(place) != value:
                self._values[place] = value
                self._add(mend(value) if has_surrogates else value)

    def read_parts(self, content: object, has_surrogates: bool) -> None:
        """Read a `content` that is a part, or a list of parts and strings."""
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, dict):
                self.read({"citations": part} if part.get("type") in CITING_PARTS else part, has_surrogates)

    def take(self) -> list[SourceDelta]:
        """Return the new sources, and forget that they are new."""
        new, self.new = self.new, []
        return new

    def _add(self, value: object) -> None:
        for url, entry in _entries(value):
            if len(self._urls) == MAX_SOURCES:
                return
            if url not in self._urls and is_web_page(url):
                self._urls.add(url)
                self.new.append(_source(url, entry))


def _entries(value: object, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the URL of each citation in a value, and the object that has its title. A bare URL has an empty one."""
    match value:
        case str():
            yield value, {}
        case list() if depth < MAX_DEPTH:
            for entry in value[:MAX_ENTRIES]:
                yield from _entries(entry, depth + 1)
        case dict():
            if url := _first_text(value, URL_KEYS):
                yield url, value
            elif depth < MAX_DEPTH:
                for key in INNER_KEYS:
                    yield from _entries(value.get(key), depth + 1)
        case _:
            pass


def is_web_page(url: str) -> bool:
    """Return whether this is a whole URL that a page can link to: of http or https, without a user or a password."""
    if len(url) > MAX_URL or not url.isprintable() or not NOT_IN_URLS.isdisjoint(url):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:  # the port is not a number, or what is in brackets is not an IPv6 address
        return False


def _source(url: str, entry: Mapping[str, Any]) -> SourceDelta:
    title = _shown(_first_text(entry, ("title",)), MAX_TITLE)
    return SourceDelta(url, title, _shown(_first_text(entry, SNIPPET_KEYS), MAX_SNIPPET))


def _first_text(entry: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((text for key in keys if isinstance(text := entry.get(key), str) and text), "")


def _shown(text: str, most: int) -> str | None:
    """Return a web page's text on one line, cut and without invisible characters. None if nothing is left."""
    line = " ".join(text[: 4 * most].split())
    shown = "".join(char for char in line if char in JOINERS or unicodedata.category(char) not in UNSHOWN).strip()
    return (shown if len(shown) <= most else f"{shown[: most - 1]}…") or None
