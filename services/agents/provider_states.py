"""Stores the parts of an answer that its provider wants back, for the later runs of a session."""

import logging

from database.engine import Database
from database.provider_states import put_provider_state
from errors import StoreUnavailable
from run_models import Run
from session_models import ProviderState

logger = logging.getLogger(__name__)


class ProviderStates:
    """Stores the states of a session's steps: reasoning, signatures, the text of arguments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, run: Run, state: ProviderState) -> None:
        """Store a step's state, if the run belongs to a session and the state isn't empty.

        Without the database, the run continues, and the session's next run does without this state.
        """
        if run.session_id is None or state.is_empty:
            return
        try:
            async with self._database.writing() as connection:
                await put_provider_state(connection, state)
        except StoreUnavailable:
            logger.warning("the state of step %d of run %s was not kept", state.step, run.run_id)
