"""Two owners in one database: each has ids of its own, and sees nothing of the other's."""

import pytest
from databases import NOON, converse, count, load, make_run, make_session, run_id, said, save, whole, whole_branch

from database.deletions import mark_session_deleted, marked_runs
from database.engine import Database
from database.idempotency import Key, delete_key, get_key, put_key
from database.message_pages import tree_outline
from database.messages import add_messages
from database.runs import children, list_runs, save_runs
from database.sessions import (
    create_session,
    delete_session,
    describe_session,
    get_session,
    list_sessions,
    list_titles,
    set_head,
    unused_sessions,
    update_session,
)
from run_models import ANONYMOUS, RunStatus, SessionKey
from usage_models import Usage

pytest_plugins = "database_fixtures"
pytestmark = pytest.mark.anyio

OURS, THEIRS = SessionKey("ann", "chat-1"), SessionKey("bob", "chat-1")


async def fill(database: Database) -> None:
    """Give each owner a session of one id with a run that has a question, an answer and its usage."""
    async with database.writing() as connection:
        for number, key in ((1, OURS), (2, THEIRS)):
            assert await create_session(connection, make_session(key.session_id, owner=key.owner, title=key.owner))
            usage = Usage(input_tokens=number, output_tokens=0, total_tokens=number)
            run = make_run(number, key.session_id, owner=key.owner, status=RunStatus.SUCCEEDED, usage=usage)
            await save_runs(connection, [run])
            await add_messages(connection, said(number, "?", key.owner))
            await set_head(connection, key, run_id(number))


async def test_two_owners_have_a_session_of_one_id_each(database: Database) -> None:
    """Each has its own title, status, usage, messages and runs under the same id."""
    await fill(database)
    async with database.reading() as connection:
        for number, key in ((1, OURS), (2, THEIRS)):
            described = await describe_session(connection, key)
            assert described is not None
            assert (described.title, described.status) == (key.owner, RunStatus.SUCCEEDED)
            assert described.usage.total_tokens == number
            messages = await whole(connection, await tree_outline(connection, key))
            assert [message.content for message in messages] == ["?", key.owner]
            runs = await list_runs(connection, key.owner, session_id=key.session_id, status=None, before=None, limit=9)
            assert [run.run_id for run in runs] == [run_id(number)]
        assert await describe_session(connection, SessionKey(ANONYMOUS, "chat-1")) is None


async def test_lists_have_one_owner_s_rows(database: Database) -> None:
    """Runs with and without a session, sessions and titles are listed for their owner only."""
    await fill(database)
    await save(database, make_run(3, owner="bob"), make_run(4))
    async with database.reading() as connection:
        runs = await list_runs(connection, "bob", session_id=None, status=None, before=None, limit=9)
        sessions = await list_sessions(connection, "ann", before=None, limit=9)
        titles = await list_titles(connection, "ann", before=None, limit=9)
        nothing = await list_sessions(connection, ANONYMOUS, before=None, limit=9)
    assert [run.run_id for run in runs] == [run_id(3), run_id(2)]
    assert {run.owner for run in runs} == {"bob"}
    assert [session.key for session in sessions] == [OURS]
    assert [titled.title for titled in titles] == ["ann"]
    assert nothing == []


async def test_a_change_of_one_owner_s_session_leaves_the_other_s(database: Database) -> None:
    """A new title and a deletion concern the owner's session, with its runs, marks and messages."""
    await fill(database)
    async with database.writing() as connection:
        await update_session(connection, OURS, {"title": "new"})
        theirs = await get_session(connection, THEIRS)
        await mark_session_deleted(connection, OURS)
        await delete_session(connection, OURS)
        assert await marked_runs(connection) == [run_id(1)]
        assert await get_session(connection, OURS) is None
        assert theirs is not None
        assert await get_session(connection, THEIRS) == theirs
        assert theirs.title == "bob"
    assert [await count(database, table) for table in ("sessions", "runs", "messages")] == [1, 1, 2]


async def test_a_branch_ends_where_another_owner_s_run_begins(database: Database) -> None:
    """A run that names another owner's run as its parent, in a session of the same id, has no part of it."""
    await fill(database)
    await save(database, make_run(3, "chat-1", 1, owner="bob"))
    async with database.writing() as connection:
        await add_messages(connection, said(3, "What did Ann say?"))
        assert [message.content for message in await whole_branch(connection, run_id(3))] == ["What did Ann say?"]
        assert await children(connection, run_id(1)) == []


async def test_a_run_is_not_written_into_another_owner_s_session(database: Database) -> None:
    """A session of the same id isn't the run's session unless it has the same owner."""
    await converse(database, "chat", (1, None, ["?"]))
    await save(database, make_run(2, "chat", owner="bob"))
    assert await load(database, 2) is None


async def test_two_owners_have_an_idempotency_key_each(database: Database) -> None:
    """The same key means each owner's own run, and deleting one leaves the other."""
    async with database.writing() as connection:
        for number, owner in ((1, "ann"), (2, "bob")):
            await put_key(connection, Key(owner, "k", "f", run_id(number), NOON))
        await delete_key(connection, "ann", "k")
        assert await get_key(connection, "ann", "k") is None
        assert await get_key(connection, "bob", "k") == Key("bob", "k", "f", run_id(2), NOON)


async def test_unused_sessions_of_all_owners_are_found_page_by_page(database: Database) -> None:
    """Retention sees each owner's old sessions once, and no session that was used later."""
    keys = [SessionKey(owner, f"{number}") for owner in ("ann", "bob", "cy") for number in range(3)]
    async with database.writing() as connection:
        for key in keys:
            await create_session(connection, make_session(key.session_id, owner=key.owner))
        await create_session(connection, make_session("new", "2026-11-22T12:00:00.001Z", owner="bob"))
        seen = []
        last = None
        while page := await unused_sessions(connection, "2026-11-22T12:00:00.001Z", after=last, limit=2):
            last = page[-1]
            seen += [SessionKey(unused.owner, unused.session_id) for unused in page]
    assert seen == keys
