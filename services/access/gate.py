"""Makes the caller of a request from its credentials."""

import logging
import re
from functools import lru_cache
from typing import NamedTuple

from access_models import OWNER_PATTERN
from errors import AuthenticationRequired, ErrorDetail, Forbidden, InvalidRequest, Unauthenticated
from services.access.caller import ANYBODY, Caller
from services.access.jwt_verifier import JwtVerifier
from services.access.key_table import KeyTable
from services.access.run_tokens import RunTokens
from services.leave_signal import LeaveSignal
from settings import Settings, is_loopback

logger = logging.getLogger(__name__)

ACTS_FOR_NOBODY = "This is not the name of an owner."
AUTHENTICATION_IS_OFF = "Authentication is off, so there is one caller. Set AUTH=keys to have others."

DOTS_OF_A_JWT = 2


class Credentials(NamedTuple):
    """The credentials in a request. `address` is our address that received it, or None for a Unix socket."""

    key: str | None
    run_token: str | None
    act_as: str | None
    address: str | None


class Gate:
    """Admits callers by API keys and by tokens of an issuer. It has neither of them while authentication is off."""

    def __init__(
        self, settings: Settings, keys: KeyTable | None, verifier: JwtVerifier | None, tokens: RunTokens
    ) -> None:
        self._keys = keys
        self._verifier = verifier
        self._tokens = tokens
        self._allows_anonymous = settings.allow_anonymous

    async def caller(self, credentials: Credentials) -> Caller:
        """Return the caller.

        Raise `Unauthenticated`, `IssuerUnavailable`, `AuthenticationRequired`, or `Forbidden` for X-Act-As.
        """
        if self._keys is None and self._verifier is None:
            return self._anybody(credentials)
        caller = await self._known(credentials)
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

    async def _known(self, credentials: Credentials) -> Caller | None:
        if credentials.key is not None:
            return await self._holder_of(credentials.key)
        if credentials.run_token is None:
            return None
        reader = self._tokens.caller_of(credentials.run_token)
        if reader is None or reader.key_id is None:
            return reader
        return reader if self._keys is not None and self._keys.is_valid(reader.key_id) else None

    async def _holder_of(self, text: str) -> Caller | None:
        """Return the caller of an API key or, for a text of three parts that is none, of a token."""
        caller = None if self._keys is None else self._keys.caller_of(text)
        if caller is None and self._verifier is not None and text.count(".") == DOTS_OF_A_JWT:
            return await self._verifier.caller(text)
        return caller


@lru_cache(maxsize=64)
def _is_local(address: str | None) -> bool:
    """Whether a request that came in at this address of ours is from this machine."""
    return address is None or address.startswith("/") or is_loopback(address)
