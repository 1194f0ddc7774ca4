"""All that a caller has: exported, deleted, and given to another owner. Others keep what is theirs."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from callers import ADA, ME, OPS, calling, code_of, guarded_service, new_key
from fake_dedalus import FakeDedalus
from forked_command import forked_command
from live_tasks import task_of
from local_tools import named
from process import Nursery
from run_readers import events_url
from service import NOWHERE, SIMULATE, STREAM, Service, checked, only, service
from waiting_runs import ASK, DELETE, deletes
from wire import Gate, Text, WaitFor, answer

pytestmark = pytest.mark.anyio

CALLERS = "/api/agent/callers"
RUNS = "/api/agent/runs"
SESSIONS = "/api/agent/sessions"
OWN_TABLES = ("sessions", "runs", "messages", "idempotency_keys", "waiting_runs", "api_keys")


async def conversation(caller: Service, session: str, key: str = "k") -> str:
    """Play two scripted runs, one of a session and one of none, and return the id of the first."""
    body = {"delay_ms": 0, "session_id": session}
    run = await caller.post(SIMULATE, body, **{"Idempotency-Key": key})
    await caller.post(SIMULATE, {"delay_ms": 0})
    run_id: str = run.headers["x-run-id"]
    return run_id


async def exported(agent: Service, owner: str) -> list[dict[str, Any]]:
    async with calling(agent, OPS) as ops:
        response = await ops.client.get(f"{CALLERS}/{owner}/export")
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def everything_of(caller: Service) -> list[str]:
    return [(await caller.client.get(path)).text for path in (RUNS, SESSIONS, f"{SESSIONS}/chat/messages?tree=true")]


# Export


async def test_an_export_has_all_that_a_caller_has() -> None:
    """Keys without their text, sessions, messages, runs and events, as they are read elsewhere, and a last line."""
    async with guarded_service() as agent:
        made = await new_key(agent)
        async with calling(agent, made.key) as caller, calling(agent, ADA) as ada:
            run_id = await conversation(caller, "chat")
            await conversation(ada, "chat")
            messages = (await caller.client.get(f"{SESSIONS}/chat/messages")).json()["messages"]
            run = (await caller.client.get(f"{RUNS}/{run_id}")).json()
            events = (await caller.client.get(events_url(run_id), params={"wait": "false"})).text.splitlines()
        lines = await exported(agent, "cy")
        nothing = await exported(agent, "nobody")
    kinds = Counter(line["kind"] for line in lines)
    assert kinds.keys() == {"key", "session", "message", "run", "event", "end"}
    assert (kinds["key"], kinds["session"], kinds["run"], kinds["message"]) == (1, 1, 2, len(messages))
    assert lines[0]["value"]["key_id"] == made.key_id
    assert [line["value"] for line in lines if line["kind"] == "message"] == messages
    assert run in [line["value"] for line in lines if line["kind"] == "run"]
    of_run = [line["value"] for line in lines if line["kind"] == "event" and line["value"]["run_id"] == run_id]
    assert of_run == [json.loads(event) for event in events]
    assert made.key not in json.dumps(lines)
    assert lines[-1] == nothing[0] == {"kind": "end"}


# Deletion


async def test_a_deleted_caller_has_nothing_and_others_have_all() -> None:
    """Its keys are refused, its runs end, and neither the database nor the log has anything of it."""
    gate = Gate()
    delete = deletes()
    async with FakeDedalus() as fake, guarded_service(fake.url, tools=named(delete)) as agent:
        made = await new_key(agent)
        async with calling(agent, made.key) as caller, calling(agent, ADA) as ada, calling(agent, OPS) as ops:
            ended = await conversation(caller, "chat")
            await conversation(ada, "chat")
            fake.turn(*DELETE)
            await caller.post(f"{STREAM}?until=waiting", ASK | {"session_id": "waits"})
            fake.turn(Text("one "), WaitFor(gate), *answer("two"))
            running = (await caller.post(f"{RUNS}", {"input": "?"})).headers["x-run-id"]
            before = await everything_of(ada)
            task = task_of(agent, running)
            done = await ops.client.delete(f"{CALLERS}/cy")
            assert (done.status_code, task.has_ended) == (204, True)
            assert (await ops.client.delete(f"{CALLERS}/cy")).status_code == 204
            assert code_of(await caller.client.get(ME)) == (401, "unauthenticated")
            assert await everything_of(ada) == before
            assert [line["kind"] for line in await exported(agent, "cy")] == ["end"]
        async with calling(agent, OPS, **{"X-Act-As": "cy"}) as acting:
            for run_id in (ended, running):
                assert code_of(await acting.client.get(f"{RUNS}/{run_id}")) == (404, "run_not_found")
            assert json.loads((await everything_of(acting))[0]) == {"runs": []}
        files = {file.stem for file in agent.app.state.settings.data_dir.rglob("run_*.sse")}
        assert not files & {ended, running}
        assert len(files) == 2
        gate.open()


async def test_only_admins_export_and_delete() -> None:
    """A caller can't do it, not even with what is its own."""
    async with guarded_service() as agent, calling(agent, ADA) as ada:
        for method, path in (("GET", f"{CALLERS}/ada/export"), ("DELETE", f"{CALLERS}/ada")):
            assert code_of(await ada.client.request(method, path)) == (403, "forbidden")
        async with calling(agent, OPS) as ops:
            assert code_of(await ops.client.delete(f"{CALLERS}/a%20b")) == (422, "invalid_request")


