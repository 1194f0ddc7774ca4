"""Tests that logged data can neither begin a line of the log nor control a terminal."""

import asyncio
import copy
import io
import logging
import pickle
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from process import Nursery, forked_app
from service import NOWHERE
from uvicorn.logging import AccessFormatter, DefaultFormatter
from wire import Status

from log_lines import HIDDEN, LONGEST, CleanRecord, install
from settings import Settings

FORGED = "\nINFO agent_stream: forged"
LEFT, RIGHT = "x", "y"
CONTROLS = {
    "line feed": "\n",
    "carriage return": "\r",
    "vertical tab": "\v",
    "form feed": "\f",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "escape": "\x1b[2J\x1b]0;title\x07",
    "one-byte escape": "\x9b31m",
    "backspace": "\b" * 3,
    "delete": "\x7f",
    "NUL": "\0",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "zero width": "\u200b\ufeff",
    "tag": "\U000e0041",
    "surrogate": "\ud83d",
}


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger that writes the service's records, and the output of its handler."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.Logger("agent_stream")
    logger.addHandler(handler)
    former = logging.getLogRecordFactory()
    logging.setLogRecordFactory(CleanRecord)
    yield logger, written
    logging.setLogRecordFactory(former)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_a_record_is_one_printable_line(lines: tuple[logging.Logger, io.StringIO], control: str) -> None:
    """This holds for an argument, an object's text, the format and a mapping."""
    logger, written = lines
    text = f"{LEFT}{control}{RIGHT}"
    logger.info("the tool %s is gone", text)
    logger.info("it failed: %s", ValueError(text))
    logger.info(text)
    logger.info("the tool %(name)s is gone", {"name": text})
    *whole, last = written.getvalue().split("\n")
    assert (len(whole), last) == (4, "")
    for line in whole:
        assert line.isprintable()
        assert re.search(rf"{LEFT}\\[nrxuUvf0]\S*{RIGHT}", line)


def test_what_is_printable_stays_as_it_is(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """Backslashes, other scripts and emoji are unchanged."""
    logger, written = lines
    logger.warning("C:\\new %s %d%%", "süß 日本 😀 שלום", 5)
    assert written.getvalue() == "WARNING agent_stream: C:\\new süß 日本 😀 שלום 5%\n"


@pytest.mark.anyio
async def test_a_record_names_the_run_whose_task_makes_it(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """The id is added once, and only in tasks that are named after a run."""
    logger, written = lines

    async def log() -> None:
        logger.info("a refusal")
        logger.info("run run_1 failed")

    named = ("a refusal (run run_1)", "run run_1 failed")
    await asyncio.create_task(log(), name="run_1")
    await asyncio.create_task(log(), name="run_1 tool")
    await asyncio.create_task(log(), name="catalogue")
    await asyncio.to_thread(logger.info, "a thread")
    assert written.getvalue().splitlines() == [
        f"INFO agent_stream: {message}" for message in (*named, *named, "a refusal", "run run_1 failed", "a thread")
    ]


def test_a_message_has_a_length(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """A long message is cut and marked."""
    logger, written = lines
    logger.info("%s", "x" * (LONGEST + 1000))
    assert len(written.getvalue()) < LONGEST + 100
    assert written.getvalue().endswith("x…\n")


def test_a_traceback_is_readable_and_can_t_be_taken_for_records(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """Each of its lines is indented, whatever the exceptions' messages contain."""
    logger, written = lines
    try:
        try:
            int(f"first{FORGED}\x1b[31m")
        except ValueError as error:
            raise RuntimeError(FORGED) from error
    except RuntimeError:
        logger.exception("failed")
    first, *trace = written.getvalue().rstrip("\n").split("\n")
    assert first == "ERROR agent_stream: failed"
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in trace if line)
    assert any('int(f"first' in line for line in trace)


def test_uvicorn_s_own_lines_are_clean_too(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """Its access log formats arguments itself, such as the address from a proxy's header."""
    logger, written = lines
    handler = logger.handlers[0]
    handler.setFormatter(AccessFormatter('%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'))
    logger.info('%s - "%s %s HTTP/%s" %d', f"1.2.3.4{FORGED}", "GET", f"/{FORGED}", "1.1", 200)
    handler.setFormatter(DefaultFormatter("%(levelprefix)s %(message)s"))
    logger.info("Invalid %s", FORGED)
    assert written.getvalue().count("\n") == 2


KEY = "sk-0123456789"


def test_secrets_are_hidden_wherever_a_record_holds_them(lines: tuple[logging.Logger, io.StringIO]) -> None:
    """Secrets are hidden in the format, an argument, an object, a traceback, and where a long message is cut."""
    logger, written = lines
    install([f"Bearer {KEY}", "UTC"])
    logger.info("the server said Bearer %s in UTC", KEY)
    logger.info("refused: %s", {"error": ValueError(f"Bearer {KEY}")})
    logger.info(f"%s{KEY}", "x" * (LONGEST - 5))  # noqa: G004 - as some libraries do
    logger.error("failed", exc_info=ValueError(f"Bearer {KEY}"))
    install()
    assert "in UTC" in written.getvalue()
    assert written.getvalue().count(HIDDEN) == 3
    assert KEY[:5] not in written.getvalue()


def test_the_settings_know_what_is_secret() -> None:
    """Every key is a secret, and so are the values in MCP_SERVERS."""
    servers = {"a": {"url": "https://a.example/mcp", "headers": {"X": "h"}}, "b": {"command": "b", "env": {"Y": "e"}}}
    values: dict[str, Any] = {"openai_api_key": "o", "dedalus_provider_key": "p", "mcp_servers": servers}
    assert Settings(_env_file=None, **values).secrets() >= {"o", "p", "h", "e"}


def test_a_key_that_a_server_repeats_is_not_logged(nursery: Nursery) -> None:
    """A key is hidden in the error message of a server, where gateways repeat it."""
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEDALUS_API_KEY=KEY) as app:
        fake.always(Status(400, {"error": {"message": f"the key {KEY} may not do this"}}))
        answer = httpx.post(f"{app.url}/api/agent/execute", json={"input": "?", "model": "m"}, timeout=30)
        assert answer.status_code == 422
    assert any("may not do this" in line for line in app.log)
    assert not any(KEY in line for line in app.log)


def test_a_record_can_be_copied_and_sent_elsewhere() -> None:
    """Records can be copied and pickled, as handlers for queues and sockets do."""
    record = CleanRecord("n", logging.INFO, "p", 1, "a %s", ("b\n",), None)
    record.exc_text = "Traceback\n  x"
    for other in (copy.copy(record), pickle.loads(pickle.dumps(record))):
        assert (other.getMessage(), other.exc_text) == ("a b\\n", record.exc_text)


def test_the_service_writes_clean_lines(nursery: Nursery) -> None:
    """From the start on, a command's name and output can't break a line of the log."""
    with forked_app(
        nursery, DEDALUS_BASE_URL=NOWHERE, MCP_SERVERS='{"a": {"command": "no-such\\u001b[31m\\nINFO forged"}}'
    ) as app:
        answer = httpx.get(f"{app.url}/api/agent/mcp-servers/a/tools", timeout=30)
        assert answer.status_code == 502
    assert any("no-such" in line for line in app.log)
    assert all(line.rstrip("\n").isprintable() and not line.startswith("INFO forged") for line in app.log)
