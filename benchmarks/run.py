"""Measures the service and fails when a target is missed.

Absolute times belong to one machine on one day. Where possible, the service is therefore measured beside another one,
in turn and on the same core. The targets are then ratios: to the naive service (`naive.py`), and to itself with its log
in memory.
"""

import argparse
import json
import resource
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from measuring import Turn
from processes import HERE, Service, warn_of_one_core
from report import TABLE_HEAD, as_json, judge
from scenarios import SCENARIOS, Scenario


def measure(scenario: Scenario, services: dict[str, Service], rounds: int, folder: Path) -> list[Turn]:
    """Return all turns of all rounds. Their data stays in the folder: some file systems are slow after deletions."""
    turns: list[Turn] = []
    for number in range(1, rounds + 1):
        data = folder / f"{scenario.name}-{number}"
        for turn in scenario.measure([services[name] for name in scenario.services], data):
            turns.append(turn)
            for name, measurement in turn.items():
                figures = {figure: round(value, 3) for figure, value in measurement.figures.items()}
                print(f"{scenario.name} {number}/{rounds} {name}: {json.dumps(figures)}", file=sys.stderr)
    return turns


def services(python: str, ours: str | None) -> dict[str, Service]:
    """Return the services to measure: ours with its defaults, the naive one, and ours with its log in memory."""
    command = tuple(shlex.split(ours)) if ours else (python, "app.py")
    each = (
        Service("ours", command),
        Service("naive", (python, str(HERE / "naive.py"))),
        Service("memory", command, {"EVENT_LOG_URL": "memory://"}),
    )
    return {service.name: service for service in each}


def read_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description="Measure the service beside others. See README.md.")
    parser.add_argument(
        "--scenario", action="append", choices=names, help="measure only this scenario (may be repeated)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of rounds, each with fresh processes (default: 3)"
    )
    parser.add_argument("--python", default=sys.executable, help="the services' interpreter (default: this one)")
    parser.add_argument("--service", metavar="CMD", help="measure this command in place of `python app.py`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to this file")
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, and return the exit status: 1 if a target was missed."""
    arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    warn_of_one_core()
    measured = services(arguments.python, arguments.service)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for scenario in SCENARIOS:
            if not arguments.scenario or scenario.name in arguments.scenario:
                turns = measure(scenario, measured, arguments.rounds, Path(folder))
                results[judge(scenario, turns)] = turns
    print(TABLE_HEAD, *(row.markdown() for row in results), sep="\n")
    if arguments.json:
        arguments.json.write_text(as_json(results))
    return 0 if all(row.met for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
