"""How a run starts: its place in its session, what of it is recorded before, and who is told of its id."""

import asyncio

from uuid_utils import uuid7

from models import AgentRequest, OnDisconnect, Run, RunStatus, SimulateRequest, now
from services.intake.work import WorkFactory
from services.runs.admission import Admission
from services.runs.idempotency import IdempotencyKeys
from services.runs.live import LiveRuns
from services.runs.task import RunSpec
from services.sessions.turns import SessionTurns
from settings import Settings


class RunStarter:
    """Starts runs, each whole or not at all; `under_way` are those that are being started."""

    def __init__(
        self,
        settings: Settings,
        live: LiveRuns,
        admission: Admission,
        turns: SessionTurns,
        keys: IdempotencyKeys,
        work: WorkFactory,
    ) -> None:
        self._settings = settings
        self._live = live
        self._admission = admission
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
        unattended = alone and "on_disconnect" not in request.model_fields_set
        if key is None:
            await self._start(run_id, request, request_id, unattended)
            return run_id
        async with self._keys.claim(key, request, run_id) as claimed:
            if claimed == run_id:
                await self._start(run_id, request, request_id, unattended)
        if unattended and (task := self._live.get(claimed)):
            task.readers.keep_alone()
        return claimed

    async def simulate(self, request: SimulateRequest, request_id: str) -> str:
        """Start a scripted run; its id. Raise a `CapacityError`."""
        with self._admission.place():
            run = _new_run(_new_id(), self._work.simulated_model, request.on_disconnect)
            work = self._work.simulated(run, request)
            await self._live.launch(RunSpec.within(self._settings, run, work, request_id))
        return run.run_id

    async def _start(self, run_id: str, request: AgentRequest, request_id: str, unattended: bool) -> None:
        with self._admission.place():
            plan = await self._work.plan(request)
            run = _new_run(run_id, plan.route.model, "continue" if unattended else request.on_disconnect, request)
            async with self._turns.turn(request, run) as turn:
                work = self._work.planned(turn.run, plan)
                await self._live.launch(RunSpec.within(self._settings, turn.run, work, request_id, turn.behind))


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
