"""Follows one run through all crashes, as a browser would, and keeps what it received."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import httpx

from chaos.asks import EXECUTE, RUNS, Ask
from chaos.oracle import Reading, Witness, digest
from chaos.server import Server


class Refused(Exception):
    """A response that no client should get."""


class Client:
    """Posts a request and reads its run to `complete`, with as many connections as that needs."""

    def __init__(
        self, ask: Ask, http: httpx.AsyncClient, server: Server, rng: random.Random, saw: Callable[[Reading], None]
    ) -> None:
        """`saw` is called for each event."""
        self.ask = ask
        self.witness: Witness | None = None
        self._http = http
        self._server = server
        self._rng = rng
        self._saw = saw
        self._again = False  # whether it reads the run once more
        self._undecided: list[str] = []  # calls that need an approval, as far as the client knows

    async def follow(self) -> None:
        """Post the request and read the run.

        A client without a key stops if its request had no response, because nothing was promised to it.
        """
        while self.witness is None or not self.witness.completed:
            await self._server.up.wait()
            try:
                if self.witness is None or (self.ask.key is not None and self._rng.random() < 0.5):
                    await self._post()
                else:
                    await self._decide()
                    await self._resume(self._last_seq())
            except httpx.TransportError:
                if self.witness is None and self.ask.key is None:
                    return
            except Refused as refused:
                self._known("").refusals.append(str(refused))
                return

    async def _decide(self) -> None:
        """Approve the calls that wait. A crash may have lost the response to an earlier approval that was recorded."""
        assert self.witness is not None
        for call in list(self._undecided):
            path = f"{RUNS}/{self.witness.run_id}/approvals/{call}"
            answer = await self._http.post(path, json={"approved": True})
            if answer.status_code not in (202, 404, 409):
                raise Refused(f"{path}: {answer.status_code} {answer.text}")
            self._undecided.remove(call)

    async def look_again(self) -> None:
        """Read the run once more, from a random event and from its end."""
        if self.witness is None or self.witness.refusals or not self.witness.readings:
            return
        self._again = True
        try:
            await self._resume(self._rng.randrange(self._last_seq() + 1))
            await self._resume(self._last_seq())
        except Refused as refused:
            self.witness.refusals.append(str(refused))

    def _last_seq(self) -> int:
        assert self.witness is not None
        return max((reading.last_seq for reading in self.witness.readings), default=0)

    def _known(self, run_id: str) -> Witness:
        """Return the witness, with this run id added."""
        if self.witness is None:
            self.witness = Witness(self.ask.label, self.ask.outcomes, self.ask.body.get("metadata"))
        if run_id:
            self.witness.run_ids.append(run_id)
        return self.witness

    async def _post(self) -> None:
        headers = {} if self.ask.key is None else {"Idempotency-Key": self.ask.key}
        async with self._http.stream("POST", self.ask.path, json=self.ask.body, headers=headers) as response:
            run_id = response.headers.get("x-run-id", "")
            if self.ask.path == EXECUTE:
                self._answered(response, await response.aread())
                return
            if response.status_code not in (200, 202):
                raise Refused(f"POST {self.ask.path}: {response.status_code} {(await response.aread()).decode()}")
            witness = self._known(run_id)
            if self.ask.path != RUNS:
                await self._read(response, self._reading(witness, 0))
                return
        await self._decide()  # calls that an earlier connection has shown
        await self._resume(self._last_seq())

    def _answered(self, response: httpx.Response, body: bytes) -> None:
        """Record the JSON answer. For a run that failed it is an error, which names the run, too."""
        answer: dict[str, Any] = response.json()
        summary = answer if response.status_code == 200 else answer["error"]
        if "run_id" not in summary:
            raise Refused(f"POST {self.ask.path}: {response.status_code} {body.decode()}")
        self._known(summary["run_id"]).answers.append(answer)

    async def _resume(self, after: int) -> None:
        assert self.witness is not None
        path = f"{RUNS}/{self.witness.run_id}/events"
        reading = self._reading(self.witness, after)
        by_header = self._rng.random() < 0.7
        where: dict[str, Any] = (
            {"headers": {"Last-Event-ID": str(after)}} if by_header else {"params": {"after": str(after)}}
        )
        async with self._http.stream("GET", path, **where) as response:
            if response.status_code == 204:
                reading.end = "nothing"
                if not self.witness.completed:
                    raise Refused(f"events after {after}: nothing, but complete has not come")
            elif response.status_code == 200:
                await self._read(response, reading)
            else:
                raise Refused(f"events after {after}: {response.status_code} {(await response.aread()).decode()}")

    def _reading(self, witness: Witness, after: int) -> Reading:
        reading = Reading(after)
        witness.readings.append(reading)
        return reading

    async def _read(self, response: httpx.Response, reading: Reading) -> None:
        rest = b""
        drained = False
        async for piece in response.aiter_raw():
            *frames, rest = (rest + piece).split(b"\n\n")
            for frame in frames:
                if frame.startswith(b"id: "):
                    await self._take(frame, reading)
                drained = drained or frame.startswith(b"event: draining")
        reading.end = "torn" if rest else "draining" if drained else "clean"

    async def _take(self, frame: bytes, reading: Reading) -> None:
        head, _, data = frame.partition(b"\ndata: ")
        number, _, event = head.partition(b"\nevent: ")
        seq = int(number.removeprefix(b"id: "))
        reading.frames.append((seq, digest(data)))
        reading.completed = reading.completed or event == b"complete"
        reading.waits += event == b"waiting"
        self._saw(reading)
        if event == b"waiting" and not self._again:
            pending = json.loads(data)["data"]["pending"]
            self._undecided = [call["tool_call_id"] for call in pending if call["kind"] == "approval"]
            await asyncio.sleep(self._rng.choice((0, 0.01, 0.1)))
            await self._decide()
        if seq == self.ask.cancel_after:
            assert self.witness is not None
            answer = await self._http.post(f"{RUNS}/{self.witness.run_id}/cancel")
            if answer.status_code != 202:
                raise Refused(f"cancel: {answer.status_code} {answer.text}")
