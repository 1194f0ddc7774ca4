"""Judges what must hold after a crash, without I/O: it receives what was observed and returns what is wrong with it.

It is written from the contract alone and imports nothing of the service, so both can't be wrong in the same way.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from grammar import check_grammar, parse_frames

Json = dict[str, Any]
Outcome = tuple[str, str | None]
"""How a run ended: its status, and its error's code."""
INTERRUPTED: Outcome = ("failed", "interrupted")


def digest(data: bytes) -> str:
    """Return what is kept of a frame's data line."""
    return hashlib.sha256(data).hexdigest()[:16]


@dataclass
class Reading:
    """One connection of a client: its events after `after`, as (seq, digest of the data line), and how it ended.

    `clean` is the end of the body, `draining` an end after that frame, `nothing` a 204, `torn` any other end.
    """

    after: int
    frames: list[tuple[int, str]] = field(default_factory=list)
    end: str = "torn"
    completed: bool = False
    waits: int = 0

    @property
    def last_seq(self) -> int:
        """The number of the last event received."""
        return self.frames[-1][0] if self.frames else self.after


@dataclass
class Witness:
    """A client's knowledge of a run. `outcomes` are the ends that its run may have, besides being interrupted.

    `run_ids` are the ids in the responses to its requests, which must all be equal. `answers` are the bodies from
    /execute.
    """

    label: str
    outcomes: frozenset[Outcome]
    metadata: Mapping[str, str] | None = None
    run_ids: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """The run's id, or an empty text if every request was refused."""
        return self.run_ids[0] if self.run_ids else ""

    @property
    def completed(self) -> bool:
        """Whether the client has received the run's end."""
        return bool(self.answers) or any(reading.completed for reading in self.readings)


@dataclass
class Record:
    """The service's report of a run once everything has settled."""

    replay: bytes
    lines: bytes
    row: Json
    listed: Sequence[Json]


@dataclass
class Conversation:
    """A session's head, the messages of its branch, and the records of all its runs."""

    session_id: str
    head: str | None
    messages: Sequence[Json]
    records: Mapping[str, Record]


def judge_run(record: Record, witnesses: Sequence[Witness]) -> Iterator[str]:
    """Return what is wrong with a run: in its log, between log and row, or against what its clients received before."""
    run_id = record.row.get("run_id")
    try:
        check_grammar(record.replay)
    except AssertionError as broken:
        yield f"{run_id}: the replay breaks the contract: {broken}"
        return
    yield from _judge_row(record)
    shown = shown_by(record.replay)
    if record.lines.splitlines() != data_lines(record.replay):
        yield f"{run_id}: the JSON lines are not the frames' data"
    for witness in witnesses:
        for fault in judge_witness(witness, shown, record):
            yield f"{witness.label} ({run_id}): {fault}"


def shown_by(replay: bytes) -> list[str]:
    """Return the digests of a replay's data lines."""
    return [digest(line) for line in data_lines(replay)]


def data_lines(replay: bytes) -> list[bytes]:
    """Return the data of each frame that is an event."""
    events = (frame for frame in replay.split(b"\n\n") if frame.startswith(b"id: "))
    return [frame.partition(b"\ndata: ")[2] for frame in events]


def _judge_row(record: Record) -> Iterator[str]:
    """Check that row and log agree, and that the list has the row once."""
    row, events = record.row, parse_frames(record.replay)
    start, complete = events[0]["data"], events[-1]["data"]
    errors = [event["data"] for event in events if event["event"] == "error"]
    logged = {
        "run_id": events[0]["run_id"],
        "status": complete["status"],
        "last_seq": len(events),
        "steps": complete["steps"],
        "usage": complete["usage"],
        "finish_reason": complete.get("finish_reason"),
        "error": errors[0] if errors else None,
        "model": start["model"],
        "session_id": start.get("session_id"),
    }
    for key, value in logged.items():
        if row.get(key) != value:
            yield f"{row.get('run_id')}: the row's {key} is {row.get(key)!r}, the log's {value!r}"
    if "finished_at" not in row:
        yield f"{row.get('run_id')}: the row has no finished_at"
    if len(record.listed) != 1:
        yield f"{row.get('run_id')}: the list has it {len(record.listed)} times"
    for listed in record.listed:
        if listed != row:
            yield f"{row.get('run_id')}: the list has {listed}, the row is {row}"


