"""The database's queries: runs, sessions, messages, idempotency keys and runs that wait."""

import time
import warnings

import pytest

from database.deletions import mark_session_deleted, marked_runs
from database.engine import Connection, Database
from database.idempotency import Key, delete_key, expire_keys, get_key, put_key
from database.message_pages import UnknownMessage, branch_outline, read_page
from database.messages import add_messages, count_questions, latest_turns, replace_answer
from database.runs import children, delete_run, expire_runs, get_run, list_runs, save_runs, unfinished_runs
from database.sessions import (
    create_session,
    delete_session,
    describe_session,
    get_session,
    list_sessions,
    set_head,
    touch_session,
    update_session,
)
from database.suspended_runs import (
    QueuedRun,
    SuspendedRun,
    delete_waiting_runs,
    get_suspended_request,
    get_suspended_run,
    keep_waiting_runs,
    put_queued_run,
    put_suspended_run,
)
from event_data import RunError
from part_models import ImagePart, TextPart
from run_models import ANONYMOUS, RunStatus
from session_models import FunctionCall, Session, StoredMessage
from usage_models import Usage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of where it keeps a lock, without XDG_RUNTIME_DIR
from databases import (
    NOON,
    ODD,
    a_message,
    converse,
    count,
    links,
    load,
    make_run,
    make_session,
    run_id,
    said,
    save,
    session_key,
    whole_branch,
    whole_tree,
)

pytest_plugins = "database_fixtures"
pytestmark = pytest.mark.anyio


# Runs


async def test_a_run_comes_back_as_it_was_saved(database: Database) -> None:
    """With everything that a row can hold and with the least; a later save replaces all of it."""
    usage = Usage(input_tokens=1, output_tokens=None, total_tokens=3, cached_input_tokens=4)
    error = RunError(code="x", message="y", retryable=True, request_id="req_1", retry_after=7)
    ended = {
        "status": RunStatus.FAILED,
        "finished_at": NOON,
        "finish_reason": "stop",
        "steps": 2,
        "answered_by": "b/two",
    }
    full = make_run(1, "s", 7, metadata={"a": "b"}, usage=usage, error=error, last_seq=2**31 - 1, **ended)
    async with database.writing() as connection:
        assert await create_session(connection, make_session("s"))
    for saved in (full, make_run(1), full.model_copy(update={"metadata": {}})):
        await save(database, saved)
        assert await load(database, 1) == saved
    assert await load(database, 2) is None


async def test_a_batch_is_saved_whole(database: Database) -> None:
    """New and known runs in one statement, in any order, the last word of one counts; an empty batch is nothing."""
    await save(database, *(make_run(number) for number in range(50)))
    await save(
        database, *(make_run(number, last_seq=number) for number in reversed(range(100))), make_run(3, last_seq=9)
    )
    await save(database)
    async with database.reading() as connection:
        runs = await list_runs(connection, ANONYMOUS, session_id=None, status=None, before=None, limit=1000)
    assert {run.run_id: run.last_seq for run in runs} == {run_id(n): n if n != 3 else 9 for n in range(100)}


