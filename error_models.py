"""The bodies of error responses: JSON, or the two frames in which the streaming routes refuse a request."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from closed_models import Closed, Maybe
from event_data import Complete, RunError


class FieldError(Closed):
    """One validation error: `loc` is the field's path, `message` says how to correct it."""

    loc: str
    message: str


class ErrorInfo(RunError):
    """The error. `request_id` is also in the X-Request-ID header and in the service's log.

    `run_id` is the run that failed or that conflicts with the request. `retry_after` is also in the Retry-After header.
    """

    run_id: Maybe[str] = None
    details: Maybe[list[FieldError]] = None


class ErrorBody(Closed):
    """The body of every error response that is JSON."""

    error: ErrorInfo


class RefusalError(Closed):
    """The first frame of a refused request: why no run was started."""

    event: Literal["error"]
    data: ErrorInfo


class RefusalComplete(Closed):
    """The second and last frame of a refused request: `status` is `failed`, and the counts are empty."""

    event: Literal["complete"]
    data: Complete


RefusalEvent = Annotated[RefusalError | RefusalComplete, Field(discriminator="event")]
REFUSAL_EVENT: TypeAdapter[RefusalEvent] = TypeAdapter(RefusalEvent)
