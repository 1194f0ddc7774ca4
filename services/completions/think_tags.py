"""Thinking that a model writes into its answer, between tags, told apart from the answer. Pure."""

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

Said = tuple[bool, str]
"""Whether a piece is thinking, and the piece."""


@dataclass(frozen=True, slots=True)
class ThinkTagModels:
    """The models whose answers are searched for tags, by patterns in lower case such as `*deepseek-r1*`.

    Answers of the models in `opened` begin inside their thinking, since the template of the prompt has the opening tag.
    """

    tagged: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def tags(self, model: str) -> "ThinkTags | None":
        """What splits an answer of this model; None for one that is read as it is."""
        opened = _named(model, self.opened)
        return ThinkTags(opened) if opened or _named(model, self.tagged) else None


@lru_cache(maxsize=1024)
def _named(model: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(model.lower(), pattern) for pattern in patterns)


class ThinkTags:
    """Splits one answer, whose pieces may cut a tag anywhere.

    Only a tag at the start of the answer counts, after white space at most; later ones are text. White space around the
    thinking is left out. An answer that is `opened` is thinking from its first character; without a closing tag all of
    it is. `over` says that all that follows is text.
    """

    def __init__(self, opened: bool = False) -> None:
        self._held = ""
        self._opened = opened
        self._close: str | None = None
        self._begun = False
        self._closed = False
        self.over = False

    def not_opened(self) -> None:
        """The upstream tells the thinking apart itself."""
        self._opened = False

    def feed(self, text: str) -> Iterator[Said]:
        """What can be said now of the answer so far."""
        self._held += text
        if self._close is None and not self._closed:
            self._look_for_tag()
        if self._close is not None:
            yield from self._thinking(self._close)
        if self._closed:
            self._held = self._held.lstrip()
            self.over = bool(self._held)
        if self.over:
            yield from self._rest(thinking=False)

    def _look_for_tag(self) -> None:
        begun = self._held.lstrip()
        for tag, close in TAGS.items():
            if begun.startswith(tag):
                self._held, self._close = begun.removeprefix(tag), close
                return
        if any(tag.startswith(begun) for tag in TAGS):
            return  # nothing yet, or a part of a tag
        if self._opened:
            self._close = TAGS["<think>"]
        else:
            self.over = True

    def _thinking(self, close: str) -> Iterator[Said]:
        """The thinking up to its closing tag, or up to where that may begin."""
        if not self._begun:
            self._held = self._held.lstrip()
        thought, closed, after = self._held.partition(close)
        if closed:
            self._held, self._close, self._closed = after, None, True
            thought = thought.rstrip()
        else:
            kept = thought[: len(thought) - _overlap(thought, close)].rstrip()
            self._held, thought = thought[len(kept) :], kept
        if thought:
            self._begun = True
            yield True, thought

    def flush(self) -> Iterator[Said]:
        """What was held back at the end of the answer."""
        yield from self._rest(thinking=self._close is not None)

    def _rest(self, *, thinking: bool) -> Iterator[Said]:
        held, self._held = self._held, ""
        if held:
            yield thinking, held


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    most = min(len(text), len(tag) - 1)
    return next((length for length in range(most, 0, -1) if tag.startswith(text[-length:])), 0)
