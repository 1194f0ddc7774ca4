"""The command-line client as its users run it: a process, against a service that is served."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client_programs import (
    ANSWER,
    CLIENT,
    LAST_WAIT_S,
    LONG,
    SLOW,
    THOUGHT,
    Service,
    at_terminal,
    client,
    ended,
    events,
    piped,
    process,
    read_until,
    run,
    run_id,
    serving,
)
from fake_dedalus import FakeDedalus
from process import ROOT, Nursery
from service import NOWHERE
from wire import Done, ErrorData, Finish, Gate, Text, Thinking, ToolCall, Usage, WaitFor, answer

from models import Scenario

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.usefixtures("client_is_loaded")


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


def test_asks_a_model(service: Service, upstream: FakeDedalus) -> None:
    """The command line's request reaches the model, and the answer the screen, with tabs and line breaks."""
    upstream.turn(Thinking("Hm."), Text("one\n", "\ttwo", " [bold]"), Finish("length", Usage(3, 4, 7)), Done())
    options = ("--model", "a/b", "--instructions", "Be brief.", "--temperature", "0.5", "--mcp-server", "a/weather")
    shown = run(CLIENT, "Why?", *options, "--max-steps", "3", url=service.url)
    assert shown.code == 0
    assert "\nHm.\n\none\n\ttwo [bold]\n" in shown.out
    assert "✓ succeeded · 1 step · finish reason length · 3 + 4 tokens · " in shown.out
    sent = upstream.chats[-1].body
    assert (sent["model"], sent["temperature"], sent["mcp_servers"]) == ("a/b", 0.5, ["a/weather"])
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "Why?"]


def test_colours(service: Service) -> None:
    """A terminal gets colours and styles, and no colours with NO_COLOR."""
    arguments = (CLIENT, "--simulate", "--delay-ms", "1")
    assert "\x1b[2;3mThe \x1b[0m" in run(*arguments, url=service.url, FORCE_COLOR="1").out
    assert "\x1b[32m" in run(*arguments, url=service.url, FORCE_COLOR="1").out
    assert "\x1b[32m" not in run(*arguments, url=service.url, FORCE_COLOR="1", NO_COLOR="1").out


def test_text_does_not_steer_the_terminal(service: Service, upstream: FakeDedalus) -> None:
    """Control characters in an answer are not printed."""
    upstream.turn(*answer("be\x1b]0;title\x07fore \x9b2Jafter\r"))
    shown = run(CLIENT, "Hi", url=service.url)
    assert "\nbe]0;titlefore 2Jafter\n" in shown.out


def test_json_lines(service: Service) -> None:
    """With --json each event is one line of JSON, as it was sent, also over a break."""
    shown = run(CLIENT, "Well?", "--simulate", "truncated", "--delay-ms", "1", "--json", url=service.url)
    assert shown.code == 0
    printed = events(shown.out)
    assert [event["seq"] for event in printed] == list(range(1, len(printed) + 1))
    assert [printed[0]["event"], printed[-2]["event"], printed[-1]["event"]] == [
        "run_started",
        "final_output",
        "complete",
    ]
    assert printed[-2]["data"] == {"content": ANSWER}
    assert "Re-attaching after event 8" in shown.err


# The JSON answer and the lists


def test_execute(service: Service, upstream: FakeDedalus) -> None:
    """--execute shows the one JSON answer like a run, and with --json as it is."""
    upstream.turn(*answer("Hello there", Usage(3, 4, 7)))
    upstream.turn(*answer("Hello again", Usage(3, 4, 7)))
    shown = run(CLIENT, "Hi", "--execute", url=service.url)
    assert shown.code == 0
    assert re.fullmatch(
        r"test/model · run_\w+\n\nHello there\n\n✓ succeeded · 1 step · 3 \+ 4 tokens · .* s\n", shown.out
    )
    shown = run(CLIENT, "Hi", "--execute", "--json", url=service.url)
    assert json.loads(shown.out)["output"] == "Hello again"