async def test_a_run_of_a_lost_session_is_left_out(database: Database) -> None:
    """It would come after the session's end; the rest of the batch is saved, and what it said goes nowhere either."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        await save_runs(connection, [make_run(1, "s"), make_run(2, "gone"), make_run(3)])
        await replace_answer(connection, run_id(2), said(2, "lost"))
        assert await whole_tree(connection, "gone") == []
    assert [await load(database, n) is not None for n in (1, 2, 3)] == [True, False, True]


async def test_any_text_comes_back(database: Database) -> None:
    """NUL, which PostgreSQL's text can't hold, backslashes, quotes and what stands for parameters elsewhere."""
    call = FunctionCall(tool_call_id=ODD, name=ODD, arguments={ODD: [ODD, None, 1.5, 10**30]})
    told_by = run_id(1)
    messages = [
        StoredMessage(run_id=told_by, role="user", content=[TextPart(type="text", text=ODD)]),
        StoredMessage(run_id=told_by, role="assistant", content=None, thinking=ODD, tool_calls=[call]),
        StoredMessage(run_id=told_by, role="tool", content=ODD, tool_call_id=ODD, is_error=False),
        StoredMessage(run_id=told_by, role="assistant", content=ODD, data={ODD: [10**30, False, ""]}, attempts=2),
        StoredMessage(run_id=told_by, role="assistant", content="null", data=None, attempts=1),
    ]
    session = make_session("s", title=ODD, metadata={ODD: ODD})
    run = make_run(1, "s", model=ODD, finish_reason=ODD, metadata={ODD: ODD})
    async with database.writing() as connection:
        await create_session(connection, session)
        await save_runs(connection, [run])
        await add_messages(connection, messages)
    async with database.reading() as connection:
        assert await get_session(connection, session_key("s")) == session
        assert await get_run(connection, run_id(1)) == run
        kept = await whole_tree(connection, "s")
        assert await get_run(connection, ODD) is None
        assert await list_runs(connection, ANONYMOUS, session_id=ODD, status=None, before=ODD, limit=1) == []
    messages[1] = messages[1].model_copy(
        update={"tool_calls": [call.model_copy(update={"result": ODD, "is_error": False})]}
    )
    assert [StoredMessage(**m.model_dump(include=set(StoredMessage.model_fields))) for m in kept] == messages


async def test_runs_are_listed_by_session_and_status(database: Database) -> None:
    """The newest first, and the unfinished ones with the oldest first."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        statuses = list(RunStatus)
        await save_runs(connection, [make_run(n, "s" if n % 2 else None, status=statuses[n % 6]) for n in range(12)])
        of_session = await list_runs(connection, ANONYMOUS, session_id="s", status=None, before=None, limit=99)
        failed = await list_runs(
            connection, ANONYMOUS, session_id=None, status=RunStatus.WAITING, before=None, limit=99
        )
        both = await list_runs(
            connection, ANONYMOUS, session_id="s", status=RunStatus.RUNNING, before=run_id(7), limit=99
        )
        unfinished = await unfinished_runs(connection)
    assert [run.run_id for run in of_session] == [run_id(n) for n in (11, 9, 7, 5, 3, 1)]
    assert [run.run_id for run in failed] == [run_id(n) for n in (8, 2)]
    assert [run.run_id for run in both] == [run_id(1)]
    assert [run.run_id for run in unfinished] == [run_id(n) for n in (0, 1, 2, 6, 7, 8)]


async def test_paging_through_runs_is_complete_while_new_ones_come(database: Database) -> None:
    """Every run that was there is seen once, and none that came later."""
    await save(database, *(make_run(number) for number in range(25)))
    seen: list[str] = []
    while True:
        async with database.reading() as connection:
            before = seen[-1] if seen else None
            page = await list_runs(connection, ANONYMOUS, session_id=None, status=None, before=before, limit=4)
        if not page:
            break
        seen += [run.run_id for run in page]
        await save(database, make_run(100 + len(seen)))
    assert seen == [run_id(number) for number in reversed(range(25))]


async def test_a_deleted_run_goes_with_what_is_of_it(database: Database) -> None:
    """Its messages and keys, and nobody else's; deleting it again does nothing."""
    await converse(database, "s", (1, None, ["a", "b"]), (2, 1, ["c", "d"]))
    async with database.writing() as connection:
        for number in (1, 2):
            await put_key(connection, Key(ANONYMOUS, f"key {number}", "f", run_id(number), NOON))
        assert await children(connection, run_id(1)) == [run_id(2)]
        await delete_run(connection, run_id(2))
        await delete_run(connection, run_id(2))
        assert await children(connection, run_id(1)) == []
        assert await get_run(connection, run_id(2)) is None
        assert links(await whole_tree(connection, "s")) == [(a_message(1, 0), None), (a_message(1, 1), a_message(1, 0))]
        assert await get_key(connection, ANONYMOUS, "key 2") is None
        assert await get_key(connection, ANONYMOUS, "key 1") is not None


