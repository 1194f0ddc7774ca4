"""Starts runs: takes the session's turn, records the run, launches it and returns its id."""

import asyncio

from uuid_utils import uuid7

from models import AgentRequest
from run_models import OnDisconnect, Run, RunStatus, now
from services.access.caller import Caller
from services.intake.work import WorkFactory
from services.runs.admission import Admission
from services.runs.idempotency import IdempotencyKeys
from services.runs.live import LiveRuns
from services.runs.spec import RunSpec
from services.sessions.turns import SessionTurns
from settings import Settings


class RunStarter:
    """Starts runs, each one completely or not at all. `under_way` has the tasks that start one now."""

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

    def begin(
        self, caller: Caller, request: AgentRequest, request_id: str, key: str | None, *, unattended: bool
    ) -> asyncio.Task[str]:
        """Start a caller's run in a task of its own, which returns the run's id.

        A caller that disconnects in the middle cancels its own task, but not this one, so no run is left half started.
        See `AgentService.start` for `key`, `unattended` and the errors that the task raises.
        """
        name = f"begin {request_id}"
        starting = asyncio.create_task(self._begin(caller, request, request_id, key, unattended), name=name)
        self.under_way.add(starting)
        starting.add_done_callback(self._begun)
        return starting

    def _begun(self, starting: asyncio.Task[str]) -> None:
        self.under_way.discard(starting)
        if not starting.cancelled():
            starting.exception()  # marks it as retrieved: the caller may have disconnected, and asyncio would log it

    async def _begin(
        self, caller: Caller, request: AgentRequest, request_id: str, key: str | None, unattended: bool
    ) -> str:
        run_id = _new_id()
        if "on_disconnect" in request.model_fields_set:
            unattended = False  # the request's own choice counts
        if key is None:
            await self._start(run_id, caller, request, request_id, unattended)
            return run_id
        async with self._keys.claim(caller.owner, key, request, run_id) as run_id_of_key:
            if run_id_of_key == run_id:
                await self._start(run_id, caller, request, request_id, unattended)
        if unattended and (task := self._live.get(run_id_of_key)):
            task.readers.allow_unattended()  # the run may have been started by a request that does read it
        return run_id_of_key

    async def _start(
        self, run_id: str, caller: Caller, request: AgentRequest, request_id: str, unattended: bool
    ) -> None:
        on_disconnect: OnDisconnect = "continue" if unattended else request.on_disconnect
        with self._admission.place():
            request = await self._work.allowed(request, caller)
            preparation = await self._work.prepare(request, run_id, caller)
            run = _new_run(run_id, caller.owner, preparation.model, on_disconnect, request)
            async with self._turns.turn(request, run) as turn:
                work = self._work.prepared(turn.run, preparation)
                await self._live.launch(RunSpec.within(self._settings, turn.run, work, request_id, turn.behind))


def _new_id() -> str:
    """Return a new id. It begins with the time, so ids sort in the order in which runs were started."""
    return f"run_{uuid7().hex}"


def _new_run(run_id: str, owner: str, model: str, on_disconnect: OnDisconnect, request: AgentRequest) -> Run:
    """Return the record of a run that has not begun."""
    return Run(
        run_id=run_id,
        owner=owner,
        session_id=request.session_id,
        status=RunStatus.QUEUED,
        model=model,
        created_at=now(),
        last_seq=0,
        on_disconnect=on_disconnect,
        metadata=request.metadata,
    )
