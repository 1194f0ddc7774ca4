"""Calls that a person has decided: what a session keeps of them, and the digits of their numbers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import named
from service import EXECUTE, Service, only, service
from session_calls import ask, messages
from waiting_runs import ASK, RUNS, calling, decide, deletes, waiting_run, whole
from wire import answer

from services.tooling.decorator import ToolOptions
from services.tooling.python_tool import PythonTool
from services.tooling.threads import ToolThreads
from tools import tool

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

MODEL_S = '{"folder":12345678901234567890123,"share":1.0}'
PERSON_S = '{"folder":98765432109876543210987,"share":2.0}'


async def decided_session(fake: FakeDedalus, agent: Service) -> str:
    """Ask in a session for two calls, of which a person changes one and refuses the other. Returns the run's id."""
    fake.turn(*calling(("changed", "delete", MODEL_S), ("refused", "delete", '{"folder":1}')))
    fake.turn(*answer("Done."))
    async with waiting_run(agent, **ASK, session_id="chat") as run_id:
        await decide(agent, run_id, "changed", arguments=json.loads(PERSON_S))
        await decide(agent, run_id, "refused", approved=False, reason="Not on a Friday.")
    return run_id


async def test_a_session_keeps_the_decisions_on_its_calls(lend: Lend) -> None:
    """A stored call has the model's arguments, and the decision as in the event, which has the executed ones."""
    delete = deletes()
    async with lend(named(delete)) as (fake, agent):
        run_id = await decided_session(fake, agent)
        events = await whole(agent, run_id)
        changed, refused = (await messages(agent))[1]["tool_calls"]
    assert delete.heard == [json.loads(PERSON_S)]
    assert changed["arguments"] == json.loads(MODEL_S)
    assert [changed["approval_response"], refused["approval_response"]] == only(events, "approval_response")
    assert changed["approval_response"]["arguments"] == json.loads(PERSON_S)
    assert not refused["approval_response"]["approved"]


async def test_the_model_s_next_turn_has_the_call_as_the_model_made_it() -> None:
    """The model gets its own arguments, and learns of the change by the result alone, as within the run."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        await decided_session(fake, agent)
        fake.turn(*answer("You are welcome."))
        await ask(agent, "Thanks!")
    within, after = (chat.body["messages"] for chat in fake.chats[1:3])
    functions = [call["function"] for call in within[1]["tool_calls"]]
    assert [call["function"] for call in after[1]["tool_calls"]] == functions
    assert functions[0]["arguments"] == MODEL_S
    assert [message["content"] for message in after[2:4]] == [message["content"] for message in within[2:4]]
    assert after[2]["content"].startswith(f"A person changed the arguments to {PERSON_S}.")
    assert "approval_response" not in str(after)


async def test_the_answer_as_json_has_the_decisions() -> None:
    """A repeated `/execute` whose run was decided meanwhile reports each call with its decision."""
    key = {"Idempotency-Key": "once"}
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*calling(("call_1", "delete", MODEL_S)))
        fake.turn(*answer("Done."))
        waiting = (await agent.post(EXECUTE, ASK, **key)).json()
        await decide(agent, waiting["run_id"], arguments=json.loads(PERSON_S))
        await whole(agent, waiting["run_id"])
        ended = (await agent.post(EXECUTE, ASK, **key)).json()
    assert "approval_response" not in waiting["tool_calls"][0]
    assert ended["tool_calls"][0]["approval_response"]["arguments"] == json.loads(PERSON_S)


@pytest.fixture
def threads() -> Iterator[ToolThreads]:
    pool = ToolThreads(1)
    yield pool
    pool.close()


async def test_numbers_keep_their_digits_on_their_whole_way(threads: ToolThreads, lend: Lend) -> None:
    """From the model to the event, to the person, to the function and to the session, as they were written."""
    made: list[dict[str, Any]] = []

    @tool
    def delete(folder: int, share: Any) -> None:
        """Delete a folder."""
        made.append({"folder": folder, "share": share})

    tools = {"delete": PythonTool(delete, ToolOptions(), timeout_s=5, threads=threads)}
    async with lend(tools) as (fake, agent):
        run_id = await decided_session(fake, agent)
        log = (await agent.client.get(f"{RUNS}/{run_id}/events?wait=false")).text
        stored = (await agent.client.get("/api/agent/sessions/chat/messages")).text
    assert json.dumps(made, separators=(",", ":")) == f"[{PERSON_S}]"
    assert log.count(f'"arguments":{MODEL_S}') == 2  # in tool_use and in approval_request
    assert log.count(f'"arguments":{PERSON_S}') == 1
    assert stored.count(f'"arguments":{MODEL_S}') == stored.count(f'"arguments":{PERSON_S}') == 1
