"""What a command that is an MCP server writes to its standard output: its messages, and nothing else.

The SDK's stdio client takes the name of an encoding, and so of a decoder: ours is `ENCODING`. It gives the SDK whole
lines that are messages (`services.mcp.incoming`), and drops others, such as banners and log lines, which many servers
print (azure-devops-mcp#147, ews-mcp#133). A command that prints little else, as `yes` does, is given up.
"""

import codecs
import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from services.mcp.incoming import MAX_BYTES, Incoming, PerSecond

logger = logging.getLogger(__name__)

ENCODING = "mcp_lines"
END = "agent-stream/end"
"""The method of the notification that stands for the end of the messages of a command that is given up."""
END_LINE = f'{{"jsonrpc":"2.0","method":"{END}"}}\n'

NOISE_BYTES = 4 * 1024 * 1024  # of other lines within a second, after which a command is given up
LINE_WEIGHT = 2 * 1024  # bytes that a line counts for at least
MAX_LINE = 32 * MAX_BYTES  # of a message, of which too much is dropped: one that never ends is noise
MESSAGE = re.compile(rb'(?:\[\s*)?\{(?=\s*(?:"|$))')  # the beginning of a message, or of a batch of them
SHOWN = 5  # of a command's other lines, in the log
SHOWN_CHARACTERS = 200

command: ContextVar[str] = ContextVar("command")
"""The name of the server whose lines are decoded, for the log: the SDK makes the decoder, and tells it nothing."""


class Lines(codecs.IncrementalDecoder):
    """Decodes one command's standard output."""

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._label = command.get("a command")
        self._line: Incoming | None = None  # what has begun, if it may be a message
        self._inside = False  # whether a line has begun
        self._is_open = False  # whether it is the beginning of an object that is written over several lines
        self._shown = 0
        self._noise = PerSecond(NOISE_BYTES)
        self._given_up = False

    def decode(self, input: Any, final: bool = False) -> str:  # noqa: A002 - as the base has it
        """The messages that these bytes complete, each a line. Nothing after the end."""
        return "" if self._given_up else "".join(self._messages(bytes(input)))

    def _messages(self, data: bytes) -> Iterator[str]:
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._take(part)
            for message in self._end(part):
                yield message.translate(None, b"\r\n").decode() + "\n"
            if self._given_up:
                break
        else:
            if rest:
                self._take(rest)
        if self._given_up:
            yield END_LINE

    def _take(self, part: bytes) -> None:
        """Take in a part of a line, without what stands before a message, such as a prompt or a colour's code."""
        if not self._inside:
            if part.startswith(b"{"):
                self._line, self._is_open = None, False  # what began before has no end
            self._is_open = self._is_open and not part.startswith(b"}")
        self._inside = self._inside or bool(part)
        if self._line is None and (begins := MESSAGE.search(part)):
            self._line, part = Incoming(), part[begins.start() :]
        if self._line is None or len(self._line) > MAX_LINE:
            self._hear(part)
        else:
            self._line.add(part)

    def _end(self, part: bytes) -> list[bytes]:
        """The messages of the line. Of an object that is written over several lines the first is one brace."""
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
        if (asked := line.answered) is not None:
            return [line.refusal(asked)]
        self._hear(part)
        return []

    def _hear(self, part: bytes) -> None:
        """Count what is no message, and log the first lines of it."""
        if part.strip() and self._shown < SHOWN:
            self._shown += 1
            shown = part[:SHOWN_CHARACTERS].decode("utf-8", "replace")
            logger.info("%s printed something that is no message: %s", self._label, shown.strip())
        if self._noise.passed_by(max(len(part), LINE_WEIGHT)):
            self._given_up = True
            logger.warning("%s prints too much that is no message: its session is closed", self._label)


def register() -> None:
    """Make the encoding known to Python. Again is nothing."""
    codecs.register(_found)


def _found(name: str) -> codecs.CodecInfo | None:
    if name != ENCODING:
        return None
    plain = codecs.lookup("utf-8")
    return codecs.CodecInfo(plain.encode, plain.decode, incrementaldecoder=Lines, name=ENCODING)
