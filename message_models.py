"""The messages of a conversation that a client stores itself, in the forms of chat clients.

`in_order` repairs what model servers would refuse. What it can't repair, it refuses, and names the place. docs/api.md
has the table.
"""

from collections.abc import Sequence
from json import dumps
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from part_models import Content, TextPart, not_blank
from tool_models import Asked

NO_RESULT = "(No result of this call was recorded.)"
IGNORED = frozenset(
    (
        *("annotations", "audio", "reasoning", "reasoning_content", "reasoning_details", "refusal", "thinking"),
        *("function_call", "provider_specific_fields", "extra_content", "is_error", "id", "status", "parsed"),
        *("additional_kwargs", "artifact", "invalid_tool_calls", "response_metadata", "usage_metadata"),
        *("cache_control", "createdAt", "metadata", "providerMetadata", "providerOptions", "timestamp"),
    )
)
"""Keys that clients store with a message, and that only its provider understands, or none. They are dropped."""
REASONING_PARTS = ("reasoning", "redacted_thinking", "think", "thinking")
CALL_PARTS = ("tool-call", "tool_call", "tool_use")
RESULT_PARTS = ("tool-result", "tool_result")
"""The types of parts that aren't text: of Anthropic, of the AI SDK, and of LangChain and what is built on it."""
CALLS_AS_PARTS = "Send the calls of an answer in tool_calls, and each result in a message with the role tool."


class CalledFunction(Asked):
    """The function that a call names, with its arguments as JSON text."""

    name: str = Field(min_length=1, max_length=256, description="The name of the tool.")
    arguments: str = Field("{}", description="The arguments, as the text of a JSON object.")

    @model_validator(mode="before")
    @classmethod
    def with_text(cls, value: Any) -> Any:
        """Write arguments that are an object as text, and drop the keys of an SDK, such as `parsed_arguments`."""
        if not isinstance(value, dict):
            return value
        function = {key: given for key, given in value.items() if key in {"name", "arguments"} and given is not None}
        if isinstance(function.get("arguments"), dict):
            function["arguments"] = dumps(function["arguments"])
        return function


class MessageCall(Asked):
    """A tool call of the model. A call without an id gets one."""

    id: str | None = Field(None, max_length=512, description="The id of the call, which its result repeats.")
    type: Literal["function"] = "function"
    function: CalledFunction = Field(description="The tool and its arguments.")

    @model_validator(mode="before")
    @classmethod
    def known_keys(cls, value: Any) -> Any:
        """Drop the keys that only the provider of the call knows, such as its signature."""
        if isinstance(value, dict) and isinstance(value.get("function"), dict):
            known = {key: given for key, given in value.items() if key in {"id", "type", "function"}}
            return {key: given for key, given in known.items() if given is not None}
        return value


Calls = Annotated[list[MessageCall], Field(max_length=128, fail_fast=True)]


