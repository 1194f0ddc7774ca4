"""A chat completion request in the form that one server takes, and what a refusal teaches of that form.

Servers refuse parameters that others ask for. `services/upstreams/providers.py` has what is known beforehand. What is
not known shows in a refusal that names the parameter. Then the rules are corrected, and the request is sent again.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from settings import WireRules

OPTIONAL = ("temperature", "top_p", "seed", "reasoning_effort")
"""Parameters that a run can do without; leaving one out is reported. Without another one the answer would be wrong."""

WORDS = frozenset(("model", "messages", "stream"))
REFUSED_STATUS = frozenset((400, 404, 422, 500, 501))
MOST_TRIES = 6  # of one request: a server names one parameter at a time
MOST_LEFT_OUT = 16  # values of parameters that are remembered for one model
MOST_SAID, MOST_TEXTS, DEEPEST_SAID = (
    10_000,
    200,
    10,
)  # characters and texts of a refusal that are looked at, and how deep
ECHO = frozenset(("input", "ctx", "url", "body", "request", "messages"))  # where a refusal repeats the request

MESSAGE_KEYS = frozenset(("role", "content", "tool_calls", "tool_call_id"))
CALL_KEYS = frozenset(("id", "type", "function"))
FUNCTION_KEYS = ("name", "arguments")
"""The keys that every server knows. What else a message has came from a provider, and goes back to that alone."""

SHORT, NINE = 40, 9
EMPTY_RESULT = "(The tool gave no output.)"
NO_STREAM = re.compile(
    r"verified to stream|'stream' does not support|stream(ing)? (is )?not support|not support stream(ing)?\b",
    re.IGNORECASE,
)  # OpenAI's o3 and gpt-5 for an organisation that isn't verified; models of gateways that answer whole
STREAM_OPTIONS = re.compile("stream[_ ]?options|include[_ ]?usage", re.IGNORECASE)
"""Nothing is lost without them, so that any refusal which names them is reason enough."""
NO_SYSTEM = re.compile(
    r"system (role|message)s? (is|are)? ?not support|role.{0,20}not support 'system'"
    r"|developer instruction is not enabled",
    re.IGNORECASE,
)  # Gemma's chat template under vLLM and llama.cpp; OpenAI's o1-mini; Gemma at Google
NO_THOUGHT = " "  # DeepSeek V4 Pro refuses an empty text (hermes-agent#17341)
NINE_LETTERS = re.compile(r"[A-Za-z0-9]{9}")
SIGNED = re.compile("__thought__|__gts_")  # gateways keep Gemini's thought signature in the id (BerriAI/litellm#18374)

ID = r"(\b|_)id\b"

Patterns = tuple[re.Pattern[str], ...]


def _both(*patterns: str) -> Patterns:
    """Patterns that have to be found each by itself: together in one, they would take quadratic time."""
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
NO_EMPTY_CONTENT = _both("content", r"null|nil\b|none|empty|blank|missing|required|string")
ID_OF_LETTERS = _both(ID, "length of 9|9 characters|pattern|a-zA-Z0-9|alphanumeric")
ID_TOO_LONG = _both(ID, "too long|maximum length|above_max_length")
NO_REASONING = _both("reasoning_content", "passed back|missing|require|must include")

Json = Mapping[str, Any]


# The request


def fitted(body: Json, rules: WireRules) -> dict[str, Any]:
    """The request as the rules have it. `max_tokens`, `seed` and each message's content stand in it as OpenAI's do."""
    sent = {key: value for key, value in body.items() if not left_out(key, value, rules)}
    if not rules.stream:
        sent["stream"] = False
    if not (rules.stream and rules.stream_options):
        sent.pop("stream_options", None)
    for key, name in (("max_tokens", rules.max_tokens), ("seed", rules.seed)):
        if key in sent:
            sent[name] = sent.pop(key)
    messages = body["messages"] if rules.system_role else _without_system(body["messages"])
    sent["messages"] = [_fitted_message(message, rules) for message in messages]
    return sent


def _without_system(messages: Sequence[Json]) -> list[Json]:
    """The messages with what the system says at the beginning of what the user says."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    first = next((place for place, message in enumerate(others) if message["role"] == "user"), None)
    if first is None or not system:
        return list(messages)
    content = others[first]["content"]
    if all(isinstance(text, str) for text in (*system, content)):
        content = "\n\n".join((*system, content))
    else:
        content = [part for said in (*system, content) for part in _parts(said)]
    others[first] = {**others[first], "content": content}
    return others


