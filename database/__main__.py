"""`python -m database [upgrade | current]`: bring the database of the settings up to date, or tell where it stands.

The service does the first at its start, too.
"""

import asyncio
import sys
from argparse import ArgumentParser

from pydantic import ValidationError

from database.engine import Database, revision
from database.migrate import NewerDatabase, newest
from errors import StoreUnavailable
from settings import Settings, faults


async def run(action: str, url: str) -> str:
    """What there is to tell after the action."""
    if action == "current":
        return f"{await revision(url) or 'nothing yet'} (the code expects {newest()})"
    database = await Database.open(url)
    await database.aclose()
    return f"up to date: {newest()}"


def main() -> int:
    """The exit status: 1 where the database can't be used."""
    parser = ArgumentParser(prog="python -m database", description="The tables of Agent Stream's database.")
    parser.add_argument("action", nargs="?", choices=("upgrade", "current"), default="upgrade")
    action = parser.parse_args().action
    try:
        told = asyncio.run(run(action, Settings().database_url_or_default()))
    except ValidationError as error:
        sys.stderr.write(f"{faults(error)}\n")
        return 1
    except (NewerDatabase, StoreUnavailable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
