"""The command-line client when something goes wrong: lost answers, restarts, and mistakes on the command line."""

import re
from pathlib import Path

import pytest
from client_programs import ANSWER, CLIENT, LONG, THOUGHT, Service, client, ended, events, read_until, run, serving
from fake_dedalus import FakeDedalus
from lossy_proxy import losing_an_answer
from process import Nursery
from service import NOWHERE
from wire import answer

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.usefixtures("client_is_loaded")


# What goes wrong


def test_lost_answer(service: Service, upstream: FakeDedalus) -> None:
    """A question whose connection broke before the answer came is sent again, and is the same run: asked once."""
    upstream.turn(*answer("Hello there"))
    asked = len(upstream.chats)
    with losing_an_answer(service.url) as url:
        shown = run(CLIENT, "Hi", "--json", url=url)
    assert shown.code == 0
    assert re.fullmatch(r"Trying again in 0\.\d s: .*\n", shown.err)
    printed = events(shown.out)
    assert printed == service.events(printed[0]["run_id"])
    assert printed[-2]["data"] == {"content": "Hello there"}
    assert len(upstream.chats) == asked + 1


def test_restarted_service(nursery: Nursery, tmp_path: Path) -> None:
    """A client outlives its service's kill -9 and restart: it shows each event once, and how the run ended.

    The events of a run that had ended before are the same ones after it.
    """
    with serving(nursery, tmp_path) as before:
        whole = run(CLIENT, "--simulate", "--delay-ms", "0", "--json", url=before.url)
        with client(before, *LONG, "--json") as running:
            shown = read_until(running.stdout, '"seq": 30,')
            before.process.kill()
            read_until(running.stderr, "Re-attaching", "Re-attaching")  # once more, since nobody answered
            with serving(nursery, tmp_path, PORT=before.port) as after:
                rest = ended(running)
                printed = events(shown + rest.out)
                assert printed == after.events(printed[0]["run_id"])
                same_run = ("--resume", events(whole.out)[0]["run_id"], "--json")
                assert run(CLIENT, *same_run, url=after.url).out == whole.out
    assert rest.code == 1
    assert [event["seq"] for event in printed] == list(range(1, len(printed) + 1))
    assert [printed[-2]["data"]["code"], printed[-1]["data"]["status"]] == ["interrupted", "failed"]


def test_truncated_stream(service: Service) -> None:
    """A stream that broke off is taken up where it was: nothing is missing and nothing is shown twice."""
    shown = run(CLIENT, "Well?", "--simulate", "truncated", "--delay-ms", "1", url=service.url)
    assert shown.code == 0
    assert re.fullmatch(r"Re-attaching after event 8 in 0\.\d s: .*\n", shown.err)
    assert shown.out.count(f"\n{THOUGHT}\n") == 1
    assert shown.out.count(f"\n{ANSWER}\n") == 1


def test_resume(service: Service) -> None:
    """--resume shows a run from an event on; of one with nothing left, how it ended."""
    first = events(run(CLIENT, "--simulate", "--delay-ms", "1", "--json", url=service.url).out)
    same_run = ("--resume", first[0]["run_id"], "--json", "--after")
    rest = run(CLIENT, *same_run, "5", url=service.url)
    assert (rest.code, events(rest.out)) == (0, first[5:])
    nothing = run(CLIENT, *same_run, str(len(first)), url=service.url)
    assert (nothing.code, nothing.out) == (0, "")
    assert "This run has ended (succeeded)" in nothing.err


def test_refused_request(service: Service) -> None:
    """A request that the service refuses ends the program with 1, and says what is wrong with which field."""
    shown = run(CLIENT, "Hi", "--temperature", "9", url=service.url)
    assert (shown.code, shown.out) == (1, "")
    assert re.match(r"✗ invalid_request: .* \(HTTP 422, req_\w+\)\n  body\.temperature: .* 2\n", shown.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--execute",),
        ("--json",),
        ("--quiet",),
        ("--background", "--session", "chat-1"),
        ("Hi", "--json", "--quiet"),
        ("Hi", "--temperature", "nan"),
        ("Hi", "--execute", "--simulate"),
        ("Hi", "--url", "ftp://localhost:8000"),
        ("Hi", "--url", "localhost:eighty"),
        ("Hi", "--url", ":8000"),
        ("Hi", "--url", "8000"),
        ("Hi", "--url", "localhost:99999"),
        ("Hi", "--url", "http:/localhost:8000"),
        ("Hi", "--url", "http//localhost:8000"),
        ("Hi", "--url", "http://[::1"),
        ("Hi", "--url", "http://local host"),
        ("\udcff",),
        ("--messages",),
        ("--resume", "../models"),
        ("Hi", "--approve", "--refuse"),
        ("Hi", "--refuse", "\udcff"),
        ("Hi", "--client-tool", "[]"),
        ("Hi", "--client-tool", "{nonsense}"),
        ("Hi", "--schema", "/nowhere/schema.json"),
    ],
    ids=[
        *("nothing to execute", "nothing to print as JSON", "nothing to print", "nothing to begin", "two forms"),
        *("no number", "two ways", "no web address", "no port", "no host"),
        *(
            "port alone",
            "port too high",
            "one slash",
            "no colon",
            "half a bracket",
            "two words",
            "no UTF-8",
            "no session",
            "no run",
        ),
        *("two decisions", "no reason in UTF-8", "no file", "no JSON", "no schema"),
    ],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense ends the program with 2, before anything is sent."""
    shown = run(CLIENT, *arguments, url=NOWHERE)
    assert shown.code == 2
    assert shown.err.startswith("usage: ")
