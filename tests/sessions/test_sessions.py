"""Tests sessions, the conversations that the service keeps: their turns, branches and history."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, named
from run_readers import Reader, attached, reading
from service import STREAM, checked, names, only, service, text
from session_calls import RUNS, SESSIONS, ask, get, messages, refusal, said
from wire import Cut, Done, Finish, Gate, Role, Stall, Text, ToolCall, WaitFor, answer

from database.runs import list_runs, save_runs
from run_models import ANONYMOUS, RunStatus

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

MODEL = {"id": "test/model", "object": "model"}


# The history


async def test_a_session_continues_where_it_was(lend: Lend) -> None:
    """The model gets the earlier messages. `run_started` names the session, which is created on first use."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Oslo."))
        fake.turn(*answer("Yes."))
        first = await ask(agent, "Capital of Norway?", instructions="Be brief.")
        await ask(agent, "Is it cold?", instructions="Be brief.")
        session = await get(agent, f"{SESSIONS}/chat")
    assert only(first, "run_started")[0]["session_id"] == "chat"
    assert said(fake.chats[1].body["messages"]) == [
        ("system", "Be brief."),
        ("user", "Capital of Norway?"),
        ("assistant", "Oslo."),
        ("user", "Is it cold?"),
    ]
    assert session["title"] == "Capital of Norway?"


async def test_history_has_tool_calls_with_their_results() -> None:
    """By OpenAI's rules, the result of each call follows the assistant's message that made it."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        fake.turn(ToolCall("call_1", "add", '{"a":1,"b":2}'), Finish("tool_calls"), Done())
        fake.turn(*answer("It is 3."))
        fake.turn(*answer("You are welcome."))
        await ask(agent, "1 + 2?")
        await ask(agent, "Thanks!")
        stored = await messages(agent)
    history = fake.chats[2].body["messages"]
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "assistant", "user"]
    assert history[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1,"b":2}'}
    assert (history[2]["tool_call_id"], history[2]["content"]) == (history[1]["tool_calls"][0]["id"], "3")
    assert [message["role"] for message in stored][:4] == ["user", "assistant", "tool", "assistant"]
    assert stored[1]["tool_calls"][0]["arguments"] == {"a": 1, "b": 2}
    assert [message.get("parent_id") for message in stored] == [
        None,
        *(message["message_id"] for message in stored[:-1]),
    ]


async def test_a_run_that_failed_leaves_a_history_that_models_accept(lend: Lend) -> None:
    """Text from before the failure stays in the history, and a question without an answer joins the next one."""
    async with lend() as (fake, agent):
        fake.turn(Text("I was about"), Cut())
        fake.turn(Role(), Cut())
        fake.turn(*answer("Now."))
        await ask(agent, "First?")
        await ask(agent, "Second?")
        await ask(agent, "Third?")
    assert said(fake.chats[-1].body["messages"]) == [
        ("user", "First?"),
        ("assistant", "I was about"),
        ("user", "Second?\n\nThird?"),
    ]


async def test_history_is_cut_by_whole_turns_to_the_model_s_context() -> None:
    """The oldest turns are dropped first, the instructions stay, and a warning says what was left out."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models = [MODEL | {"meta": {"n_ctx": 4096}}]
        fake.always(*answer("x" * 3000))
        for number in range(5):
            await ask(agent, f"Question {number}?", instructions="Be long.", max_tokens=1000)
        events = await ask(agent, "Last?", instructions="Be long.", max_tokens=1000)
    [warning] = only(events, "warning")
    history = fake.chats[-1].body["messages"]
    assert warning["code"] == "history_cut"
    assert "oldest 2 of the session's 5 turns" in warning["message"]
    assert history[0] == {"role": "system", "content": "Be long."}
    assert [m["content"] for m in history if m["role"] == "user"] == [
        "Question 2?",
        "Question 3?",
        "Question 4?",
        "Last?",
    ]


async def test_a_session_survives_a_restart(tmp_path: Path) -> None:
    """A restarted service sends the model the earlier messages of the session."""
    async with FakeDedalus() as fake:
        fake.always(*answer("Yes."))
        for question in ("One?", "Two?"):
            async with service(fake.url, data_dir=tmp_path) as agent:
                await ask(agent, question)
        assert said(fake.chats[1].body["messages"])[:2] == [("user", "One?"), ("assistant", "Yes.")]


