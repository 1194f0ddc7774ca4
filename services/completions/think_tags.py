"""Separates the thinking that a model writes between tags from the rest of its answer. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

TAGS = {
    "<think>": "</think>",  # DeepSeek R1, Qwen 3, QwQ, GLM, MiniMax, Perplexity's sonar-reasoning
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini's OpenAI endpoint with `include_thoughts`; EXAONE Deep
    "<Thought>": "</Thought>",  # Marco-o1 (n4ze3m/page-assist#257)
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker (Infinitix-LLC/gpt_markdown#42)
    "<reasoning>": "</reasoning>",
    "<reason>": "</reason>",
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "[THINK]": "[/THINK]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi-VL
}

Piece = tuple[bool, str]
"""Whether a piece is thinking, and its text."""


@dataclass(frozen=True, slots=True)
class ThinkTagModels:
    """The models whose answers are searched for tags, by patterns in lower case such as `*deepseek-r1*`.

    Answers of the models in `opened` begin inside their thinking, because their prompt template has the opening tag.
    """

    tagged: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def tags(self, model: str) -> "ThinkTags | None":
        """Return a splitter for an answer of this model; None if its text has no tags."""
        opened = _named(model, self.opened)
        return ThinkTags(opened) if opened or _named(model, self.tagged) else None


@lru_cache(maxsize=1024)
def _named(model: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(model.lower(), pattern) for pattern in patterns)


class ThinkTags:
    """Splits one answer. Its pieces may cut a tag anywhere.

    A tag counts only at the start of the answer, after white space at most. Later tags are text. White space around the
    thinking is left out. An answer that is `opened` is thinking from its first character, up to a closing tag or its
    end. Once `over` is set, everything that follows is text.
    """

    def __init__(self, opened: bool = False) -> None:
        self._held = ""
        self._opened = opened
        self._close: str | None = None
        self._begun = False
        self._closed = False
        self.over = False

    def not_opened(self) -> None:
        """Note that the upstream sends the thinking separately, so the text doesn't begin with it."""
        self._opened = False

    def feed(self, text: str) -> Iterator[Piece]:
        """Add a piece of the answer, and yield the pieces that are certain now."""
        self._held += text
        if self._close is None and not self._closed:
            self._look_for_tag()
        if self._close is not None:
            yield from self._thinking(self._close)
        if self._closed:
            self._held = self._held.lstrip()
            self.over = bool(self._held)
        if self.over:
            yield from self._take_held(thinking=False)

    def _look_for_tag(self) -> None:
        start = self._held.lstrip()
        for tag, close in TAGS.items():
            if start.startswith(tag):
                self._held, self._close = start.removeprefix(tag), close
                return
        if any(tag.startswith(start) for tag in TAGS):
            return  # white space only, or a part of a tag, so far
        if self._opened:
            self._close = TAGS["<think>"]
        else:
            self.over = True

    def _thinking(self, close: str) -> Iterator[Piece]:
        """Yield the thinking up to its closing tag, or up to a possible beginning of that tag."""
        if not self._begun:
            self._held = self._held.lstrip()
        thought, closed, after = self._held.partition(close)
        if closed:
            self._held, self._close, self._closed = after, None, True
            thought = thought.rstrip()
        else:
            certain = thought[: len(thought) - _overlap(thought, close)].rstrip()
            self._held, thought = thought[len(certain) :], certain
        if thought:
            self._begun = True
            yield True, thought

    def flush(self) -> Iterator[Piece]:
        """Yield the text that is still held back at the end of the answer."""
        yield from self._take_held(thinking=self._close is not None)

    def _take_held(self, *, thinking: bool) -> Iterator[Piece]:
        held, self._held = self._held, ""
        if held:
            yield thinking, held


def _overlap(text: str, tag: str) -> int:
    """Count the characters at the end of the text that may be the beginning of the tag."""
    longest = min(len(text), len(tag) - 1)
    return next((length for length in range(longest, 0, -1) if tag.startswith(text[-length:])), 0)
