"""Error answers: the one JSON body, and the two frames in which the streaming POSTs refuse a request."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from events import Closed, Complete, Maybe, RunError


class FieldError(Closed):
    """One thing wrong with a request: where, and what to do about it."""

    loc: str
    message: str


class ErrorInfo(RunError):
    """What went wrong. `request_id` is also in the X-Request-ID header and in the server's log.

    `run_id` is of the run that is in the way, or that failed; `retry_after` is also in the Retry-After header.
    """

    run_id: Maybe[str] = None
    details: Maybe[list[FieldError]] = None


class ErrorBody(Closed):
    """Every error answer of the service, where it is JSON."""

    error: ErrorInfo


class RefusalError(Closed):
    """The first frame of a refusal: why there is no run."""

    event: Literal["error"]
    data: ErrorInfo


class RefusalComplete(Closed):
    """The second and last frame of a refusal: `status` is `failed`, and nothing was counted."""

    event: Literal["complete"]
    data: Complete


RefusalEvent = Annotated[RefusalError | RefusalComplete, Field(discriminator="event")]
REFUSAL_EVENT: TypeAdapter[RefusalEvent] = TypeAdapter(RefusalEvent)