async def test_call_ids_are_one_of_a_kind_in_the_whole_history() -> None:
    """No request has two calls with one id, even if the upstream numbers its calls from zero in each run."""
    async with FakeDedalus() as fake, service(fake.url, named(LocalTool("add", added))) as agent:
        for _ in range(2):
            fake.turn(ToolCall("call_0", "add", '{"a":1,"b":2}'), Finish("tool_calls"), Done())
            fake.turn(*answer("It is 3."))
            await ask(agent, "1 + 2?")
    ids = [call["id"] for m in fake.chats[-1].body["messages"] for call in m.get("tool_calls", ())]
    assert len(ids) == len(set(ids)) == 2


async def test_runs_that_were_lost_while_they_waited_do_not_take_the_conversation_along(tmp_path: Path) -> None:
    """With `memory://` a restart loses queued runs. The next request continues from the last answered one."""
    memory: dict[str, Any] = {"event_log_url": "memory://", "data_dir": tmp_path}
    async with FakeDedalus() as fake:
        fake.turn(*answer("Oslo."))
        async with service(fake.url, **memory) as agent:
            await ask(agent, "Capital of Norway?")
            fake.turn(Text("one"), Stall())
            for question in ("Two?", "Three?", "Four?"):
                body = {"input": question, "session_id": "chat", "multitask": "enqueue"}
                assert (await agent.post(RUNS, body)).status_code == 202
            await get(agent, RUNS)
            async with agent.app.state.database.writing() as connection:
                rows = await list_runs(connection, ANONYMOUS, session_id="chat", status=None, before=None, limit=3)
                unsaid = [row.model_copy(update={"status": RunStatus.QUEUED, "last_seq": 0}) for row in rows]
            agent.app.state.write_behind._task.cancel()  # as if the process had died before these writes
            async with agent.app.state.database.writing() as connection:
                await save_runs(connection, unsaid)
        async with service(fake.url, **memory) as agent:
            fake.turn(*answer("Yes."))
            await ask(agent, "Is it cold?")
    assert said(fake.chats[-1].body["messages"]) == [
        ("user", "Capital of Norway?"),
        ("assistant", "Oslo."),
        ("user", "Is it cold?"),
    ]


# Branches


async def test_regenerating_begins_before_an_earlier_run(lend: Lend) -> None:
    """`parent_state: before` asks the question again.

    Both answers are in the tree, and the head is on the new branch.
    """
    async with lend() as (fake, agent):
        for reply in ("A.", "B.", "C."):
            fake.turn(*answer(reply))
        await ask(agent, "One?")
        second = (await ask(agent, "Two?"))[0]["run_id"]
        third = (await ask(agent, "Two?", parent_run_id=second, parent_state="before"))[0]["run_id"]
        branch, old = await messages(agent), await messages(agent, run_id=second)
        tree = await messages(agent, tree=True)
        run = await get(agent, f"{RUNS}/{third}")
    assert said(fake.chats[2].body["messages"]) == [("user", "One?"), ("assistant", "A."), ("user", "Two?")]
    assert [content for _, content in said(branch)] == ["One?", "A.", "Two?", "C."]
    assert [content for _, content in said(old)] == ["One?", "A.", "Two?", "B."]
    assert len(tree) == 6
    assert [message["parent_id"] for message in tree if message["content"] == "Two?"] == [branch[1]["message_id"]] * 2
    assert run["parent_run_id"] != second


async def test_a_branch_begins_after_an_earlier_run(lend: Lend) -> None:
    """The model gets the messages up to that run, and none of the later ones."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        first = (await ask(agent, "One?"))[0]["run_id"]
        await ask(agent, "Two?")
        await ask(agent, "Other?", parent_run_id=first)
        await ask(agent, "Further?")
    asked = [content for role, content in said(fake.chats[-1].body["messages"]) if role == "user"]
    assert asked == ["One?", "Other?", "Further?"]


async def test_a_parent_has_to_be_of_the_session(lend: Lend) -> None:
    """An unknown run or one of another session is a 422, and interrupts no run."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        other = (await ask(agent, "One?", "other"))[0]["run_id"]
        for parent in (other, "run_unknown"):
            body = {"input": "?", "session_id": "chat", "parent_run_id": parent, "multitask": "interrupt"}
            assert refusal(await agent.post(STREAM, body)) == (422, "invalid_parent")
        assert (await agent.client.get(f"{SESSIONS}/chat")).status_code == 404


# Two runs at once


async def test_a_run_that_is_read_keeps_its_session(lend: Lend) -> None:
    """By default and with `reject`, a second run is a 409 that names the first, and nothing of it is recorded."""
    async with lend() as (fake, agent):
        fake.turn(Text("one"), Stall())
        async with reading(agent, session_id="chat") as reader:
            await reader.until(b'"one"')
            for extra in ({}, {"multitask": "reject"}):
                response = await agent.post(STREAM, {"input": "Two?", "session_id": "chat"} | extra)
                assert refusal(response) == (409, "session_busy")
                assert response.json()["error"]["run_id"] == reader.run_id
        assert len(await messages(agent)) == 1