def outcome(row: Json) -> Outcome:
    """Return the end of the run according to its row."""
    return row.get("status", ""), (row.get("error") or {}).get("code")


def judge_witness(witness: Witness, shown: Sequence[str], record: Record) -> Iterator[str]:
    """Check that the client received what the replay shows. `shown` are the digests of the replay."""
    ended = outcome(record.row)
    if ended not in witness.outcomes | {INTERRUPTED}:
        yield f"it ended as {ended}, not as one of {sorted(witness.outcomes, key=str)}"
    if witness.metadata is not None and record.row.get("metadata") != witness.metadata:
        yield f"its metadata are {record.row.get('metadata')}, not {witness.metadata}"
    for number, reading in enumerate(witness.readings):
        for fault in _judge_reading(reading, shown):
            yield f"connection {number} after {reading.after}: {fault}"
    for answer in witness.answers:
        if (answer.get("status", "failed"), answer.get("error", {}).get("code")) != ended:
            yield f"it ended as {ended}, its JSON answer is {answer}"
        elif ended == ("succeeded", None) and answer["output"] != final_output(record.replay):
            yield f"the JSON answer's output is {answer['output']!r}"


def final_output(replay: bytes) -> str:
    """Return the whole answer of a run that has succeeded."""
    output: str = parse_frames(replay)[-2]["data"]["content"]
    return output


def _judge_reading(reading: Reading, shown: Sequence[str]) -> Iterator[str]:
    last = reading.after
    seen: dict[int, str] = {}
    for seq, data in reading.frames:
        if seq in seen:
            yield f"event {seq} came twice{'' if seen[seq] == data else ', and changed'}"
        elif seq != last + 1:
            yield f"event {seq} came after {last}"
        if seq > len(shown):
            yield f"event {seq} is lost: the replay ends with {len(shown)}"
        elif shown[seq - 1] != data:
            yield f"event {seq} is another one in the replay"
        seen[seq], last = data, max(last, seq)
    completes = reading.completed and last == len(shown)
    if reading.completed and not completes:
        yield f"complete came as event {last}, the replay has {len(shown)}"
    if reading.end == "clean" and not completes:
        yield f"the body ended cleanly after event {last} of {len(shown)}, without complete"
    if reading.end == "nothing" and reading.after != len(shown):
        yield f"204 after event {reading.after} of {len(shown)}"


def judge_promise(witness: Witness, known: Mapping[str, Record]) -> Iterator[str]:
    """Check that each client with a response has one run, which exists and has ended."""
    name = f"{witness.label} ({witness.run_id})"
    yield from (f"{name}: refused: {refusal}" for refusal in witness.refusals)
    if len(set(witness.run_ids)) > 1:
        yield f"{name}: one key gave the runs {witness.run_ids}"
    if not witness.refusals and witness.run_id not in known:
        yield f"{name}: the run is not there"
    if not witness.refusals and not witness.completed:
        yield f"{name}: it never came to complete"