# What was made without authentication


async def adopt(nursery: Nursery, data: Path, owner: str) -> tuple[int, str]:
    """Run the command and return its status and what it says."""
    nursery.load("cli.__main__")
    with forked_command(
        nursery, "cli.__main__", "db", "adopt", "--owner", owner, env={"DATA_DIR": str(data)}
    ) as program:
        out, err = program.communicate()
        return program.wait(5), (out + err).decode()


async def test_what_was_made_without_authentication_is_adopted(nursery: Nursery, tmp_path: Path) -> None:
    """Only admins see it at first. Adopted, it is its owner's, a run that waits included, also after a restart."""
    delete = deletes()
    async with FakeDedalus() as fake:
        async with service(fake.url, named(delete), data_dir=tmp_path) as agent:
            ended = await conversation(agent, "chat")
            fake.turn(*DELETE)
            waits = await agent.post(f"{STREAM}?until=waiting", ASK | {"session_id": "waits"})
        waiting = waits.headers["x-run-id"]
        async with guarded_service(fake.url, tools=named(delete), data_dir=tmp_path) as agent:
            async with calling(agent, ADA) as ada, calling(agent, OPS, **{"X-Act-As": "anonymous"}) as acting:
                assert code_of(await ada.client.get(f"{RUNS}/{ended}")) == (404, "run_not_found")
                assert (await acting.client.get(f"{RUNS}/{ended}")).status_code == 200
                seen = await everything_of(acting)
            refused = await adopt(nursery, tmp_path, "ada")
        adopted = await adopt(nursery, tmp_path, "ada")
        async with (
            guarded_service(fake.url, tools=named(delete), data_dir=tmp_path) as agent,
            calling(agent, ADA) as ada,
            calling(agent, OPS, **{"X-Act-As": "anonymous"}) as acting,
        ):
            assert await everything_of(ada) == seen
            assert (await acting.client.get(f"{RUNS}/{ended}")).status_code == 404
            fake.turn(*answer("Done."))
            await ada.post(f"{RUNS}/{waiting}/approvals/call_1", {"approved": True})
            events = checked((await ada.client.get(events_url(waiting))).content)
            assert only(events, "complete")[0]["status"] == "succeeded"
            assert (await ada.client.get(events_url(ended))).status_code == 200
    assert refused[0] == 1
    assert "is in use" in refused[1]
    assert adopted == (0, "ada has 2 more sessions and 3 more runs.\n")


async def test_ids_that_the_new_owner_has_are_not_adopted(nursery: Nursery, tmp_path: Path) -> None:
    """Nothing changes, and the command names them."""
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        await conversation(agent, "chat")
    async with guarded_service(data_dir=tmp_path) as agent, calling(agent, ADA) as ada:
        await conversation(ada, "chat")
    status, said = await adopt(nursery, tmp_path, "ada")
    async with guarded_service(data_dir=tmp_path) as agent, calling(agent, OPS, **{"X-Act-As": "anonymous"}) as acting:
        assert (await acting.client.get(f"{SESSIONS}/chat")).status_code == 200
    assert status == 1
    assert "same ids: chat." in said
    assert (await adopt(nursery, tmp_path, "bob"))[0] == 0
