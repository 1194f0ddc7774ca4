"""Corrects the rules for a server from its refusal of a request.

A refusal that names a parameter or a form shows what the server accepts. The rules are then corrected, and the request
is sent again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from services.upstreams.answer_schemas import is_strict
from services.upstreams.cache_marks import has_marks
from services.upstreams.wire_parameters import names_on_the_wire
from services.upstreams.wire_rules import MESSAGE_KEYS, OPTIONAL, with_value
from setting_objects import WireRules

COMMON_WORDS = frozenset(("model", "messages", "stream"))  # parameters whose names any error may contain
REFUSED_STATUS = frozenset((400, 404, 422, 500, 501))
MAX_TRIES = 6  # of one request: a server names one parameter at a time
MAX_LEFT_OUT = 16  # parameters, or values of them, that are left out for one model
MAX_CHARACTERS, MAX_TEXTS, MAX_DEPTH = 10_000, 200, 10  # of a refusal that are searched
ECHO_KEYS = frozenset(("input", "ctx", "url", "body", "request", "messages"))  # they repeat the request

NO_STREAM = re.compile(
    r"verified to stream|'stream' does not support|stream(ing)? (is )?not support|not support stream(ing)?\b",
    re.IGNORECASE,
)
"""OpenAI's o3 and gpt-5 for an organization that isn't verified; models of gateways that can't stream."""
STREAM_OPTIONS = re.compile("stream[_ ]?options|include[_ ]?usage", re.IGNORECASE)
"""Little is lost without them, so any refusal that names them is enough to leave them out."""
NO_SCHEMA = re.compile("response[_ ]?(format|mime)|json[_ ]?schema|structured[_ ]?output", re.IGNORECASE)
"""The schema is then a part of the instructions, so any refusal that names one of these is enough."""
NO_SYSTEM = re.compile(
    r"system (role|message)s? (is|are)? ?not support|role.{0,20}not support 'system'"
    r"|developer instruction is not enabled",
    re.IGNORECASE,
)
"""Gemma's chat template under vLLM and llama.cpp; OpenAI's o1-mini; Gemma at Google."""

NO_MARKS = re.compile(r"cache[_ ]?control|content\b.{0,200}\bstr(ing)?\b", re.IGNORECASE | re.DOTALL)
"""Marks for the prompt cache, and the lists of parts that have them. Nothing of the answer is lost without them."""

ID = r"(\b|_)id\b"

Patterns = tuple[re.Pattern[str], ...]