def test_execute_failed(service: Service, upstream: FakeDedalus) -> None:
    """A failed --execute ends the program with 1 and the service's error."""
    upstream.turn(Text("Hel"), ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run(CLIENT, "Hi", "--execute", url=service.url)
    assert shown.code == 1
    assert re.match(r"✗ upstream_failed: .* \(HTTP 502, req_\w+\)\n", shown.err)


def test_models(service: Service) -> None:
    """--models lists one id a line."""
    shown = run(CLIENT, "--models", url=service.url)
    assert (shown.code, shown.out) == (0, "openai/gpt-4.1\nanthropic/claude-sonnet-4-5\n")


# Conversations, and runs in the background


def test_session(service: Service, upstream: FakeDedalus) -> None:
    """--session continues a conversation: the model gets its messages, and --messages and --runs show it."""
    upstream.turn(*answer("It is cold."))
    upstream.turn(*answer("Colder."))
    here = ("--session", "chat:1")
    first, second = (run(CLIENT, question, *here, url=service.url) for question in ("Oslo?", "And at night?"))
    assert (first.code, second.code) == (0, 0)
    messages = [(message["role"], message["content"]) for message in upstream.chats[-1].body["messages"]]
    assert messages == [("user", "Oslo?"), ("assistant", "It is cold."), ("user", "And at night?")]
    said = run(CLIENT, *here, "--messages", url=service.url)
    assert (said.code, said.out) == (0, "\n> Oslo?\nIt is cold.\n\n> And at night?\nColder.\n")
    runs = run(CLIENT, *here, "--runs", url=service.url).out.splitlines()
    assert [line.split()[:2] for line in runs] == [[run_id(shown.out), "succeeded"] for shown in (second, first)]


def test_busy_session(service: Service, upstream: FakeDedalus) -> None:
    """While a run of the session is going, another one is refused with what to do about it, and --multitask does it."""
    upstream.turn(Text("Wait"), WaitFor(Gate()))
    upstream.turn(*answer("Here I am."))
    here = ("--session", "busy")
    with client(service, "Hm?", *here) as first:
        shown = read_until(first.stdout, "Wait")
        refused = run(CLIENT, "Well?", *here, url=service.url)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("✗ session_busy: ")
        assert f"--resume {run_id(shown)} follows that run." in refused.err
        assert "\nHere I am.\n" in run(CLIENT, "Well?", *here, "--multitask", "interrupt", url=service.url).out
        assert ended(first).code == 3


def test_background(service: Service, upstream: FakeDedalus) -> None:
    """--background prints the id of a run that continues alone, and says how to follow it, and that works."""
    upstream.turn(*answer("Hello there"))
    started = run(CLIENT, "Hi", "--background", url=service.url)
    assert (started.code, started.out) == (0, f"{run_id(started.out)}\n")
    again = re.search(r"--resume \w+", started.err)
    assert again
    assert "\nHello there\n" in run(CLIENT, *again[0].split(), url=service.url).out


# Without a question


def test_tour(service: Service, upstream: FakeDedalus) -> None:
    """The bare command: a scripted run, the answer of the model to a question, and what else there is."""
    upstream.turn(Text("Paris."), Finish("stop"), Done())
    shown = run(CLIENT, url=service.url)
    assert shown.code == 0
    scripted, real = shown.out.split("test/model · run_")
    assert scripted.startswith("simulated/scripted · run_")
    assert "→ get_weather" in scripted
    assert "Paris." in real
    assert shown.out.count("✓ succeeded") == 2
    assert "--help" in shown.err


def test_tour_of_a_model_that_fails(service: Service, upstream: FakeDedalus) -> None:
    """The tour's end is that of its real question."""
    upstream.turn(ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run(CLIENT, url=service.url)
    assert shown.code == 1
    assert "✓ succeeded" in shown.out
    assert "✗ failed" in shown.out


def test_tour_at_a_terminal(service: Service, upstream: FakeDedalus) -> None:
    """After the tour it asks for questions until an empty line, and ends as the last one has."""
    for said in ("Paris.", "Because."):
        upstream.turn(Text(said), Finish("stop"), Done())
    with at_terminal(service) as terminal:
        assert "Paris." in terminal.until("Your question (Enter to leave): ")
        terminal.type("Why is the sky blue?")
        assert "Because." in terminal.until("Your question (Enter to leave): ")
        terminal.type("")
        assert terminal.ended().code == 0
    assert [chat.body["messages"][-1]["content"] for chat in upstream.chats[-2:]] == [
        "What is the capital of France?",
        "Why is the sky blue?",
    ]


@pytest.mark.parametrize("is_interrupt", [True, False], ids=["Ctrl-C", "Ctrl-D"])
def test_prompt(service: Service, upstream: FakeDedalus, is_interrupt: bool) -> None:
    """With options there is no tour: a terminal is asked for the question, which has them."""
    upstream.turn(Text("Because."), Finish("stop"), Done())
    with at_terminal(service, "--model", "a/b") as terminal:
        terminal.until("Your question (Enter to leave): ")
        terminal.type("Why?")
        terminal.until("Because.", "Your question (Enter to leave): ")
        if is_interrupt:
            terminal.process.send_signal(signal.SIGINT)
        else:
            terminal.screen.write(b"\x04")
        assert terminal.ended().code == 0
    sent = upstream.chats[-1].body
    assert (sent["model"], sent["messages"][-1]["content"]) == ("a/b", "Why?")


def test_prompt_after_a_refusal(service: Service) -> None:
    """A refusal of a question is shown, and the next one may be asked."""
    with at_terminal(service, "--max-steps", "1000") as terminal:
        terminal.until("Your question (Enter to leave): ")
        terminal.type("Why?")
        assert "body.max_steps" in terminal.until("invalid_request", "Your question (Enter to leave): ")
        terminal.type("")
        assert terminal.ended().code == 1


@pytest.mark.parametrize("text", [b"Why?", b"Why?\n", b"  Why?\n\n", "¿Por qué?\nIn one line.\n".encode()])
def test_question_from_a_pipe(service: Service, upstream: FakeDedalus, text: bytes) -> None:
    """`echo "…" | test_client.py`: what standard input holds, without the blank around it, is the question."""
    upstream.turn(Text("Because."), Finish("stop"), Done())
    shown = piped(text, url=service.url)
    assert (shown.code, shown.err) == (0, "")
    assert "Because." in shown.out
    assert upstream.chats[-1].body["messages"][-1]["content"] == text.decode().strip()


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


def test_argument_and_pipe(service: Service, upstream: FakeDedalus) -> None:
    """A QUESTION on the command line is the question, whatever standard input holds."""
    upstream.turn(Text("Because."), Finish("stop"), Done())
    shown = piped(b"Not this.", "Why?", url=service.url)
    assert shown.code == 0
    assert upstream.chats[-1].body["messages"][-1]["content"] == "Why?"


# In pipes


@pytest.mark.parametrize("more", [(), ("--execute",)], ids=["stream", "execute"])
def test_quiet(service: Service, upstream: FakeDedalus, more: tuple[str, ...]) -> None:
    """`--quiet` prints the answer alone: no thinking, no calls, nothing of earlier steps."""
    called = ToolCall("call_1", "calculate", '{"expression": "1 + 1"}')
    upstream.turn(Text("Let me see."), called, Finish("tool_calls"), Done())
    upstream.turn(Thinking("Hm."), Text("one\n", "two"), Finish("stop"), Done())
    shown = run(CLIENT, "Why?", "--quiet", "--tool", "calculate", *more, url=service.url)
    assert shown == (0, "one\ntwo\n", "")


def test_quiet_failure(service: Service) -> None:
    """A run that failed has no answer: nothing on standard output, the error beside it."""
    shown = run(CLIENT, "--simulate", "error", "--delay-ms", "1", "--quiet", url=service.url)
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("✗ upstream_failed: ")


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "JSON"])
def test_reader_that_leaves(service: Service, more: tuple[str, ...]) -> None:
    """`| head -n 1`: a reader that closes the pipe ends the program, without an error."""
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
    with process(str(copy), "--tools", env=env, forked=False) as running:
        shown = ended(running)
    assert (shown.code, shown.err) == (0, "")


