"""Compares the medians of each scenario with its target, and makes a line of the table of it."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from measuring import Turn
from scenarios import AtLeast, AtMost, Ceilings, Scenario

TABLE_HEAD = "| scenario | compared with | ours | ratio | target | met |\n|---|--:|--:|--:|--:|---|"
NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """A scenario's line in the table."""

    scenario: str
    other: str
    ours: str
    ratio: str
    target: str
    met: bool

    def markdown(self) -> str:
        """Return the line as Markdown."""
        cells = (self.scenario, self.other, self.ours, self.ratio, self.target, "yes" if self.met else "**no**")
        return "| " + " | ".join(cells) + " |"


def judge(scenario: Scenario, turns: Sequence[Turn]) -> Row:
    """Compare the medians of the turns with the target. A failed check is a missed target, whatever the numbers are."""
    if failed := sum(any(measurement.failures for measurement in turn.values()) for turn in turns):
        ours = f"failed checks in {failed} of {len(turns)} turns"
        return Row(scenario.name, NOTHING, ours, NOTHING, "every token once, in order", met=False)
    match scenario.target:
        case AtLeast(metric, other, times):
            ratio = median(metric.of(turn[other]) / metric.of(turn["ours"]) for turn in turns)
            return _compared(scenario, turns, f"{ratio:.1f}", f"≥ {times}", ratio >= times)
        case AtMost(metric, other, times):
            ratio = median(metric.of(turn["ours"]) / metric.of(turn[other]) for turn in turns)
            return _compared(scenario, turns, f"{ratio:.2f}", f"≤ {times}", ratio <= times)
        case Ceilings(limits):
            values = [(metric, median(metric.of(turn["ours"]) for turn in turns), limit) for metric, limit in limits]
            ours = ", ".join(metric.text(value) for metric, value, _ in values)
            target = ", ".join(f"< {limit} {metric.unit}" for metric, _, limit in values)
            return Row(scenario.name, NOTHING, ours, NOTHING, target, all(value < limit for _, value, limit in values))


def _compared(scenario: Scenario, turns: Sequence[Turn], ratio: str, target: str, met: bool) -> Row:
    assert not isinstance(scenario.target, Ceilings)
    metric, other = scenario.target.metric, scenario.target.other
    theirs, ours = (metric.text(median(metric.of(turn[name]) for turn in turns)) for name in (other, "ours"))
    return Row(scenario.name, f"{other}: {theirs}", ours, ratio, target, met)


def as_json(results: Mapping[Row, Sequence[Turn]]) -> str:
    """Return every measurement and a description of the machine as JSON."""
    machine = {"python": platform.python_version(), "machine": platform.platform(), "cores": os.cpu_count()}
    scenarios: list[dict[str, Any]] = [
        asdict(row) | {"turns": [{name: asdict(turn[name]) for name in turn} for turn in turns]}
        for row, turns in results.items()
    ]
    return json.dumps(machine | {"scenarios": scenarios}, indent=2) + "\n"
