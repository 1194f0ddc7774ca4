"""Measures the service beside the naive one and fails when a target is missed.

Absolute times belong to one machine on one day, so the naive service (`naive.py`) is measured in turn with ours and the
targets are ratios. Each measurement has processes of its own: `load` (`load.c`, the fake upstream and the clients) on
one core, a fresh service on another, a warm-up, and then the load during which the service's CPU time is counted.
"""

import argparse
import http.client
import json
import os
import platform
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START_LIMIT_S = 60
STOP_LIMIT_S = 35
LOAD_STOP_LIMIT_S = 5


@dataclass(frozen=True)
class Load:
    """What `load` is to do; its words are explained in the head of load.c."""

    streams: int
    tokens: int
    runs: int = 0
    interval_us: int = 0
    ramp_ms: int = 0
    limit_ms: int = 120_000

    def line(self, port: int) -> str:
        """The line that `load` reads."""
        return " ".join([f"port={port}", *(f"{key}={value}" for key, value in asdict(self).items())]) + "\n"


@dataclass(frozen=True)
class Measurement:
    """One service under one load. `failures` counts the failed checks, those of the warm-up included."""

    load: Load
    report: dict[str, Any]
    failures: int
    cpu_s: float
    rss_before_kb: int
    rss_peak_kb: int


@dataclass(frozen=True)
class Metric:
    """A number that one measurement yields."""

    unit: str
    digits: int
    of: Callable[[Measurement], float]

    def median(self, measurements: list[Measurement]) -> float:
        """The middle one of the rounds."""
        return median(self.of(measurement) for measurement in measurements)

    def text(self, value: float) -> str:
        """The value as the table shows it."""
        return f"{value:.{self.digits}f} {self.unit}"


CPU_PER_TOKEN = Metric("µs CPU per token", 1, lambda m: m.cpu_s * 1e6 / m.report["tokens"])
CPU_PER_RUN = Metric("ms CPU per run", 2, lambda m: m.cpu_s * 1e3 / m.report["runs"])
ADDED_P50 = Metric("ms added at p50", 2, lambda m: m.report["added_ms"]["p50"])
ADDED_P99 = Metric("ms added at p99", 1, lambda m: m.report["added_ms"]["p99"])
FIRST_P99 = Metric("ms to the first token at p99", 1, lambda m: m.report["first_token_ms"]["p99"])
MEMORY = Metric("kB per stream", 1, lambda m: (m.rss_peak_kb - m.rss_before_kb) / m.report["most_open"])
MISSING = Metric("streams not open with the rest", 0, lambda m: m.load.streams - m.report["most_open"])


@dataclass(frozen=True)
class Ratio:
    """Both services are measured; naive / ours must reach `least`."""

    metric: Metric
    least: float


@dataclass(frozen=True)
class Ceilings:
    """Only our service is measured; each metric must stay below its limit."""

    limits: tuple[tuple[Metric, float], ...]


@dataclass(frozen=True)
class Scenario:
    """A load, the smaller one that goes before it, and what is asked of the service."""

    name: str
    warm_up: Load
    load: Load
    target: Ratio | Ceilings


PACE_US = 20_000
SCENARIOS = (
    Scenario("saturated", Load(20, 100), Load(20, 2000), Ratio(CPU_PER_TOKEN, 10)),
    Scenario(
        "paced",
        Load(20, 25, interval_us=PACE_US),
        Load(50, 300, interval_us=PACE_US, ramp_ms=500),
        Ratio(CPU_PER_TOKEN, 2.5),
    ),
    Scenario("per_run", Load(8, 1, runs=80), Load(8, 1, runs=600), Ratio(CPU_PER_RUN, 2)),
    Scenario(
        "keep_200",
        Load(20, 25, interval_us=PACE_US),
        Load(200, 400, interval_us=PACE_US, ramp_ms=1000),
        Ceilings(((ADDED_P50, 5), (ADDED_P99, 1000), (FIRST_P99, 1000))),
    ),
    Scenario(
        "open_2000",
        Load(20, 2, interval_us=100_000),
        Load(2000, 20, interval_us=1_000_000, ramp_ms=8000),
        Ceilings(((MEMORY, 70), (ADDED_P99, 1000), (MISSING, 1))),
    ),
)