async def test_children_are_of_the_same_session(database: Database) -> None:
    """A run elsewhere that names the same parent is none of them."""
    await converse(database, "s", (1, None, ["a"]), (2, 1, ["b"]), (3, 1, ["c"]), (4, 2, ["d"]))
    await converse(database, "other", (5, 1, ["e"]))
    await save(database, make_run(6, None, 1))
    async with database.reading() as connection:
        assert await children(connection, run_id(1)) == [run_id(2), run_id(3)]
        assert await children(connection, run_id(4)) == []


async def test_old_runs_expire_unless_a_session_holds_them(database: Database) -> None:
    """Or they have not ended; their keys go with them."""
    old, ended = "2026-11-21T12:00:00.000Z", RunStatus.SUCCEEDED
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        gone = [make_run(1, status=ended, created_at=old), make_run(2, status=RunStatus.CANCELLED, created_at=old)]
        kept = [make_run(3, created_at=old), make_run(4, status=ended), make_run(5, "s", status=ended, created_at=old)]
        await save_runs(connection, gone + kept)
        for number in range(1, 6):
            await put_key(connection, Key(ANONYMOUS, f"key {number}", "f", run_id(number), NOON))
        assert await expire_runs(connection, NOON) == 2
        assert await expire_runs(connection, NOON) == 0
        left = await list_runs(connection, ANONYMOUS, session_id=None, status=None, before=None, limit=9)
        assert sorted(left, key=lambda run: run.run_id) == kept
        assert [await get_key(connection, ANONYMOUS, f"key {n}") is not None for n in range(1, 6)] == [False] * 2 + [
            True
        ] * 3


# Sessions


async def test_a_session_is_made_once(database: Database) -> None:
    """The second try says so and changes nothing."""
    session = make_session("s", title="first", metadata={"a": "b"})
    async with database.writing() as connection:
        assert await create_session(connection, session)
        assert not await create_session(connection, make_session("s", title="second"))
        assert await get_session(connection, session_key("s")) == session
        assert await get_session(connection, session_key("t")) is None


async def test_a_session_is_changed(database: Database) -> None:
    """A field that is named changes, null removes it, and a session's title stays when a run begins."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s", metadata={"a": "b"}))
        await create_session(connection, make_session("untouched"))
        await touch_session(connection, session_key("s"), head_run_id="run_1", now="later", title=None)
        await touch_session(connection, session_key("s"), head_run_id="run_2", now="still later", title="first")
        await touch_session(connection, session_key("s"), head_run_id="run_3", now="last", title="second")
        touched = make_session("s", "last", title="first", metadata={"a": "b"}, head_run_id="run_3")
        assert await get_session(connection, session_key("s")) == touched
        await update_session(connection, session_key("s"), {"title": None, "metadata": {"c": "d"}})
        await set_head(connection, session_key("s"), None)
        assert await get_session(connection, session_key("s")) == make_session("s", "last", metadata={"c": "d"})
        await update_session(connection, session_key("s"), {"metadata": None, "title": "new"})
        assert await get_session(connection, session_key("s")) == make_session("s", "last", title="new")
        await update_session(connection, session_key("unknown"), {"title": "new"})
        assert await get_session(connection, session_key("untouched")) == make_session("untouched")


async def test_paging_through_sessions_is_complete_while_new_ones_come(database: Database) -> None:
    """Also where many were used at the same time, and in an order that capital letters don't change."""
    made = [make_session(f"{letter}-{n}", f"2026-11-22T12:00:0{n % 3}.000Z") for n in range(8) for letter in "aBc"]
    async with database.writing() as connection:
        for session in made:
            await create_session(connection, session)
    seen: list[Session] = []
    while True:
        async with database.writing() as connection:
            before = (seen[-1].updated_at, seen[-1].session_id) if seen else None
            page = await list_sessions(connection, ANONYMOUS, before=before, limit=5)
            await create_session(connection, make_session(f"new {len(seen)}", "2026-11-22T12:00:09.000Z"))
        if not page:
            break
        seen += page
    latest_first = sorted(made, key=lambda session: (session.updated_at, session.session_id), reverse=True)
    assert [session.session_id for session in seen] == [session.session_id for session in latest_first]


