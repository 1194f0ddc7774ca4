"""Measures services: each method yields turns, and a turn has one measurement of each service."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from processes import LoadProcess, Running, Service, loading, serving

COMPLETE = b"\nevent: complete\n"
SETTLE_S = 0.5  # after a load, so that work that a service does after a run's end is counted, too
REPLAYED_EVENTS = 10_000
REPLAYS = 50
STORED_RUNS = 50_000
STORED_DAYS = 7
STARTS = 5


@dataclass(frozen=True)
class Measurement:
    """The figures of one service. `failures` counts the failed checks, including those of the warm-up."""

    figures: Mapping[str, float]
    failures: int
    report: Mapping[str, Any] = field(default_factory=dict)


Turn = Mapping[str, Measurement]
"""One measurement of each service, by its name, made one right after the other."""


@dataclass(frozen=True)
class Load:
    """A load for `load` to produce. The head of load.c explains its words."""

    streams: int
    tokens: int
    runs: int = 0
    interval_us: int = 0
    thinking: int = 0
    ramp_ms: int = 0
    mark_every: int = 0
    limit_ms: int = 120_000

    def of(self, load: LoadProcess, service: Running) -> dict[str, Any]:
        """Put this load on a service, and return the report of `load`."""
        words = {"port": service.port, "cpu_pid": service.process.pid} | asdict(self)
        return load.answer(" ".join(f"{key}={value}" for key, value in words.items()) + "\n")


@dataclass(frozen=True)
class UnderLoad:
    """Measures services that run at the same time on one core. One has the load while the others are idle.

    Each turn has the reverse order of the one before, so that a busy second of the machine affects all of them alike.
    """

    warm_up: Load
    load: Load
    turns: int = 1

    def __call__(self, services: Sequence[Service], folder: Path) -> Iterator[Turn]:
        """Start the services, and yield the turns."""
        with loading() as load, ExitStack() as stack:
            running = [
                stack.enter_context(serving(service, load.upstream_port, folder / service.name)) for service in services
            ]
            failed = sum(self.warm_up.of(load, service)["failures"] for service in running)
            for _ in range(self.turns):
                yield {service.name: self._measure(load, service, failed) for service in running}
                running.reverse()

    def _measure(self, load: LoadProcess, service: Running, failed_before: int) -> Measurement:
        time.sleep(SETTLE_S)
        rss_before, cpu_before = service.memory_kb("VmRSS"), service.cpu_s()
        report = self.load.of(load, service)
        time.sleep(SETTLE_S)
        cpu_s, grown_kb = service.cpu_s() - cpu_before, service.memory_kb("VmHWM") - rss_before
        return Measurement(self._figures(report, cpu_s, grown_kb), failed_before + report["failures"], report)

    def _figures(self, report: dict[str, Any], cpu_s: float, grown_kb: int) -> dict[str, float]:
        figures = {
            "cpu_us_per_token": cpu_s * 1e6 / max(1, report["tokens"]),
            "cpu_ms_per_run": cpu_s * 1e3 / max(1, report["runs"]),
            "added_p50_ms": report["added_ms"]["p50"],
            "added_p99_ms": report["added_ms"]["p99"],
            "first_p50_ms": report["first_token_ms"]["p50"],
            "first_p99_ms": report["first_token_ms"]["p99"],
            "grown_mb": grown_kb / 1e3,
            "grown_kb_per_stream": grown_kb / max(1, report["most_open"]),
            "streams_not_open": self.load.streams - report["most_open"],
            "events_missing": self.load.tokens - report["events"],
        }
        if len(marks := report["cpu_us"]) > 2:
            costs = [(after[1] - before[1]) / self.load.mark_every for before, after in pairwise(marks)]
            figures |= {
                "first_us_per_event": costs[0],
                "last_us_per_event": costs[-1],
                "last_to_first": costs[-1] / costs[0],
            }
        return figures


def replays(services: Sequence[Service], folder: Path) -> Iterator[Turn]:
    """Measure how each service replays a stored run to one reader. The figure is for REPLAYED_EVENTS events."""
    with loading() as load:
        for service in services:
            with serving(service, load.upstream_port, folder / service.name) as running:
                failures = Load(1, REPLAYED_EVENTS, thinking=1).of(load, running)["failures"]
                path = _events_path(_latest_run(running))
                once = running.get(path)
                events = once[1].count(b"\nevent: ")
                failures += events < REPLAYED_EVENTS or once[1].count(COMPLETE) != 1
                before = running.cpu_s()
                failures += sum(running.get(path) != once for _ in range(REPLAYS))
                cpu_ms = (running.cpu_s() - before) * 1e3 / REPLAYS
                figures = {"cpu_ms_per_replay": cpu_ms * REPLAYED_EVENTS / max(1, events), "events": events}
                yield {service.name: Measurement(figures, failures)}


def start_ups(services: Sequence[Service], folder: Path) -> Iterator[Turn]:
    """Measure how each service starts with a week's runs and with one run. The files are in the page cache."""
    with loading() as load:
        for service in services:
            one, week = folder / service.name / "one", folder / service.name / "week"
            with serving(service, load.upstream_port, one) as running:
                failures = Load(1, 1).of(load, running)["failures"]
            shutil.copytree(one, week)
            stored = _store_runs(week)
            for _ in range(STARTS):
                figures: dict[str, float] = {}
                for name, data_dir in (("one", one), ("week", week)):
                    with serving(service, load.upstream_port, data_dir) as running:
                        figures |= {f"{name}_s": running.start_s, f"{name}_cpu_s": running.cpu_s()}
                        if data_dir == week:
                            failures += sum(not running.get(path)[1].count(COMPLETE) for path in stored)
                figures["extra_s"] = figures["week_s"] - figures["one_s"]
                figures["extra_cpu_s"] = figures["week_cpu_s"] - figures["one_cpu_s"]
                yield {service.name: Measurement(figures, failures)}


def _latest_run(service: Running) -> str:
    """Return the id of the run that started last."""
    return str(json.loads(service.get("/api/agent/runs?limit=1")[1])["runs"][0]["run_id"])


def _events_path(run_id: str) -> str:
    """Return the path of all events of a run."""
    return f"/api/agent/runs/{run_id}/events?after=0"


def _store_runs(data_dir: Path) -> tuple[str, ...]:
    """Store the one run of a data directory STORED_RUNS times more, over the last days. Return the paths of three."""
    [stored] = (data_dir / "runs").glob("????-??-??/run_*.sse")
    frames, former = stored.read_bytes(), stored.stem
    ids, week_ago = [], datetime.now(UTC) - timedelta(days=STORED_DAYS)
    with sqlite3.connect(data_dir / "agent_stream.db") as database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM runs").fetchone())
        insert = f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})"
        for number in range(1, STORED_RUNS + 1):
            at = week_ago + timedelta(days=STORED_DAYS) * number / (STORED_RUNS + 1)
            run_id = f"run_{int(at.timestamp() * 1000):012x}7{number:03x}8{number:015x}"[:36]
            ids.append(run_id)
            day = data_dir / "runs" / f"{at:%Y-%m-%d}"
            day.mkdir(exist_ok=True)
            (day / f"{run_id}.sse").write_bytes(frames.replace(former.encode(), run_id.encode()))
            said = at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
            database.execute(insert, row | {"run_id": run_id, "created_at": said, "finished_at": said})
    database.close()
    return tuple(_events_path(ids[number]) for number in (0, len(ids) // 2, -1))