async def test_a_run_that_nobody_reads_any_more_makes_way() -> None:
    """By default a new run replaces one without readers, whose text so far is part of the history."""
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=30) as agent:
        fake.turn(Text("one"), Stall())
        fake.turn(*answer("two"))
        async with reading(agent, session_id="chat") as reader:
            await reader.until(b'"one"')
        await fake.wait_for_requests(1)
        async with asyncio.timeout(5):
            while (response := await agent.post(STREAM, {"input": "Two?", "session_id": "chat"})).status_code == 409:
                pass  # until the server has noticed that the reader is gone
        await fake.wait_closed(fake.chats[0].connection)
        first = await get(agent, f"{RUNS}/{reader.run_id}")
    assert first["status"] == "cancelled"
    assert text(checked(response.content)) == "two"
    assert said(fake.chats[1].body["messages"]) == [("user", "?"), ("assistant", "one"), ("user", "Two?")]


async def test_interrupt_ends_the_run_that_is_going(lend: Lend) -> None:
    """`interrupt` also ends a run that has a reader, which gets `complete` with status `cancelled`."""
    async with lend() as (fake, agent):
        fake.turn(Text("one"), Stall())
        fake.turn(*answer("two"))
        async with reading(agent, session_id="chat") as reader:
            await reader.until(b'"one"')
            events = await ask(agent, "Two?", multitask="interrupt")
            first = checked(await reader.rest())
    assert (first[-1]["data"]["status"], events[-1]["data"]["status"]) == ("cancelled", "succeeded")


async def test_a_run_that_is_being_cancelled_is_not_in_the_way(lend: Lend) -> None:
    """A request right after a cancel is not a 409: the new run waits for the cancelled one to end."""
    async with lend() as (fake, agent):
        fake.turn(Text("one"), Stall())
        fake.turn(*answer("two"))
        async with reading(agent, session_id="chat") as reader:
            await reader.until(b'"one"')
            await agent.client.post(f"{RUNS}/{reader.run_id}/cancel")
            assert text(await ask(agent, "Two?", multitask="reject")) == "two"


async def test_enqueued_runs_take_their_turns(lend: Lend) -> None:
    """Enqueued runs are `queued` until the runs before them have ended, and their history includes those answers."""
    gate = Gate()
    async with lend() as (fake, agent):
        fake.turn(Text("one"), WaitFor(gate), Finish("stop"), Done())
        fake.turn(*answer("two"))
        fake.turn(*answer("three"))
        async with reading(agent, session_id="chat") as first:
            await first.until(b'"one"')
            body = {"session_id": "chat", "multitask": "enqueue"}
            queued = [await agent.post(RUNS, {"input": question} | body) for question in ("Two?", "Three?")]
            listed = await get(agent, RUNS, session_id="chat", status="queued")
            gate.open()
            ends = [await agent.events(run.json()["run_id"]) for run in queued]
    assert [run.json()["status"] for run in queued] == ["queued", "queued"]
    assert {run["run_id"] for run in listed["runs"]} == {run.json()["run_id"] for run in queued}
    assert [text(end) for end in ends] == ["two", "three"]
    contents = [content for _, content in said(fake.chats[2].body["messages"])]
    assert contents == ["?", "one", "Two?", "two", "Three?"]


async def test_a_queued_run_can_be_cancelled(lend: Lend) -> None:
    """A cancelled queued run ends without a request to the model."""
    async with lend() as (fake, agent):
        fake.turn(Text("one"), Stall())
        async with reading(agent, session_id="chat") as first:
            await first.until(b'"one"')
            queued = await agent.post(RUNS, {"input": "?", "session_id": "chat", "multitask": "enqueue"})
            await agent.client.post(f"{RUNS}/{queued.json()['run_id']}/cancel")
            assert names(await agent.events(queued.json()["run_id"])) == ["run_started", "complete"]
        assert len(fake.chats) == 1


