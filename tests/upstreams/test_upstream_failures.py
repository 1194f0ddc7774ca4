"""Every way in which an upstream can fail has its stable error code, and nothing that the upstream sent is exposed."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import check_grammar
from service import EXECUTE, NOWHERE, STREAM, Event, Service, checked, names, only, service, text
from wire import (
    Comment,
    Cut,
    Done,
    EndBody,
    ErrorData,
    ErrorEvent,
    Finish,
    Head,
    Html,
    Json,
    Pause,
    RawBytes,
    RawChunk,
    Role,
    Stall,
    Status,
    Step,
    Text,
    Thinking,
    answer,
    refusal,
)

pytestmark = pytest.mark.anyio

MARK = "s3cr3t"  # in all that the upstream sends, in its URL and in its key
KEY = f"{MARK}-key"
PATH = f"/{MARK}-path/v1"
SAID = f"{MARK}-text"
NOW = {"retry-after-ms": "1"}  # the SDK tries again at once
PAGE = f"<!doctype html><title>{SAID}</title>"
CONNECT: Json = {"connect_url": f"https://{MARK}.example/connect", "message": SAID}

CODES = {  # the HTTP status of /execute, and whether a retry can help
    "mcp_authorization_required": (502, False),
    "upstream_auth": (502, False),
    "upstream_disconnected": (502, True),
    "upstream_failed": (502, True),
    "upstream_protocol": (502, True),
    "upstream_quota": (503, True),
    "upstream_rejected": (422, False),
    "upstream_stalled": (504, True),
    "upstream_timeout": (504, True),
}


@dataclass(frozen=True)
class Failure:
    """A way to fail, and the error that it leads to. Its name is the model that a request asks for.

    `tries` is how often the upstream is called, `shown` the text that a reader has received by then, and `silent` means
    that the log has nothing for the operator. `given` are settings.
    """

    name: str
    code: str
    steps: Sequence[Step] = ()
    tries: int | None = 1
    retry_after: int | None = None
    shown: str = ""
    silent: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


def status(code: int, body: Json | str, **headers: str) -> list[Step]:
    return [Status(code, body, {**NOW, **{name.replace("_", "-"): value for name, value in headers.items()}})]


def refused(code: int, kind: str, error_code: str | None = None) -> list[Step]:
    """An error in OpenAI's form."""
    return [Status(code, refusal(code, SAID, kind, error_code=error_code).body, NOW)]


SPOKEN: list[Step] = [Role(), Text("Hel", "lo")]
QUICK_START = {"first_byte_timeout_s": 0.2}
QUICK_STALL = {"stall_timeout_s": 0.2}
KEEP_ALIVE: list[Step] = [step for _ in range(10) for step in (Comment(SAID), Pause(0.05))]

REFUSALS = [
    Failure("400", "upstream_rejected", refused(400, "invalid_request_error")),
    Failure("401", "upstream_auth", refused(401, "authentication_error", "invalid_api_key")),
    Failure("401 with a link", "mcp_authorization_required", status(401, CONNECT)),
    Failure("401 with a link in its detail", "mcp_authorization_required", status(401, {"detail": CONNECT})),
    Failure("402", "upstream_quota", refused(402, "insufficient_quota")),
    Failure("403", "upstream_auth", refused(403, "permission_error")),
    Failure("404", "upstream_rejected", status(404, {"detail": SAID})),
    Failure("408", "upstream_timeout", status(408, SAID), tries=3),
    Failure("409", "upstream_rejected", status(409, {"detail": SAID}), tries=3),
    Failure("413", "upstream_rejected", status(413, SAID)),
    Failure(
        "422", "upstream_rejected", status(422, {"detail": [{"loc": ["body", "model"], "msg": SAID, "type": "v"}]})
    ),
    Failure("429", "upstream_quota", refused(429, "rate_limit_error"), tries=3),
    Failure("429 until", "upstream_quota", status(429, {"detail": SAID}, retry_after="3"), tries=3, retry_after=3),
    Failure("500", "upstream_failed", refused(500, "server_error"), tries=3),
    Failure("502 page", "upstream_failed", status(502, PAGE, content_type="text/html"), tries=3),
    Failure("503", "upstream_failed", status(503, SAID), tries=3),
    Failure("503 until", "upstream_failed", status(503, SAID, retry_after="3"), tries=3, retry_after=3),
    Failure("504", "upstream_timeout", status(504, SAID), tries=3),
    Failure("redirect", "upstream_failed", status(302, SAID, location=f"/elsewhere/{MARK}")),
]

