"""The command-line client and the examples as their users run them: processes, against a service that is served."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from fake_dedalus import FakeDedalus
from forked_command import ForkedCommand, forked_command
from lossy_proxy import losing_an_answer
from process import ROOT, Nursery, Process, forked_app
from service import NOWHERE
from wire import Done, ErrorData, Finish, Gate, Step, Text, Thinking, ToolCall, Usage, WaitFor, answer

CLIENT = "test_client.py"
THOUGHT = "The user asks about the weather, so I need to look it up."
ANSWER = "You asked: Well? It is 3 °C in Oslo, with light snow. ❄️"
LONG = ("--simulate", "long", "--delay-ms", "20")
SLOW = ("--simulate", "slow", "--delay-ms", "1")
APPROVAL = ("--simulate", "approval", "--delay-ms", "1")
LOCATE = ("--simulate", "client_tool", "--delay-ms", "1")
ASKED = 'Allow delete_folder {"folder": "drafts"}? y, n [reason] or e (edit): '
LAST_WAIT_S = 30

Program = subprocess.Popen[bytes] | ForkedCommand
NURSERY: ContextVar[Nursery] = ContextVar("NURSERY")


class Ended(NamedTuple):
    """What a program that has ended said."""

    code: int
    out: str
    err: str


class Service(NamedTuple):
    """A served app."""

    process: Process

    @property
    def url(self) -> str:
        """Where it is."""
        return self.process.url

    @property
    def port(self) -> str:
        """Where another service can take this one's place."""
        return str(urlsplit(self.url).port)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """The run's events so far."""
        return events(httpx.get(f"{self.url}/api/agent/runs/{run_id}/events?wait=false", trust_env=False).text)

    def run(self, run_id: str) -> dict[str, Any]:
        """How a run stands."""
        found: dict[str, Any] = httpx.get(f"{self.url}/api/agent/runs/{run_id}", trust_env=False).json()
        return found


