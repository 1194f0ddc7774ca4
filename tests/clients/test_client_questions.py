"""The command-line client asks its user: calls that wait for a person, and tools that the user is."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from client_programs import (
    APPROVAL,
    ASKED,
    BUDGET,
    CLIENT,
    LAST_WAIT_S,
    LOCATE,
    RAISE,
    Service,
    at_terminal,
    client,
    ended,
    events,
    process,
    read_until,
    run,
    run_id,
    serving,
)
from fake_dedalus import FakeDedalus
from process import Nursery
from wire import Done, Finish, ToolCall, answer, calling

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.usefixtures("client_is_loaded")

# Calls that wait for a person, and tools that the client's user is


@pytest.mark.parametrize(
    ("typed", "decided", "said"),
    [
        ("y", "  ✓ delete_folder approved\n", "I deleted the folder drafts."),
        ("N Not on a Friday.", "  ✗ delete_folder refused: Not on a Friday.\n", "I left the folder as it is."),
        (
            'e {"folder": "spam"}',
            '  ✓ delete_folder approved with {"folder": "spam"}\n',
            "I deleted the folder spam.",
        ),
        (
            'e {"folder": 12345678901234567890123, "share": 1.0}',
            '  ✓ delete_folder approved with {"folder": 12345678901234567890123, "share": 1.0}\n',
            "I deleted the folder 12345678901234567890123.",
        ),
    ],
    ids=["yes", "no", "edited", "digits"],
)
def test_asks_at_the_terminal(service: Service, typed: str, decided: str, said: str) -> None:
    """A call that waits for a person is asked about, and the run resumes with the answer."""
    with at_terminal(service, *APPROVAL) as terminal:
        shown = terminal.until(ASKED)
        terminal.type(typed)
        rest = terminal.ended()
    assert "\n? delete_folder waits for approval, until 20" in shown
    assert "\n… waiting for approval of delete_folder\n" in shown
    assert rest.code == 0
    assert decided in rest.out
    assert f"\n{said}\n" in rest.out


def test_asks_for_a_larger_budget(service: Service) -> None:
    """A budget that is spent is asked about, again if the total is too low, and the run resumes with the new one."""
    with at_terminal(service, *BUDGET) as terminal:
        shown = terminal.until(RAISE)
        terminal.type("64")
        refused = terminal.until(RAISE)
        terminal.type("many")
        terminal.until(RAISE)
        terminal.type("200")
        rest = terminal.ended()
    assert "\n… waiting for a larger budget: 64 of 80 tokens spent\n" in shown
    assert "The run has spent 64: send a larger total." in refused
    assert rest.code == 0
    assert "  ✓ the budget is now 200 tokens\n" in rest.out
    assert "\nIt is 3 °C in Oslo.\n" in rest.out


def test_ends_a_run_whose_budget_is_spent(service: Service) -> None:
    """With n the run fails, and the error says why."""
    with at_terminal(service, *BUDGET) as terminal:
        terminal.until(RAISE)
        terminal.type("n")
        rest = terminal.ended()
    assert rest.code == 1
    assert "  ✗ the budget is not raised\n" in rest.out
    assert "budget_exceeded: The run's budget is spent" in rest.out


def test_limits_the_cost(service: Service, upstream: FakeDedalus) -> None:
    """--max-cost and --max-total-tokens are fields of the request. A price that isn't known is explained."""
    upstream.turn(*answer("Yes."))
    shown = run(CLIENT, "?", "--max-total-tokens", "500", url=service.url)
    refused = run(CLIENT, "?", "--max-cost", "0.05", url=service.url)
    assert shown.code == 0
    assert upstream.chats[-1].body["max_tokens"] < 500
    assert refused.code == 1
    assert "max_cost_usd: The price of test/model is not known" in refused.err


def test_asks_until_the_answer_is_one(service: Service) -> None:
    """The client asks again for an answer or JSON that it can't read. Arguments may be typed in a line of their own."""
    with at_terminal(service, *APPROVAL) as terminal:
        terminal.until(ASKED)
        terminal.type("perhaps")
        terminal.until(ASKED)
        for nonsense in ("folder=spam", '["spam"]', '{"folder": NaN}', '{"folder": "\\ud83d"}', "[" * 2000):
            terminal.type(f"e {nonsense}")
            terminal.until("That is not a JSON object.", ASKED)
        terminal.type("e")
        terminal.until("The arguments as JSON: ")
        terminal.type('{"folder": "spam"}')
        rest = terminal.ended()
    assert rest.code == 0
    assert "\nI deleted the folder spam.\n" in rest.out