ERRORS = [
    ("error object", "upstream_failed", ErrorData({"error": {"message": SAID, "type": "server_error"}})),
    ("error text", "upstream_failed", ErrorData({"error": SAID})),
    ("error of the rate", "upstream_quota", ErrorData({"error": {"message": SAID, "type": "rate_limit_error"}})),
    ("error of the key", "upstream_auth", ErrorData({"error": {"message": SAID, "code": 401}})),
    ("error of the request", "upstream_rejected", ErrorData({"error": {"message": SAID, "code": 400}})),
    ("error with a link", "mcp_authorization_required", ErrorData({"error": {"code": 401, **CONNECT}})),
    ("error beside choices", "upstream_failed", RawChunk({"error": {"message": SAID}, "choices": [{"delta": {}}]})),
    ("detail text", "upstream_failed", ErrorData({"detail": SAID})),
    ("detail list", "upstream_failed", ErrorData({"detail": [{"msg": SAID}]})),
    ("event: error", "upstream_failed", ErrorEvent({"error": {"message": SAID}})),
    ("event: error of its own form", "upstream_failed", ErrorEvent({"message": SAID})),
    ("event: error with text", "upstream_failed", RawBytes(f'event: error\ndata: "{SAID}"\n\n'.encode())),
    ("event: error with a list", "upstream_failed", RawBytes(f'event: error\ndata: ["{SAID}"]\n\n'.encode())),
    ("event: error that isn't JSON", "upstream_failed", RawBytes(f"event: error\ndata: {SAID}\n\n".encode())),
]
IN_THE_STREAM = [
    failure
    for name, code, step in ERRORS
    for failure in (
        Failure(f"{name} first", code, [step, Text("not shown"), Finish(), Done()]),
        Failure(f"{name} after text", code, [*SPOKEN, step, Text("not shown"), Finish(), Done()], shown="Hello"),
    )
]

NO_CHUNKS = {
    "no JSON": "SAID",
    "torn JSON": '{"choices":[{"delta":{"content":"SAID',
    "list": '["SAID"]',
    "text": '"SAID"',
    "number": "5",
    "choices number": '{"x":"SAID","choices":5}',
    "choices object": '{"choices":{"x":"SAID"}}',
    "choices text": '{"choices":"SAID"}',
    "delta text": '{"choices":[{"delta":"SAID"}]}',
    "content number": '{"x":"SAID","choices":[{"delta":{"content":5}}]}',
    "calls number": '{"x":"SAID","choices":[{"delta":{"tool_calls":5}}]}',
    "call text": '{"choices":[{"delta":{"tool_calls":["SAID"]}}]}',
    "function text": '{"choices":[{"delta":{"tool_calls":[{"function":"SAID"}]}}]}',
}
MALFORMED = [
    Failure(
        name,
        "upstream_protocol",
        [*SPOKEN, RawBytes(f"data: {data.replace('SAID', SAID)}\n\n".encode("latin-1")), Text("not shown"), Done()],
        shown="Hello",
        silent="SAID" not in data,
    )
    for name, data in NO_CHUNKS.items()
]

