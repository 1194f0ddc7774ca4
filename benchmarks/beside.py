"""Measures the service beside another version of it, in interleaved pairs: CPU per token and CPU per run.

The two run at the same time on one core and have the load in turn, so that a busy machine affects both alike. A bound
is met if the lower end of the ratio's 95 % interval is below it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median

from measuring import Load, Turn, UnderLoad
from processes import ROOT, Service, warn_of_one_core
from scenarios import CPU_PER_RUN, CPU_PER_TOKEN, PACED, RUNS, SATURATED, WARM_PACED, WARM_RUNS, WARM_TOKENS, Metric

OURS, OTHER = "ours", "other"
ROUNDS = 3  # each with fresh processes
TAIL = 0.025  # of the distribution, at each end of the interval


@dataclass(frozen=True)
class Comparison:
    """A load, and the most that ours may cost in it as a multiple of the other's."""

    name: str
    warm_up: Load
    load: Load
    metric: Metric
    bound: float


COMPARISONS = (
    Comparison("saturated", WARM_TOKENS, SATURATED, CPU_PER_TOKEN, 1.05),
    Comparison("paced", WARM_PACED, PACED, CPU_PER_TOKEN, 1.05),
    Comparison("per_run", WARM_RUNS, RUNS, CPU_PER_RUN, 1.10),
)


def pairs(comparison: Comparison, other: Path, wanted: int, folder: Path) -> list[Turn]:
    """Return the pairs, an equal number of each round."""
    command = f'cd "{other}" && exec "{sys.executable}" app.py'
    services = [Service(OURS, (sys.executable, str(ROOT / "app.py"))), Service(OTHER, ("sh", "-c", command))]
    measure = UnderLoad(comparison.warm_up, comparison.load, turns=-(-wanted // ROUNDS))
    rounds = (measure(services, folder / f"{comparison.name}-{number}") for number in range(ROUNDS))
    return [turn for turns in rounds for turn in turns]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median, which needs no distribution: it is between two of the sorted ratios."""
    count, ordered = len(ratios), sorted(ratios)
    below = 0
    while sum(comb(count, fewer) for fewer in range(below + 1)) / 2**count <= TAIL:
        below += 1
    return ordered[max(0, below - 1)], ordered[min(count - 1, count - below)]


def row(comparison: Comparison, turns: Sequence[Turn]) -> tuple[str, bool]:
    """Return the comparison's line of the table, and whether its bound is met."""
    metric, bound = comparison.metric, comparison.bound
    failed = any(measurement.failures for turn in turns for measurement in turn.values())
    ratios = [metric.of(turn[OURS]) / metric.of(turn[OTHER]) for turn in turns]
    low, high = interval(ratios)
    is_met = low < bound and not failed
    theirs, ours = (metric.text(median(metric.of(turn[name]) for turn in turns)) for name in (OTHER, OURS))
    ratio = f"{median(ratios):.2f} ({low:.2f} to {high:.2f})"
    cells = (comparison.name, theirs, ours, ratio, str(len(turns)), f"≤ {bound:.2f}", "yes" if is_met else "**no**")
    return "| " + " | ".join(cells) + " |", is_met


def read_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    names = [comparison.name for comparison in COMPARISONS]
    parser = argparse.ArgumentParser(description="Measure the service beside another version. See README.md.")
    parser.add_argument("other", type=Path, help="a working tree of the other version, which runs with this Python")
    parser.add_argument("--scenario", action="append", choices=names, help="compare only in this (may be repeated)")
    parser.add_argument("--pairs", type=int, default=21, help="number of pairs (default: 21)")
    return parser.parse_args()


def main() -> int:
    """Print the table, and return 1 if a bound is missed."""
    arguments = read_arguments()
    warn_of_one_core()
    print("| load | other | ours | ours / other (95 %) | pairs | bound | met |\n|---|--:|--:|--:|--:|--:|---|")
    all_met = True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for comparison in COMPARISONS:
            if arguments.scenario is None or comparison.name in arguments.scenario:
                turns = pairs(comparison, arguments.other.resolve(), arguments.pairs, Path(folder))
                line, is_met = row(comparison, turns)
                all_met &= is_met
                print(line, flush=True)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
