"""Makes the caller of a request from its credentials."""

import logging
import re
from functools import lru_cache
from typing import NamedTuple

from access_models import OWNER_PATTERN
from errors import AuthenticationRequired, ErrorDetail, Forbidden, InvalidRequest, Unauthenticated
from services.access.caller import ANYBODY, Caller
from services.access.key_table import KeyTable
from services.access.run_tokens import RunTokens
from services.leave_signal import LeaveSignal
from settings import Settings, is_loopback

logger = logging.getLogger(__name__)

ACTS_FOR_NOBODY = "This is not the name of an owner."
AUTHENTICATION_IS_OFF = "Authentication is off, so there is one caller. Set AUTH=keys to have others."


class Credentials(NamedTuple):
    """What a request says of its caller. `address` is the one of ours at which it came in, None for a Unix socket."""

    key: str | None
    run_token: str | None
    act_as: str | None
    address: str | None


class Gate:
    """Admits callers. `keys` is None while authentication is off."""

    def __init__(self, settings: Settings, keys: KeyTable | None, tokens: RunTokens) -> None:
        self._keys = keys
        self._tokens = tokens
        self._allows_anonymous = settings.allow_anonymous

    async def caller(self, credentials: Credentials) -> Caller:
        """Return the caller. Raise `Unauthenticated`, `AuthenticationRequired`, or `Forbidden` for X-Act-As."""
        if self._keys is None:
            return self._anybody(credentials)
        caller = self._known(self._keys, credentials)
        if caller is None:
            raise Unauthenticated
        if credentials.act_as is None:
            return caller
        if not re.fullmatch(OWNER_PATTERN, credentials.act_as):
            raise InvalidRequest(details=[ErrorDetail("header.X-Act-As", ACTS_FOR_NOBODY)])
        acting = caller.acting_for(credentials.act_as)
        logger.info("the admin %s acts for %s", acting.admin, acting.owner)
        return acting

    def left(self, caller: Caller) -> LeaveSignal | None:
        """Return the signal that is given when the caller's key is no longer valid, None if that can't happen."""
        return None if self._keys is None or caller.key_id is None else self._keys.left(caller.key_id)

    def _anybody(self, credentials: Credentials) -> Caller:
        if not (self._allows_anonymous or _is_local(credentials.address)):
            raise AuthenticationRequired
        if credentials.act_as is not None:
            raise Forbidden(AUTHENTICATION_IS_OFF)
        return ANYBODY

    def _known(self, keys: KeyTable, credentials: Credentials) -> Caller | None:
        if credentials.key is not None:
            return keys.caller_of(credentials.key)
        if credentials.run_token is None:
            return None
        reader = self._tokens.caller_of(credentials.run_token)
        has_key = reader is None or reader.key_id is None or keys.is_valid(reader.key_id)
        return reader if has_key else None


@lru_cache(maxsize=64)
def _is_local(address: str | None) -> bool:
    """Whether a request that came in at this address of ours is from this machine."""
    return address is None or address.startswith("/") or is_loopback(address)
