"""Tests that blocked input is refused before anything of it is recorded or reaches a model."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import text_checks
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from log_files import everything_in
from service import EXECUTE, SIMULATE, STREAM, Service, names, only, service
from session_calls import SESSIONS, ask, refusal
from text_checks import CANARY, MARK
from wire import Json, answer

from errors import CheckFailed, InputBlocked

pytestmark = pytest.mark.anyio
pytest_plugins = "shared_service"

RUNS = "/api/agent/runs"
REFUSAL: Json = {"input": f"Say {CANARY}.", "session_id": "chat"}


@pytest.fixture
async def checked(fake: FakeDedalus, tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose input may not have the canary."""
    async with service(fake.url, check_input="text_checks:no_canary", data_dir=tmp_path) as agent:
        yield agent


@pytest.mark.parametrize("path", [STREAM, EXECUTE, RUNS])
async def test_blocked_input_is_refused(path: str, checked: Service, fake: FakeDedalus) -> None:
    """The error has the reason. There is no run, and the model isn't asked."""
    response = await checked.post(path, REFUSAL)
    assert refusal(response) == (422, "input_blocked")
    assert response.json()["error"]["message"] == f"{InputBlocked.default} Reason: it names the bird"
    assert (await checked.client.get(RUNS)).json()["runs"] == []
    assert fake.chats == []


async def test_a_stream_is_refused_as_a_stream(checked: Service) -> None:
    """A client that reads only events sees why there is no run."""
    response = await checked.post(STREAM, REFUSAL, Accept="text/event-stream")
    assert b'"code": "input_blocked"' in response.content.replace(b'":"', b'": "')
    assert b"event: complete" in response.content


async def test_blocked_input_is_stored_nowhere(
    checked: Service, fake: FakeDedalus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in no file, and a later turn of the session doesn't send it to the model."""
    fake.always(*answer("Hello."))
    await ask(checked, "Hi.")
    assert (await checked.post(STREAM, REFUSAL, **{"Idempotency-Key": "once"})).status_code == 422
    await ask(checked, "And?")
    history = (await checked.client.get(f"{SESSIONS}/chat/messages")).text
    assert "And?" in history
    assert CANARY not in history + caplog.text + str([request.body for request in fake.chats])
    assert CANARY.encode() not in everything_in(tmp_path)


async def test_the_same_key_can_be_used_after_a_refusal(checked: Service, fake: FakeDedalus) -> None:
    """A refused request has used up no Idempotency-Key."""
    fake.always(*answer("Hello."))
    key = {"Idempotency-Key": "once"}
    assert (await checked.post(EXECUTE, REFUSAL, **key)).status_code == 422
    assert (await checked.post(EXECUTE, {"input": "Hi."}, **key)).json()["output"] == "Hello."


async def test_the_check_gets_every_text_of_the_request(fake: FakeDedalus) -> None:
    """Instructions, messages with their calls and results, the parts of the input, and the text of its files."""
    text_checks.heard.clear()
    fake.always(*answer("Hello."))
    note = f"data:text/plain;base64,{b64encode(b'A note.').decode()}"
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    body: Json = {
        "instructions": "Be brief.",
        "messages": [
            {"role": "user", "content": "First?"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Seen."},
            {"role": "assistant", "content": "Yes."},
        ],
        "input": [
            {"type": "text", "text": "Read."},
            {"type": "file", "url": note, "name": "note.txt"},
            {"type": "image", "url": "data:image/png;base64,AAAA"},
        ],
        "metadata": {"team": "red"},
    }
    async with service(fake.url, check_input="text_checks:recorded") as agent:
        run_id = (await agent.post(EXECUTE, body)).json()["run_id"]
    [(context, text)] = text_checks.heard
    parts = ["Be brief.", "First?", "look", '{"at":1}', "Seen.", "Yes.", "Read.", "note.txt", "A note."]
    assert text.split("\n\n") == parts
    assert (context.kind, context.run_id, context.session_id) == ("input", run_id, None)
    assert (context.step, context.tool, context.metadata) == (0, None, {"team": "red"})


async def test_a_history_with_blocked_text_is_refused(checked: Service, fake: FakeDedalus) -> None:
    """The messages of a request are checked, and not only its last one."""
    history = [{"role": "user", "content": f"I had a {CANARY}."}, {"role": "assistant", "content": "Nice."}]
    response = await checked.post(EXECUTE, {"input": "Which bird?", "messages": history})
    assert refusal(response) == (422, "input_blocked")


async def test_a_failing_check_lets_nothing_pass(fake: FakeDedalus, caplog: pytest.LogCaptureFixture) -> None:
    """The request is refused with 503, and neither the response nor the log quotes the input."""
    async with service(fake.url, check_input="text_checks:failing") as agent:
        response = await agent.post(EXECUTE, {"input": f"Say {MARK}."})
    assert refusal(response) == (503, "check_failed")
    assert response.json()["error"]["message"] == CheckFailed.default
    assert "CHECK_INPUT raised ValueError" in caplog.text
    assert MARK not in caplog.text + response.text
    assert fake.chats == []


async def test_a_check_that_hangs_holds_one_place_until_its_time_is_up(fake: FakeDedalus) -> None:
    """Meanwhile others are refused at once, as by any full server. Then the place is free again."""
    text_checks.heard.clear()
    fake.always(*answer("ok"))
    limits: Json = {"check_input": "text_checks:hanging", "check_timeout_s": 1, "max_concurrent_runs": 1}
    async with service(fake.url, **limits) as agent:
        hanging = asyncio.create_task(agent.post(EXECUTE, {"input": MARK}))
        while not text_checks.heard:
            assert not hanging.done()
            health = await agent.client.get("/health")
        other = await agent.post(EXECUTE, {"input": "Hi"})
        assert not hanging.done()
        failed = await hanging
        after = await agent.post(EXECUTE, {"input": "Hi"})
    assert (refusal(other), "retry-after" in other.headers) == ((503, "server_full"), True)
    assert refusal(failed) == (503, "check_failed")
    assert (health.status_code, after.status_code) == (200, 200)


async def test_a_script_is_not_checked(checked: Service) -> None:
    """A simulated run reaches no model."""
    response = await checked.post(SIMULATE, {"input": CANARY, "delay_ms": 0})
    assert names(parse_frames(response.content))[-1] == "complete"
    assert only(parse_frames(response.content), "complete")[0]["status"] == "succeeded"
