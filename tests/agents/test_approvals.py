"""Runs that wait: for a person to approve a call, and for the caller's page to run one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, gives, named
from mcp_hands import ECHO, command, result, tool
from run_readers import reading
from service import EXECUTE, SIMULATE, STREAM, Service, checked, names, only, service, text
from waiting_runs import (
    ASK,
    DELETE,
    PAGE_TOOL,
    RUNS,
    calling,
    decide,
    deletes,
    get,
    refusal,
    send,
    waiting_run,
    waits,
    whole,
)
from wire import Text, answer

from services.tooling.base import InvalidArguments

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


# Approvals


async def test_an_approved_call_is_made_and_the_run_resumes(lend: Lend) -> None:
    """The stream reports the request, the wait and the decision; the tool runs then, and the model gets the result."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(Text("Let me."), *DELETE)
        fake.turn(*answer("Done."))
        async with waiting_run(agent, **ASK) as run_id:
            assert not tool.heard
            run = await waits(agent, run_id)
            response = await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert response.status_code == 202
    assert run["pending"] == [{"tool_call_id": "call_1", "name": "delete", "kind": "approval"}]
    assert tool.heard == [{"folder": "drafts"}]
    order = ["tool_use", "approval_request", "waiting", "approval_response", "tool_result", "step_finished"]
    assert [name for name in names(events) if name in order][:6] == order
    assert only(events, "approval_request")[0]["arguments"] == {"folder": "drafts"}
    assert text(events, "final_output") == "Done."
    assert fake.chats[1].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "delete", "arguments": '{"folder":"drafts"}'},
                    "thought_signature": "sig-call_1",
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"deleted":"drafts"}'},
    ]


async def test_a_refusal_goes_to_the_model(lend: Lend) -> None:
    """The tool doesn't run; the model receives the refusal with its reason, and answers."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("Then not."))
        async with waiting_run(agent, **ASK) as run_id:
            await decide(agent, run_id, approved=False, reason="Not on a Friday.")
        events = await whole(agent, run_id)
    assert tool.heard == []
    assert only(events, "approval_response")[0] == {
        "tool_call_id": "call_1",
        "approved": False,
        "reason": "Not on a Friday.",
    }
    [result] = only(events, "tool_result")
    assert result["is_error"]
    assert fake.chats[1].body["messages"][-1]["content"] == "A person denied this call. Not on a Friday."


async def test_a_person_can_change_the_arguments(lend: Lend) -> None:
    """The tool gets those; the model keeps its own call, and its result mentions the change."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK) as run_id:
            await decide(agent, run_id, arguments={"folder": "spam"})
        events = await whole(agent, run_id)
    assert tool.heard == [{"folder": "spam"}]
    assert only(events, "approval_response")[0]["arguments"] == {"folder": "spam"}
    result = fake.chats[1].body["messages"][-1]["content"]
    assert result == 'A person changed the arguments to {"folder":"spam"}.\n{"deleted":"spam"}'


async def test_long_changed_arguments_leave_room_for_the_result(lend: Lend) -> None:
    """The model receives the beginning of them."""
    tool, folder = deletes(), "x" * 300_000
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK) as run_id:
            await decide(agent, run_id, arguments={"folder": folder, "permanently": True})
        events = await whole(agent, run_id)
    note, result = only(events, "tool_result")[0]["content"].splitlines()
    assert note == f'A person changed the arguments to {{"folder":"{"x" * 989}….'
    assert result.startswith('{"deleted":"xxx')


class Strict(LocalTool):
    """Takes a folder, and nothing else."""

    def check(self, arguments: Mapping[str, Any]) -> None:
        if set(arguments) != {"folder"}:
            raise InvalidArguments("folder: this argument is missing")


async def test_changed_arguments_are_checked(lend: Lend) -> None:
    """422 with what is wrong; the run continues to wait, and the next decision counts."""
    tool = Strict("delete", deletes()._work)
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK) as run_id:
            response = await decide(agent, run_id, arguments={"file": "x"})
            both = await decide(agent, run_id, approved=False, arguments={"folder": "x"})
            await decide(agent, run_id)
    assert refusal(response) == (422, "invalid_request")
    assert response.json()["error"]["details"] == [{"loc": "arguments", "message": "folder: this argument is missing"}]
    assert refusal(both) == (422, "invalid_request")
    assert tool.heard == [{"folder": "drafts"}]


