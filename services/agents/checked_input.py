"""Checks the texts of a request before anything of it is recorded or reaches a model (CHECK_INPUT)."""

import asyncio
from collections.abc import Iterator

from errors import InputBlocked
from models import AgentRequest
from part_models import Content, FilePart, TextPart
from services.tooling.checks import CheckContext, TextCheck


async def check_input(check: TextCheck, request: AgentRequest, run_id: str, caller: str | None) -> None:
    """Raise `InputBlocked` if the texts of a request may not pass, or `CheckFailed`. `run_id` is of the run to come."""
    text = await asyncio.to_thread(_text_of, request)  # decoding a file takes 4 ms for each megabyte
    context = CheckContext("input", run_id, request.session_id, caller, request.metadata or {})
    if blocked := await check.blocks(context, text):
        raise InputBlocked(blocked.explained(InputBlocked.default))


def _text_of(request: AgentRequest) -> str:
    return "\n\n".join(filter(None, _texts_of(request)))


def _texts_of(request: AgentRequest) -> Iterator[str]:
    """Yield the texts in the order in which a model reads them: instructions, messages, and the new input."""
    if request.instructions:
        yield request.instructions
    for message in request.messages or ():
        yield from _texts_in(message.content or "")
        for call in message.tool_calls or ():
            yield from (call.function.name, call.function.arguments)
    yield from _texts_in(request.input)


def _texts_in(content: Content) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for part in content:
        match part:
            case TextPart(text=text):
                yield text
            case FilePart(name=name):
                yield from [name] if name else []
                yield from [part.text()] if part.is_text else []