async def test_a_session_has_its_latest_run_s_status_and_the_sum_of_its_usage(database: Database) -> None:
    """Counts that are null or absent add nothing; another session's runs, and runs of none, don't count."""
    some = Usage(input_tokens=1, output_tokens=None, total_tokens=2**40, cached_input_tokens=4)
    more = Usage(input_tokens=10, output_tokens=None, total_tokens=30, reasoning_tokens=5)
    async with database.writing() as connection:
        for session_id in ("s", "other", "new"):
            await create_session(connection, make_session(session_id))
        await save_runs(connection, [make_run(1, "s", usage=more), make_run(3, "s"), make_run(5, usage=more)])
        failed = [make_run(2, "s", usage=some), make_run(4, "other", usage=some)]
        await save_runs(connection, [run.model_copy(update={"status": RunStatus.FAILED}) for run in failed])
        await set_head(connection, session_key("s"), run_id(2))
        await set_head(connection, session_key("other"), run_id(1))
        described = await describe_session(connection, session_key("s"))
        listed = await list_sessions(connection, ANONYMOUS, before=None, limit=9)
        assert await describe_session(connection, session_key("unknown")) is None
    assert described is not None
    assert described.status == RunStatus.FAILED
    assert described.usage == some + more
    assert described in listed
    assert {one.session_id: (one.status, one.usage.total_tokens) for one in listed} == {
        "s": (RunStatus.FAILED, 2**40 + 30),
        "other": (None, 2**40),
        "new": (None, None),
    }


async def test_a_deleted_session_goes_with_all_that_is_of_it(database: Database) -> None:
    """Its runs, their messages and keys. Its runs are marked, and another session stays whole."""
    await converse(database, "s", (2, None, ["a", "b"]), (1, 2, ["c"]))
    await converse(database, "other", (3, None, ["d"]))
    async with database.writing() as connection:
        for number in (1, 2, 3):
            await put_key(connection, Key(ANONYMOUS, f"key {number}", "f", run_id(number), NOON))
        await mark_session_deleted(connection, session_key("s"))
        await delete_session(connection, session_key("s"))
        await mark_session_deleted(connection, session_key("s"))
        assert await marked_runs(connection) == [run_id(1), run_id(2)]
        assert await marked_runs(connection, after=run_id(1), limit=1) == [run_id(2)]
    tables = ("sessions", "runs", "messages", "idempotency_keys")
    assert [await count(database, table) for table in tables] == [1, 1, 1, 1]


# Messages


async def test_an_answer_is_replaced_as_often_as_it_is_written(database: Database) -> None:
    """By a shorter or longer one; the question stays."""
    await converse(database, "s", (1, None, ["why?"]))
    for answer in (["a", "b", "c"], ["a", "b", "c"], ["d"], [], ["e", "f"]):
        async with database.writing() as connection:
            await replace_answer(connection, run_id(1), said(1, *answer))
            kept = await whole_branch(connection, run_id(1))
        assert [message.content for message in kept] == ["why?", *answer]
        assert [message.message_id for message in kept] == [a_message(1, n) for n in range(len(kept))]


async def test_parts_are_kept_as_parts(database: Database) -> None:
    """Text and images, not a text of them."""
    parts = [TextPart(type="text", text="see"), ImagePart(type="image", url="https://example.com/a?b=%20c")]
    message = StoredMessage(run_id=run_id(1), role="user", content=parts)
    await converse(database, "s", (1, None, []))
    async with database.writing() as connection:
        await add_messages(connection, [message])
        assert [kept.content for kept in await whole_branch(connection, run_id(1))] == [parts]


