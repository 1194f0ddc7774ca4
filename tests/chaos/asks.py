"""Draws from a seed what the clients request and how the fake upstream answers: runs of every shape."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wire import (
    Cut,
    Done,
    Finish,
    McpResults,
    Pause,
    Role,
    Step,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageChunk,
)

from chaos.oracle import Outcome

Json = dict[str, Any]
STREAM = "/api/agent/stream"
SIMULATE = "/api/agent/stream/simulate"
EXECUTE = "/api/agent/execute"
RUNS = "/api/agent/runs"

SUCCEEDED: Outcome = ("succeeded", None)
CANCELLED: Outcome = ("cancelled", None)
FAILED: Outcome = ("failed", "upstream_failed")
DISCONNECTED: Outcome = ("failed", "upstream_disconnected")
QUEUES = ("queue-0", "queue-1")
"""Sessions that several asks of a round may share."""

QUESTION = re.compile(r"\[(\w+) (\d+)\]")


@dataclass(frozen=True)
class Ask:
    """A client's request, and its behaviour afterwards.

    `cancel_after` is the number of the event at which it cancels the run.
    """

    label: str
    path: str
    body: Json
    key: str | None = None
    cancel_after: int | None = None
    outcomes: frozenset[Outcome] = frozenset({SUCCEEDED})

    @property
    def session(self) -> str | None:
        """The session that the request belongs to."""
        session: str | None = self.body.get("session_id")
        return session


# The upstream's side: a question names the function that answers it

USAGE = Usage(prompt=20, completion=9, total=29)
END = (Finish("stop", USAGE), Done())


def paced(rng: random.Random) -> list[Step]:
    """An answer that is sent token by token."""
    steps: list[Step] = [Role()]
    for n in range(rng.randrange(5, 40)):
        steps += [Text(f"word{n} "), Pause(rng.uniform(0.001, 0.03))]
    return [*steps, *END]


def fast(rng: random.Random) -> list[Step]:
    """An answer without pauses, with pieces larger than a memory page."""
    pieces = ["é❄️x" * rng.choice((1, 1, 3, 10, 100, 1000)) for _ in range(rng.randrange(20, 60))]
    pieces.insert(rng.randrange(20), "é❄️x" * rng.choice((1, 9000)))
    return [Role(), Text(*pieces), *END]


def thoughtful(rng: random.Random) -> list[Step]:
    """An answer that begins with thinking, with the usage in a separate chunk."""
    steps: list[Step] = [Role()]
    for n in range(rng.randrange(3, 20)):
        steps += [Thinking(f"thought{n} "), Pause(rng.uniform(0.001, 0.02))]
    return [*steps, Text("So ", "it ", "is."), Finish(), UsageChunk(20, 9, 29, reasoning=5), Done()]


def hosted(rng: random.Random) -> list[Step]:
    """An answer with calls that the upstream runs itself, and text before, between and after them."""
    steps: list[Step] = [Role(), Text("Let me look. ")]
    for n in range(rng.randrange(1, 4)):
        call = ToolCall(f"call_{n}", "search", '{"q":', f'"{n}"', "}", index=n)
        result = {"tool_name": "search", "arguments": {"q": str(n)}, "result": {"hits": [n]}, "is_error": False}
        steps += [call, Pause(rng.uniform(0.001, 0.05)), McpResults([result]), Text(f"Found {n}. "), Pause(0.01)]
    return [*steps, *END]


def local(rng: random.Random) -> list[Step]:
    """An answer with calls that the service runs."""
    steps: list[Step] = [Role(), Text("Let me look. ")]
    for n in range(rng.randrange(1, 4)):
        arguments = f'{{"word":"w{n}","ms":{rng.randrange(80)}}}'
        steps += [ToolCall(f"call_{n}", "lookup", arguments[:9], arguments[9:], index=n), Pause(0.005)]
    return [*steps, Finish("tool_calls", USAGE), Done()]


def waiting(rng: random.Random) -> list[Step]:
    """An answer with calls that need an approval, and one beside them that doesn't."""
    steps: list[Step] = [Role(), Text("May I? ")]
    for n in range(rng.randrange(1, 3)):
        arguments = f'{{"word":"w{rng.getrandbits(60)}","ms":{rng.randrange(80)}}}'
        steps.append(ToolCall(f"call_{n}", "mark", arguments, index=n))
    look = ToolCall("call_9", "lookup", '{"word":"w","ms":5}', index=9)
    return [*steps, look, Finish("tool_calls", USAGE), Done()]


def broken(rng: random.Random) -> list[Step]:
    """An answer that breaks off."""
    return [Role(), Text("I was ", "about "), Pause(rng.uniform(0, 0.1)), Cut()]


def endless(rng: random.Random) -> list[Step]:
    """An answer that takes longer than any client waits."""
    steps: list[Step] = [Role()]
    for _ in range(600):
        steps += [Text("and "), Pause(0.1)]
    return [*steps, *END]


ANSWERS: Mapping[str, Callable[[random.Random], list[Step]]] = {
    answer.__name__: answer for answer in (paced, fast, thoughtful, hosted, local, broken, waiting, endless)
}


