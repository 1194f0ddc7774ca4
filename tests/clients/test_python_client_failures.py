"""The Python client when something goes wrong: broken connections, services that stop, and lost answers."""

import json
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agent_stream import (
    AgentStream,
    ApiError,
    ApprovalRequest,
    AsyncAgentStream,
    Complete,
    PartialOutput,
    Result,
    Run,
    RunFailed,
    StreamEvent,
    Unreachable,
    Waiting,
    retries,
)
from agent_stream.records import ErrorInfo
from agent_stream.responses import api_error, events_in
from agent_stream.retries import LONGEST_DELAY_S, Retries
from client_programs import Service, serving
from fake_dedalus import FakeDedalus
from lossy_proxy import Line, line_to, losing_an_answer, tearing
from process import Nursery, free_port
from restarts import CALLS, Place
from service import NOWHERE
from wire import Done, Finish, ToolCall, answer

pytest_plugins = "client_fixtures"

BOTH = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again at once, so that many failures take little time."""
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.02)


@contextmanager
def client(url: str, **options: Any) -> Iterator[AgentStream]:
    with httpx2.Client(verify=False, trust_env=False) as http, AgentStream(url, http_client=http, **options) as agent:
        yield agent


def read(events: list[StreamEvent]) -> list[tuple[str, int]]:
    return [(event.event, event.seq) for event in events]


def stored(service: Service, run_id: str) -> list[tuple[str, int]]:
    return [(event["event"], event["seq"]) for event in service.events(run_id)]


def for_each(run: Run, at: Callable[[StreamEvent], None]) -> None:
    for event in run:
        at(event)


def all_of(run: Run, at: Callable[[StreamEvent], None] = lambda _: None) -> tuple[list[StreamEvent], str]:
    """Read a run to its end, and return its events and the code of its failure, or "" if it has none."""
    events: list[StreamEvent] = []

    def take(event: StreamEvent) -> None:
        events.append(event)
        at(event)

    try:
        for_each(run, take)
    except RunFailed as failed:
        return events, failed.code
    return events, ""


# Connections that break


@pytest.mark.parametrize("more", [0, 1, 30])
def test_a_connection_that_breaks_after_each_event(more: int, service: Service) -> None:
    """Each event is read once, over as many connections as there are events, also if the next one has begun."""
    with tearing(service.url, more) as url, client(url) as agent:
        run = agent.simulate("Well?", delay_ms=0)
        events, failure = all_of(run)
    assert (read(events), failure) == (stored(service, run.id), "")


@pytest.mark.anyio
async def test_a_connection_that_breaks_after_each_event_by_asyncio(service: Service) -> None:
    """The same with the asynchronous client."""
    with tearing(service.url, 30) as url:
        async with (
            httpx2.AsyncClient(verify=False, trust_env=False) as http,
            AsyncAgentStream(url, http_client=http).simulate("Well?", delay_ms=0) as run,
        ):
            events = [event async for event in run]
    assert read(events) == stored(service, run.id)


def test_a_lost_answer(service: Service, upstream: FakeDedalus) -> None:
    """A question whose response was lost is sent again, and is the same run: the model is asked once."""
    upstream.turn(*answer("Hello"))
    asked = len(upstream.chats)
    with losing_an_answer(service.url) as url, client(url) as agent:
        assert agent.run("Say hello").output == "Hello"
    assert len(upstream.chats) == asked + 1


def test_a_silent_connection(service: Service) -> None:
    """A connection without a byte for 2.5 heartbeats is replaced."""
    with line_to(service.url) as line, client(line.url, heartbeat_s=0.1) as agent:

        def at(event: StreamEvent) -> None:
            if event.seq == 3:
                line.silence()
                threading.Timer(0.5, line.restore).start()

        run = agent.simulate(scenario="long", delay_ms=1)
        events, failure = all_of(run, at)
        assert line.connections > 1
    assert (read(events), failure) == (stored(service, run.id), "")


def test_a_silent_connection_after_an_answer(service: Service) -> None:
    """The stream in the response to an approval is replaced in the same way."""
    with line_to(service.url) as line, client(line.url, heartbeat_s=0.1) as agent:

        def at(event: StreamEvent) -> None:
            if isinstance(event, Waiting):
                run.approve("call_simulated_1")
                line.silence()
                threading.Timer(0.5, line.restore).start()

        run = agent.simulate(scenario="approval", delay_ms=20)
        events, failure = all_of(run, at)
    assert (read(events), failure) == (stored(service, run.id), "")


def test_an_event_outlives_an_error(service: Service) -> None:
    """If the service can't be asked whether the run still waits, the loop ends, and another one has the event."""
    with line_to(service.url) as line, client(line.url, max_retries=0) as agent:

        def at(event: StreamEvent) -> None:
            events.append(event)
            if isinstance(event, ApprovalRequest):
                line.cut()
            if isinstance(event, Waiting):
                run.approve("call_simulated_1")

        events: list[StreamEvent] = []
        run = agent.simulate(scenario="approval", delay_ms=0)
        with pytest.raises(Unreachable):
            for_each(run, at)
        line.restore()
        for_each(run, at)
    assert read(events) == stored(service, run.id)