def _parts(content: str | Sequence[Json]) -> Sequence[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def left_out(key: str, value: Any, rules: WireRules) -> bool:
    """Whether a parameter is left out with this value."""
    return key in rules.left_out or (key in OPTIONAL and _valued(key, value) in rules.left_out)


def _valued(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


def _fitted_message(message: Json, rules: WireRules) -> Json:
    changed: dict[str, Any] = {}
    if message["role"] == "assistant":
        if rules.reasoning == "never":
            message = plain(message)
        elif rules.reasoning == "always" and not message.get("reasoning_content"):
            changed["reasoning_content"] = NO_THOUGHT
    if message.get("tool_call_id"):
        changed["tool_call_id"] = call_id(message["tool_call_id"], rules)
        if blank(message.get("content")):
            changed["content"] = EMPTY_RESULT
    if message.get("tool_calls"):
        changed["tool_calls"] = [{**call, "id": call_id(call["id"], rules)} for call in message["tool_calls"]]
        if blank(message.get("content")):
            changed["content"] = "" if rules.empty_content == "text" else None
    return {**message, **changed} if changed else message


def blank(content: object) -> bool:
    """Whether a message's content says nothing: Anthropic refuses empty text, and white space."""
    return not content or (isinstance(content, str) and content.isspace())


def plain(message: Json) -> dict[str, Any]:
    """A message without what came from a provider and means nothing to others."""
    plainer = {key: value for key, value in message.items() if key in MESSAGE_KEYS}
    if calls := message.get("tool_calls"):
        plainer["tool_calls"] = [_plain_call(call) for call in calls]
    return plainer


def _plain_call(call: Json) -> dict[str, Any]:
    plainer = {key: value for key, value in call.items() if key in CALL_KEYS}
    return {**plainer, "function": {key: call["function"][key] for key in FUNCTION_KEYS}}


def signed(call: Json, extra: Json) -> dict[str, Any]:
    """A call with what its provider sent beside it; what is under `function` belongs into its function."""
    return {**call, **extra, "function": {**extra.get("function", {}), **call["function"]}}


def call_id(given: str, rules: WireRules) -> str:
    """A tool call's id in the form that the server takes: the same for the same id, in the call and in its result."""
    if rules.call_ids == "nine" and not NINE_LETTERS.fullmatch(given):
        return _digest(given)[:NINE]
    signed = rules.call_ids == "auto" and SIGNED.search(given)
    if rules.call_ids in {"auto", "short"} and len(given) > SHORT and not signed:
        return f"call_{_digest(given)}"
    return given


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# The refusal


def corrected(rules: WireRules, sent: Json, status: int, refusal: object) -> WireRules | None:
    """The rules as a refusal of what was sent by them corrects them, or None where it names nothing to change."""
    if status not in REFUSED_STATUS:
        return None
    said = said_in(refusal)
    changes = {**_renamed(rules, sent, said), **_messages(rules, sent, said)}
    if names := [name for name in OPTIONAL if name not in changes and _refused(name, sent, said)]:
        only_value = OF_A_VALUE.search(said) is not None
        if len(names) > 1 and EXCLUSIVE.search(said):
            names = names[1:]
        more = [_valued(name, sent[name]) if only_value else name for name in names]
        changes["left_out"] = (*rules.left_out, *more)[-MOST_LEFT_OUT:]
    better = rules.model_copy(update=changes)
    return None if better == rules else better


def _renamed(rules: WireRules, sent: Json, said: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "stream_options" in sent and STREAM_OPTIONS.search(said):
        changes["stream_options"] = False
    elif NO_STREAM.search(said):
        changes["stream"] = False
    if _refused(rules.max_tokens, sent, said):
        other = {"max_tokens", "max_completion_tokens"} - {rules.max_tokens}
        changes["max_tokens"] = other.pop()
    if rules.seed == "seed" and "random_seed" in said and "seed" in sent:
        changes["seed"] = "random_seed"
    return changes


def _messages(rules: WireRules, sent: Json, said: str) -> dict[str, Any]:
    messages: Sequence[Json] = sent["messages"]
    if NO_SYSTEM.search(said):
        return {"system_role": False}
    if reasoning := _reasoning(messages, said):
        return {"reasoning": reasoning}
    if not any(message.get("tool_calls") for message in messages):
        return {}
    if _says(ID_OF_LETTERS, said):
        return {"call_ids": "nine"}
    if _says(ID_TOO_LONG, said):
        return {"call_ids": "short"}
    empty = any(message.get("tool_calls") and not message.get("content") for message in messages)
    if empty and _says(NO_EMPTY_CONTENT, said):
        return {"empty_content": "text" if rules.empty_content == "null" else "null"}
    return {}


def _reasoning(messages: Sequence[Json], said: str) -> str | None:
    """What a refusal wants of the reasoning in messages: all of it, or none.

    DeepSeek and Kimi refuse a message without `reasoning_content`, Groq and Mistral one with it.
    """
    if _says(NO_REASONING, said):
        return "always"
    added = {key for message in messages for key in message} - MESSAGE_KEYS
    if REFUSING.search(said) and any(re.search(rf"(?<!\w){key}(?!\w)", said) for key in added):
        return "never"
    return None


def _says(patterns: Patterns, said: str) -> bool:
    return all(pattern.search(said) for pattern in patterns)


def _refused(name: str, sent: Json, said: str) -> bool:
    """Whether the refusal names a parameter that was sent, in snake case, camel case or words."""
    spelt = name.replace("_", "[_ ]?")
    named = re.search(rf"(?<!\w){spelt}(?!\w)", said, re.IGNORECASE)
    return name in sent and named is not None and REFUSING.search(said) is not None


def refused_parameter(sent: Json, refusal: object) -> str | None:
    """The first parameter that a refusal names among those that were sent, but for words that any error may have."""
    said = said_in(refusal)
    return next((name for name in sent if name not in WORDS and _refused(name, sent, said)), None)


def said_in(refusal: object) -> str:
    """The text of a refusal in whatever form, cut to what is looked at."""
    return "\n".join(islice(_texts(refusal), MOST_TEXTS))[:MOST_SAID]


def _texts(refusal: object, depth: int = 0) -> Iterator[str]:
    """What a refusal says, in whatever form, without the request that it may repeat."""
    match refusal:
        case str():
            yield refusal
        case dict() if depth < DEEPEST_SAID:
            for key, value in refusal.items():
                if key not in ECHO:
                    yield from _texts(value, depth + 1)
        case [*parts] if depth < DEEPEST_SAID:
            for part in parts:
                yield from _texts(part, depth + 1)
