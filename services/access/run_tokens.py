"""Tokens that let a page read one run for some minutes, for readers that can't send headers."""

import hmac
from datetime import UTC, datetime, timedelta

import jwt

from access_models import RunToken, Scope
from run_models import utc_text
from services.access.caller import Caller

VALID = timedelta(minutes=10)
ALGORITHM = "HS256"
PURPOSE = "run"  # what the tokens are for, so that a token that is signed for something else is none


class RunTokens:
    """Signs and reads run tokens. A token isn't stored."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"run tokens", "sha256")

    def issue(self, caller: Caller, run_id: str) -> RunToken:
        """Return a token with which the caller's run can be read."""
        expires_at = datetime.now(UTC) + VALID
        claims = {"aud": PURPOSE, "sub": caller.owner, "run": run_id, "key": caller.key_id, "exp": expires_at}
        token = jwt.encode(claims, self._secret, ALGORITHM)
        return RunToken(token=token, expires_at=utc_text(expires_at))

    def caller_of(self, token: str) -> Caller | None:
        """Return the caller of a token, or None if the token isn't valid."""
        try:
            claims = jwt.decode(token, self._secret, [ALGORITHM], audience=PURPOSE, options={"require": ["exp", "sub"]})
        except jwt.InvalidTokenError:
            return None
        return Caller(claims["sub"], frozenset((Scope.RUNS_READ,)), claims["key"], run_id=claims["run"])