def page(status: int) -> bytes:
    return (
        b"HTTP/1.1 %d Nope\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<br/>" % status
    )


def stream(frames: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + frames


END = b'{"event":"complete","data":{"status":"succeeded"},"run_id":"%s","seq":%d,"timestamp":""}'
INTRUSIONS = {str(status): page(status) for status in (200, 204, 401, 404, 410, 502)} | {
    "nothing": stream(b""),
    "html": stream(b"data: <br/>\n\n"),
    "list": stream(b"data: [1]\n\n"),
    "gap": stream(b"data: %s\n\n" % (END % (b"THIS_RUN", 99))),
    "other run": stream(b"data: %s\n\n" % (END % (b"run_1", 4))),
}


@pytest.mark.parametrize("intrusion", INTRUSIONS)
def test_what_a_proxy_says_is_an_outage(intrusion: str, service: Service) -> None:
    """Only the service itself can end a run that has started: what a proxy says in its place is tried again."""
    with line_to(service.url) as line, client(line.url) as agent:

        def at(event: StreamEvent) -> None:
            if event.seq == 3:
                intrude(line, intrusion, run)

        run = agent.simulate(scenario="long", delay_ms=1)
        events, failure = all_of(run, at)
    assert (read(events), failure) == (stored(service, run.id), "")


@pytest.mark.parametrize("intrusion", ["200", "204", "410", "nothing"])
def test_what_a_proxy_says_while_the_run_waits(intrusion: str, service: Service) -> None:
    """A run that waits is not ended by it either, and the answer to its call is sent again."""
    with line_to(service.url) as line, client(line.url) as agent:

        def at(event: StreamEvent) -> None:
            if isinstance(event, Waiting):
                intrude(line, intrusion, run)
                answering.start()

        run = agent.simulate(scenario="approval", delay_ms=0)
        answering = threading.Timer(0.4, agent.attach(run_id_of(run)).approve, ["call_simulated_1"])
        events, failure = all_of(run, at)
        answering.join()
    assert (read(events), failure) == (stored(service, run.id), "")


def intrude(line: Line, intrusion: str, run: Run) -> None:
    """Answer every request with this for a while."""
    line.say(INTRUSIONS[intrusion].replace(b"THIS_RUN", run.id.encode()))
    threading.Timer(0.3, line.restore).start()


def run_id_of(run: Run) -> str:
    with run:
        return run.id


def test_a_run_that_is_deleted(service: Service) -> None:
    """If the service no longer has the run, the loop ends with its error."""
    with client(service.url) as agent:
        run = agent.simulate(delay_ms=0)
        for event in run:
            if event.seq == 3:
                break
        assert list(agent.attach(run.id))[-1].event == "complete"
        agent.runs.delete(run.id)
        with pytest.raises(ApiError, match="run_not_found"):
            list(run)


def test_a_limit_of_tries(service: Service) -> None:
    """`max_retries` bounds the tries to read on: then the loop ends with the last error, and another one reads on."""
    with line_to(service.url) as line, client(line.url, max_retries=2) as agent:
        events: list[StreamEvent] = []

        def at(event: StreamEvent) -> None:
            events.append(event)
            if event.seq == 3:
                line.cut()

        run = agent.simulate(scenario="long", delay_ms=1, on_disconnect="continue")
        with pytest.raises((Unreachable, RunFailed), match=r"unreachable|incomplete"):
            for_each(run, at)
        line.restore()
        assert read(events + list(run)) == stored(service, run.id)


def test_no_service() -> None:
    """A start without an answer ends with `Unreachable` after some tries, and so does every other request."""
    with client(NOWHERE) as agent:
        for ask in (agent.simulate().result, agent.attach("run_1").result, agent.models):
            with pytest.raises(Unreachable, match=r"No answer from http://127\.0\.0\.1:9 "):
                ask()


def test_another_server(service: Service) -> None:
    """A server that isn't Agent Stream is reported by its status."""
    with line_to(service.url) as line, client(line.url) as agent:
        line.say(page(404))
        for ask in (agent.simulate().result, agent.attach("run_1").result, agent.models):
            with pytest.raises(ApiError, match=r"http_404: .* not from Agent Stream"):
                ask()


def test_line_separators_in_a_text() -> None:
    """Only line feeds and carriage returns end a line, also if something on the way has unescaped the JSON."""
    text = "one\u2028two\u2029three\x85four"
    envelope = {"run_id": "run_1", "seq": 1, "timestamp": "2026-11-28T10:00:00.000Z"}
    line = json.dumps({"event": "partial_output", "data": {"content": text}, **envelope}, ensure_ascii=False).encode()
    (event,) = events_in(httpx2.Response(200, content=line + b"\n"))
    assert isinstance(event, PartialOutput)
    assert event.content == text
    about: Any = {"headers": {"Content-Type": "text/event-stream"}, "request": httpx2.Request("GET", "http://x")}
    frames = httpx2.EventSource(httpx2.Response(200, content=b"data: " + line + b"\n\n", **about))
    assert [frame.data for frame in frames] == [line.decode()]


def test_requests_that_are_not_repeated(service: Service) -> None:
    """Creating a session may have had an effect when its response was lost, so it isn't sent again."""
    with losing_an_answer(service.url) as url, client(url) as agent:
        with pytest.raises(Unreachable):
            agent.sessions.create("python-lost")
        assert agent.sessions.get("python-lost").session_id == "python-lost"
        agent.sessions.delete("python-lost")


# Services that stop


@pytest.fixture
def port() -> int:
    return free_port()


def test_kills_at_many_points(nursery: Nursery, tmp_path: Path, port: int) -> None:
    """Wherever the service is killed: no event is missing or doubled, and the run's end is the one it really had."""
    with ExitStack() as stack, client(f"http://127.0.0.1:{port}") as agent:

        def start() -> Service:
            return stack.enter_context(serving(nursery, tmp_path, PORT=str(port)))

        service = start()
        for point in (1, 2, 18, 20, 30, 43):

            def at(event: StreamEvent, point: int = point) -> None:
                nonlocal service
                if event.seq == point:
                    service.process.kill()
                    service = start()

            run = agent.simulate(delay_ms=1)
            events, failure = all_of(run, at)
            assert read(events) == stored(service, run.id)
            assert isinstance(events[-1], Complete)
            assert failure in ("", "interrupted")
            assert (failure == "") == (events[-1].status == "succeeded")


def test_a_service_that_starts_later(nursery: Nursery, tmp_path: Path, port: int) -> None:
    """A program that asks while the service restarts gets its answer."""
    results: list[Result] = []
    with client(f"http://127.0.0.1:{port}", max_retries=1000) as agent:
        asking = threading.Thread(target=lambda: results.append(agent.simulate("Well?", delay_ms=0).result()))
        asking.start()
        with serving(nursery, tmp_path, PORT=str(port)):
            asking.join(30)
    assert [result.status for result in results] == ["succeeded"]


@BOTH
def test_an_approval_through_a_restart(
    how: signal.Signals, tmp_path: Path, upstream: FakeDedalus, nursery: Nursery, port: int
) -> None:
    """The loop outlives a restart while the run waits, the call is approved once, and its tool runs once."""
    upstream.turn(*CALLS)
    upstream.turn(*answer("Done."))
    place = Place(tmp_path, upstream, nursery, PORT=str(port))
    with ExitStack() as stack, client(f"http://127.0.0.1:{port}") as agent:
        first, _ = stack.enter_context(place.served())

        def at(event: StreamEvent) -> None:
            if isinstance(event, Waiting):
                first.send_signal(how)
                first.wait(10)
                stack.enter_context(place.served())
                run.approve("call_1")

        run = agent.stream("Tidy up.")
        events, failure = all_of(run, at)
    assert failure == ""
    assert [event.seq for event in events] == [*range(1, len(events) + 1)]
    assert (run.text, place.marks) == ("Done.", ["drafts"])


@pytest.mark.parametrize("max_retries", [None, 0])
def test_a_client_tool_whose_result_is_lost(max_retries: int | None, service: Service, upstream: FakeDedalus) -> None:
    """The call is made once, however often its result has to be sent, also if the loop ended because of that."""
    upstream.turn(ToolCall("call_1", "locate", "{}"), Finish("tool_calls"), Done())
    upstream.turn(*answer("In Oslo."))
    made = []
    with line_to(service.url) as line, client(line.url, max_retries=max_retries) as agent:

        @agent.tool
        def locate() -> str:
            """Where the user is."""
            made.append("Oslo")
            line.cut()
            restoring.start()
            return made[0]

        restoring = threading.Timer(0.3, line.restore)
        run = agent.stream("Where am I?")
        with suppress(Unreachable):
            run.result()
        restoring.join()
        assert run.result().output == "In Oslo."
    assert made == ["Oslo"]


# Delays


def refused(status: int, body: bytes = b"<br/>", **headers: str) -> ApiError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api_error(httpx2.Response(status, headers=named, content=body))


BUSY = b'{"error":{"code":"session_busy","message":"Wait.","retryable":true,"request_id":"r"}}'
NOT_FOUND = b'{"error":{"code":"run_not_found","message":"No.","retryable":false,"request_id":"r"}}'
FULL = b'{"error":{"code":"server_full","message":"Full.","retryable":true,"request_id":"r","retry_after":2}}'


@pytest.mark.parametrize(
    ("error", "is_final", "is_final_once_started"),
    [
        (Unreachable("http://x", "refused"), False, False),
        (refused(502), False, False),
        (refused(429), False, False),
        (refused(404), True, False),
        (refused(204, b""), True, False),
        (refused(404, NOT_FOUND), True, True),
        (refused(409, BUSY), True, False),
        (refused(503, FULL), False, False),
    ],
    ids=str,
)
def test_which_errors_are_tried_again(error: Any, *, is_final: bool, is_final_once_started: bool) -> None:
    """The service's refusals are final, unless it says when to try again; an error page is one only for a request."""
    for is_started, expected in ((False, is_final), (True, is_final_once_started)):
        tries = Retries(5, is_started=is_started)
        try:
            tries.fail(error)
        except ApiError:
            assert expected
        else:
            assert not expected


def test_delays_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays grow from half a second to ten, are random, and begin again after a success."""
    monkeypatch.undo()
    tries = Retries(None)
    assert tries.next_delay_s() == 0
    bounds = [0.5, 1, 2, 4, 8, 10, 10]
    for longest in bounds:
        tries.fail(Unreachable("http://x", "refused"))
        assert longest / 2 <= tries.next_delay_s() <= longest <= LONGEST_DELAY_S
    for _ in range(2000):
        tries.fail(Unreachable("http://x", "refused"))
    tries.reset()
    assert tries.next_delay_s() == 0


@pytest.mark.parametrize(
    ("seconds", "waited"), [("2", 2), ("100000000", 600), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-1", 0), ("1e9", 0)]
)
def test_retry_after(seconds: str, waited: int) -> None:
    """Retry-After is added to the next delay, once, and ten minutes are the most. A date is left out."""
    tries = Retries(None)
    tries.fail(refused(503, Retry_After=seconds))
    assert waited < tries.next_delay_s() <= waited + 0.02
    assert tries.next_delay_s() <= 0.02


def test_errors_can_be_pickled() -> None:
    """Errors pass between processes as they are."""
    info = ErrorInfo("interrupted", "The server stopped.", retryable=True, request_id="r", run_id="run_1")
    for error in (RunFailed(info), ApiError(info, 503), Unreachable("http://x", "refused")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.info) == (type(error), str(error), error.info)
