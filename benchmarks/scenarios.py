"""The scenarios: what is measured, and the target that the service has to meet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import Load, Measurement, Turn, UnderLoad, replays, start_ups
from processes import Service


@dataclass(frozen=True)
class Metric:
    """A figure of a measurement, and how the table shows it."""

    figure: str
    unit: str
    digits: int

    def of(self, measurement: Measurement) -> float:
        """Return its value in a measurement."""
        return measurement.figures[self.figure]

    def text(self, value: float) -> str:
        """Return a value as the table shows it."""
        return f"{value:.{self.digits}f} {self.unit}"


CPU_PER_TOKEN = Metric("cpu_us_per_token", "µs CPU per token", 1)
CPU_PER_RUN = Metric("cpu_ms_per_run", "ms CPU per run", 2)
CPU_PER_REPLAY = Metric("cpu_ms_per_replay", "ms CPU per replay", 2)
ADDED_P50 = Metric("added_p50_ms", "ms added at p50", 2)
ADDED_P99 = Metric("added_p99_ms", "ms added at p99", 1)
FIRST_P50 = Metric("first_p50_ms", "ms to the first token at p50", 2)
FIRST_P99 = Metric("first_p99_ms", "ms to the first token at p99", 1)
MEMORY = Metric("grown_kb_per_stream", "kB per stream", 1)
GROWN = Metric("grown_mb", "MB more in memory", 1)
MISSING = Metric("streams_not_open", "streams not open with the rest", 0)
JOINED = Metric("events_missing", "events joined", 0)
LAST_TO_FIRST = Metric("last_to_first", "times the first 10,000 events' CPU for the last 10,000", 2)
EXTRA_START = Metric("extra_s", "s longer until ready", 2)
EXTRA_START_CPU = Metric("extra_cpu_s", "s more CPU", 2)


@dataclass(frozen=True)
class AtLeast:
    """Met if `other` costs at least `times` as much as `ours`."""

    metric: Metric
    other: str
    times: float


@dataclass(frozen=True)
class AtMost:
    """Met if `ours` costs at most `times` as much as `other`."""

    metric: Metric
    other: str
    times: float


@dataclass(frozen=True)
class Ceilings:
    """Met if each metric of `ours` is below its limit."""

    limits: tuple[tuple[Metric, float], ...]


Target = AtLeast | AtMost | Ceilings


@dataclass(frozen=True)
class Scenario:
    """A measurement and its target. `measure` is called once a round, with the services (ours first) and a folder."""

    name: str
    measure: Callable[[Sequence[Service], Path], Iterator[Turn]]
    target: Target

    @property
    def services(self) -> tuple[str, ...]:
        """Return the names of the services that it compares."""
        return ("ours",) if isinstance(self.target, Ceilings) else ("ours", self.target.other)


PACE_US = 20_000
SATURATED = Load(20, 2000)
PACED = Load(50, 300, interval_us=PACE_US, ramp_ms=500)
RUNS = Load(8, 1, runs=600)
WARM_TOKENS = Load(20, 100)
WARM_PACED = Load(20, 25, interval_us=PACE_US)
WARM_RUNS = Load(8, 1, runs=80)

SCENARIOS = (
    Scenario("saturated", UnderLoad(WARM_TOKENS, SATURATED), AtLeast(CPU_PER_TOKEN, "naive", 10)),
    Scenario("paced", UnderLoad(WARM_PACED, PACED), AtLeast(CPU_PER_TOKEN, "naive", 2.5)),
    Scenario("per_run", UnderLoad(WARM_RUNS, RUNS, turns=4), AtLeast(CPU_PER_RUN, "naive", 2.2)),
    Scenario("first_token", UnderLoad(Load(1, 1, runs=50), Load(1, 1, runs=300)), Ceilings(((FIRST_P50, 2.0),))),
    Scenario("log_saturated", UnderLoad(WARM_TOKENS, SATURATED, turns=10), AtMost(CPU_PER_TOKEN, "memory", 1.15)),
    Scenario("log_paced", UnderLoad(WARM_PACED, PACED, turns=4), AtMost(CPU_PER_TOKEN, "memory", 1.15)),
    Scenario("log_per_run", UnderLoad(WARM_RUNS, RUNS, turns=6), AtMost(CPU_PER_RUN, "memory", 1.3)),
    Scenario(
        "keep_200",
        UnderLoad(WARM_PACED, Load(200, 400, interval_us=PACE_US, ramp_ms=1000)),
        Ceilings(((ADDED_P50, 10), (ADDED_P99, 1000), (FIRST_P99, 1000))),
    ),
    Scenario(
        "open_2000",
        UnderLoad(Load(20, 2, interval_us=100_000), Load(2000, 20, interval_us=1_000_000, ramp_ms=8000)),
        Ceilings(((MEMORY, 66), (ADDED_P99, 1000), (MISSING, 1))),
    ),
    Scenario(
        "long_run",
        UnderLoad(WARM_PACED, Load(1, 100_000, interval_us=400, thinking=1, mark_every=10_000)),
        Ceilings(((LAST_TO_FIRST, 1.2), (GROWN, 16), (JOINED, 1))),
    ),
    Scenario("replay", replays, Ceilings(((CPU_PER_REPLAY, 20),))),
    Scenario("start_up", start_ups, Ceilings(((EXTRA_START, 0.3), (EXTRA_START_CPU, 0.1)))),
)