def test_unreachable() -> None:
    """Without a service the program ends with 4 and says how to start one."""
    shown = run(CLIENT, "Hi", url=NOWHERE)
    assert (shown.code, shown.out) == (4, "")
    assert f"Can't reach {NOWHERE}" in shown.err
    assert "./run.sh" in shown.err


@pytest.mark.parametrize("command", [["Hi"], ["--help"], ["Hi", "--url", "http://me:sk-secret@x:99999"]])
def test_password_in_the_url(command: list[str]) -> None:
    """It is printed neither by an error nor by the help."""
    shown = run(CLIENT, *command, url=NOWHERE.replace("//", "//me:sk-secret@"))
    assert "sk-secret" not in shown.out + shown.err
    assert "http://" in shown.out + shown.err


def test_the_help_names_every_scenario() -> None:
    """A scenario that the service plays can be found in the help of `--simulate`."""
    help_text = run(CLIENT, "--help", url=NOWHERE).out
    listed = help_text.partition("show a scripted run:")[2].partition("--execute")[0]
    assert set(re.findall(r"\w+", listed)) - {"or"} == {scenario.value for scenario in Scenario}


def test_service_killed(nursery: Nursery, tmp_path: Path) -> None:
    """A service that is gone for good leaves the stream incomplete: exit 4 after some tries, with how to continue."""
    with serving(nursery, tmp_path) as service, client(service, *LONG, "--retries", "2") as running:
        shown = read_until(running.stdout, "Part 1. ")
        service.process.kill()
        rest = ended(running)
    assert rest.code == 4
    assert rest.err.count("Re-attaching after event ") == 2
    assert f"--resume {run_id(shown)} --after " in rest.err


def test_draining_service(nursery: Nursery, tmp_path: Path) -> None:
    """A service that shuts down names the time to reconnect, and the client keeps to it."""
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