@dataclass(frozen=True)
class Row:
    """A scenario's line in the table."""

    scenario: str
    naive: str
    ours: str
    ratio: str
    target: str
    met: bool

    def markdown(self) -> str:
        """The line as Markdown."""
        cells = (self.scenario, self.naive, self.ours, self.ratio, self.target, "yes" if self.met else "**no**")
        return "| " + " | ".join(cells) + " |"


TABLE_HEAD = "| scenario | naive | ours | ratio | target | met |\n|---|--:|--:|--:|--:|---|"
NOTHING = "-"


def outcome(measurements: list[Measurement]) -> str:
    """How the checks of one service's runs went."""
    match [measurement.failures > 0 for measurement in measurements]:
        case []:
            return NOTHING
        case failed:
            return f"failed in {sum(failed)} of {len(failed)} rounds" if any(failed) else "passed"


def judge(scenario: Scenario, naive: list[Measurement], ours: list[Measurement]) -> Row:
    """Hold the medians of the rounds against the target. A failed check is a missed target, whatever the numbers."""
    if any(measurement.failures for measurement in naive + ours):
        return Row(scenario.name, outcome(naive), outcome(ours), NOTHING, "every token once, in order", met=False)
    match scenario.target:
        case Ratio(metric, least):
            theirs, own = metric.median(naive), metric.median(ours)
            ratio = theirs / own
            return Row(
                scenario.name, metric.text(theirs), metric.text(own), f"{ratio:.1f}", f"≥ {least}", ratio >= least
            )
        case Ceilings(limits):
            values = [(metric, metric.median(ours), limit) for metric, limit in limits]
            own_text = ", ".join(metric.text(value) for metric, value, _ in values)
            target = ", ".join(f"< {limit} {metric.unit}" for metric, _, limit in values)
            met = all(value < limit for _, value, limit in values)
            return Row(scenario.name, NOTHING, own_text, NOTHING, target, met)


def compile_load() -> Path:
    """Compile load.c unless that has been done since it last changed."""
    source, binary = HERE / "load.c", HERE / "build" / "load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(exist_ok=True)
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]
        subprocess.run(command, check=True)
    return binary


def cores() -> tuple[int, int]:
    """One core for the service and one for `load`; the same one, with a warning, where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        print("only one core: latencies include waiting for it", file=sys.stderr)
    return allowed[0], allowed[-1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, ended ones too, to the nanosecond: what clock_getcpuclockid(3) gives."""
    return time.clock_gettime(~pid << 3 | 2)


def memory_kb(pid: int, field: str) -> int:
    """`VmRSS` or `VmHWM`, its peak, of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"no {field} for process {pid}")


@contextmanager
def pinned(process: subprocess.Popen[str], core: int, stop_limit_s: float) -> Iterator[subprocess.Popen[str]]:
    """Keep a process on one core, and end it, by its id, whatever happens."""
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.terminate()
        try:
            process.wait(stop_limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_load() -> subprocess.Popen[str]:
    """Start the fake upstream; it obeys the lines that `answer` gives it."""
    return subprocess.Popen([compile_load()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_service(command: list[str], port: int, upstream_port: int, data_dir: str) -> subprocess.Popen[str]:
    """Start a service that asks that upstream. What it has to say about itself goes to standard error."""
    settings = environment(port, upstream_port, data_dir)
    return subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL, text=True)


def environment(port: int, upstream_port: int, data_dir: str) -> dict[str, str]:
    """Settings of the measured service: nothing of the caller's shell but what starts a program."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return kept | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DEDALUS_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "DEDALUS_API_KEY": "bench",
        "EVENT_LOG_URL": "memory://",
        "DATA_DIR": data_dir,
        "MAX_CONCURRENT_RUNS": "4000",
        "DEFAULT_MODEL": "bench/model",
        "LOG_LEVEL": "warning",
    }