async def test_a_branch_and_the_tree_of_a_session(database: Database) -> None:
    """A branch is the way to one run; the tree has all, each message with the one before it on its branch."""
    await converse(
        database,
        "s",
        (1, None, ["q1", "a1"]),
        (2, 1, ["q2", "a2"]),
        (3, 1, ["q3"]),
        (4, 3, ["q4", "a4"]),
        (6, 5, ["q6"]),  # whose parent comes later by its id, as after a clock's jump back
        (5, 4, []),  # and has nothing said in it
        (7, None, ["q7"]),
    )
    await converse(database, "other", (9, 7, ["elsewhere"]))
    async with database.reading() as connection:
        ways = {n: [m.content for m in await whole_branch(connection, run_id(n))] for n in (1, 2, 4, 6, 7, 9, 10)}
        last = await whole_branch(connection, run_id(6))
        everything = await whole_tree(connection, "s")
    assert ways == {
        1: ["q1", "a1"],
        2: ["q1", "a1", "q2", "a2"],
        4: ["q1", "a1", "q3", "q4", "a4"],
        6: ["q1", "a1", "q3", "q4", "a4", "q6"],
        7: ["q7"],
        9: ["elsewhere"],
        10: [],
    }
    ids = [a_message(*place) for place in ((1, 0), (1, 1), (3, 0), (4, 0), (4, 1), (6, 0))]
    assert links(last) == list(zip(ids, [None, *ids[:-1]], strict=True))
    assert [message.content for message in everything] == ["q1", "a1", "q2", "a2", "q3", "q4", "a4", "q6", "q7"]
    parents = dict(links(everything))
    assert parents[a_message(2, 0)] == parents[a_message(3, 0)] == a_message(1, 1)
    assert parents[a_message(6, 0)] == a_message(4, 1)
    assert parents[a_message(7, 0)] is None
    assert set(links(last)) < set(links(everything))


async def whole_conversation(connection: Connection, last: int) -> list[str]:
    """Return all turns that a model receives of a conversation that ends with a run."""
    said: list[str] = []
    before: str | None = run_id(last)
    while before is not None:
        read = await latest_turns(connection, before)
        said = [str(m.content) for turn in reversed(read.turns.values()) for m in turn] + said
        before = read.before
    return said


async def test_a_long_conversation_is_read_quickly(database: Database) -> None:
    """A branch of 500 runs with others beside it: in order, and in a time that one can wait for."""
    turns = [(n, n - 1 if n else None, [f"q{n}", f"a{n}"]) for n in range(500)]
    await converse(database, "s", *turns, *((1000 + n, n, ["aside"]) for n in range(0, 500, 5)))
    began = time.perf_counter()
    async with database.reading() as connection:
        messages = await whole_conversation(connection, 499)
        questions = await count_questions(connection, run_id(499))
    took = time.perf_counter() - began
    assert messages == [text for n in range(500) for text in (f"q{n}", f"a{n}")]
    assert questions == 500
    assert took < 5  # what a query for each run, or a scan for each, could not do


async def test_the_latest_turns_are_read_a_megabyte_at_a_time(database: Database) -> None:
    """One that is longer comes alone, a run that said nothing is there, and an unknown run has no turns."""
    lengths = [10, 600_000, 3_000_000, 600_000]
    turns = [(n, n - 1 if n else None, ["x" * length]) for n, length in enumerate(lengths)]
    await converse(database, "s", *turns, (len(lengths), len(lengths) - 1, []))
    pages = []
    before: str | None = run_id(len(lengths))
    async with database.reading() as connection:
        while before is not None:
            read = await latest_turns(connection, before)
            pages.append([sum(len(str(m.content)) for m in turn) for turn in read.turns.values()])
            before = read.before
        nothing = await latest_turns(connection, run_id(99))
    assert pages == [[0, 600_000], [3_000_000], [600_000, 10]]
    assert nothing == ({}, None)


async def test_a_page_of_long_messages_is_short(database: Database) -> None:
    """It holds a megabyte of them, or one that is longer; every message comes once, and a result with its call."""
    lengths = [10, 600_000, 600_000, 3_000_000, 10, 10]
    await converse(database, "s", (1, None, ["x" * length for length in lengths]))
    call = FunctionCall(tool_call_id="c", name="f", arguments={"a": "y" * 1_100_000})
    answer = [
        StoredMessage(run_id=run_id(1), role="assistant", content=None, tool_calls=[call]),
        StoredMessage(run_id=run_id(1), role="tool", content="3", tool_call_id="c", is_error=True),
    ]
    pages = []
    async with database.writing() as connection:
        await add_messages(connection, answer, first=len(lengths))
        outline = await branch_outline(connection, run_id(1))
        after = None
        while page := outline.page(after, 5):
            pages.append(await read_page(connection, page))
            after = pages[-1][-1].message_id
        with pytest.raises(UnknownMessage):
            outline.page("run_1:0", 5)
    assert [len(page) for page in pages] == [2, 1, 1, 2, 1, 1]
    assert [len(str(m.content)) for page in pages for m in page][: len(lengths)] == lengths
    calls = [(call.result, call.is_error) for call in pages[4][0].tool_calls or ()]
    assert calls == [("3", True)]


