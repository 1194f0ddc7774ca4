"""Functions for CHECK_INPUT and CHECK_OUTPUT, named as `text_checks:no_canary`."""

import asyncio

from tools import Blocked, CheckContext

CANARY = "canary-5e1f"
MARK = "stop-here"

heard: list[tuple[CheckContext, str]] = []
"""What `recorded` and `hanging` were called with, in this process."""


def no_canary(context: CheckContext, text: str) -> Blocked | None:
    """Block the canary. Runs in a thread."""
    return Blocked("it names\nthe bird") if CANARY in text else None


async def recorded(context: CheckContext, text: str) -> Blocked | None:
    """Record each call, and block the mark."""
    heard.append((context, text))
    return Blocked() if MARK in text else None


def failing(context: CheckContext, text: str) -> None:
    """Fail with a message that quotes the text."""
    raise ValueError(text)


async def hanging(context: CheckContext, text: str) -> None:
    """Record each call, and never decide on a text with the mark."""
    heard.append((context, text))
    if MARK in text:
        await asyncio.Event().wait()