async def test_no_person_is_asked_about_a_call_that_can_t_be_made() -> None:
    """Arguments that the tool doesn't take go back to the model at once."""
    async with FakeDedalus() as fake, service(fake.url, named(Strict("delete", deletes()._work))) as agent:
        fake.turn(*calling(("call_1", "delete", '{"file":"x"}'), ("call_2", "delete", "[1]")))
        fake.turn(*answer("ok"))
        events = await agent.stream(ASK)
    assert "waiting" not in names(events)
    assert only(events, "tool_result")[0]["content"] == "folder: this argument is missing"


async def test_a_tool_can_always_need_approval(lend: Lend) -> None:
    """Without the request's asking for it."""
    tool = deletes()
    tool.approval = True
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with waiting_run(agent) as run_id:
            await decide(agent, run_id)
    assert len(tool.heard) == 1


async def test_calls_that_need_nobody_run_first_and_all_answers_are_waited_for(lend: Lend) -> None:
    """One of three calls runs at once; two wait, and the run resumes with the last decision, in the model's order."""
    tool, free = deletes(), gives("look", "seen")
    async with lend(named(tool, free)) as (fake, agent):
        fake.turn(*calling(("a", "delete", '{"folder":"a"}'), ("b", "look", "{}"), ("c", "delete", '{"folder":"c"}')))
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK) as run_id:
            first = await decide(agent, run_id, "c")
            assert first.json()["status"] == "waiting"
            assert [call["tool_call_id"] for call in first.json()["pending"]] == ["a"]
            assert tool.heard == []
            await decide(agent, run_id, "a")
        events = await whole(agent, run_id)
    assert len(free.heard) == 1
    assert names(events).index("tool_result") < names(events).index("approval_request")
    assert [m["tool_call_id"] for m in fake.chats[1].body["messages"][-3:]] == ["a", "b", "c"]


async def test_a_run_can_wait_again_and_again(lend: Lend) -> None:
    """Each turn's calls are asked about."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*calling(("call_2", "delete", '{"folder":"spam"}')))
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK) as reader:
            await reader.until(b"event: waiting")
            await decide(agent, reader.run_id)
            await reader.until(b"event: waiting", times=2)
            assert (await decide(agent, reader.run_id)).status_code == 202  # again
            assert refusal(await decide(agent, reader.run_id, approved=False)) == (409, "tool_call_answered")
            await decide(agent, reader.run_id, "call_2")
            await reader.rest()
        checked(b"".join(reader.seen.partition(b"id: 1\n")[1:]))
    assert [heard["folder"] for heard in tool.heard] == ["drafts", "spam"]


async def test_decisions_that_can_t_count_say_so() -> None:
    """An unknown call or run 404, another decision than before 409, no wait 409; the same decision again is fine."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes(), gives("look", 1))) as agent:
        fake.turn(*calling(("call_1", "delete", '{"folder":"a"}'), ("call_2", "delete", '{"folder":"b"}')))
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK) as reader:
            await reader.until(b"event: waiting")
            run_id = reader.run_id
            assert refusal(await decide(agent, run_id, "call_9")) == (404, "tool_call_not_found")
            assert refusal(await send(agent, run_id, {"tool_call_id": "call_1", "content": "x"})) == (
                404,
                "tool_call_not_found",
            )
            assert refusal(await decide(agent, "run_unknown")) == (404, "run_not_found")
            assert (await decide(agent, run_id)).status_code == 202
            assert (await decide(agent, run_id)).status_code == 202
            assert refusal(await decide(agent, run_id, approved=False)) == (409, "tool_call_answered")
            await decide(agent, run_id, "call_2")
            await reader.rest()
        events = await whole(agent, run_id)
        assert (await decide(agent, run_id)).status_code == 202
        assert refusal(await decide(agent, run_id, approved=False)) == (409, "tool_call_answered")
    assert len(only(events, "approval_response")) == 2


