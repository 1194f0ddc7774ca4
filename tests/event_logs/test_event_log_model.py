"""Every event log against a model of it, in any order of writing and reading."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from log_backends import (
    CALL,
    COMPLETE,
    Backend,
    arguments,
    available,
    everything,
    frames,
    new_id,
    parse,
    say,
    scratch,
    settled,
)

from errors import RunExpired, RunNotFound
from event_data import EventData, PartialOutput, StepStarted, Thinking, ToolUseDelta
from event_logs.base import EventWriter, Fenced, LogPosition
from event_logs.frames import FrameQueue

pytest_plugins = "log_fixtures"
pytestmark = pytest.mark.anyio


# Against a model

TEXTS = st.text(max_size=6)
DELTAS = st.builds(say, TEXTS) | st.builds(lambda text: Thinking(content=text), TEXTS)
CALL_DELTAS = st.builds(arguments, TEXTS, st.sampled_from(["call_1", "call_2"]))
OTHERS = st.just(CALL) | st.builds(lambda step: StepStarted(step=step, model="m"), st.integers(1, 9))


class ModelledRun(RuleBasedStateMachine):
    """A run beside the simplest model of it: a list of what is queued, and a list of what is committed."""

    kind: type[Backend]

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = scratch(self.kind)
        self.backend = self.kind(Path(self.directory.name))
        self.log = self.backend.open()
        self.run_id = new_id()
        self.followers: list[tuple[int, asyncio.Task[bytes]]] = []
        self.create()

    def create(self) -> None:
        self.writer: EventWriter | None = self.runner.run(self.log.create(self.run_id))
        self.queued: list[EventData] = []
        self.committed: list[EventData] = []
        self.seen = b""
        self.archived = False
        self.gone: type[RunExpired | RunNotFound] | None = None

    @property
    def ended(self) -> bool:
        return COMPLETE in self.committed

    @precondition(lambda self: self.writer and COMPLETE not in self.queued and not self.ended)
    @rule(event=DELTAS | CALL_DELTAS | OTHERS)
    def put(self, event: EventData) -> None:
        assert self.writer
        self.writer.put(event)
        joined = join(self.queued[-1], event) if self.queued else None
        self.queued[-1:] = [joined] if joined else [*self.queued[-1:], event]

    @precondition(lambda self: self.writer and COMPLETE not in self.queued and not self.ended)
    @rule()
    def put_complete(self) -> None:
        assert self.writer
        self.writer.put(COMPLETE)
        self.queued.append(COMPLETE)

    @precondition(lambda self: self.writer and COMPLETE in self.queued + self.committed)
    @rule(event=DELTAS | OTHERS)
    def put_too_late(self, event: EventData) -> None:
        assert self.writer
        with pytest.raises(Fenced):
            self.writer.put(event)

    @precondition(lambda self: self.writer)
    @rule()
    def commit(self) -> None:
        assert self.writer
        self.runner.run(self.writer.commit())
        self.committed += self.queued
        self.queued.clear()

    @precondition(lambda self: self.gone is not RunNotFound)
    @rule()
    def write_again(self) -> None:
        with pytest.raises(Fenced):
            self.runner.run(self.log.create(self.run_id))

    @precondition(lambda self: not self.gone)
    @rule()
    def take_over(self) -> None:
        if self.ended:
            with pytest.raises(Fenced):
                self.runner.run(self.log.take_over(self.run_id))
            return
        former, self.writer = self.writer, self.runner.run(self.log.take_over(self.run_id))
        self.queued.clear()
        assert former
        with pytest.raises(Fenced):
            former.put(say("late"))
        with pytest.raises(Fenced):
            self.runner.run(former.commit())

    @precondition(lambda self: not self.archived and not self.gone)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Check that all committed events are there, and of the others any number that were written whole."""
        self.followers = [follower for follower in self.followers if not self.stop(follower)]
        queue = FrameQueue(self.run_id, len(self.committed))
        for event in [] if self.ended else self.queued:
            queue.put(event)
        commit = b"".join(queue.take())
        written = commit[: data.draw(st.integers(0, len(commit)))]
        self.log, found = self.runner.run(self.backend.crash(self.log, self.run_id, written))
        self.committed += self.queued[: len(frames(found))]
        self.queued.clear()
        self.writer = None if self.ended else self.runner.run(self.log.take_over(self.run_id))

    @precondition(lambda self: self.ended and not self.gone)
    @rule()
    def archive(self) -> None:
        self.runner.run(self.log.archive(self.run_id))
        self.archived = True

    @precondition(lambda self: self.archived and not self.gone)
    @rule()
    def expire(self) -> None:
        self.runner.run(self.backend.expire(self.log, self.run_id))
        self.gone = RunExpired

    @precondition(lambda self: self.ended and not self.gone)
    @rule()
    def delete(self) -> None:
        self.finish_followers()
        self.runner.run(self.log.delete(self.run_id))
        self.writer = None
        self.gone = RunNotFound

    @precondition(lambda self: self.gone is RunNotFound)
    @rule()
    def begin_again(self) -> None:
        self.create()

    @precondition(lambda self: not self.gone)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        whole = self.runner.run(available(self.log, self.run_id))
        assert whole.startswith(self.seen)
        self.seen = whole
        after = data.draw(st.integers(0, len(self.committed)))
        body = self.runner.run(available(self.log, self.run_id, after))
        self.check(body, after)
        assert body == b"".join(frames(whole)[after:])

    @precondition(lambda self: not self.gone)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        after = data.draw(st.integers(0, len(self.committed)))
        task = self.runner.get_loop().create_task(everything(self.log, self.run_id, after))
        self.runner.run(settled(task))
        self.followers.append((after, task))

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        follower = data.draw(st.sampled_from(self.followers))
        self.stop(follower)
        self.followers.remove(follower)

    def stop(self, follower: tuple[int, "asyncio.Task[bytes]"]) -> bool:
        """Have a reader leave, if it isn't through; return whether it has."""
        _, task = follower
        task.cancel()
        self.runner.run(asyncio.wait([task]))
        return task.cancelled()

    @invariant()
    def the_log_tells_how_far_it_reaches(self) -> None:
        listed = [] if self.archived or self.gone else [self.run_id]
        assert self.runner.run(self.unarchived()) == listed
        if self.gone:
            with pytest.raises(self.gone):
                self.runner.run(self.log.position(self.run_id))
            with pytest.raises(self.gone):
                self.runner.run(available(self.log, self.run_id))
        else:
            reached = LogPosition(len(self.committed), self.ended)
            assert self.runner.run(self.log.position(self.run_id)) == reached
        assert self.writer is None or self.writer.last_seq == len(self.committed)

    async def unarchived(self) -> list[str]:
        """Whether this run is; a backend may have others."""
        return [run_id for run_id in await self.log.unarchived() if run_id == self.run_id]

    def check(self, body: bytes, after: int) -> None:
        """The frames hold the committed events from that one on, with their numbers."""
        events = [parse(frame) for frame in frames(body)]
        assert [event["data"] for event in events] == [event.model_dump() for event in self.committed[after:]]
        assert [event["seq"] for event in events] == list(range(after + 1, len(self.committed) + 1))

    def teardown(self) -> None:
        if not self.ended and COMPLETE not in self.queued:
            self.put_complete()
        if self.writer:
            self.commit()
        self.finish_followers()
        self.runner.run(self.log.aclose())
        self.runner.close()
        self.directory.cleanup()

    def finish_followers(self) -> None:
        """Each has been given all that was committed after its cursor."""
        for after, follower in self.followers:
            self.check(self.runner.run(asyncio.wait_for(follower, 5)), after)
        self.followers.clear()


def join(before: EventData, event: EventData) -> EventData | None:
    """Both in one, where they are deltas of the same thing."""
    match before, event:
        case PartialOutput(content=one), PartialOutput(content=other):
            return PartialOutput(content=one + other)
        case Thinking(content=one), Thinking(content=other):
            return Thinking(content=one + other)
        case ToolUseDelta(), ToolUseDelta() if before.tool_call_id == event.tool_call_id:
            return arguments(before.arguments_delta + event.arguments_delta, event.tool_call_id)
        case _:
            return None


def test_any_order_of_writing_and_reading_keeps_the_promises(kind: type[Backend]) -> None:
    """Put, commit, read, follow, leave, take over, crash, archive and delete, in any order: the log is as its model."""

    class Modelled(ModelledRun):
        pass

    Modelled.kind = kind
    run_state_machine_as_test(
        Modelled,
        settings=hypothesis_settings(stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]),
    )