@dataclass
class Upstream:
    """The fake upstream's choice of an answer.

    It counts how often each question arrives, with each state of its calls.
    """

    seed: str
    calls: Counter[str] = field(default_factory=Counter)
    histories: dict[str, Sequence[Json]] = field(default_factory=dict)

    def choose(self, body: Json) -> Sequence[Step]:
        """Return the answer to a chat completion."""
        messages = body["messages"]
        last = max(place for place, message in enumerate(messages) if message["role"] == "user")
        name, number = QUESTION.findall(messages[last]["content"])[-1]
        question = f"[{name} {number}]"
        self.calls[f"{question} and {len(messages) - last - 1} messages"] += 1
        self.histories[question] = messages
        rng = random.Random(f"{self.seed} {question}")
        return paced(rng) if last < len(messages) - 1 else ANSWERS[name](rng)


# The client's side


class Asks:
    """Draws requests, one after the other. Their numbers never repeat."""

    def __init__(self) -> None:
        self._rng = random.Random()
        self._number = 0
        self._next = 1_000_000

    def round(self, count: int, sessions: Sequence[str], rng: random.Random) -> list[Ask]:
        """Return this number of requests, at most one for each session."""
        self._rng = rng
        free = list(sessions)
        self._rng.shuffle(free)
        makers = self._rng.choices(
            (
                self.plain,
                self.simulated,
                self.of_session,
                self.queued,
                self.keyed,
                self.alone,
                self.cancelled,
                self.executed,
            ),
            (30, 15, 25, 25, 15, 10, 8, 5),
            k=count,
        )
        return [maker(free) for maker in makers]

    def plain(self, free: list[str]) -> Ask:
        """A stream, sometimes with metadata."""
        return self._ask(STREAM, self._with_metadata({"on_disconnect": self._rng.choice(("cancel", "continue"))}))

    def simulated(self, free: list[str]) -> Ask:
        """A scripted run. One of the scenarios breaks its body off by itself."""
        self._number += 1
        scenario = self._rng.choice(("default", "default", "long", "tool_error", "error", "truncated", "fallback"))
        body = {"scenario": scenario, "delay_ms": self._rng.choice((0, 0, 5, 20)), "input": "Rain?"}
        outcomes = frozenset({FAILED if scenario == "error" else SUCCEEDED})
        return Ask(f"simulate {scenario} {self._number}", SIMULATE, body, outcomes=outcomes)

    def of_session(self, free: list[str]) -> Ask:
        """The next question of a session, sometimes with a key."""
        if not free:
            return self.plain(free)
        body = self._with_metadata({"session_id": free.pop()})
        return self._ask(STREAM, body, keyed=self._rng.random() < 0.3)

    def queued(self, free: list[str]) -> Ask:
        """A question that is enqueued in one of the sessions that are used only for this."""
        body = {"session_id": self._rng.choice(QUEUES), "multitask": "enqueue"}
        path = self._rng.choice((STREAM, RUNS))
        return self._ask(path, self._with_metadata(body), keyed=self._rng.random() < 0.5)

    def keyed(self, free: list[str]) -> Ask:
        """A stream or a background run that is requested again after a crash."""
        return self._ask(self._rng.choice((STREAM, STREAM, RUNS)), self._with_metadata({}), keyed=True)

    def alone(self, free: list[str]) -> Ask:
        """A background run."""
        return self._ask(RUNS, self._with_metadata({}))

    def cancelled(self, free: list[str]) -> Ask:
        """A stream whose reader cancels the run."""
        ask = self._ask(STREAM, {}, name=self._rng.choice(("endless", "paced", "local")))
        outcomes = ask.outcomes | {CANCELLED}
        return Ask(ask.label, ask.path, ask.body, cancel_after=self._rng.randrange(1, 12), outcomes=outcomes)

    def executed(self, free: list[str]) -> Ask:
        """A JSON answer that is requested again after a crash."""
        return self._ask(EXECUTE, {}, keyed=True)

    def next_of(self, session: str) -> Ask:
        """A plain question that continues a session."""
        self._next += 1
        label = f"hosted {self._next}"
        return Ask(label, STREAM, {"input": f"And [{label}]", "session_id": session})

    def _with_metadata(self, body: Json) -> Json:
        return body | {"metadata": {"n": str(self._number + 1)}} if self._rng.random() < 0.3 else body

    def _ask(self, path: str, body: Json, *, name: str | None = None, keyed: bool = False) -> Ask:
        self._number += 1
        if name is None:
            weights = (30, 15, 15, 15, 20, 5, 0 if path == EXECUTE else 20)
            [name] = self._rng.choices(list(ANSWERS)[:-1], weights)
        key = f"key-{self._number}" if keyed else None
        outcomes = frozenset({DISCONNECTED if name == "broken" else SUCCEEDED})
        label = f"{name} {self._number}"
        return Ask(label, path, {"input": f"Please [{label}]", **body}, key, outcomes=outcomes)
