"""What a run's log tells of the run as a whole."""

from contextlib import aclosing

from event_logs.base import EventLog
from events import Complete, EventType, RunError, RunStarted
from models import Run, RunStatus
from services.event_reading import events_in

WANTED = frozenset((EventType.RUN_STARTED, EventType.ERROR, EventType.COMPLETE))


async def run_in_log(log: EventLog, run_id: str, known: Run | None) -> Run:
    """A run that has ended, as its log tells it; what is not in the log is as it is in `known`.

    Raise as `EventLog.read` does, or ValueError where the log is damaged.
    """
    told: dict[str, object] = {}
    async with aclosing(events_in(log.read(run_id, 0, follow=False), WANTED)) as events:
        async for event in events:
            match event.data:
                case RunStarted(model=model, session_id=session_id):
                    told |= {"model": model, "session_id": session_id, "created_at": event.timestamp}
                case RunError() as error:
                    told["error"] = error
                case Complete() as complete:
                    told |= {
                        "status": RunStatus(complete.status),
                        "finished_at": event.timestamp,
                        "last_seq": event.seq,
                        "finish_reason": complete.finish_reason,
                        "usage": complete.usage,
                        "steps": complete.steps,
                    }
    if known is not None:
        return known.model_copy(update=told | {"created_at": known.created_at})
    return Run.model_validate({"run_id": run_id, "on_disconnect": "cancel"} | told)
