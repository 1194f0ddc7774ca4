"""Plays scripted runs, for building a front end without a model or a key.

They use the machinery and the contract of a real run.
"""

import asyncio
from collections.abc import Iterable

from models import SimulateRequest
from services.agents.scenarios import MODEL, Beat, Fail, Silence, Value, script, script_after
from services.runs.suspension import Outcomes, Pending, SpentBudget, Suspension
from services.runs.writer import RunWriter

STORED = {"input", "scenario", "delay_ms"}  # the keys of the request that the script needs after a wait


class SimulatedAgent:
    """Plays the beats of a scenario, with the request's delay before each event."""

    model = MODEL

    async def run(self, request: SimulateRequest, writer: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones.

        Return a `Suspension` where the scenario waits. Raise the error with which it fails.
        """
        return await _play(script(request), request, writer)

    async def resume(self, request: SimulateRequest, outcomes: Outcomes, writer: RunWriter) -> Suspension | None:
        """Continue after the scenario's wait. Return and raise as `run` does."""
        return await _play(script_after(request, outcomes), request, writer)


async def _play(beats: Iterable[Beat], request: SimulateRequest, writer: RunWriter) -> Suspension | None:
    for beat in beats:
        match beat:
            case Silence(seconds):
                await asyncio.sleep(seconds)
            case Fail(error):
                raise error
            case Pending() | SpentBudget():
                return Suspension([beat], request.model_dump(mode="json", include=STORED), {})
            case Value(data, attempts):
                writer.answer_with(data, attempts)
            case _:
                await asyncio.sleep(request.delay_ms / 1000)
                writer.put(beat)
                await writer.commit()
    return None
