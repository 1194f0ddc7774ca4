"""Opens what commands work on, for the time of one command."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from database.engine import Database
from services.access.api_keys import ApiKeys
from services.access.secret import secret_of
from settings import Settings


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncGenerator[Database, None]:
    """Open the service's database, which may be in use. Raise `StoreUnavailable` or `NewerDatabase`."""
    os.umask(0o077)  # as the service does: its files are for it alone
    async with aclosing(await Database.open(settings.database_url_or_default())) as database:
        yield database


@asynccontextmanager
async def opened_keys() -> AsyncGenerator[ApiKeys, None]:
    """Open the API keys. Raise as `opened_database`, or `OSError` if the secret can't be read."""
    settings = Settings()
    secret = secret_of(settings)
    async with opened_database(settings) as database:
        yield ApiKeys(database, secret)