async def test_decisions_at_the_same_time_count_once(lend: Lend) -> None:
    """Ten decisions at once: one event, one call."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK) as run_id:
            answers = await asyncio.gather(*(decide(agent, run_id) for _ in range(10)))
        events = await whole(agent, run_id)
    assert {response.status_code for response in answers} == {202}
    assert len(only(events, "approval_response")) == len(tool.heard) == 1


async def test_nobody_s_answer_in_time_is_a_refusal(lend: Lend) -> None:
    """APPROVAL_TIMEOUT_S after the request; `expires_at` announced it."""
    tool = deletes()
    async with lend(named(tool), approval_timeout_s=0.05) as (fake, agent):
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        events = await agent.stream(ASK)
    assert only(events, "approval_response")[0]["reason"] == "Nobody answered in time."
    assert only(events, "tool_result")[0]["content"] == "This call was not approved. Nobody answered in time."
    assert tool.heard == []
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_a_waiting_run_takes_no_place_and_no_time() -> None:
    """With one place for runs others run meanwhile; neither the run's timeout nor the grace ends it."""
    tool = deletes()
    limits: dict[str, Any] = {"max_concurrent_runs": 1, "run_timeout_s": 1}
    async with FakeDedalus() as fake, service(fake.url, named(tool), **limits) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("another"))
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK) as reader:
            await reader.until(b"event: waiting")
        await waits(agent, reader.run_id)
        assert text(await agent.stream({"input": "?"})) == "another"
        task = agent.app.state.live.get(reader.run_id)
        assert task._timeout.cancelled()
        assert task.readers._grace is None
        await decide(agent, reader.run_id)
        events = await whole(agent, reader.run_id)
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_a_full_server_doesn_t_take_the_last_decision() -> None:
    """503 with Retry-After, and the run waits on: sent again, it counts."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), max_concurrent_runs=1) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK) as reader:
            await reader.until(b"event: waiting")
            await waits(agent, reader.run_id)
            async with reading(agent, SIMULATE, scenario="slow", delay_ms=0, on_disconnect="cancel") as other:
                refused = await decide(agent, reader.run_id)
                await agent.client.post(f"{RUNS}/{other.run_id}/cancel")
                await other.rest()
            assert (await decide(agent, reader.run_id)).status_code == 202
            await reader.rest()
    assert refusal(refused) == (503, "server_full")
    assert "retry-after" in refused.headers


async def test_a_waiting_run_can_be_cancelled(lend: Lend) -> None:
    """Its calls get their results, and it ends; a decision after that is refused."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*DELETE)
        async with waiting_run(agent, **ASK) as run_id:
            await waits(agent, run_id)
            await agent.client.post(f"{RUNS}/{run_id}/cancel")
        events = await whole(agent, run_id)
        assert refusal(await decide(agent, run_id)) == (409, "run_not_waiting")
    assert only(events, "complete")[0]["status"] == "cancelled"
    assert tool.heard == []