@pytest.mark.parametrize(
    ("typed", "decided"),
    [
        ('e {"expression": "2 + 2"}', '  ✓ calculate approved with {"expression": "2 + 2"}\n'),
        ("n Not on a Friday.", "  ✗ calculate refused: Not on a Friday.\n"),
    ],
    ids=["edited", "no"],
)
def test_a_session_shows_the_decisions(service: Service, upstream: FakeDedalus, typed: str, decided: str) -> None:
    """--messages shows each decision below its call, in the words in which it was shown when it was made."""
    upstream.turn(*calling("calculate", '{"expression": "1 + 1"}'))
    upstream.turn(*answer("I see."))
    session = ("--session", uuid4().hex)
    with at_terminal(service, "?", "--tool", "calculate", "--require-approval", "calculate", *session) as terminal:
        terminal.until("Allow calculate")
        terminal.type(typed)
        assert decided in terminal.ended().out
    said = run(CLIENT, *session, "--messages", url=service.url).out
    assert f'→ calculate {{"expression": "1 + 1"}}\n{decided}' in said


def test_edited_arguments_that_the_tool_does_not_take(service: Service, upstream: FakeDedalus) -> None:
    """It is shown what is wrong with them, and the call is asked about again."""
    upstream.turn(*calling("calculate", '{"expression": "1 + 1"}'))
    upstream.turn(*answer("It is 4."))
    with at_terminal(service, "?", "--tool", "calculate", "--require-approval", "calculate") as terminal:
        terminal.until("Allow calculate")
        terminal.type('e {"sum": "2 + 2"}')
        refused = terminal.until("Allow calculate", "edit): ")
        terminal.type('e {"expression": "2 + 2"}')
        rest = terminal.ended()
    assert "✗ The answer was not accepted: invalid_request: " in refused
    assert "\n  arguments: " in refused
    assert rest.code == 0
    assert "  ✓ calculate: A person changed the arguments to" in rest.out
    assert "\nIt is 4.\n" in rest.out


def test_answered_elsewhere(service: Service) -> None:
    """A question that somebody else answers is withdrawn, and the run continues."""
    with at_terminal(service, *APPROVAL) as terminal:
        shown = terminal.until(ASKED)
        path = f"/api/agent/runs/{run_id(shown)}/approvals/call_simulated_1"
        httpx.post(service.url + path, json={"approved": False, "reason": "Mine."}, trust_env=False).raise_for_status()
        rest = terminal.ended()
    assert rest.code == 0
    assert rest.out.startswith("\n  ✗ delete_folder refused: Mine.\n")


def test_several_calls_are_asked_about_one_after_the_other(service: Service, upstream: FakeDedalus) -> None:
    """Of three calls the first and the last are answered elsewhere: only the second is left to the person here."""
    sums = [ToolCall(f"call_{i}", "calculate", f'{{"expression": "{i} + {i}"}}', index=i) for i in range(3)]
    upstream.turn(*sums, Finish("tool_calls"), Done())
    upstream.turn(*answer("I see."))
    with at_terminal(service, "?", "--tool", "calculate", "--require-approval", "calculate") as terminal:
        shown = terminal.until('Allow calculate {"expression": "0 + 0"}? ')
        calls = f"{service.url}/api/agent/runs/{run_id(shown)}/approvals"
        for call in ("call_2", "call_0"):
            httpx.post(f"{calls}/{call}", json={"approved": True}, trust_env=False).raise_for_status()
        terminal.until('Allow calculate {"expression": "1 + 1"}? ')
        terminal.type("n")
        rest = terminal.ended()
    assert rest.code == 0
    assert "Allow" not in rest.out
    assert [message["content"] for message in upstream.chats[-1].body["messages"][-3:]] == [
        "0",
        "A person denied this call.",
        "4",
    ]


def test_what_was_typed_before_is_no_answer(service: Service) -> None:
    """A line that was on its way when the question came doesn't approve anything."""
    with at_terminal(service, *APPROVAL) as terminal:
        terminal.type("y")
        terminal.until(ASKED)
        terminal.type("n")
        rest = terminal.ended()
    assert "\nI left the folder as it is.\n" in rest.out


def frame(seq: int, kind: str, /, **data: Any) -> bytes:
    """An event as it comes over the wire."""
    event = {"event": kind, "data": data, "run_id": f"run_{'0' * 32}", "seq": seq, "timestamp": ""}
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(event)}\n\n".encode()