ENDLESS: list[Step] = [*SPOKEN, RawBytes(b"data: " + bytes(17 * 1024 * 1024)), Stall()]
ZIPPED: list[Step] = [Head({"content-encoding": "br"}), RawBytes(b"\x8b\x01\x80" + SAID.encode()), EndBody()]
SILENT = [
    Failure("page with 200", "upstream_protocol", [Html(PAGE)]),
    Failure("JSON with 200", "upstream_protocol", status(200, {"x": SAID})),
    Failure("brotli", "upstream_protocol", ZIPPED),
    Failure("event without end", "upstream_protocol", ENDLESS, shown="Hello"),
    Failure("event: error with null", "upstream_failed", [RawBytes(b"event: error\ndata: null\n\n")]),
    Failure("closed without an answer", "upstream_failed", [Cut()], tries=None),  # a kept connection is replaced first
    Failure("end before anything", "upstream_disconnected", [EndBody()]),
    Failure("end after comments", "upstream_disconnected", [Comment(SAID), EndBody()]),
    Failure("end without finish reason", "upstream_disconnected", [*SPOKEN, EndBody()], shown="Hello"),
    Failure("end inside an event", "upstream_disconnected", [*SPOKEN, RawBytes(b'data: {"ch')], shown="Hello"),
    Failure("cut", "upstream_disconnected", [*SPOKEN, Cut()], shown="Hello"),
    Failure("cut after thinking", "upstream_disconnected", [Thinking("Hm"), Cut()]),
    Failure("reset", "upstream_disconnected", [*SPOKEN, Cut(reset=True)], shown="Hello"),
    Failure("silence", "upstream_timeout", [Stall()], given=QUICK_START),
    Failure("silence after the head", "upstream_timeout", [Head(), Stall()], given=QUICK_START),
    Failure("nothing but comments", "upstream_timeout", [*KEEP_ALIVE, Stall()], given=QUICK_START),
    Failure("stall", "upstream_stalled", [*SPOKEN, Stall()], shown="Hello", given=QUICK_STALL),
    Failure(
        "stall with comments", "upstream_stalled", [*SPOKEN, *KEEP_ALIVE, Stall()], shown="Hello", given=QUICK_STALL
    ),
]

FAILURES = [*REFUSALS, *IN_THE_STREAM, *MALFORMED, *(replace(failure, silent=True) for failure in SILENT)]
OF_EACH_CODE = {(failure.code, failure.retry_after): failure for failure in reversed(FAILURES)}.values()
SCRIPTS = {failure.name: failure.steps for failure in FAILURES}

Start = Callable[[str, Mapping[str, Any]], Awaitable[Service]]


@pytest.fixture(autouse=True)
def no_pause_before_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own first pause is half a second."""
    monkeypatch.setattr("dedalus_labs._base_client.INITIAL_RETRY_DELAY", 0.001)


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeDedalus]:
    """An upstream that fails as the model's name says, or answers as its test scripts it."""
    async with FakeDedalus(require_key=KEY) as fake:
        fake.choose(lambda body: SCRIPTS.get(body["model"]))
        yield fake


@pytest.fixture(scope="module")
async def start(fake: FakeDedalus) -> AsyncIterator[Start]:
    """Start services that hold no state between runs, so that tests with the same settings share one."""
    running: dict[str, Service] = {}
    async with AsyncExitStack() as stack:

        async def start(url: str, given: Mapping[str, Any]) -> Service:
            what = json.dumps([url, given])
            if what not in running:
                running[what] = await stack.enter_async_context(service(url + PATH, dedalus_api_key=KEY, **given))
            return running[what]

        yield start


@pytest.fixture
async def agent(fake: FakeDedalus, start: Start) -> Service:
    """The service with its default settings."""
    return await start(fake.url, {})


def is_clean(fake: FakeDedalus, *answers: httpx.Response) -> None:
    """Check that no byte that the caller received has the upstream's words or its address."""
    for answered in answers:
        seen = str(answered.headers) + answered.text
        assert MARK not in seen
        assert fake.url.removeprefix("http://") not in seen


def failed(events: list[Event], failure: Failure) -> Json:
    """Return the run's error if the run failed in that way."""
    [error] = only(events, "error")
    assert names(events)[-2:] == ["error", "complete"]
    assert events[-1]["data"]["status"] == "failed"
    assert text(events) == failure.shown
    assert (error["code"], error["retryable"]) == (failure.code, CODES[failure.code][1])
    assert error.get("retry_after") == failure.retry_after
    return error


