"""What goes back to a model's provider with its answers, kept for the later runs of a session."""

import logging

from database.engine import Database
from database.provider_states import put_provider_state
from errors import StoreUnavailable
from models import Run
from session_models import ProviderState

logger = logging.getLogger(__name__)


class ProviderStates:
    """Keeps the states of a session's steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, run: Run, state: ProviderState) -> None:
        """Write a step's state, if there is anything to keep, and the run is a session's.

        The run goes on without the database; the session's next run then goes without this state.
        """
        if run.session_id is None or state.is_empty:
            return
        try:
            async with self._database.writing() as connection:
                await put_provider_state(connection, state)
        except StoreUnavailable:
            logger.warning("the state of step %d of run %s was not kept", state.step, run.run_id)
