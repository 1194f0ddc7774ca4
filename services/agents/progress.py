"""Writes the progress reports of a running tool call as events, at a bounded rate."""

import asyncio
import logging
import math

from errors import LogUnavailable
from event_data import ToolProgress
from event_logs.base import Fenced
from json_codec.text import mend_text
from services.runs.writer import RunWriter

logger = logging.getLogger(__name__)

INTERVAL_S = 0.05  # between two events of one call
MAX_MESSAGE = 1000  # characters of a report's message


class Progress:
    """The reports of one call. Of those that come within `INTERVAL_S`, only the latest becomes an event."""

    def __init__(self, call_id: str, writer: RunWriter) -> None:
        self._call_id = call_id
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._latest: ToolProgress | None = None
        self._woken = False  # whether the loop knows of the latest report: a wake-up per report would flood it
        self._writing: asyncio.Task[None] | None = None
        self._over = False

    def report(self, message: str | None, progress: float | None, total: float | None) -> None:
        """Report progress, from any thread. Raise `ValidationError` for values that aren't text or numbers."""
        message = message and mend_text(message[:MAX_MESSAGE])
        self._latest = ToolProgress(
            tool_call_id=self._call_id, message=message, progress=_finite(progress), total=_finite(total)
        )
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._start_writing)

    def end(self) -> None:
        """End the reports with the call: put the latest one, to be committed with the call's result."""
        self._over = True
        if self._writing is not None:
            self._writing.cancel()
        self._put()

    def _start_writing(self) -> None:
        if self._writing is None and not self._over and self._writer.end is None:
            self._writing = asyncio.create_task(self._write(), name=f"progress {self._call_id}")

    async def _write(self) -> None:
        try:
            while self._put():
                await self._writer.commit()
                await asyncio.sleep(INTERVAL_S)
        except (LogUnavailable, Fenced):
            logger.info("the progress of a call could not be written")  # its result will fail the same way
        finally:
            self._writing, self._woken = None, False

    def _put(self) -> bool:
        """Put the latest report. Return whether there was one."""
        self._woken = False  # before the latest is taken, so that a report from a thread after it wakes the loop again
        latest, self._latest = self._latest, None
        if latest is None or self._writer.end is not None:
            return False
        self._writer.put(latest)
        return True


def _finite(number: float | None) -> float | None:
    return number if number is None or math.isfinite(number) else None
