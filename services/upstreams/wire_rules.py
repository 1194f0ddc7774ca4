"""Writes a chat completion request in the form that one server accepts.

Servers refuse parameters that others require. `services/upstreams/providers.py` has the differences that are known
beforehand, and `services/upstreams/corrections.py` learns the others from refusals.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.upstreams.answer_schemas import with_answer_schema
from services.upstreams.cache_marks import marked
from services.upstreams.wire_parameters import in_form
from services.upstreams.wire_parts import parts_in_form
from setting_objects import WireRules

OPTIONAL = (
    *("temperature", "top_p", "seed", "reasoning_effort", "thinking_budget", "verbosity", "service_tier", "top_k"),
    *("frequency_penalty", "presence_penalty", "parallel_tool_calls", "web_search", "max_turns"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
"""Parameters that a run can do without. Leaving one out is reported. Without another one, the answer would be wrong."""

OUTPUT_LIMIT = "output_limit"
"""The key of a body that has the tokens that the run's budget leaves for the output. It is sent as `max_tokens`."""
CONTINUED = "continued"
"""Set in a body if other requests are likely to begin with its messages. It is not sent."""
MESSAGE_KEYS = frozenset(("role", "content", "tool_calls", "tool_call_id"))
CALL_KEYS = frozenset(("id", "type", "function"))
FUNCTION_KEYS = ("name", "arguments")
"""The keys that every server knows. A message's other keys are a provider's own, and are sent only to that provider."""

MAX_ID = 40  # characters of a call's id at OpenAI
SHORT_ID = 9  # the length of a call's id at Mistral
EMPTY_RESULT = "(The tool returned no output.)"
NO_THOUGHT = " "  # DeepSeek V4 Pro refuses an empty text (hermes-agent#17341)
NINE_LETTERS = re.compile(r"[A-Za-z0-9]{9}")
SIGNED_ID = re.compile("__thought__|__gts_")  # gateways keep Gemini's signature in the id (BerriAI/litellm#18374)

Json = Mapping[str, Any]


def fitted(body: Json, rules: WireRules) -> dict[str, Any]:
    """Return the request in the form of the rules.

    The body has OpenAI's form (`max_tokens`, `seed`, content), and this service's own for the parameters that
    `wire_parameters` writes.
    """
    body = with_answer_schema(_with_output_limit(body, rules), rules)
    is_continued = body.pop(CONTINUED, False)
    sent = {key: value for key, value in body.items() if not left_out(key, value, rules)}
    if not rules.stream:
        sent["stream"] = False
    if not (rules.stream and rules.stream_options):
        sent.pop("stream_options", None)
    for key, name in (("max_tokens", rules.max_tokens), ("seed", rules.seed)):
        if key in sent:
            sent[name] = sent.pop(key)
    sent = in_form(sent, rules)
    messages = body["messages"] if rules.system_role else _without_system(body["messages"])
    messages = [_fitted_message(message, rules) for message in messages]
    sent["messages"] = marked(messages) if rules.cache_control and is_continued else messages
    return sent


def _with_output_limit(body: Json, rules: WireRules) -> Json:
    """Lower `max_tokens` to the limit, unless the server has a lower limit itself and would refuse this one."""
    if OUTPUT_LIMIT not in body:
        return body
    limited = dict(body)
    limit = limited.pop(OUTPUT_LIMIT)
    if rules.most_output is not None and limit > rules.most_output:
        return limited
    limited["max_tokens"] = min(limit, limited.get("max_tokens", limit))
    if isinstance(limited.get("thinking_budget"), int):
        limited["thinking_budget"] = min(limited["thinking_budget"], limited["max_tokens"] - 1)
    return limited


def _without_system(messages: Sequence[Json]) -> list[Json]:
    """Move the system messages to the beginning of the first user message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    first = next((index for index, message in enumerate(others) if message["role"] == "user"), None)
    if first is None or not system:
        return list(messages)
    content = others[first]["content"]
    if all(isinstance(text, str) for text in (*system, content)):
        content = "\n\n".join((*system, content))
    else:
        content = [part for each in (*system, content) for part in _parts(each)]
    others[first] = {**others[first], "content": content}
    return others


def _parts(content: str | Sequence[Json]) -> Sequence[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def left_out(key: str, value: Any, rules: WireRules) -> bool:
    """Whether a parameter is left out with this value."""
    return key in rules.left_out or (key in OPTIONAL and with_value(key, value) in rules.left_out)


def with_value(key: str, value: Any) -> str:
    """The entry of `left_out` that leaves out a parameter with one value only."""
    return f"{key}={json.dumps(value)}"


def _fitted_message(message: Json, rules: WireRules) -> Json:
    changed: dict[str, Any] = {}
    if isinstance(content := message.get("content"), list):
        changed["content"] = parts_in_form(content, rules)
    if message["role"] == "assistant":
        if rules.reasoning == "never":
            message = without_provider_fields(message)
        elif rules.reasoning == "always" and not message.get("reasoning_content"):
            changed["reasoning_content"] = NO_THOUGHT
    if message.get("tool_call_id"):
        changed["tool_call_id"] = call_id(message["tool_call_id"], rules)
        if is_blank(message.get("content")):
            changed["content"] = EMPTY_RESULT
    if message.get("tool_calls"):
        changed["tool_calls"] = [{**call, "id": call_id(call["id"], rules)} for call in message["tool_calls"]]
        if is_blank(message.get("content")):
            changed["content"] = "" if rules.empty_content == "text" else None
    return {**message, **changed} if changed else message


def is_blank(content: object) -> bool:
    """Whether a message's content is empty or white space, which Anthropic refuses."""
    return not content or (isinstance(content, str) and content.isspace())


def without_provider_fields(message: Json) -> dict[str, Any]:
    """Return a message without the fields that only its provider understands."""
    plainer = {key: value for key, value in message.items() if key in MESSAGE_KEYS}
    if calls := message.get("tool_calls"):
        plainer["tool_calls"] = [_plain_call(call) for call in calls]
    return plainer


def _plain_call(call: Json) -> dict[str, Any]:
    plainer = {key: value for key, value in call.items() if key in CALL_KEYS}
    return {**plainer, "function": {key: call["function"][key] for key in FUNCTION_KEYS}}


def with_provider_fields(call: Json, extra: Json) -> dict[str, Any]:
    """Return a call with the fields that its provider added. Those under `function` belong to its function."""
    return {**call, **extra, "function": {**extra.get("function", {}), **call["function"]}}


def call_id(original: str, rules: WireRules) -> str:
    """Return a tool call's id in the form that the server accepts: the same form in the call and in its result."""
    if rules.call_ids == "nine" and not NINE_LETTERS.fullmatch(original):
        return _digest(original)[:SHORT_ID]
    is_signed = rules.call_ids == "auto" and SIGNED_ID.search(original)
    if rules.call_ids in {"auto", "short"} and len(original) > MAX_ID and not is_signed:
        return f"call_{_digest(original)}"
    return original


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
