"""test_client.py and a service that asks for a key: it sends AGENT_STREAM_KEY, and shows it nowhere."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from callers import ADA, API_KEYS
from client_programs import CLIENT, process, read_until, run
from process import Nursery, Process, forked_app
from service import NOWHERE

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.usefixtures("client_is_loaded")

APPROVAL = ("--simulate", "approval", "--delay-ms", "1")


@pytest.fixture(scope="module")
def guarded(nursery: Nursery) -> Iterator[Process]:
    """A service with AUTH=keys."""
    with forked_app(nursery, AUTH="keys", API_KEYS=API_KEYS, DEDALUS_BASE_URL=NOWHERE) as app:
        yield app


def test_a_key_of_the_environment_is_sent(guarded: Process) -> None:
    """With the key the run is shown and its approval answered; without one, the refusal says what is missing."""
    shown = run(CLIENT, *APPROVAL, "--approve", url=guarded.url, AGENT_STREAM_KEY=ADA)
    assert (shown.code, shown.err) == (0, "")
    refused = run(CLIENT, *APPROVAL, url=guarded.url)
    assert refused.code == 1
    assert "unauthenticated" in refused.err
    assert "API key" in refused.err


def test_the_printed_curl_command_names_the_variable(guarded: Process) -> None:
    """The command that answers is complete, and has the variable in place of the key."""
    env = {"AGENT_STREAM_URL": guarded.url, "AGENT_STREAM_KEY": ADA}
    with process(CLIENT, *APPROVAL, env=env) as running:
        said = read_until(running.stderr, "  curl ", "\n")
        assert ADA not in said
        [command] = re.findall(r"curl .*", said)
        answer = f"curl -sS --fail {command[5:]}"
        subprocess.run(["sh", "-c", answer], check=True, capture_output=True, env={**env, "PATH": "/usr/bin:/bin"})
        assert running.wait(10) == 0
