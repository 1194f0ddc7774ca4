"""The errors of this package.

AgentStreamError
├── ApiError       the service refused a request
├── RunFailed      a run failed
└── Unreachable    there was no answer from the service
"""

from agent_stream.records import ErrorInfo, FieldError


class AgentStreamError(Exception):
    """The base of all errors of this package.

    `code` is one of the service's (docs/errors.md has them all), or `unreachable`, `incomplete` or `http_…` of this
    package. `retryable` says whether the same request can succeed later, `retry_after` after how many seconds.
    """

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info)
        self.info = info

    def __str__(self) -> str:
        """Return the code, the message, and the fields of the request that are not valid."""
        return "\n".join(
            [f"{self.code}: {self.message}", *(f"  {field.loc}: {field.message}" for field in self.details)]
        )

    @property
    def code(self) -> str:
        """The error's code."""
        return self.info.code

    @property
    def message(self) -> str:
        """The explanation: what happened, and what to do about it."""
        return self.info.message

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later."""
        return self.info.retryable

    @property
    def retry_after(self) -> int | None:
        """The number of seconds after which to try again, if the service says so."""
        return self.info.retry_after

    @property
    def request_id(self) -> str:
        """The id that is also in the service's log. Empty if the error is not the service's."""
        return self.info.request_id

    @property
    def run_id(self) -> str | None:
        """The run that failed, or that conflicts with the request."""
        return self.info.run_id

    @property
    def details(self) -> list[FieldError]:
        """The fields of the request that are not valid."""
        return self.info.details or []


class ApiError(AgentStreamError):
    """The service refused a request with the HTTP status `status`.

    The code is `http_` and the status if the response is not from the service but from a proxy or another server.
    """

    def __init__(self, info: ErrorInfo, status: int) -> None:
        super().__init__(info)
        self.args = info, status
        self.status = status

    @property
    def is_from_service(self) -> bool:
        """Whether the service itself has refused the request."""
        return not self.code.startswith("http_")


class RunFailed(AgentStreamError):
    """The run ended with an error, or could not be read to its end (`incomplete`)."""


class Unreachable(AgentStreamError):
    """The service did not answer, or the connection broke before its answer was complete."""

    def __init__(self, url: str, reason: str) -> None:
        message = f"No answer from {url} ({reason})."
        super().__init__(ErrorInfo("unreachable", message, retryable=True, request_id=""))
        self.args = url, reason


def incomplete(run_id: str | None) -> RunFailed:
    """Return the error for a run that could not be read to its end."""
    message = "The rest of the run could not be read."
    return RunFailed(ErrorInfo("incomplete", message, retryable=True, request_id="", run_id=run_id))
