"""The long form: `python -m tests.chaos --kills 200 --seed 7`, from the project's directory."""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

if TYPE_CHECKING:
    from chaos.driver import Verdict

KILLS_PER_SERIES = 25
"""So many kills have one data directory, all of whose runs are looked at again at the end."""


def say(line: str) -> None:
    """Print, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def series(name: str, kills: int, directory: Path) -> "list[Verdict]":
    """So many kills of one service."""
    from chaos.driver import Verdict, driving

    verdicts: list[Verdict] = []
    async with driving(name, directory) as driver:
        while (left := kills - sum(len(verdict.kills) for verdict in verdicts)) > 0:
            verdict = await driver.round(left)
            verdicts.append(verdict)
            if verdict.faults:
                say(f"  seed {name}, round {len(verdicts)}, kills {', '.join(verdict.kills)}:")
                for fault in verdict.faults:
                    say(f"    {fault[:2000]}")
        if faults := await driver.judge_all():
            say(f"  seed {name}, at the end:")
            for fault in faults:
                say(f"    {fault[:2000]}")
            verdicts[-1].faults += faults
        (directory / "service.log").write_text("".join(driver.server.log))
    return verdicts


def main() -> int:
    """Kill, judge, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kills the service at random points.")
    parser.add_argument("--kills", type=int, default=200, help="how often (default: 200)")
    parser.add_argument("--seed", type=int, help="draws the same asks and kinds of kills again (default: a new one)")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    say(f"{asked.kills} kills with --seed {seed}")
    started = time.monotonic()
    passed = failed = runs = cut = 0
    kinds: Counter[str] = Counter()
    for number, first in enumerate(range(0, asked.kills, KILLS_PER_SERIES)):
        directory = Path(mkdtemp(prefix="chaos-"))
        verdicts = asyncio.run(series(f"{seed}-{number}", min(KILLS_PER_SERIES, asked.kills - first), directory))
        for verdict in verdicts:
            passed, failed = (passed, failed + len(verdict.kills)) if verdict.faults else (passed + len(verdict.kills), failed)
            runs, cut = runs + verdict.runs, cut + verdict.cut
            kinds.update(verdict.kills)
        say(f"{passed + failed} kills, {runs} runs, of which {cut} were cut, {time.monotonic() - started:.0f} s: {directory}")
    say(f"killed at: {', '.join(f'{kind} {count}' for kind, count in kinds.most_common())}")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