async def test_requests_at_the_same_moment_take_their_turns(lend: Lend) -> None:
    """Of simultaneous requests in a new session, `reject` lets one run, and `enqueue` runs all of them in order."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        gate = Gate()
        fake.turn(WaitFor(gate), *answer("Yes."))
        body = {"input": "?", "session_id": "chat", "multitask": "reject"}
        many = await asyncio.gather(*(agent.post(RUNS, body) for _ in range(10)))
        gate.open()
        assert sorted(response.status_code for response in many) == [202, *[409] * 9]
        body = {"input": "?", "session_id": "queue", "multitask": "enqueue"}
        many = await asyncio.gather(*(agent.post(RUNS, body) for _ in range(10)))
        for response in many:
            await agent.events(response.json()["run_id"])
        stored = await messages(agent, "queue")
    assert [message["role"] for message in stored] == ["user", "assistant"] * 10


# The sessions themselves


async def test_sessions_can_be_made_changed_listed_and_deleted(lend: Lend) -> None:
    """Lists are paged with the last used session first. Deleting a session removes its runs, events and messages."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        made = await agent.client.post(SESSIONS, json={"title": "Mine", "metadata": {"a": "b"}})
        again = await agent.client.post(SESSIONS, json={"session_id": made.json()["session_id"]})
        changed = await agent.client.patch(made.headers["location"], json={"title": "Yours"})
        run_id = (await ask(agent, "Hello\nworld"))[0]["run_id"]
        await ask(agent, "Hi", "third")
        pages, query = [], {"limit": 1}
        while True:
            pages.append(await get(agent, SESSIONS, **query))
            if "next_cursor" not in pages[-1]:
                break
            query["cursor"] = pages[-1]["next_cursor"]
        deleted = await agent.client.delete(f"{SESSIONS}/chat")
        gone = [
            await agent.client.get(path) for path in (f"{SESSIONS}/chat", f"{RUNS}/{run_id}", f"{RUNS}/{run_id}/events")
        ]
    assert made.status_code == 201
    assert refusal(again) == (409, "session_exists")
    assert (changed.json()["title"], changed.json()["metadata"]) == ("Yours", {"a": "b"})
    assert [page["sessions"][0].get("title") for page in pages] == ["Hi", "Hello", "Yours"]
    assert deleted.status_code == 204
    assert [response.status_code for response in gone] == [404, 404, 404]


async def test_a_session_with_a_run_under_way_is_not_deleted(lend: Lend) -> None:
    """The refusal names the run under way."""
    async with lend() as (fake, agent):
        fake.turn(Text("one"), Stall())
        async with reading(agent, session_id="chat") as reader:
            response = await agent.client.delete(f"{SESSIONS}/chat")
    assert refusal(response) == (409, "run_active")
    assert response.json()["error"]["run_id"] == reader.run_id


async def test_what_makes_no_sense_is_refused() -> None:
    """Invalid session options, unknown sessions and invalid cursors are refused."""
    async with service("http://127.0.0.1:9") as agent:
        for body in (
            {"session_id": "../etc"},
            {"session_id": ""},
            {"session_id": "a", "messages": [{"role": "user", "content": "x"}]},
            {"parent_run_id": "run_1"},
            {"multitask": "enqueue"},
            {"session_id": "a", "multitask": "both"},
        ):
            assert refusal(await agent.post(STREAM, {"input": "?"} | body)) == (422, "invalid_request")
        for path in ("chat", "chat/messages", "chat/runs"):
            assert refusal(await agent.client.get(f"{SESSIONS}/{path}")) == (404, "session_not_found")
        assert (await agent.client.get("/api/agent/runs", params={"session_id": "chat"})).json() == {"runs": []}
        assert refusal(await agent.client.get(SESSIONS, params={"cursor": "x"})) == (400, "invalid_cursor")


async def test_messages_come_in_pages(lend: Lend) -> None:
    """Paging returns each message once, in the order of the conversation."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        for number in range(4):
            await ask(agent, f"{number}?")
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = await get(agent, f"{SESSIONS}/chat/messages", **query)
            found += page["messages"]
            if "next_cursor" not in page:
                break
            query["cursor"] = page["next_cursor"]
        assert found == await messages(agent)


async def test_a_run_of_a_session_is_deleted_from_the_end(lend: Lend) -> None:
    """A run that later runs build on can't be deleted. Deleting the last one moves the head back to its parent."""
    async with lend() as (fake, agent):
        fake.always(*answer("Yes."))
        first, last = [(await ask(agent, question))[0]["run_id"] for question in ("One?", "Two?")]
        assert refusal(await agent.client.delete(f"{RUNS}/{first}")) == (409, "run_continued")
        assert (await agent.client.delete(f"{RUNS}/{last}")).status_code == 204
        assert (await get(agent, f"{SESSIONS}/chat"))["head_run_id"] == first
        assert [content for _, content in said(await messages(agent))] == ["One?", "Yes."]


async def test_a_run_of_a_session_is_followed_like_any_other(lend: Lend) -> None:
    """A second reader attaches to a session's run and reads it from the start."""
    gate = Gate()
    async with lend() as (fake, agent):
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        async with reading(agent, session_id="chat") as first, attached(agent, first.run_id) as second:
            assert isinstance(second, Reader)
            await second.until(b'"one "')
            gate.open()
            assert await second.rest() == await first.rest()