def judge_conversation(conversation: Conversation) -> Iterator[str]:
    """Check that a session's messages are in order, follow the rules for tool calls and agree with its runs' logs."""
    name, messages = conversation.session_id, conversation.messages
    if conversation.head not in (conversation.records or {None}):  # the kill may have come before its first run began
        yield f"{name}: its head is {conversation.head}, which is no run of it"
    unanswered: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if not unanswered or message["tool_call_id"] != unanswered.pop(0):
                yield f"{name}: message {number} is no result of a call before it"
        elif unanswered:
            yield f"{name}: before message {number}, calls have no result: {unanswered}"
        if message["role"] == "assistant":
            unanswered = [call["tool_call_id"] for call in message.get("tool_calls") or ()]
    if unanswered:
        yield f"{name}: at the end, calls have no result: {unanswered}"
    for before, message in pairwise(messages):
        if message.get("parent_id") != before["message_id"]:
            yield f"{name}: {message['message_id']} does not follow {before['message_id']}"
    yield from _judge_turns(conversation)


def _judge_turns(conversation: Conversation) -> Iterator[str]:
    for run_id in dict.fromkeys(message["run_id"] for message in conversation.messages):
        turn = [message for message in conversation.messages if message["run_id"] == run_id]
        if [message["role"] for message in turn].count("user") != 1 or turn[0]["role"] != "user":
            yield f"{conversation.session_id}: the turn of {run_id} does not begin with its one question"
        if (record := conversation.records.get(run_id)) is None:
            yield f"{conversation.session_id}: {run_id} is in its messages, but not among its runs"
            continue
        events = parse_frames(record.replay)
        logged = "".join(event["data"]["content"] for event in events if event["event"] == "partial_output")
        stored = "".join(message["content"] or "" for message in turn if message["role"] == "assistant")
        if stored != logged:
            yield f"{conversation.session_id}: the answer of {run_id} is kept as {stored!r}, the log has {logged!r}"
        yield from _judge_parts(f"{conversation.session_id}: {run_id}", turn, events, record.row)
        calls = Counter(event["data"]["tool_call_id"] for event in events if event["event"] == "tool_result")
        if calls != Counter(message["tool_call_id"] for message in turn if message["role"] == "tool"):
            yield f"{conversation.session_id}: the results of {run_id} are not those of the log"


def _judge_parts(name: str, turn: Sequence[Json], events: Sequence[Json], row: Json) -> Iterator[str]:
    """Check that the messages of a run have its thinking, its calls' results, its status and its error."""
    logged = "".join(event["data"]["content"] for event in events if event["event"] == "thinking")
    thinking = "".join(message.get("thinking", "") for message in turn)
    if thinking != logged:
        yield f"{name}: the thinking is kept as {thinking!r}, the log has {logged!r}"
    results = {
        event["data"]["tool_call_id"]: (event["data"]["content"], event["data"]["is_error"])
        for event in events
        if event["event"] == "tool_result"
    }
    calls = [call for message in turn for call in message.get("tool_calls") or ()]
    for call in calls:
        stored = (call.get("result"), call.get("is_error"))
        if stored != results.get(call["tool_call_id"]):
            yield f"{name}: the result of {call['tool_call_id']} is kept as {stored}"
    for message in turn:
        if (message["status"], message.get("error")) != (row["status"], row.get("error")):
            yield f"{name}: {message['message_id']} has another end than the row: {message['status']}"


def judge_upstream(calls: Mapping[str, int]) -> Iterator[str]:
    """Check that each question went to the model server at most once, however often it was requested with its key."""
    for question, count in calls.items():
        if count > 1:
            yield f"the model server was asked {count} times for {question}"


def judge_marks(words: Sequence[str]) -> Iterator[str]:
    """Check that each approved call ran at most once."""
    for word, count in Counter(words).items():
        if count > 1:
            yield f"the call with {word} was made {count} times"


def judge_files(active: Sequence[str], archived: Sequence[str], runs: Sequence[str]) -> Iterator[str]:
    """Check that every run is archived in the end, and that there are no other files."""
    if active:
        yield f"left in active/: {sorted(active)}"
    if Counter(archived) != Counter(runs):
        yield f"archived, but not listed: {sorted(set(archived) - set(runs))}; "
        yield f"listed, but not archived: {sorted(set(runs) - set(archived))}"
