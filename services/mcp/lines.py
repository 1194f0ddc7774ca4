"""Filters the standard output of a command that is an MCP server: the SDK gets its messages and nothing else.

The SDK's stdio client accepts the name of an encoding. `ENCODING` names the decoder of this module: it returns whole
lines that are messages, and drops others, such as banners and log lines, which many servers print
(azure-devops-mcp#147, ews-mcp#133). If a command prints little else, as `yes` does, its session is closed.
"""

import codecs
import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from services.mcp.incoming import MAX_BYTES, Incoming
from services.mcp.rates import PerSecond

logger = logging.getLogger(__name__)

ENCODING = "mcp_lines"
END = "agent-stream/end"
"""The method of a notification of this module: the command prints too much, and its session has to be closed."""
END_LINE = f'{{"jsonrpc":"2.0","method":"{END}"}}\n'

NOISE_BYTES = 4 * 1024 * 1024  # a second of lines that aren't messages; with more, the session is closed
LINE_WEIGHT = 2 * 1024  # bytes that a line counts at least, since short lines cost time, too
MAX_LINE = 32 * MAX_BYTES  # of a message that exceeds its limit; beyond that, it counts as noise
MESSAGE = re.compile(rb'(?:\[\s*)?\{(?=\s*(?:"|$))')  # the start of a message or of a batch
MAX_LOGGED = 5  # lines of a command that aren't messages
LOGGED_CHARACTERS = 200

command: ContextVar[str] = ContextVar("command")
"""The name of the server whose lines are decoded, for the log. The SDK makes the decoder without arguments."""


class Lines(codecs.IncrementalDecoder):
    """Decodes one command's standard output."""

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._label = command.get("a command")
        self._line: Incoming | None = None  # the current line, if it may be a message
        self._inside = False  # whether a line has begun
        self._is_open = False  # whether `_line` is an object that is written over several lines
        self._logged = 0
        self._noise = PerSecond(NOISE_BYTES)
        self._is_flooding = False

    def decode(self, input: Any, final: bool = False) -> str:  # noqa: A002 - the base class names it so
        """Return the messages that these bytes complete, a line each. Returns nothing after `END_LINE`."""
        return "" if self._is_flooding else "".join(self._messages(bytes(input)))

    def _messages(self, data: bytes) -> Iterator[str]:
        *lines, unfinished = data.split(b"\n")
        for part in lines:
            self._add(part)
            for message in self._end_line(part):
                yield message.translate(None, b"\r\n").decode() + "\n"
            if self._is_flooding:
                break
        else:
            if unfinished:
                self._add(unfinished)
        if self._is_flooding:
            yield END_LINE

    def _add(self, part: bytes) -> None:
        """Add a part of a line. Text before a message, such as a prompt or the code of a colour, is dropped."""
        if not self._inside:
            if part.startswith(b"{"):
                self._line, self._is_open = None, False  # an object over several lines that never ended
            self._is_open = self._is_open and not part.startswith(b"}")
        self._inside = self._inside or bool(part)
        if self._line is None and (start := MESSAGE.search(part)):
            self._line, part = Incoming(), part[start.start() :]
        if self._line is None or len(self._line) > MAX_LINE:
            self._count_noise(part)
        else:
            self._line.add(part)

    def _end_line(self, part: bytes) -> list[bytes]:
        """Return the messages of the line. A line of one brace begins an object that is written over several lines."""
        line, self._inside = self._line, False
        if line is None:
            return []
        self._is_open = self._is_open or line.is_brace
        if self._is_open:
            line.add(b"\n")
            return []
        self._line = None
        if message := line.read():
            return [message]
        if messages := line.read_all():
            return messages
        if (request := line.answered) is not None:
            return [line.refusal(request)]
        self._count_noise(part)
        return []

    def _count_noise(self, part: bytes) -> None:
        """Count a part of a line that isn't a message, and log the first of them."""
        if part.strip() and self._logged < MAX_LOGGED:
            self._logged += 1
            text = part[:LOGGED_CHARACTERS].decode("utf-8", "replace")
            logger.info("%s printed a line that isn't a message: %s", self._label, text.strip())
        if self._noise.exceeded_by(max(len(part), LINE_WEIGHT)):
            self._is_flooding = True
            logger.warning("%s prints too many lines that aren't messages: its session is closed", self._label)


@cache  # Python would keep the function once for each call
def register() -> None:
    """Register the encoding with Python. Calling this again changes nothing."""
    codecs.register(_codec)


def _codec(name: str) -> codecs.CodecInfo | None:
    if name != ENCODING:
        return None
    plain = codecs.lookup("utf-8")
    return codecs.CodecInfo(plain.encode, plain.decode, incrementaldecoder=Lines, name=ENCODING)