class Message(Asked):
    """A message of a conversation that the client stores itself.

    The answer of an assistant can have `tool_calls`, and a message with the role `tool` is the result of one of them.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(description="The author.")
    name: str | None = Field(None, max_length=256, description="The author's name, if several have this role.")
    tool_calls: Calls | None = Field(None, description="With the role `assistant`: the calls that the model made.")
    tool_call_id: str | None = Field(
        None, max_length=512, description="With the role `tool`: the id of the call. The default is the next call."
    )
    content: Content | None = Field(None, description="Text, or a list of parts as in `input`.")

    @model_validator(mode="before")
    @classmethod
    def of_a_chat_client(cls, value: Any) -> Any:
        """Drop the keys and parts that only the provider understands. A refusal becomes an answer's text."""
        if not isinstance(value, dict):
            return value
        if value.get("function_call"):
            raise ValueError("function_call is deprecated: send tool_calls, and the result with the role tool")
        if value.get("parts"):
            raise ValueError(f"parts is a form of the AI SDK's pages: send content. {CALLS_AS_PARTS}")
        message = {key: given for key, given in value.items() if key not in IGNORED}
        if value.get("refusal") and not value.get("content"):
            message["content"] = value["refusal"]
        if message.get("role") in ("assistant", "tool") and isinstance(message.get("content"), list):
            message["content"] = _said(message["content"], calls=message.get("tool_calls"))
        return message

    @model_validator(mode="after")
    def complete(self) -> Self:
        """Refuse an empty message, and fields that its role can't have."""
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        if self.tool_call_id and self.role != "tool":
            raise ValueError("only a message with the role tool has a tool_call_id")
        parts = [] if isinstance(self.content, str | None) else self.content
        if self.role != "user" and not all(isinstance(part, TextPart) for part in parts):
            raise ValueError(f"a message with the role {self.role} has text only: send files in a user's message")
        if self.content is None and self.role != "tool" and not self.tool_calls:
            raise ValueError("the message is empty: write some content, or leave out this message")
        return self

    @field_validator("content")
    @classmethod
    def some_text(cls, value: Content | None, info: ValidationInfo) -> Content | None:
        """Refuse an empty text, except in a result and beside calls."""
        may_be_empty = info.data.get("role") == "tool" or info.data.get("tool_calls")
        return value if value is None or may_be_empty else not_blank(value)


def _said(content: list[Any], calls: object) -> list[Any] | None:
    """Return the parts of an answer or a result without reasoning, and without calls that `calls` has as well."""
    dropped = (*REASONING_PARTS, *(CALL_PARTS if calls else ()))
    kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
    if any(kind in (*CALL_PARTS, *RESULT_PARTS) and kind not in dropped for kind in kinds):
        raise ValueError(CALLS_AS_PARTS)
    return [part for part, kind in zip(content, kinds, strict=True) if kind not in dropped] or None


def in_order(messages: Sequence[Message]) -> list[Message]:
    """Return the messages, with each result after its call and a result for each call.

    A call without an id gets one. A result without an id belongs to the next call that has no result yet. A call whose
    result is missing gets one that says so. Raise ValueError, with the place, for a result without a call, and for two
    calls of one message with the same id.
    """
    kept: list[Message] = []
    results: dict[tuple[int, str], Message] = {}
    waiting: dict[str, int] = {}  # the calls without a result, each with the place of its message in `kept`
    for place, message in enumerate(messages):
        if message.role == "tool":
            call_id = message.tool_call_id or next(iter(waiting), "")
            if call_id not in waiting:
                raise ValueError(f"messages[{place}] is a result without a call: send the assistant's tool_calls, too")
            results[waiting.pop(call_id), call_id] = message.model_copy(update={"tool_call_id": call_id})
            continue
        message = _with_ids(message, place)
        ids = [call.id or "" for call in message.tool_calls or ()]
        if len(set(ids)) < len(ids):
            raise ValueError(f"messages[{place}] has two calls with the same id: each result needs a call of its own")
        for call_id in ids:
            waiting.pop(call_id, None)
            waiting[call_id] = len(kept)
        kept.append(message)
    return [each for place, message in enumerate(kept) for each in _with_results(place, message, results)]


def _with_ids(message: Message, place: int) -> Message:
    if all(call.id for call in message.tool_calls or ()):
        return message
    calls = [
        call if call.id else call.model_copy(update={"id": f"call_{place}_{index}"})
        for index, call in enumerate(message.tool_calls or ())
    ]
    return message.model_copy(update={"tool_calls": calls})


def _with_results(place: int, message: Message, results: dict[tuple[int, str], Message]) -> list[Message]:
    ids = [call.id or "" for call in message.tool_calls or ()]
    missing = {call_id: Message(role="tool", content=NO_RESULT, tool_call_id=call_id) for call_id in ids}
    return [message, *(results.get((place, call_id), missing[call_id]) for call_id in ids)]