async def test_execute_answers_with_what_is_waited_for() -> None:
    """202 and status `waiting`; the run resumes after the decision, without a reader."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(Text("Let me."), *DELETE)
        fake.turn(*answer("Done."))
        response = await agent.post(EXECUTE, ASK)
        body = response.json()
        await decide(agent, body["run_id"])
        events = await whole(agent, body["run_id"])
    assert (response.status_code, body["status"], body["output"]) == (202, "waiting", "Let me.")
    assert body["pending"] == [{"tool_call_id": "call_1", "name": "delete", "kind": "approval"}]
    assert "result" not in body["tool_calls"][0]
    assert response.headers["location"].endswith(f"{body['run_id']}/events")
    assert text(events, "final_output") == "Done."


async def test_a_session_whose_run_waits_is_busy() -> None:
    """A new message is a 409 that names the run, also when nobody reads that; `interrupt` ends it."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK, session_id="chat") as reader:
            await reader.until(b"event: waiting")
        await waits(agent, reader.run_id)
        busy = await agent.post(STREAM, {"input": "Hello?", "session_id": "chat"})
        events = await agent.stream({"input": "Hello?", "session_id": "chat", "multitask": "interrupt"})
        ended = await whole(agent, reader.run_id)
    assert refusal(busy) == (409, "session_busy")
    assert busy.json()["error"]["run_id"] == reader.run_id
    assert only(ended, "complete")[0]["status"] == "cancelled"
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_tools_that_aren_t_there_can_t_be_asked_about() -> None:
    """422 before there is a run: a tool that isn't chosen, and one that the page runs itself."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        for extra, place in (
            ({"require_approval": ["delete", "format"]}, "require_approval.1"),
            ({"require_approval": ["locate"], "client_tools": [PAGE_TOOL]}, "require_approval.0"),
            ({"tools": ["delete", "format"]}, "tools.1"),
            ({"client_tools": [PAGE_TOOL | {"name": "delete"}]}, "client_tools.0.name"),
        ):
            response = await agent.post(STREAM, {"input": "?"} | extra)
            assert refusal(response) == (422, "tool_unavailable")
            assert [fault["loc"] for fault in response.json()["error"]["details"]] == [place]
            assert "format" not in response.text
        twice = await agent.post(STREAM, {"input": "?", "client_tools": [PAGE_TOOL, PAGE_TOOL]})
        assert refusal(twice) == (422, "invalid_request")
        assert fake.requests == []


ZONED = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
CLOCK = command({"now": ECHO, "tools/list": result({"tools": [tool("now", inputSchema=ZONED)]})})


async def test_a_tool_of_an_mcp_server_can_be_asked_about() -> None:
    """By the name that the model calls it by; the call goes to the server once it is approved."""
    name = "clock__now"
    given: dict[str, Any] = {"mcp_servers": {"clock": CLOCK}, "dedalus_base_url_hosts_mcp": False}
    async with FakeDedalus() as fake, service(fake.url, **given) as agent:
        fake.turn(*calling(("call_1", name, '{"zone":"UTC"}')))
        fake.turn(*answer("ok"))
        async with waiting_run(agent, mcp_servers=["clock"], require_approval=[name]) as run_id:
            refused = await decide(agent, run_id, arguments={"zone": 5})
            await decide(agent, run_id, arguments={"zone": "Europe/Oslo"})
        events = await whole(agent, run_id)
    assert refusal(refused) == (422, "invalid_request")
    assert only(events, "approval_request")[0]["name"] == name
    assert "Europe/Oslo" in only(events, "tool_result")[0]["content"]


async def test_a_name_that_could_let_a_call_pass_unasked_fails_the_run() -> None:
    """A misspelt tool of an MCP server, and one that the upstream runs itself: the model is not asked at all."""
    async with FakeDedalus() as fake, service(fake.url, mcp_servers={"clock": CLOCK}) as agent:
        for servers in (["tsion/exa"], [{"name": "clock", "run": "local"}]):
            events = await agent.stream({"input": "?", "mcp_servers": servers, "require_approval": ["get_time"]})
            assert only(events, "error")[0]["code"] == "tool_unavailable"
        assert fake.chats == []


# The page's tools


async def test_the_page_runs_its_tools(fake: FakeDedalus, shared: Service) -> None:
    """The model is offered them; the run waits for the results, which are the calls' own, and resumes."""
    fake.turn(*calling(("a", "locate", '{"exact":true}'), ("b", "locate", "{}")))
    fake.turn(*answer("In Oslo."))
    async with waiting_run(shared, client_tools=[PAGE_TOOL]) as run_id:
        run = await waits(shared, run_id)
        await send(shared, run_id, {"tool_call_id": "b", "content": "denied", "is_error": True})
        response = await send(shared, run_id, {"tool_call_id": "a", "content": {"lat": 59.9}})
    events = await whole(shared, run_id)
    assert response.status_code == 202
    assert [call["kind"] for call in run["pending"]] == ["client", "client"]
    assert {use["source"] for use in only(events, "tool_use")} == {"client"}
    assert fake.chats[0].body["tools"] == [{"type": "function", "function": PAGE_TOOL}]
    assert [m["content"] for m in fake.chats[1].body["messages"][-2:]] == ['{"lat":59.9}', "denied"]