@contextmanager
def answering(*statuses: int) -> Iterator[tuple[str, threading.Event]]:
    """The URL of a service whose run waits. It answers a decision so, and continues with 200 or on request."""
    left, decided = list(statuses), threading.Event()
    call = {"tool_call_id": "call_1", "name": "delete_folder"}
    usage = {"input_tokens": None, "output_tokens": None, "total_tokens": None}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if "/approvals/" not in self.path:
                self.stream()
                return
            error = {"code": "not_taken", "message": "No.", "retryable": False, "request_id": "req_1"}
            status = left.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"error": error}).encode())
            if status == httpx.codes.OK:
                decided.set()

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("X-Run-ID", f"run_{'0' * 32}")
            self.end_headers()
            self.wfile.write(frame(1, "tool_use", **call, arguments={"folder": "drafts"}, source="python"))
            self.wfile.write(frame(2, "waiting", pending=[{**call, "kind": "approval"}]))
            decided.wait(LAST_WAIT_S)
            self.wfile.write(frame(3, "complete", status="succeeded", usage=usage, steps=1, duration_ms=1))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}", decided
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (409, "Already answered: not_taken"),
        (404, "✗ The answer was not accepted"),
        (422, "✗ The answer was not accepted"),
    ],
    ids=str,
)
def test_an_answer_that_does_not_count(status: int, said: str) -> None:
    """The refusal is shown, and the client still follows the run."""
    with (
        answering(status) as (url, decided),
        process(CLIENT, "Hi", "--approve", env={"AGENT_STREAM_URL": url}) as asked,
    ):
        read_until(asked.stderr, said)
        decided.set()
        assert ended(asked).code == 0


def test_a_reason_that_is_too_long(service: Service) -> None:
    """At a terminal, too, what the command line says is sent once; then it is said what is wrong."""
    with at_terminal(service, *APPROVAL, "--refuse", "x" * 2001) as terminal:
        terminal.until("✗ The answer was not accepted: invalid_request: ", "  body.reason: ")
        terminal.process.send_signal(signal.SIGINT)
        rest = terminal.ended()
    assert rest.code == 3
    assert "The answer was not accepted" not in rest.out


def test_an_answer_that_is_not_taken_at_once() -> None:
    """It is sent again."""
    with answering(503, 502, 200) as (url, _):
        shown = run(CLIENT, "Hi", "--approve", url=url)
    assert shown.code == 0
    assert shown.err.count("Sending the answer again in 0.") == 2


@pytest.mark.parametrize(
    ("scenario", "question"), [(APPROVAL, ASKED), (LOCATE, "Result of ")], ids=["approval", "client tool"]
)
def test_end_of_input(service: Service, scenario: tuple[str, ...], question: str) -> None:
    """Ctrl-D answers nothing: the program ends with 5 and the command that asks again, and the run waits on."""
    with at_terminal(service, *scenario) as terminal:
        shown = terminal.until(question)
        terminal.screen.write(b"\x04")
        rest = terminal.ended()
    assert rest.code == 5
    assert "waits for an answer, such as:\n  curl " in rest.out
    assert service.run(run_id(shown))["status"] == "waiting"
    again = re.search(r"python test_client\.py (--resume \w+ --url \S+)\n", rest.out)
    assert again
    with at_terminal(service, *again[1].split()) as resumed:
        resumed.until(question)
        resumed.type("y")
        assert resumed.ended().code == 0


def test_ctrl_c_at_a_question(service: Service) -> None:
    """It cancels the run."""
    with at_terminal(service, *APPROVAL) as terminal:
        terminal.until(ASKED)
        terminal.process.send_signal(signal.SIGINT)
        rest = terminal.ended()
    assert rest.code == 3
    assert "■ cancelled" in rest.out


def test_a_question_outlives_the_service(nursery: Nursery, tmp_path: Path) -> None:
    """The service is killed while it asks, and is back when the answer comes: the run resumes."""
    with serving(nursery, tmp_path) as before, at_terminal(before, *APPROVAL) as terminal:
        terminal.until(ASKED)
        before.process.kill()
        terminal.until("Re-attaching")
        terminal.type("y")
        terminal.until("Sending the answer again")
        with serving(nursery, tmp_path, PORT=before.port):
            rest = terminal.ended()
    assert rest.code == 0
    assert "Allow" not in rest.out
    assert "\nI deleted the folder drafts.\n" in rest.out


def test_a_client_tool_s_result_is_typed(service: Service, upstream: FakeDedalus, tmp_path: Path) -> None:
    """The model is offered the tools, as JSON or in a file, and gets what was typed."""
    upstream.turn(*calling("locate", '{"exact": true}'))
    upstream.turn(*answer("You are in Oslo."))
    (tmp_path / "tool.json").write_text('{"name": "look", "description": "What the user sees."}')
    tools = ("--client-tool", '{"name": "locate"}', "--client-tool", str(tmp_path / "tool.json"))
    with at_terminal(service, "Where am I?", *tools) as terminal:
        terminal.until('Result of locate {"exact": true}: ')
        terminal.type("Oslo")
        rest = terminal.ended()
    assert rest.code == 0
    assert "\nYou are in Oslo.\n" in rest.out
    offered, result = upstream.chats[-2].body["tools"], upstream.chats[-1].body["messages"][-1]
    assert [tool["function"]["name"] for tool in offered] == ["locate", "look"]
    assert result["content"] == "Oslo"


