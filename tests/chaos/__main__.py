"""Runs the long form of the harness: `python -m tests.chaos --kills 200 --seed 7`, from the project's directory."""

import argparse
import asyncio
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/support")]

from process import Nursery, opened_nursery  # noqa: E402

from chaos.driver import Verdict, driving  # noqa: E402 - it needs the path

KILLS_PER_SERIES = 25
"""This many kills share one data directory, all of whose runs are looked at again at the end."""


def say(line: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def series(nursery: Nursery, name: str, kills: int, directory: Path) -> list[Verdict]:
    """Kill one service this number of times, in rounds."""
    verdicts: list[Verdict] = []
    async with driving(nursery, name, directory) as driver:
        while (left := kills - sum(len(verdict.kills) for verdict in verdicts)) > 0:
            verdicts.append(await driver.round(left))
            report(
                f"seed {name}, round {len(verdicts)}, killed at {', '.join(verdicts[-1].kills)}", verdicts[-1].faults
            )
        faults = await driver.judge_all()
    report(f"seed {name}, at the end", faults)
    verdicts[-1].faults += faults
    return verdicts


def report(where: str, faults: list[str]) -> None:
    """Print what is wrong."""
    if faults:
        say("\n".join([f"  {where}:", *(f"    {fault[:2000]}" for fault in faults)]))


def main() -> int:
    """Kill the service, judge what is left and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kills the service at random points.")
    parser.add_argument("--kills", type=int, default=200, help="how often (default: 200)")
    parser.add_argument("--seed", type=int, help="draws the same asks and kinds of kills again (default: a new one)")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    say(f"{asked.kills} kills with --seed {seed}")
    with opened_nursery() as made:
        verdicts = all_series(made, asked.kills, seed)
    kinds = Counter(kill for verdict in verdicts for kill in verdict.kills)
    say(f"killed at: {', '.join(f'{kind} {count}' for kind, count in kinds.most_common())}")
    failed = sum(len(verdict.kills) for verdict in verdicts if verdict.faults)
    say(f"{kinds.total() - failed} passed, {failed} failed")
    return 1 if failed else 0


def all_series(nursery: Nursery, kills: int, seed: int) -> list[Verdict]:
    """Run the kills in series. The files of a series that failed are kept."""
    started = time.monotonic()
    verdicts: list[Verdict] = []
    for number, first in enumerate(range(0, kills, KILLS_PER_SERIES)):
        directory = Path(mkdtemp(prefix="chaos-"))
        more = asyncio.run(series(nursery, f"{seed}-{number}", min(KILLS_PER_SERIES, kills - first), directory))
        verdicts += more
        if any(verdict.faults for verdict in more):
            say(f"  the files and the log of seed {seed}-{number} are in {directory}")
        else:
            shutil.rmtree(directory)
        say(f"{summary(verdicts)}, {time.monotonic() - started:.0f} s")
    return verdicts


def summary(verdicts: list[Verdict]) -> str:
    """Return the totals so far."""
    kills = sum(len(verdict.kills) for verdict in verdicts)
    runs = sum(verdict.runs for verdict in verdicts)
    return f"{kills} kills, {runs} runs, {sum(verdict.cut for verdict in verdicts)} of them cut"


if __name__ == "__main__":
    sys.exit(main())