async def test_results_of_the_page_are_taken_whole_or_not_at_all(fake: FakeDedalus, shared: Service) -> None:
    """One that is unknown refuses all; a repeated one changes nothing, another one is a 409."""
    fake.turn(*calling(("a", "locate", "{}"), ("b", "locate", "{}")))
    fake.turn(*answer("ok"))
    async with reading(shared, client_tools=[PAGE_TOOL]) as reader:
        await reader.until(b"event: waiting")
        run_id = reader.run_id
        a, b = ({"tool_call_id": call, "content": call} for call in "ab")
        assert refusal(await send(shared, run_id, a, {"tool_call_id": "x", "content": ""})) == (
            404,
            "tool_call_not_found",
        )
        assert len((await get(shared, run_id))["pending"]) == 2
        assert (await send(shared, run_id, a)).status_code == 202
        assert (await send(shared, run_id, a)).status_code == 202
        assert refusal(await send(shared, run_id, a | {"content": "other"})) == (409, "tool_call_answered")
        assert refusal(await decide(shared, run_id, "b")) == (404, "tool_call_not_found")
        assert (await send(shared, run_id, a, b)).status_code == 202
        await reader.rest()
    events = await whole(shared, run_id)
    assert (await send(shared, run_id)).status_code == 422
    assert len(only(events, "tool_result")) == 2


async def test_a_page_s_result_is_cut_like_any_other() -> None:
    """MAX_TOOL_RESULT_BYTES holds, and the cut is marked; half a surrogate pair is no text."""
    async with FakeDedalus() as fake, service(fake.url, max_tool_result_bytes=1024) as agent:
        fake.turn(*calling(("a", "locate", "{}"), ("b", "locate", "{}")))
        fake.turn(*answer("ok"))
        async with waiting_run(agent, client_tools=[PAGE_TOOL]) as run_id:
            half = '{"results":[{"tool_call_id":"a","content":"\\ud83d"}]}'
            path, headers = f"{RUNS}/{run_id}/tool-results", {"content-type": "application/json"}
            refused = await agent.client.post(path, content=half, headers=headers)
            await send(
                agent,
                run_id,
                {"tool_call_id": "a", "content": "x" * 5000},
                {"tool_call_id": "b", "content": None},
            )
        events = await whole(agent, run_id)
    assert refusal(refused) == (422, "invalid_request")
    assert [(len(r["content"]), r["truncated"]) for r in only(events, "tool_result")] == [(1024, True), (4, False)]


async def test_a_page_that_sends_nothing_is_not_waited_for_for_ever(lend: Lend) -> None:
    """Its calls get an error as their result when the time is up."""
    async with lend(approval_timeout_s=0.05) as (fake, agent):
        fake.turn(*calling(("a", "locate", "{}")))
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?", "client_tools": [PAGE_TOOL]})
    assert only(events, "tool_result")[0]["content"] == "The page sent no result in time."
    assert only(events, "tool_result")[0]["is_error"]


async def test_the_page_and_a_person_are_waited_for_together(lend: Lend) -> None:
    """One wait with calls of both kinds."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
        fake.turn(*calling(("a", "locate", "{}"), ("call_1", "delete", '{"folder":"x"}')))
        fake.turn(*answer("ok"))
        async with waiting_run(agent, **ASK, client_tools=[PAGE_TOOL]) as run_id:
            await decide(agent, run_id)
            await send(agent, run_id, {"tool_call_id": "a", "content": "Oslo"})
        events = await whole(agent, run_id)
    assert [call["kind"] for call in only(events, "waiting")[0]["pending"]] == ["client", "approval"]
    assert only(events, "complete")[0]["status"] == "succeeded"


# Scripted runs


@pytest.mark.parametrize(("approved", "said"), [(True, "I deleted the folder drafts."), (False, "I left the folder")])
async def test_a_scripted_run_waits_for_a_person(approved: bool, said: str, agent: Service) -> None:
    """The approval can be tried without a model."""
    async with waiting_run(agent, SIMULATE, scenario="approval", delay_ms=0) as run_id:
        [pending] = (await waits(agent, run_id))["pending"]
        await decide(agent, run_id, pending["tool_call_id"], approved=approved)
    events = await whole(agent, run_id)
    assert text(events, "final_output").startswith(said)


async def test_a_scripted_run_waits_for_the_page(agent: Service) -> None:
    """So can a client tool."""
    async with waiting_run(agent, SIMULATE, scenario="client_tool", delay_ms=0) as run_id:
        [pending] = (await waits(agent, run_id))["pending"]
        await send(agent, run_id, {"tool_call_id": pending["tool_call_id"], "content": "Bergen"})
    events = await whole(agent, run_id)
    assert text(events, "final_output") == "Your page says where you are: Bergen"