def test_the_answer_matches_the_schema_of_a_file(service: Service, upstream: FakeDedalus, tmp_path: Path) -> None:
    """The schema is a part of the request, and the valid answer is printed."""
    (tmp_path / "schema.json").write_text('{"type": "object", "required": ["city"]}')
    upstream.turn(*answer("Oslo"))
    upstream.turn(*answer('{"city": "Oslo"}'))
    shown = run(CLIENT, "Where?", "--schema", str(tmp_path / "schema.json"), "--quiet", url=service.url)
    assert (shown.code, shown.out) == (0, '{"city": "Oslo"}\n')


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--approve",), "I deleted the folder drafts."),
        (("--refuse",), "I left the folder as it is."),
        (("--refuse", "Not on a Friday."), "I left the folder as it is."),
    ],
    ids=" ".join,
)
def test_answers_as_the_options_say(service: Service, option: tuple[str, ...], said: str) -> None:
    """--approve and --refuse answer without a question, also with --json, and at a terminal."""
    shown = run(CLIENT, *APPROVAL, *option, "--json", url=service.url)
    assert (shown.code, shown.err) == (0, "")
    printed = events(shown.out)
    [response] = [event["data"] for event in printed if event["event"] == "approval_response"]
    assert response.get("reason") == (option[1] if len(option) > 1 else None)
    assert printed[-2]["data"] == {"content": said}
    with at_terminal(service, *APPROVAL, *option) as terminal:
        rest = terminal.ended()
    assert rest.code == 0
    assert "Allow" not in rest.out


@pytest.mark.parametrize("scenario", [APPROVAL, LOCATE, BUDGET], ids=["approval", "client tool", "budget"])
def test_without_a_terminal(service: Service, scenario: tuple[str, ...]) -> None:
    """It says how to answer with curl, and follows on; that command answers."""
    with client(service, *scenario) as running:
        said = read_until(running.stderr, "  curl ", "\n")
        [command] = re.findall(r"curl .*", said)
        subprocess.run(["sh", "-c", f"curl -sS --fail {command[5:]}"], check=True, capture_output=True)
        rest = ended(running)
    assert rest.code == 0
    assert "✓ succeeded" in rest.out


def test_resumed_while_it_waits(service: Service) -> None:
    """A client that resumes a waiting run asks, wherever it continues reading, and asks no more once it is answered."""
    with client(service, *APPROVAL, "--json") as running:
        read_until(running.stderr, "  curl ", "\n")
        running.kill()
        printed = events(ended(running).out)
    resume = ("--resume", printed[0]["run_id"])
    with at_terminal(service, *resume, "--after", str(printed[-1]["seq"])) as again:
        again.until(ASKED)
        with at_terminal(service, *resume) as whole:
            whole.until(ASKED)
            whole.type("y")
            ends = [whole.ended(), again.ended()]
    assert [(end.code, "\nI deleted the folder drafts.\n" in end.out) for end in ends] == [(0, True)] * 2
    with at_terminal(service, *resume) as after:
        end = after.ended()
    assert end.code == 0
    assert "Allow" not in end.out


def test_execute_that_waits(service: Service, upstream: FakeDedalus) -> None:
    """--execute ends with 5 and says how to continue, and that works."""
    upstream.turn(*calling("calculate", '{"expression": "1 + 1"}'))
    upstream.turn(*answer("It is 2."))
    asking = ("--tool", "calculate", "--require-approval", "calculate")
    shown = run(CLIENT, "?", "--execute", *asking, url=service.url)
    assert shown.code == 5
    assert '\n→ calculate {"expression": "1 + 1"}\n' in shown.out
    assert "\n… waiting for approval of calculate\n" in shown.out
    again = re.search(r"--resume \w+", shown.err)
    assert again
    rest = run(CLIENT, *again[0].split(), "--approve", url=service.url)
    assert rest.code == 0
    assert "\nIt is 2.\n" in rest.out


def test_progress(service: Service) -> None:
    """A tool's progress is a line with its message, a bar and how far it is."""
    shown = run(CLIENT, "--simulate", "progress", "--delay-ms", "1", url=service.url)
    assert shown.code == 0
    assert f"\n  … Archived 36 of 120 messages {'━' * 6}{'─' * 14} 30%\n" in shown.out


def test_tools(service: Service) -> None:
    """--tools lists the Python tools with what they are for."""
    shown = run(CLIENT, "--tools", url=service.url)
    assert shown.code == 0
    assert "\ncurrent_time: The current date and time" in shown.out