def _each_of(*patterns: str) -> Patterns:
    """Patterns that all have to be found. One pattern for all of them would take quadratic time."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


REFUSING = re.compile(
    r"unsupported|not supported|n't support|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed"
    r"|forbidden|extra |additional propert|invalid (param|argument|field|propert)|not accept|deprecated|instead"
    r"|not valid|not recogni[sz]ed|not a (valid|recogni[sz]ed)|不支持"
    r"|only the default|only \S+ (is|are) allowed|cannot both|mutually exclusive|only one of|\beither\b",
    re.IGNORECASE,
)
EXCLUSIVE = re.compile(r"\bboth\b|mutually exclusive|only one|\beither\b", re.IGNORECASE)
"""Anthropic: "`temperature` and `top_p` cannot both be specified for this model"."""
OF_A_VALUE = re.compile(r"unsupported.value|does not support \S+ with|supported values|only ", re.IGNORECASE)
NO_EMPTY_CONTENT = _each_of("content", r"null|nil\b|none|empty|blank|missing|required|string")
ID_OF_LETTERS = _each_of(ID, "length of 9|9 characters|pattern|a-zA-Z0-9|alphanumeric")
ID_TOO_LONG = _each_of(ID, "too long|maximum length|above_max_length")
NO_REASONING = _each_of("reasoning_content", "passed back|missing|require|must include")

TOO_MUCH_OUTPUT = _each_of(
    r"max_?(completion|output|new)?_?tokens|(completion|output) tokens|(in|for) the (completion|output)", "max|range"
)
LEAST_MAXIMUM = 1024  # no model has a lower maximum: a smaller number in a refusal is something else
NUMBER = re.compile(r"(?<![\w.-])\d{4,9}\b")

Json = Mapping[str, Any]


def corrected(rules: WireRules, sent: Json, status: int, refusal: object) -> WireRules | None:
    """Correct the rules by the refusal of a request. None if the refusal names nothing to change."""
    if status not in REFUSED_STATUS:
        return None
    text = text_of(refusal)
    changes = {**_parameter_changes(rules, sent, text), **_message_changes(rules, sent, text)}
    if names := [name for name in OPTIONAL if name not in changes and _refused_in_a_form(name, sent, text)]:
        only_value = OF_A_VALUE.search(text) is not None
        if len(names) > 1 and EXCLUSIVE.search(text):
            names = names[1:]
        more = [with_value(name, sent[name]) if only_value and name in sent else name for name in names]
        changes["left_out"] = (*rules.left_out, *more)[-MAX_LEFT_OUT:]
    better = rules.model_copy(update=changes)
    return None if better == rules else better


def with_most_output(rules: WireRules, limit: int, refusal: object) -> WireRules | None:
    """Correct the rules by the refusal of an output limit as too large. None if it is about something else.

    If the refusal has several numbers, the largest one below the limit counts: a maximum that is too high is corrected
    by the next refusal, and one that is too low would leave the output without a limit.
    """
    text = text_of(refusal)
    if not _contains_all(TOO_MUCH_OUTPUT, text):
        return None
    numbers = (int(number) for number in NUMBER.findall(text))
    most = max((number for number in numbers if LEAST_MAXIMUM <= number < limit), default=None)
    return None if most is None else rules.model_copy(update={"most_output": most})


def _parameter_changes(rules: WireRules, sent: Json, text: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "stream_options" in sent and STREAM_OPTIONS.search(text):
        changes["stream_options"] = False
    elif NO_STREAM.search(text):
        changes["stream"] = False
    if _refused(rules.max_tokens, sent, text):
        other = {"max_tokens", "max_completion_tokens"} - {rules.max_tokens}
        changes["max_tokens"] = other.pop()
    if is_strict(sent) and NO_SCHEMA.search(text):
        has_tools = "tools" in sent or "mcp_servers" in sent
        changes["json_schema"] = "without_tools" if has_tools and rules.json_schema == "always" else "never"
    if rules.seed == "seed" and "random_seed" in text and "seed" in sent:
        changes["seed"] = "random_seed"
    return changes


def _message_changes(rules: WireRules, sent: Json, text: str) -> dict[str, Any]:
    messages: Sequence[Json] = sent["messages"]
    if NO_MARKS.search(text) and has_marks(messages):
        return {"cache_control": False}
    if NO_SYSTEM.search(text):
        return {"system_role": False}
    if reasoning := _wanted_reasoning(messages, text):
        return {"reasoning": reasoning}
    if not any(message.get("tool_calls") for message in messages):
        return {}
    if _contains_all(ID_OF_LETTERS, text):
        return {"call_ids": "nine"}
    if _contains_all(ID_TOO_LONG, text):
        return {"call_ids": "short"}
    empty = any(message.get("tool_calls") and not message.get("content") for message in messages)
    if empty and _contains_all(NO_EMPTY_CONTENT, text):
        return {"empty_content": "text" if rules.empty_content == "null" else "null"}
    return {}


def _wanted_reasoning(messages: Sequence[Json], text: str) -> str | None:
    """Find out which reasoning the server wants in messages: "always", "never", or None if the refusal isn't about it.

    DeepSeek and Kimi refuse a message without `reasoning_content`, Groq and Mistral one with it.
    """
    if _contains_all(NO_REASONING, text):
        return "always"
    added = {key for message in messages for key in message} - MESSAGE_KEYS
    if REFUSING.search(text) and any(re.search(rf"(?<!\w){key}(?!\w)", text) for key in added):
        return "never"
    return None


def _contains_all(patterns: Patterns, text: str) -> bool:
    return all(pattern.search(text) for pattern in patterns)


def _refused(name: str, sent: Json, text: str) -> bool:
    """Whether the refusal names a parameter that was sent, in snake case, camel case or words."""
    spelt = name.replace("_", "[_ ]?")
    named = re.search(rf"(?<!\w){spelt}(?!\w)", text, re.IGNORECASE)
    return name in sent and named is not None and REFUSING.search(text) is not None


def _refused_in_a_form(name: str, sent: Json, text: str) -> bool:
    """Whether the refusal names a parameter of the request, by a name that it has on the wire."""
    return any(_refused(key, sent, text) for key in names_on_the_wire(name, sent))


def refused_parameter(sent: Json, refusal: object) -> str | None:
    """Return the first sent parameter that a refusal names, apart from COMMON_WORDS."""
    text = text_of(refusal)
    return next((name for name in sent if name not in COMMON_WORDS and _refused(name, sent, text)), None)


def text_of(refusal: object) -> str:
    """Return the text of a refusal in any form, cut to the part that is searched."""
    return "\n".join(islice(_texts(refusal), MAX_TEXTS))[:MAX_CHARACTERS]


def _texts(refusal: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a refusal in any form, without the request that it may repeat."""
    match refusal:
        case str():
            yield refusal
        case dict() if depth < MAX_DEPTH:
            for key, value in refusal.items():
                if key not in ECHO_KEYS:
                    yield from _texts(value, depth + 1)
        case [*parts] if depth < MAX_DEPTH:
            for part in parts:
                yield from _texts(part, depth + 1)