@contextmanager
def process(
    *command: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    terminal: int | None = None,
    stdin: int = subprocess.DEVNULL,
    forked: bool = True,
) -> Iterator[Program]:
    """A Python program of this project, with an environment of its own, killed if it is still there in the end.

    The client is forked from a process that has imported it, unless `forked` is False.
    """
    clean = {"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "TERM": "xterm-256color", **env}
    script, *arguments = command
    if script == CLIENT and forked:
        with forked_command(
            NURSERY.get(), "test_client", *arguments, env=clean, stdin=stdin, terminal=terminal
        ) as started_fast:
            yield started_fast
            return
    # What pytest may have inherited as ignored, a child would inherit too; a caught signal is reset in the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    out, stdin = (subprocess.PIPE, stdin) if terminal is None else (terminal, terminal)
    started = subprocess.Popen(
        [sys.executable, ROOT / script, *arguments], cwd=cwd, env=clean, stdin=stdin, stdout=out, stderr=out, bufsize=0
    )
    signal.signal(signal.SIGINT, before)
    with started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def serving(nursery: Nursery, directory: Path, **settings: str) -> Iterator[Service]:
    """The service, without a model unless `settings` say where one is."""
    given = {"DATA_DIR": str(directory), "DEDALUS_BASE_URL": NOWHERE, "DEFAULT_MODEL": "test/model", "DRAIN_S": "3"}
    with forked_app(nursery, **given | settings) as process:
        yield Service(process)


def read_until(stream: IO[bytes] | None, *texts: str) -> str:
    """What comes from a pipe, up to the last of these texts or a little more."""
    assert stream is not None
    seen = b""
    for text in texts:
        while text.encode() not in seen:
            piece = stream.read(4096)
            assert piece, f"it ended without {text!r}: {seen!r}"
            seen += piece
    return seen.decode(errors="replace")


def ended(running: Program) -> Ended:
    """What a program says from here to its end."""
    out, err = running.communicate(timeout=LAST_WAIT_S)
    return Ended(running.wait(LAST_WAIT_S), out.decode(errors="replace"), err.decode(errors="replace"))


def run(*command: str, url: str, **env: str) -> Ended:
    """A program's whole run."""
    with process(*command, env={"AGENT_STREAM_URL": url, **env}) as running:
        return ended(running)


def piped(text: bytes, *arguments: str, url: str) -> Ended:
    """The client's whole run, with this on its standard input."""
    with process(CLIENT, *arguments, env={"AGENT_STREAM_URL": url}, stdin=subprocess.PIPE) as running:
        out, err = running.communicate(text, LAST_WAIT_S)
        return Ended(running.wait(LAST_WAIT_S), out.decode(), err.decode())


def client(service: Service, *arguments: str) -> AbstractContextManager[Program]:
    """The client, while it runs."""
    return process(CLIENT, *arguments, env={"AGENT_STREAM_URL": service.url})


class Terminal(NamedTuple):
    """The client at a terminal."""

    process: Program
    screen: IO[bytes]

    def until(self, *texts: str) -> str:
        """What is shown, up to the last of these texts or a little more."""
        return read_until(self.screen, *texts).replace("\r\n", "\n")

    def type(self, line: str) -> None:
        """A line of the person's."""
        self.screen.write(line.encode() + b"\n")

    def ended(self) -> Ended:
        """What is shown from here to the program's end."""
        shown = b""
        try:
            while piece := self.screen.read(4096):
                shown += piece
        except OSError:  # how Linux says that nobody has the terminal open any more
            pass
        return Ended(self.process.wait(LAST_WAIT_S), shown.decode(errors="replace").replace("\r\n", "\n"), "")


@contextmanager
def at_terminal(service: Service, *arguments: str) -> Iterator[Terminal]:
    """The client where a person sees it and can type."""
    ours, its = pty.openpty()
    with open(ours, "r+b", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        env = {"AGENT_STREAM_URL": service.url, "NO_COLOR": "1", "TERM": "dumb"}
        with process(CLIENT, *arguments, env=env, terminal=its) as running:
            os.close(its)
            yield Terminal(running, screen)


def events(out: str) -> list[dict[str, Any]]:
    """The events of `--json`."""
    return [json.loads(line) for line in out.splitlines()]


def run_id(text: str) -> str:
    """The run that the client has named."""
    found = re.search(r"run_[0-9a-f]{32}", text)
    assert found, text
    return found[0]


@pytest.fixture(scope="module", autouse=True)
def client_is_loaded(nursery: Nursery) -> None:
    """The nursery has the client, and `process` has the nursery."""
    nursery.load("test_client")
    NURSERY.set(nursery)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def service(nursery: Nursery, fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(nursery, tmp_path_factory.mktemp("service"), DEDALUS_BASE_URL=fake.url) as service:
        yield service


# What a run looks like


def test_shows_a_run(service: Service) -> None:
    """Thinking, the tool call with its arguments and result, the answer and the summary are shown, each once."""
    env = {"AGENT_STREAM_URL": service.url}
    with process(CLIENT, "Well?", "--simulate", "--delay-ms", "1", env=env, forked=False) as running:
        shown = ended(running)
    assert shown.code == 0
    assert shown.err == ""
    head, thought, call, progress, result, _, text, _, summary = shown.out.splitlines()
    assert head.startswith("simulated/scripted · run_")
    assert thought == THOUGHT
    assert call == '→ get_weather {"city":"Oslo"}'
    assert progress == f"  … Asking the weather service {'━' * 10}{'─' * 10} 50%"
    assert result == '  ✓ get_weather: {"city":"Oslo","celsius":3,"sky":"light snow"} · 120 ms'
    assert text == ANSWER
    assert summary.startswith("✓ succeeded · 2 steps · 80 + 42 tokens · ")


def test_shows_a_failed_tool(service: Service) -> None:
    """A tool's error is marked as one, and does not fail the run."""
    shown = run(CLIENT, "--simulate", "tool_error", "--delay-ms", "1", url=service.url)
    assert shown.code == 0
    assert "  ✗ get_weather: The weather service did not answer." in shown.out


def test_failed_run(service: Service) -> None:
    """A failed run ends the program with 1 and its error on stderr."""
    shown = run(CLIENT, "--simulate", "error", "--delay-ms", "1", url=service.url)
    assert shown.code == 1
    assert shown.err.startswith("✗ upstream_failed: ")
    assert "I was about to tell you that\n" in shown.out
    assert "\n✗ failed · 1 step · " in shown.out


def test_asks_a_model(service: Service, fake: FakeDedalus) -> None:
    """What the command line says of the request reaches the model, and its answer the screen, tabs and lines kept."""
    fake.turn(Thinking("Hm."), Text("one\n", "\ttwo", " [bold]"), Finish("length", Usage(3, 4, 7)), Done())
    options = ("--model", "a/b", "--instructions", "Be brief.", "--temperature", "0.5", "--mcp-server", "a/weather")
    shown = run(CLIENT, "Why?", *options, "--max-steps", "3", url=service.url)
    assert shown.code == 0
    assert "\nHm.\n\none\n\ttwo [bold]\n" in shown.out
    assert "✓ succeeded · 1 step · finish reason length · 3 + 4 tokens · " in shown.out
    sent = fake.chats[-1].body
    assert (sent["model"], sent["temperature"], sent["mcp_servers"]) == ("a/b", 0.5, ["a/weather"])
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "Why?"]


def test_colours(service: Service) -> None:
    """A terminal gets colours and styles, and no colours with NO_COLOR."""
    arguments = (CLIENT, "--simulate", "--delay-ms", "1")
    assert "\x1b[2;3mThe \x1b[0m" in run(*arguments, url=service.url, FORCE_COLOR="1").out
    assert "\x1b[32m" in run(*arguments, url=service.url, FORCE_COLOR="1").out
    assert "\x1b[32m" not in run(*arguments, url=service.url, FORCE_COLOR="1", NO_COLOR="1").out


def test_text_does_not_steer_the_terminal(service: Service, fake: FakeDedalus) -> None:
    """Control characters in an answer are not printed."""
    fake.turn(*answer("be\x1b]0;title\x07fore \x9b2Jafter\r"))
    shown = run(CLIENT, "Hi", url=service.url)
    assert "\nbe]0;titlefore 2Jafter\n" in shown.out


def test_json_lines(service: Service) -> None:
    """With --json each event is one line of JSON, as it was sent, also over a break."""
    shown = run(CLIENT, "Well?", "--simulate", "truncated", "--delay-ms", "1", "--json", url=service.url)
    assert shown.code == 0
    told = events(shown.out)
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert [told[0]["event"], told[-2]["event"], told[-1]["event"]] == ["run_started", "final_output", "complete"]
    assert told[-2]["data"] == {"content": ANSWER}
    assert "Re-attaching after event 8" in shown.err


# The JSON answer and the lists


def test_execute(service: Service, fake: FakeDedalus) -> None:
    """--execute shows the one JSON answer like a run, and with --json as it is."""
    fake.turn(*answer("Hello there", Usage(3, 4, 7)))
    fake.turn(*answer("Hello again", Usage(3, 4, 7)))
    shown = run(CLIENT, "Hi", "--execute", url=service.url)
    assert shown.code == 0
    assert re.fullmatch(
        r"test/model · run_\w+\n\nHello there\n\n✓ succeeded · 1 step · 3 \+ 4 tokens · .* s\n", shown.out
    )
    shown = run(CLIENT, "Hi", "--execute", "--json", url=service.url)
    assert json.loads(shown.out)["output"] == "Hello again"


def test_execute_failed(service: Service, fake: FakeDedalus) -> None:
    """A failed --execute ends the program with 1 and the service's error."""
    fake.turn(Text("Hel"), ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run(CLIENT, "Hi", "--execute", url=service.url)
    assert shown.code == 1
    assert re.match(r"✗ upstream_failed: .* \(HTTP 502, req_\w+\)\n", shown.err)


def test_models(service: Service) -> None:
    """--models lists one id a line."""
    shown = run(CLIENT, "--models", url=service.url)
    assert (shown.code, shown.out) == (0, "openai/gpt-4.1\nanthropic/claude-sonnet-4-5\n")


# Conversations, and runs in the background


def test_session(service: Service, fake: FakeDedalus) -> None:
    """--session goes on with a conversation: the model is told what was said, and --messages and --runs show it."""
    fake.turn(*answer("It is cold."))
    fake.turn(*answer("Colder."))
    here = ("--session", "chat:1")
    first, second = (run(CLIENT, question, *here, url=service.url) for question in ("Oslo?", "And at night?"))
    assert (first.code, second.code) == (0, 0)
    told = [(message["role"], message["content"]) for message in fake.chats[-1].body["messages"]]
    assert told == [("user", "Oslo?"), ("assistant", "It is cold."), ("user", "And at night?")]
    said = run(CLIENT, *here, "--messages", url=service.url)
    assert (said.code, said.out) == (0, "\n> Oslo?\nIt is cold.\n\n> And at night?\nColder.\n")
    runs = run(CLIENT, *here, "--runs", url=service.url).out.splitlines()
    assert [line.split()[:2] for line in runs] == [[run_id(shown.out), "succeeded"] for shown in (second, first)]


def test_busy_session(service: Service, fake: FakeDedalus) -> None:
    """While a run of the session is going, another one is refused with what to do about it, and --multitask does it."""
    fake.turn(Text("Wait"), WaitFor(Gate()))
    fake.turn(*answer("Here I am."))
    here = ("--session", "busy")
    with client(service, "Hm?", *here) as first:
        shown = read_until(first.stdout, "Wait")
        refused = run(CLIENT, "Well?", *here, url=service.url)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("✗ session_busy: ")
        assert f"--resume {run_id(shown)} follows that run." in refused.err
        assert "\nHere I am.\n" in run(CLIENT, "Well?", *here, "--multitask", "interrupt", url=service.url).out
        assert ended(first).code == 3


def test_background(service: Service, fake: FakeDedalus) -> None:
    """--background prints the id of a run that goes on alone, and says how to follow it, which can be done."""
    fake.turn(*answer("Hello there"))
    started = run(CLIENT, "Hi", "--background", url=service.url)
    assert (started.code, started.out) == (0, f"{run_id(started.out)}\n")
    again = re.search(r"--resume \w+", started.err)
    assert again
    assert "\nHello there\n" in run(CLIENT, *again[0].split(), url=service.url).out


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
    ],
    ids=["yes", "no", "edited"],
)
def test_asks_at_the_terminal(service: Service, typed: str, decided: str, said: str) -> None:
    """A call that waits for a person is asked about, and the run goes on with the answer."""
    with at_terminal(service, *APPROVAL) as terminal:
        shown = terminal.until(ASKED)
        terminal.type(typed)
        rest = terminal.ended()
    assert "\n? delete_folder waits for approval, until 20" in shown
    assert "\n… waiting for approval of delete_folder\n" in shown
    assert rest.code == 0
    assert decided in rest.out
    assert f"\n{said}\n" in rest.out


def test_asks_until_the_answer_is_one(service: Service) -> None:
    """What is no answer, or no JSON, is asked for again; the arguments may be typed in a line of their own."""
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


def calling(name: str, arguments: str) -> list[Step]:
    """A model's turn that calls a tool."""
    return [ToolCall("call_1", name, arguments), Finish("tool_calls"), Done()]


def test_edited_arguments_that_the_tool_does_not_take(service: Service, fake: FakeDedalus) -> None:
    """It is shown what is wrong with them, and the call is asked about again."""
    fake.turn(*calling("calculate", '{"expression": "1 + 1"}'))
    fake.turn(*answer("It is 4."))
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
    """A question that somebody else answers is taken off, and the run goes on."""
    with at_terminal(service, *APPROVAL) as terminal:
        shown = terminal.until(ASKED)
        path = f"/api/agent/runs/{run_id(shown)}/approvals/call_simulated_1"
        httpx.post(service.url + path, json={"approved": False, "reason": "Mine."}, trust_env=False).raise_for_status()
        rest = terminal.ended()
    assert rest.code == 0
    assert rest.out.startswith("\n  ✗ delete_folder refused: Mine.\n")


def test_several_calls_are_asked_about_one_after_the_other(service: Service, fake: FakeDedalus) -> None:
    """Of three calls the first and the last are answered elsewhere: only the second is left to the person here."""
    sums = [ToolCall(f"call_{i}", "calculate", f'{{"expression": "{i} + {i}"}}', index=i) for i in range(3)]
    fake.turn(*sums, Finish("tool_calls"), Done())
    fake.turn(*answer("I see."))
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
    assert [message["content"] for message in fake.chats[-1].body["messages"][-3:]] == [
        "0",
        "A person refused this call.",
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
    """Where a service is whose run waits for a decision, answers it so, and goes on with 200 or when it is told to."""
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
    """It is told, and the run is followed on."""
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
    """The service is killed while it asks, and is back when the answer comes: the run goes on."""
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


def test_a_client_tool_s_result_is_typed(service: Service, fake: FakeDedalus, tmp_path: Path) -> None:
    """The model is offered the tools, as JSON or in a file, and gets what was typed."""
    fake.turn(*calling("locate", '{"exact": true}'))
    fake.turn(*answer("You are in Oslo."))
    (tmp_path / "tool.json").write_text('{"name": "look", "description": "What the user sees."}')
    tools = ("--client-tool", '{"name": "locate"}', "--client-tool", str(tmp_path / "tool.json"))
    with at_terminal(service, "Where am I?", *tools) as terminal:
        terminal.until('Result of locate {"exact": true}: ')
        terminal.type("Oslo")
        rest = terminal.ended()
    assert rest.code == 0
    assert "\nYou are in Oslo.\n" in rest.out
    offered, told = fake.chats[-2].body["tools"], fake.chats[-1].body["messages"][-1]
    assert [tool["function"]["name"] for tool in offered] == ["locate", "look"]
    assert told["content"] == "Oslo"


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
    told = events(shown.out)
    [response] = [event["data"] for event in told if event["event"] == "approval_response"]
    assert response.get("reason") == (option[1] if len(option) > 1 else None)
    assert told[-2]["data"] == {"content": said}
    with at_terminal(service, *APPROVAL, *option) as terminal:
        rest = terminal.ended()
    assert rest.code == 0
    assert "Allow" not in rest.out


@pytest.mark.parametrize("scenario", [APPROVAL, LOCATE], ids=["approval", "client tool"])
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
    """Whoever resumes a run that waits is asked, wherever they go on reading; once it is answered nobody is."""
    with client(service, *APPROVAL, "--json") as running:
        read_until(running.stderr, "  curl ", "\n")
        running.kill()
        told = events(ended(running).out)
    resume = ("--resume", told[0]["run_id"])
    with at_terminal(service, *resume, "--after", str(told[-1]["seq"])) as again:
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


def test_execute_that_waits(service: Service, fake: FakeDedalus) -> None:
    """--execute ends with 5 and says how to go on, which can be done."""
    fake.turn(*calling("calculate", '{"expression": "1 + 1"}'))
    fake.turn(*answer("It is 2."))
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


# What goes wrong


def test_lost_answer(service: Service, fake: FakeDedalus) -> None:
    """A question whose connection broke before the answer came is sent again, and is the same run: asked once."""
    fake.turn(*answer("Hello there"))
    asked = len(fake.chats)
    with losing_an_answer(service.url) as url:
        shown = run(CLIENT, "Hi", "--json", url=url)
    assert shown.code == 0
    assert re.fullmatch(r"Trying again in 0\.\d s: .*\n", shown.err)
    told = events(shown.out)
    assert told == service.events(told[0]["run_id"])
    assert told[-2]["data"] == {"content": "Hello there"}
    assert len(fake.chats) == asked + 1


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
                told = events(shown + rest.out)
                assert told == after.events(told[0]["run_id"])
                same_run = ("--resume", events(whole.out)[0]["run_id"], "--json")
                assert run(CLIENT, *same_run, url=after.url).out == whole.out
    assert rest.code == 1
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert [told[-2]["data"]["code"], told[-1]["data"]["status"]] == ["interrupted", "failed"]


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
        *("two decisions", "no reason in UTF-8", "no file", "no JSON"),
    ],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense ends the program with 2, before anything is sent."""
    shown = run(CLIENT, *arguments, url=NOWHERE)
    assert shown.code == 2
    assert shown.err.startswith("usage: ")


# Without a question


def test_tour(service: Service, fake: FakeDedalus) -> None:
    """The bare command: a scripted run, the answer of the model to a question, and what else there is."""
    fake.turn(Text("Paris."), Finish("stop"), Done())
    shown = run(CLIENT, url=service.url)
    assert shown.code == 0
    scripted, real = shown.out.split("test/model · run_")
    assert scripted.startswith("simulated/scripted · run_")
    assert "→ get_weather" in scripted
    assert "Paris." in real
    assert shown.out.count("✓ succeeded") == 2
    assert "--help" in shown.err


def test_tour_of_a_model_that_fails(service: Service, fake: FakeDedalus) -> None:
    """The tour's end is that of its real question."""
    fake.turn(ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run(CLIENT, url=service.url)
    assert shown.code == 1
    assert "✓ succeeded" in shown.out
    assert "✗ failed" in shown.out


def test_tour_at_a_terminal(service: Service, fake: FakeDedalus) -> None:
    """After the tour it asks for questions until an empty line, and ends as the last one has."""
    for said in ("Paris.", "Because."):
        fake.turn(Text(said), Finish("stop"), Done())
    with at_terminal(service) as terminal:
        assert "Paris." in terminal.until("Your question (Enter to leave): ")
        terminal.type("Why is the sky blue?")
        assert "Because." in terminal.until("Your question (Enter to leave): ")
        terminal.type("")
        assert terminal.ended().code == 0
    assert [chat.body["messages"][-1]["content"] for chat in fake.chats[-2:]] == [
        "What is the capital of France?",
        "Why is the sky blue?",
    ]


@pytest.mark.parametrize("is_interrupt", [True, False], ids=["Ctrl-C", "Ctrl-D"])
def test_prompt(service: Service, fake: FakeDedalus, is_interrupt: bool) -> None:
    """With options there is no tour: a terminal is asked for the question, which has them."""
    fake.turn(Text("Because."), Finish("stop"), Done())
    with at_terminal(service, "--model", "a/b") as terminal:
        terminal.until("Your question (Enter to leave): ")
        terminal.type("Why?")
        terminal.until("Because.", "Your question (Enter to leave): ")
        if is_interrupt:
            terminal.process.send_signal(signal.SIGINT)
        else:
            terminal.screen.write(b"\x04")
        assert terminal.ended().code == 0
    sent = fake.chats[-1].body
    assert (sent["model"], sent["messages"][-1]["content"]) == ("a/b", "Why?")


def test_prompt_after_a_refusal(service: Service) -> None:
    """A question that the service refuses is told, and the next one may be asked."""
    with at_terminal(service, "--max-steps", "1000") as terminal:
        terminal.until("Your question (Enter to leave): ")
        terminal.type("Why?")
        assert "body.max_steps" in terminal.until("invalid_request", "Your question (Enter to leave): ")
        terminal.type("")
        assert terminal.ended().code == 1


@pytest.mark.parametrize("text", [b"Why?", b"Why?\n", b"  Why?\n\n", "¿Por qué?\nIn one line.\n".encode()])
def test_question_from_a_pipe(service: Service, fake: FakeDedalus, text: bytes) -> None:
    """`echo "…" | test_client.py`: what standard input holds, without the blank around it, is the question."""
    fake.turn(Text("Because."), Finish("stop"), Done())
    shown = piped(text, url=service.url)
    assert (shown.code, shown.err) == (0, "")
    assert "Because." in shown.out
    assert fake.chats[-1].body["messages"][-1]["content"] == text.decode().strip()


def test_pipe_that_is_not_utf_8(service: Service) -> None:
    """Bytes that are no text end the program with 2."""
    shown = piped(b"caf\xe9", url=service.url)
    assert shown.code == 2
    assert "UTF-8" in shown.err


def test_without_standard_input(service: Service) -> None:
    """`<&-`, as some services start programs: there is no question, and nobody to ask."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, CLIENT, "--simulate", "--delay-ms", "1"]
    env = {"PATH": os.environ["PATH"], "AGENT_STREAM_URL": service.url, "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=LAST_WAIT_S)
    assert (done.returncode, done.stderr) == (0, b"")


def test_argument_and_pipe(service: Service, fake: FakeDedalus) -> None:
    """A QUESTION on the command line is the question, whatever standard input holds."""
    fake.turn(Text("Because."), Finish("stop"), Done())
    shown = piped(b"Not this.", "Why?", url=service.url)
    assert shown.code == 0
    assert fake.chats[-1].body["messages"][-1]["content"] == "Why?"


# In pipes


@pytest.mark.parametrize("more", [(), ("--execute",)], ids=["stream", "execute"])
def test_quiet(service: Service, fake: FakeDedalus, more: tuple[str, ...]) -> None:
    """`--quiet` prints the answer alone: no thinking, no calls, nothing of earlier steps."""
    called = ToolCall("call_1", "calculate", '{"expression": "1 + 1"}')
    fake.turn(Text("Let me see."), called, Finish("tool_calls"), Done())
    fake.turn(Thinking("Hm."), Text("one\n", "two"), Finish("stop"), Done())
    shown = run(CLIENT, "Why?", "--quiet", "--tool", "calculate", *more, url=service.url)
    assert shown == (0, "one\ntwo\n", "")


def test_quiet_failure(service: Service) -> None:
    """A run that failed has no answer: nothing on standard output, the error beside it."""
    shown = run(CLIENT, "--simulate", "error", "--delay-ms", "1", "--quiet", url=service.url)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("✗ upstream_failed: ")


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "JSON"])
def test_reader_that_leaves(service: Service, more: tuple[str, ...]) -> None:
    """`| head -n 1`: who has read enough ends the program, quietly and in success."""
    env = {"AGENT_STREAM_URL": service.url}
    with process(CLIENT, *LONG, *more, env=env, forked=False) as running:  # an interpreter flushes as it ends
        assert running.stdout is not None
        assert running.stdout.readline()
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
        assert running.wait(LAST_WAIT_S) == 0


@pytest.mark.parametrize("form", ["localhost:{}", "127.0.0.1:{}", "http://localhost:{}", "localhost:{}/"])
def test_url(service: Service, form: str) -> None:
    """An address without a scheme is read as http."""
    shown = run(CLIENT, "--models", "--url", form.format(service.port), url=NOWHERE)
    assert (shown.code, shown.err) == (0, "")


def test_url_with_a_path(service: Service) -> None:
    """The address of one of the service's pages is not the service's: the error says so."""
    shown = run(CLIENT, "Hi", "--url", f"{service.url}/docs", url=NOWHERE)
    assert shown.code == 1
    assert "the service's address without a path" in shown.err


@pytest.mark.parametrize(
    ("line", "environment"),
    [
        ("PORT={}", {}),
        ("export port='{}'  # mine", {"HOST": "0.0.0.0"}),
        ("PORT=1", {"PORT": "{}"}),
    ],
    ids=["file", "file and every address", "environment"],
)
def test_default_url(service: Service, tmp_path: Path, line: str, environment: dict[str, str]) -> None:
    """Without an address it asks where the service listens: HOST and PORT of the environment, or of `.env`."""
    copy = tmp_path / CLIENT
    copy.write_text((ROOT / CLIENT).read_text())
    (tmp_path / ".env").write_text(f"#PORT=2\nHOST=127.0.0.1\n{line.format(service.port)}\n")
    env = {name: value.format(service.port) for name, value in environment.items()}
    with process(str(copy), "--tools", env=env) as running:
        shown = ended(running)
    assert (shown.code, shown.err) == (0, "")


def test_unreachable() -> None:
    """Without a service the program ends with 4 and says how to start one."""
    shown = run(CLIENT, "Hi", url=NOWHERE)
    assert (shown.code, shown.out) == (4, "")
    assert f"Can't reach {NOWHERE}" in shown.err
    assert "./run.sh" in shown.err


def test_service_killed(nursery: Nursery, tmp_path: Path) -> None:
    """A service that is gone for good leaves the stream incomplete: 4, after so many tries, and how to go on."""
    with serving(nursery, tmp_path) as service, client(service, *LONG, "--retries", "2") as running:
        shown = read_until(running.stdout, "Part 1. ")
        service.process.kill()
        rest = ended(running)
    assert rest.code == 4
    assert rest.err.count("Re-attaching after event ") == 2
    assert f"--resume {run_id(shown)} --after " in rest.err


def test_draining_service(nursery: Nursery, tmp_path: Path) -> None:
    """A service that shuts down tells the client when to come back, and is believed."""
    with serving(nursery, tmp_path) as service, client(service, *SLOW, "--retries", "1") as running:
        read_until(running.stdout, "run_")
        service.process.send_signal(signal.SIGTERM)
        rest = ended(running)
    assert rest.code == 4
    assert "Re-attaching after event 2 in 2.0 s: the service is shutting down\n" in rest.err


def test_full_service(nursery: Nursery, tmp_path: Path) -> None:
    """A service that is full is asked again when it says so; Ctrl-C ends the wait."""
    with (
        serving(nursery, tmp_path, MAX_CONCURRENT_RUNS="1") as service,
        client(service, *SLOW) as first,
    ):
        read_until(first.stdout, "run_")
        with client(service, *SLOW) as second:
            assert "Trying again in 5.0 s: server_full: " in read_until(second.stderr, "\n")
            second.send_signal(signal.SIGINT)
            assert ended(second).code == 3


# Ctrl-C


def test_ctrl_c_cancels_the_run(service: Service) -> None:
    """Ctrl-C cancels the run at the service, shows how it ends, and ends the program with 3."""
    with client(service, *LONG) as running:
        shown = read_until(running.stdout, "Part 1. ")
        running.send_signal(signal.SIGINT)
        rest = ended(running)
    assert rest.code == 3
    assert "■ cancelled · 1 step · " in rest.out
    assert shown.count("Part 1. ") + rest.out.count("Part 1. ") == 1
    assert service.run(run_id(shown))["status"] == "cancelled"


def test_ctrl_c_twice_leaves_at_once(nursery: Nursery, tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for a service that doesn't answer."""
    with serving(nursery, tmp_path) as service, client(service, *SLOW) as running:
        read_until(running.stdout, "run_")
        service.process.send_signal(signal.SIGSTOP)
        running.send_signal(signal.SIGINT)
        read_until(running.stderr, "Cancelling the run")
        running.send_signal(signal.SIGINT)
        assert ended(running).code == 3


# The examples


def test_example_stream(service: Service, fake: FakeDedalus) -> None:
    """examples/python_stream.py prints the answer to its question."""
    fake.turn(*answer("Because of Rayleigh scattering."))
    shown = run("examples/python_stream.py", "Why?", url=service.url)
    assert shown == (0, "Because of Rayleigh scattering.\n", "")
    assert fake.chats[-1].body["messages"][-1]["content"] == "Why?"


def test_example_stream_failed(service: Service, fake: FakeDedalus) -> None:
    """examples/python_stream.py ends with 1 and the error's code when the run fails."""
    fake.turn(Text("Hel"), ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run("examples/python_stream.py", "Why?", url=service.url)
    assert shown.code == 1
    assert shown.err.startswith("upstream_failed ")


def test_example_resume(service: Service) -> None:
    """examples/python_resume.py gets over a broken connection, with nothing missing and nothing twice."""
    shown = run("examples/python_resume.py", "Well?", url=service.url)
    assert (shown.code, shown.out) == (0, f"{THOUGHT}\n{ANSWER}\n")
    assert ": resuming]" in shown.err
