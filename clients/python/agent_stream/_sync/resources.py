"""Sessions and runs, as the service keeps them."""

from collections.abc import Sequence
from typing import Any, Unpack

from agent_stream._sync.service import Service
from agent_stream.events import StreamEvent
from agent_stream.records import Content, MessageList, RunList, RunRecord, RunStatus, Session, SessionList
from agent_stream.requests import RUNS, SESSIONS, RequestOptions, given, new_key, request_of, run_path, session_path
from agent_stream.responses import deleted, record_of

KEPT: Any = object()
"""The value of a field that keeps its value."""


class Sessions:
    """The conversations that the service keeps. A page begins at `cursor`, the `next_cursor` of the page before."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def list(self, *, q: str | None = None, limit: int | None = None, cursor: str | None = None) -> SessionList:
        """Return sessions, the most recently used first. `q` has words that their titles contain.

        A page of a search can have fewer than `limit` sessions. The search is over when there is no `next_cursor`.
        """
        return self._service.get(SESSIONS, SessionList, q=q, limit=limit, cursor=cursor)

    def get(self, session_id: str) -> Session:
        """Return a session."""
        return self._service.get(session_path(session_id), Session)

    def create(
        self, session_id: str | None = None, *, title: str | None = None, metadata: dict[str, str] | None = None
    ) -> Session:
        """Create a session. This is optional: a run with a new `session_id` also creates it."""
        body = given({"session_id": session_id, "title": title, "metadata": metadata})
        return self._service.call("POST", SESSIONS, record_of(Session), body=body, is_repeatable=False)

    def update(self, session_id: str, *, title: str | None = KEPT, metadata: dict[str, str] | None = KEPT) -> Session:
        """Change a session's title or metadata. None removes it."""
        fields = {"title": title, "metadata": metadata}
        body = {name: value for name, value in fields.items() if value is not KEPT}
        return self._service.call("PATCH", session_path(session_id), record_of(Session), body=body)

    def delete(self, session_id: str) -> None:
        """Delete a session with its runs and messages."""
        self._service.call("DELETE", session_path(session_id), deleted, is_repeatable=False)

    def messages(
        self,
        session_id: str,
        *,
        run_id: str | None = None,
        tree: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> MessageList:
        """Return the messages of one branch in order, or with `tree` those of all branches.

        `run_id` is the last run of the branch. The default is the session's latest run.
        """
        path = session_path(session_id, "messages")
        return self._service.get(path, MessageList, run_id=run_id, tree=tree, limit=limit, cursor=cursor)

    def runs(
        self, session_id: str, *, status: RunStatus | None = None, limit: int | None = None, cursor: str | None = None
    ) -> RunList:
        """Return the session's runs, the latest first."""
        path = session_path(session_id, "runs")
        return self._service.get(path, RunList, status=status, limit=limit, cursor=cursor)


class Runs:
    """The runs that the service keeps."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def list(
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> RunList:
        """Return runs, the latest first."""
        return self._service.get(RUNS, RunList, session_id=session_id, status=status, limit=limit, cursor=cursor)

    def get(self, run_id: str) -> RunRecord:
        """Return a run's status and, once it has ended, its usage and its error."""
        return self._service.get(run_path(run_id), RunRecord)

    def events(self, run_id: str, *, after: int = 0) -> Sequence[StreamEvent]:
        """Return a run's events so far, without waiting for others. `attach` follows it."""
        return self._service.events(run_id, after)

    def start(
        self, question: Content, /, *, idempotency_key: str | None = None, **options: Unpack[RequestOptions]
    ) -> RunRecord:
        """Start a run in the background. It continues without a reader."""
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        body = request_of(question, options)
        return self._service.call("POST", RUNS, record_of(RunRecord), body=body, headers=headers)

    def cancel(self, run_id: str) -> RunRecord:
        """Cancel a run. A run that has ended does not change."""
        return self._service.call("POST", run_path(run_id, "cancel"), record_of(RunRecord))

    def delete(self, run_id: str) -> None:
        """Delete a run that has ended, with its events and messages."""
        self._service.call("DELETE", run_path(run_id), deleted, is_repeatable=False)
