"""Compares the readers of both wires with a parser in Node that others wrote, eventsource-parser."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from event_frames import END, any_event, frames_of, written
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from node import TYPESCRIPT, run
from stream_bodies import ONE_LINE_END, Cut, Json, cuts, in_bytes, interpreted, read, same, soups

from event_data import EventData

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages

Parser = Callable[[Sequence[bytes]], Json]
PROGRAM = "tests/read_frames.mjs"

with_parser = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def parser(node: Path) -> Iterator[Parser]:
    """Return what eventsource-parser reads from a body that arrives in these pieces."""
    with subprocess.Popen(
        [node, PROGRAM], cwd=TYPESCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(pieces: Sequence[bytes]) -> Json:
            case = {"body": b64encode(b"".join(pieces)).decode(), "sizes": [len(piece) for piece in pieces]}
            stdin.write(json.dumps(case) + "\n")
            stdin.flush()
            answer: Json = json.loads(stdout.readline())
            return answer

        yield ask
        stdin.close()


@given(soups(), cuts())
@with_parser
@example(b'data: {"choices":[{"delta":{"content":"a"}}]}\r\r', in_bytes)
@example(b"data\ndata: [DONE]\n\n", in_bytes)
@example(b"data: \n\n", in_bytes)
@example(b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata: [DONE]\r\n\r\n', in_bytes)
def test_it_finds_the_same_events_in_a_model_s_stream(parser: Parser, body: bytes, cut: Cut) -> None:
    """For any lines in any order, cut anywhere, the service finds the events that eventsource-parser finds.

    The exception: two objects with one line end between them are one event to it, and two here.
    """
    assume(not ONE_LINE_END.search(body))
    frames = parser(cut(body))["frames"]
    same(read(cut(body)), interpreted([(frame["event"] or "", frame["data"]) for frame in frames]))


@given(st.lists(any_event, max_size=5), cuts())
@with_parser
def test_it_reads_our_frames_byte_for_byte(parser: Parser, data: list[EventData], cut: Cut) -> None:
    """Whatever texts, names and values events have, and however they are cut, it finds the bytes that were written."""
    body = b": ping\n\n" + b": ping\n\n".join(frames_of([*data, END]))
    found = parser(cut(body))
    frames = [(frame["id"], frame["event"], frame["data"]) for frame in found["frames"]]
    assert written(frames) == body.replace(b": ping\n\n", b"")
    assert found["errors"] == found["retries"] == []
    assert set(found["comments"]) <= {"ping"}


def test_an_independent_parser_reads_many_cases_in_one_process(node: Path) -> None:
    """The program finds the same frames however the bytes are cut."""
    body = ": ping\n\nid: 1\nevent: x\ndata: Zoë 🎉\n\nevent: draining\nretry: 2000\n\n".encode()
    sizes = [[1] * len(body), [3, 1, 20], []]
    cases = [json.dumps({"body": b64encode(body).decode(), "sizes": cut}) + "\n" for cut in sizes]
    answers = run(node, PROGRAM, stdin="".join(cases)).splitlines()
    frames = [{"id": "1", "event": "x", "data": "Zoë 🎉"}]
    expected = {"frames": frames, "comments": ["ping"], "retries": [2000], "errors": []}
    assert [json.loads(line) for line in answers] == [expected] * len(sizes)