def is_logged(failure: Failure, log: str) -> None:
    """Check that the log has what the upstream sent, where there was something to report, and never the key."""
    assert KEY not in log
    assert failure.code in log
    if not failure.silent:
        assert SAID in log


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
async def test_a_stream_reports_how_its_upstream_failed(
    failure: Failure, fake: FakeDedalus, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream has the text that arrived, then an error with its code, then complete{failed}.

    The rest is in the log.
    """
    agent = await start(fake.url, failure.given)
    before = len(fake.chats)
    response = await agent.post(STREAM, {"input": "?", "model": failure.name})
    assert response.status_code == 200
    error = failed(checked(response.content), failure)
    assert error["request_id"] == response.headers["x-request-id"]
    assert failure.tries in {None, len(fake.chats) - before}
    is_clean(fake, response)
    is_logged(failure, caplog.text)


@pytest.mark.parametrize("failure", OF_EACH_CODE, ids=lambda failure: failure.name)
async def test_execute_answers_with_the_error_s_status(
    failure: Failure, fake: FakeDedalus, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The error body has the run's id, under which the same error can be read, and Retry-After where there is one."""
    agent = await start(fake.url, failure.given)
    response = await agent.post(EXECUTE, {"input": "?", "model": failure.name})
    body = response.json()
    run_id = body["error"]["run_id"]
    run = await agent.client.get(f"/api/agent/runs/{run_id}")
    events = await agent.events(run_id)
    check_grammar(events)
    error = failed(events, failure)
    wait = error.get("retry_after")
    assert response.status_code == CODES[failure.code][0]
    assert body == {"error": {**error, "run_id": run_id}}
    assert response.headers.get("retry-after") == (None if wait is None else str(wait))
    assert run.json()["status"] == "failed"
    is_clean(fake, response, run)
    is_logged(failure, caplog.text)


@pytest.mark.parametrize("path", [STREAM, EXECUTE])
async def test_an_upstream_that_is_not_there(path: str, fake: FakeDedalus, start: Start) -> None:
    """A refused connection is an upstream error, which doesn't reveal the upstream's address."""
    agent = await start(NOWHERE, {})
    response = await agent.post(path, {"input": "?"})
    assert b"upstream_failed" in response.content
    assert b"127.0.0.1" not in response.content
    is_clean(fake, response)


async def test_a_redirect_is_not_followed(fake: FakeDedalus, agent: Service) -> None:
    """Following it would send the key to wherever the redirect points."""
    await agent.post(EXECUTE, {"input": "?", "model": "redirect"})
    assert not [request for request in fake.requests if "elsewhere" in request.path]


async def test_the_key_and_plain_bytes_are_asked_for(fake: FakeDedalus, agent: Service) -> None:
    """The request has the configured path and key, which the other tests look for, and asks for no compression."""
    fake.turn(*answer("ok"))
    await agent.post(EXECUTE, {"input": "?"})
    request = fake.chats[-1]
    assert request.path == f"{PATH}/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept-encoding"] == "identity"


