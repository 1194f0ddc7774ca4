"""Migrates the database that the settings name (`python -m database upgrade`), or prints its revision (`current`).

The service also migrates its database at every start.
"""

import asyncio
import sys
from argparse import ArgumentParser

from pydantic import ValidationError

from database.engine import Database, revision
from database.migrate import NewerDatabase, newest
from errors import StoreUnavailable
from settings import Settings, validation_errors


async def run(action: str, url: str) -> str:
    """Perform an action, `upgrade` or `current`, and return a line about its result."""
    if action == "current":
        return f"{await revision(url) or 'no revision yet'} (the code expects {newest()})"
    database = await Database.open(url)
    await database.aclose()
    return f"up to date: {newest()}"


def main() -> int:
    """Run the command. Returns the exit status: 1 if the settings are wrong or the database can't be used."""
    parser = ArgumentParser(
        prog="python -m database", description="Migrate Agent Stream's database, or print its revision."
    )
    parser.add_argument("action", nargs="?", choices=("upgrade", "current"), default="upgrade")
    action = parser.parse_args().action
    try:
        result = asyncio.run(run(action, Settings().database_url_or_default()))
    except ValidationError as error:
        sys.stderr.write(f"{validation_errors(error)}\n")
        return 1
    except (NewerDatabase, StoreUnavailable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{result}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
