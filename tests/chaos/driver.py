"""Kills the service repeatedly while clients use it, and passes the remaining state to the oracle."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fake_dedalus import FakeDedalus
from process import LISTENING, Nursery

from chaos.asks import QUEUES, RUNS, Ask, Asks, Upstream
from chaos.client import Client
from chaos.oracle import (
    Conversation,
    Reading,
    Record,
    Witness,
    judge_conversation,
    judge_files,
    judge_marks,
    judge_promise,
    judge_run,
    judge_upstream,
    outcome,
)
from chaos.server import OPENING, Server, crashing_server

SESSIONS = "/api/agent/sessions"
SETTLE_LIMIT_S = 40
POINT_LIMIT_S = 20  # after this time the service is killed without waiting for the point
FIRST_KILLS = ("posting", "time", "events", "waiting", "complete")
SECOND_KILLS = ("start", "recovery", "resuming")


@dataclass
class Verdict:
    """The result of a round."""

    kills: list[str]
    runs: int
    cut: int
    faults: list[str]


@dataclass
class Progress:
    """How far a round's clients have come."""

    seen: int = 0
    completes: int = 0
    waits: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, reading: Reading) -> None:
        """Count an event that a client has received."""
        self.seen += 1
        self.completes += reading.completed
        self.waits = max(self.waits, reading.waits)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Driver:
    """Drives one service in one data directory. Call `round` as often as needed, and `judge_all` at the end."""

    def __init__(self, server: Server, http: httpx.AsyncClient, upstream: Upstream, seed: str) -> None:
        self.server = server
        self.http = http
        self.upstream = upstream
        self.seed = seed
        self.rng = random.Random(seed)
        self.asks = Asks()
        self.sessions = [f"chat-{n}" for n in range(5)]  # a round has at most one request for each
        self.witnesses: list[Witness] = []
        self.between: Callable[[list[Witness]], None] = lambda witnesses: None  # changes the files after the first kill
        self._rounds = 0
        self._judged: dict[str, Record] = {}  # must not change any more, which `judge_all` checks

    async def round(self, most_kills: int, clients: int = 9) -> Verdict:
        """Start clients, kill the service once or more and start it again, and let the clients read to the end."""
        self._rounds += 1
        self.rng = random.Random(f"{self.seed} {self._rounds}")  # how much a round draws depends on timing
        progress = Progress()
        following = [self._client(ask, progress) for ask in self.asks.round(clients, self.sessions, self.rng)]
        tasks = {asyncio.create_task(client.follow()) for client in following}
        kills = [self.rng.choice(FIRST_KILLS)]
        while len(kills) < min(most_kills, 3) and self.rng.random() < 0.4:
            kills.append(self.rng.choice(SECOND_KILLS))
        try:
            await self._kill_at(kills[0], progress, tasks)
            self.between([client.witness for client in following if client.witness is not None])
            for kill in kills[1:]:
                await self._start_and_kill(kill)
            await self.server.start()
            async with asyncio.timeout(SETTLE_LIMIT_S):
                await asyncio.gather(*tasks)
                await asyncio.gather(*(client.look_again() for client in following))
                await self._end_forgotten()
            witnesses = [client.witness for client in following if client.witness is not None]
            self.witnesses += witnesses
            return await self._verdict(kills, witnesses)
        except TimeoutError:
            return self._hung(kills, following)
        except (httpx.HTTPError, AssertionError) as error:  # the service failed without being killed
            return Verdict(kills, 0, 0, [f"the service is not there as it should be: {error!r}"])
        finally:
            for task in tasks:
                task.cancel()

    def _client(self, ask: Ask, progress: Progress) -> Client:
        rng = random.Random(self.rng.random())
        return Client(ask, self.http, self.server, rng, progress.note)

    # The kills

    async def _kill_at(self, kill: str, progress: Progress, tasks: "set[asyncio.Task[None]]") -> None:
        """Kill the service at a point of this kind, or once nothing is left to interrupt."""
        point = asyncio.create_task(self._point(kill, progress))
        all_done = asyncio.create_task(_all_done(tasks))
        await asyncio.wait({point, all_done}, timeout=POINT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        point.cancel()
        all_done.cancel()
        await self.server.kill()

    async def _point(self, kill: str, progress: Progress) -> None:
        rng = self.rng
        match kill:
            case "posting":
                await asyncio.sleep(rng.uniform(0, 0.08))
            case "time":
                await asyncio.sleep(rng.uniform(0.02, 0.8))
            case "events":
                wanted = rng.randrange(1, rng.choice((30, 300, 800)))
                await progress.until(lambda: progress.seen >= wanted)
            case "waiting":
                await progress.until(lambda: progress.waits > 0)
                await asyncio.sleep(rng.choice((0, rng.uniform(0, 0.15))))
            case "complete":
                wanted, delay = rng.randrange(1, 4), rng.choice((0, rng.uniform(0, 0.1)))
                await progress.until(lambda: progress.completes >= wanted)
                await asyncio.sleep(delay)

    async def _start_and_kill(self, kill: str) -> None:
        rng = self.rng
        match kill:
            case "start":
                await self.server.start(LISTENING)
                await asyncio.sleep(rng.uniform(0, 0.02))
            case "recovery":
                await self.server.start(OPENING)
                await asyncio.sleep(rng.uniform(0.02, 0.12))
            case "resuming":
                await self.server.start()
                await asyncio.sleep(rng.uniform(0.1, 0.4))
        await self.server.kill()

    # The judgement

    def _hung(self, kills: list[str], clients: Sequence[Client]) -> Verdict:
        waiting = [client.ask.label for client in clients if client.witness is None or not client.witness.completed]
        return Verdict(kills, 0, 0, [f"after {SETTLE_LIMIT_S} s, still not at the end: {waiting}"])

    async def _end_forgotten(self) -> None:
        """Cancel runs whose clients don't know of them. They would otherwise wait for a day, or continue."""
        for status in ("queued", "waiting", "running"):
            for row in await self._pages(RUNS, "runs", status=status):
                (await self.http.post(f"{RUNS}/{row['run_id']}/cancel")).raise_for_status()
                await self.http.get(f"{RUNS}/{row['run_id']}/events")

    async def _verdict(self, kills: list[str], witnesses: Sequence[Witness]) -> Verdict:
        rows = await self.rows()
        listed = {row["run_id"] for row in rows}
        new = (listed | {witness.run_id for witness in witnesses if witness.run_id}) - self._judged.keys()
        records = await self._records(new, rows)
        faults = list(self._judge(records, witnesses))
        faults += judge_files(self.server.active(), self.server.archived(), [row["run_id"] for row in rows])
        faults += judge_upstream(self.upstream.calls)
        faults += judge_marks(self.server.marks())
        self._judged |= records
        for session in sorted({row["session_id"] for row in rows if row["run_id"] in new and "session_id" in row}):
            faults += await self._judge_session(session, self._judged)
        cut = sum(outcome(record.row)[1] == "interrupted" for record in records.values())
        return Verdict(kills, len(records), cut, faults)

    def _judge(self, records: dict[str, Record], witnesses: Sequence[Witness]) -> Iterator[str]:
        for run_id, record in records.items():
            yield from judge_run(record, [witness for witness in witnesses if witness.run_id == run_id])
        for witness in witnesses:
            yield from judge_promise(witness, records)

    async def judge_all(self) -> list[str]:
        """Judge all runs and sessions once more: later rounds must not have changed them."""
        try:
            rows = await self.rows()
            records = await self._records({row["run_id"] for row in rows}, rows)
            faults = list(self._judge(records, self.witnesses))
            for session in (*self.sessions, *QUEUES):
                faults += await self._judge_session(session, records)
        except httpx.HTTPError as error:
            return [f"the service does not answer as it should: {error!r}"]
        else:
            return faults

    async def _judge_session(self, session: str, records: Mapping[str, Record]) -> list[str]:
        """Judge the session, continue it with a question, and judge what the model server received."""
        if (found := await self.http.get(f"{SESSIONS}/{session}")).status_code == 404:
            return []
        rows = await self._pages(RUNS, "runs", session_id=session)
        messages = await self._pages(f"{SESSIONS}/{session}/messages", "messages")
        of_session = {row["run_id"]: records[row["run_id"]] for row in rows if row["run_id"] in records}
        head = found.json().get("head_run_id")
        faults = list(judge_conversation(Conversation(session, head, messages, of_session)))
        return faults + await self._continue_session(session, messages)

    async def _continue_session(self, session: str, messages: Sequence[Any]) -> list[str]:
        ask = self.asks.next_of(session)
        client = self._client(ask, Progress())
        await client.follow()
        assert client.witness is not None
        self.witnesses.append(client.witness)
        records = await self._records({client.witness.run_id}, await self.rows())
        self._judged |= records
        if faults := list(self._judge(records, [client.witness])):
            return faults
        if (ended := outcome(records[client.witness.run_id].row)) not in ask.outcomes:
            return [f"{session}: the next question came to {ended}"]
        histories = self.upstream.histories[f"[{ask.label}]"]
        sent = [call["id"] for message in histories for call in message.get("tool_calls") or ()]
        kept = [call["tool_call_id"] for message in messages for call in message.get("tool_calls") or ()]
        return [] if sent == kept else [f"{session}: the calls {kept} were sent as {sent}"]

    async def _records(self, run_ids: "set[str]", rows: Sequence[Any]) -> dict[str, Record]:
        return {run_id: record for run_id in sorted(run_ids) if (record := await self.record(run_id, rows))}

    async def record(self, run_id: str, rows: Sequence[Any]) -> Record | None:
        """Return all that the service reports of a run.

        The list is read first, because reading a run may repair its row.
        """
        row = await self.http.get(f"{RUNS}/{run_id}")
        replay = await self.http.get(f"{RUNS}/{run_id}/events", params={"after": 0})
        lines = await self.http.get(f"{RUNS}/{run_id}/events", params={"after": 0, "wait": "false"})
        if row.status_code != 200 or replay.status_code != 200:
            return None
        return Record(replay.content, lines.content, row.json(), [one for one in rows if one["run_id"] == run_id])

    async def rows(self) -> list[Any]:
        """Return the list of all runs."""
        return await self._pages(RUNS, "runs")

    async def _pages(self, path: str, name: str, **query: str) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = {} if cursor is None else {"cursor": cursor}
            response = await self.http.get(path, params={"limit": "100", **query, **page})
            response.raise_for_status()
            found += response.json()[name]
            if (cursor := response.json().get("next_cursor")) is None:
                return found


async def _all_done(tasks: "set[asyncio.Task[None]]") -> None:
    await asyncio.wait(tasks)


@asynccontextmanager
async def driving(nursery: Nursery, seed: str, directory: Path) -> AsyncIterator[Driver]:
    """A driver with a service that has been started, and its upstream."""
    async with AsyncExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        upstream = Upstream(seed)
        fake.choose(upstream.choose)
        server = stack.enter_context(crashing_server(nursery, directory, fake.url))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # no connection outlives a crash
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits))
        await server.start()
        yield Driver(server, http, upstream, seed)