# Keys


async def test_keys(database: Database) -> None:
    """A key stands for the last that it was put for, until it is deleted or old."""
    async with database.writing() as connection:
        assert await get_key(connection, ANONYMOUS, "k") is None
        await put_key(connection, Key(ANONYMOUS, "k", "f1", "run_1", NOON))
        await put_key(connection, Key(ANONYMOUS, "k", "f2", "run_2", "2026-11-22T12:00:00.001Z"))
        await put_key(connection, Key(ANONYMOUS, "old", "f", "run_3", NOON))
        await put_key(connection, Key(ODD, ODD, ODD, ODD, ODD))
        assert await get_key(connection, ANONYMOUS, "k") == Key(
            ANONYMOUS, "k", "f2", "run_2", "2026-11-22T12:00:00.001Z"
        )
        assert await get_key(connection, ANONYMOUS, ODD) is None
        assert await get_key(connection, ODD, ODD) == Key(ODD, ODD, ODD, ODD, ODD)
        assert await expire_keys(connection, "2026-11-22T12:00:00.001Z") == 1
        assert await get_key(connection, ANONYMOUS, "old") is None
        await delete_key(connection, ANONYMOUS, "k")
        await delete_key(connection, ANONYMOUS, "k")
        assert await get_key(connection, ANONYMOUS, "k") is None


# Runs that wait


async def test_waiting_runs(database: Database) -> None:
    """A run resumes with what was stored last; it is deleted with the run, and with all that don't wait."""
    state = {"messages": [{"content": ODD, "n": 2**70, "x": 1.5}]}
    waiting = SuspendedRun("run_1", ["a", ODD], {"agent": {"input": ODD}}, state, NOON)
    async with database.writing() as connection:
        await put_suspended_run(connection, SuspendedRun("run_1", [], {}, {"old": True}, NOON))
        await put_suspended_run(connection, waiting)
        for name in ("run_2", "run_3", "run_4"):
            await put_suspended_run(connection, SuspendedRun(name, [], {}, {}, NOON))
        assert await get_suspended_run(connection, "run_1") == waiting
        assert await get_suspended_request(connection, "run_1") == waiting.request
        assert await get_suspended_request(connection, "run_9") is None
        await delete_run(connection, "run_2")
        assert await get_suspended_run(connection, "run_2") is None
        await delete_waiting_runs(connection, ["run_3", "run_9"])
        await delete_waiting_runs(connection, [])
        await keep_waiting_runs(connection, {"run_1", "run_9"})
        left = [name for name in ("run_1", "run_3", "run_4") if await get_suspended_run(connection, name)]
    assert left == ["run_1"]


async def test_queued_runs(database: Database) -> None:
    """A queued run has its request and its place in the order of turns; its wait for a person replaces both."""
    request = {"input": ODD, "seed": 2**70}
    async with database.writing() as connection:
        for name in ("run_3", "run_1", "run_2"):
            await put_queued_run(connection, name, request)
        await delete_waiting_runs(connection, ["run_3"])
        await put_queued_run(connection, "run_0", request)
        queued = [await get_suspended_run(connection, f"run_{number}") for number in range(3)]
        assert queued == [
            QueuedRun("run_0", request, 4),
            QueuedRun("run_1", request, 2),
            QueuedRun("run_2", request, 3),
        ]
        waiting = SuspendedRun("run_2", ["a"], {}, {}, NOON)
        await put_suspended_run(connection, waiting)
        assert await get_suspended_run(connection, "run_2") == waiting
        await put_queued_run(connection, "run_9", request)
        last = await get_suspended_run(connection, "run_9")
    assert isinstance(last, QueuedRun)
    assert last.position == 5