def is_ready(port: int) -> bool:
    """Whether the service says that it takes runs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def wait_until_ready(service: subprocess.Popen[str], port: int) -> None:
    """Return when the service takes runs; raise if it ends or takes too long instead."""
    deadline = time.monotonic() + START_LIMIT_S
    while not is_ready(port):
        if service.poll() is not None:
            raise RuntimeError(f"the service ended with status {service.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the service was not ready within {START_LIMIT_S} s")
        time.sleep(0.1)


def answer(load: subprocess.Popen[str], question: str = "") -> dict[str, Any]:
    """Give `load` a line, if there is one to give, and read its answer."""
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(question)
    load.stdin.flush()
    line = load.stdout.readline()
    if not line:
        raise RuntimeError("load has ended early")
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def measure(command: list[str], scenario: Scenario) -> Measurement:
    """Start `load` and the service, warm both up, and measure the service under the scenario's load."""
    service_core, load_core = cores()
    with tempfile.TemporaryDirectory() as data_dir, pinned(start_load(), load_core, LOAD_STOP_LIMIT_S) as load:
        port, upstream_port = free_port(), answer(load)["upstream_port"]
        started = start_service(command, port, upstream_port, data_dir)
        with pinned(started, service_core, STOP_LIMIT_S) as service:
            wait_until_ready(service, port)
            warm_up = answer(load, scenario.warm_up.line(port))
            rss_before = memory_kb(service.pid, "VmRSS")
            cpu_before = cpu_seconds(service.pid)
            report = answer(load, scenario.load.line(port))
            cpu = cpu_seconds(service.pid) - cpu_before
            failures = warm_up["failures"] + report["failures"]
            return Measurement(scenario.load, report, failures, cpu, rss_before, memory_kb(service.pid, "VmHWM"))


def run_scenario(scenario: Scenario, services: dict[str, list[str]], rounds: int) -> dict[str, list[Measurement]]:
    """Measure the services in alternation, so that a busy minute of the machine hits them alike."""
    measured: dict[str, list[Measurement]] = {"naive": [], "ours": []}
    names = ("ours", "naive") if isinstance(scenario.target, Ratio) else ("ours",)
    for number in range(1, rounds + 1):
        for name in names:
            measurement = measure(services[name], scenario)
            measured[name].append(measurement)
            summary = json.dumps({"cpu_s": round(measurement.cpu_s, 3)} | measurement.report)
            print(f"{scenario.name} {number}/{rounds} {name}: {summary}", file=sys.stderr)
    return measured


def read_arguments() -> argparse.Namespace:
    """The command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description="Measure the service beside the naive one; see README.md.")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one (may be repeated)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each service (default: 3)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of both services (default: this one)")
    parser.add_argument("--service", metavar="CMD", help="measure this command in place of `python app.py`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to this file, too")
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, and return the exit status: 1 if a target was missed."""
    arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    ours = shlex.split(arguments.service) if arguments.service else [arguments.python, "app.py"]
    services = {"ours": ours, "naive": [arguments.python, str(HERE / "naive.py")]}
    rows, results = [], []
    for scenario in SCENARIOS:
        if not arguments.scenario or scenario.name in arguments.scenario:
            measured = run_scenario(scenario, services, arguments.rounds)
            rows.append(judge(scenario, **measured))
            rounds = {name: [asdict(measurement) for measurement in measured[name]] for name in measured}
            results.append(asdict(rows[-1]) | {"rounds": rounds})
    print(TABLE_HEAD, *(row.markdown() for row in rows), sep="\n")
    if arguments.json:
        machine = {"python": platform.python_version(), "machine": platform.platform(), "cores": os.cpu_count()}
        arguments.json.write_text(json.dumps(machine | {"scenarios": results}, indent=2) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
