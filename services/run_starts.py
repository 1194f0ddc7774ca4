"""How a run starts: its place in its session, what of it is recorded before, and who is told of its id."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from uuid_utils import uuid7

from models import AgentRequest, OnDisconnect, Run, RunStatus, SimulateRequest, now
from services.idempotency import IdempotencyKeys
from services.live_runs import LiveRuns
from services.run_records import RunRecords
from services.run_task import RunOrder, RunTask, Work
from services.run_work import RunWork
from services.session_turns import SessionTurns, Turn
from settings import Settings


class RunStarts:
    """Starts runs, each whole or not at all; `under_way` are those that are being started."""

    def __init__(
        self,
        settings: Settings,
        records: RunRecords,
        live: LiveRuns,
        turns: SessionTurns,
        keys: IdempotencyKeys,
        work: RunWork,
    ) -> None:
        self._settings = settings
        self._records = records
        self._live = live
        self._turns = turns
        self._keys = keys
        self._work = work
        self.under_way: set[asyncio.Task[str]] = set()

    def begin(self, request: AgentRequest, request_id: str, key: str | None, *, alone: bool) -> asyncio.Task[str]:
        """Start a run in a task of its own, which gives its id: who leaves in the middle leaves nothing half begun.

        See `AgentService.start` for `key`, `alone` and what the task raises.
        """
        beginning = asyncio.create_task(self._begin(request, request_id, key, alone), name=f"begin {request_id}")
        self.under_way.add(beginning)
        beginning.add_done_callback(self._begun)
        return beginning

    def _begun(self, beginning: asyncio.Task[str]) -> None:
        self.under_way.discard(beginning)
        if not beginning.cancelled():
            beginning.exception()  # which nobody may be there to take

    async def _begin(self, request: AgentRequest, request_id: str, key: str | None, alone: bool) -> str:
        run_id = _new_id()
        lonely = alone and "on_disconnect" not in request.model_fields_set
        start = partial(self._start, run_id, request, request_id, lonely)
        if key is None:
            await start()
            return run_id
        run_id = await self._keys.once(key, request, run_id, start)
        if lonely and (task := self._live.get(run_id)):
            task.keep_alone()
        return run_id

    async def simulate(self, request: SimulateRequest, request_id: str) -> str:
        """Start a scripted run; its id. Raise a `CapacityError`."""
        with self._live.admission():
            run = _new_run(_new_id(), self._work.simulated_model, request.on_disconnect)
            await self._live.launch(self._order(run, self._work.simulated(request), request_id))
        return run.run_id

    async def _start(self, run_id: str, request: AgentRequest, request_id: str, lonely: bool) -> None:
        with self._live.admission():
            plan = await self._work.plan(request)
            run = _new_run(run_id, plan.route.model, "continue" if lonely else request.on_disconnect, request)
            async with self._recorded(request, run) as turn:
                work = self._work.asked(plan, turn.run)
                await self._live.launch(self._order(turn.run, work, request_id, turn.behind))

    @asynccontextmanager
    async def _recorded(self, request: AgentRequest, run: Run) -> AsyncGenerator[Turn, None]:
        """What the log does not hold of a run is recorded before it begins."""
        if run.session_id is not None:
            async with self._turns.turn(request, run) as turn:
                yield turn
        elif run.metadata is not None:
            async with self._records.recorded(run):
                yield Turn(run, ())
        else:
            yield Turn(run, ())

    def _order(self, run: Run, work: Work, request_id: str, behind: tuple[RunTask, ...] = ()) -> RunOrder:
        return RunOrder.within(self._settings, run, work, partial(self._work.resumed, run), request_id, behind)


def _new_id() -> str:
    return f"run_{uuid7().hex}"


def _new_run(run_id: str, model: str, on_disconnect: OnDisconnect, request: AgentRequest | None = None) -> Run:
    """A run that has not begun."""
    return Run(
        run_id=run_id,
        session_id=request and request.session_id,
        status=RunStatus.QUEUED,
        model=model,
        created_at=now(),
        last_seq=0,
        on_disconnect=on_disconnect,
        metadata=request and request.metadata,
    )