async def test_a_key_that_is_refused(fake: FakeDedalus, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong key is the operator's mistake and not the caller's: 502, not 401. The log line names the run."""
    async with service(fake.url, dedalus_api_key=f"{MARK}-wrong") as agent:
        response = await agent.post(EXECUTE, {"input": "?"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_auth")
    lines = [message for message in caplog.messages if "Invalid API key provided" in message]
    assert any(line.endswith(f"(run {response.json()['error']['run_id']})") for line in lines)
    assert "Invalid API key" not in response.text
    is_clean(fake, response)


@pytest.mark.parametrize("code", [429, 500, 503, 408])
@pytest.mark.parametrize("path", [STREAM, EXECUTE])
async def test_what_the_sdk_mends_is_no_failure(path: str, code: int, fake: FakeDedalus, agent: Service) -> None:
    """Refused twice and then answered: one run that succeeds, under one idempotency key, with its text once."""
    before = len(fake.chats)
    for _ in range(2):
        fake.turn(*status(code, SAID))
    fake.turn(*answer("Hello"))
    response = await agent.post(path, {"input": "?"})
    assert response.status_code == 200
    tries = fake.chats[before:]
    assert len(tries) == 3
    assert len({request.headers["idempotency-key"] for request in tries}) == 1
    if path == EXECUTE:
        assert (response.json()["output"], response.json()["status"]) == ("Hello", "succeeded")
    else:
        assert text(checked(response.content)) == "Hello"


async def test_nothing_is_tried_again_once_the_answer_has_begun(fake: FakeDedalus, agent: Service) -> None:
    """A stream that broke off may have been billed and read, so the request isn't repeated."""
    before = len(fake.chats)
    fake.turn(Text("Hel"), Cut())
    await agent.post(EXECUTE, {"input": "?"})
    assert len(fake.chats) - before == 1


@pytest.mark.parametrize(
    "steps",
    [
        [Text("Hello"), Finish(), Stall()],
        [Text("Hello"), Pause(0.02), Finish(), Stall()],
        [RawChunk({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}), Stall()],
        [RawChunk({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}), *KEEP_ALIVE, Stall()],
        [Text("Hello"), Finish(), EndBody()],
        [Text("Hello"), Finish(), Cut()],
        [Text("Hello"), Finish(), Cut(reset=True)],
        [Text("Hello"), Finish(), Done(), Stall()],
        [Text("Hello"), Finish(), Done(), ErrorData({"error": SAID})],
    ],
)
async def test_what_is_no_failure(
    steps: list[Step], fake: FakeDedalus, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the model has finished, a missing [DONE], an open connection or a cut one loses nothing."""
    monkeypatch.setattr(
        "services.upstreams.model_turn.AFTER_FINISH_S", 0.4
    )  # more than the stall timeout, to see that both fit
    agent = await start(fake.url, QUICK_STALL)
    fake.turn(*steps)
    response = await agent.post(STREAM, {"input": "?"})
    events = checked(response.content)
    assert only(events, "final_output") == [{"content": "Hello"}]
    assert (events[-1]["data"]["status"], events[-1]["data"]["finish_reason"]) == ("succeeded", "stop")


@pytest.mark.parametrize(
    "data",
    [
        b'{"x":"\xff"}',
        b'{"choices":[null]}',
        b'{"choices":[],"mcp_tool_results":{"x":"y"}}',
        b'{"choices":[],"mcp_tool_results":[{"result":"y"}]}',
    ],
    ids=["no UTF-8", "choice null", "results object", "result without name"],
)
async def test_a_chunk_without_content_is_skipped(data: bytes, fake: FakeDedalus, agent: Service) -> None:
    """A malformed part without content doesn't end the run: see `docs/upstreams.md`."""
    fake.turn(Text("Hel"), RawBytes(b"data: " + data + b"\n\n"), *answer("lo"))
    events = checked((await agent.post(STREAM, {"input": "?"})).content)
    assert only(events, "final_output") == [{"content": "Hello"}]
    assert (events[-1]["data"]["status"], events[-1]["data"]["finish_reason"]) == ("succeeded", "stop")


async def test_done_without_a_finish_reason_is_an_end(fake: FakeDedalus, agent: Service) -> None:
    """[DONE] ends the answer. The finish reason stays unknown and isn't invented."""
    fake.turn(Text("Hello"), Done())
    body = (await agent.post(EXECUTE, {"input": "?"})).json()
    assert (body["status"], body["output"], body["finish_reason"]) == ("succeeded", "Hello", "unknown")


async def test_a_failed_upstream_leaves_the_next_run_alone(fake: FakeDedalus, agent: Service) -> None:
    """After each kind of failure the same service answers the next question, on a working connection."""
    for name in ("500", "page with 200", "cut", "reset", "event without end", "brotli", "error text after text"):
        await agent.post(EXECUTE, {"input": "?", "model": name})
        fake.turn(*answer("Hello"))
        assert (await agent.post(EXECUTE, {"input": "?"})).json()["output"] == "Hello"


async def test_a_failed_run_closes_its_connection(fake: FakeDedalus, agent: Service) -> None:
    """The service stops reading from an upstream that keeps writing after its own error, or writes without end."""
    scripts: list[list[Step]] = [
        [ErrorData({"error": SAID}), Stall()],
        [Text("Hi"), RawBytes(b"data: 5\n\n"), Stall()],
    ]
    for steps in scripts:
        fake.turn(*steps)
        await agent.post(EXECUTE, {"input": "?"})
        await fake.wait_closed(fake.chats[-1].connection, timeout=1)


async def test_a_long_wait_is_the_caller_s_to_decide(fake: FakeDedalus, agent: Service) -> None:
    """The service doesn't wait for an upstream that asks for a minute: it returns 503 at once, with Retry-After."""
    asked = len(fake.chats)
    fake.turn(Status(429, {"error": {"message": "slow down"}}, {"retry-after": "60"}))
    response = await agent.post(EXECUTE, {"input": "?"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_quota")
    assert response.headers["retry-after"] == "60"
    assert len(fake.chats) == asked + 1
