"""Third-party servers, each a process on a free port that ends with its test."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from environments import command, node, python, script
from process import free_port

HERE = Path(__file__).parent
UVICORN = re.compile(r"Uvicorn running on")
STARTS_S = 200  # the first start of LiteLLM compiles thousands of modules, beside browsers and builds
KEY = "sk-2b5c8d1f4e7a9036c1d4e7f8a2b5c8d1"  # LiteLLM refuses to start without a key that looks random


class Foreign:
    """A running server, and its output so far."""

    def __init__(self, arguments: Sequence[str | Path], ready: re.Pattern[str], environment: Mapping[str, str]) -> None:
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [*map(str, arguments)],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._ready = threading.Event()
        self._reading = threading.Thread(target=self._read, args=[ready], daemon=True)
        self._reading.start()
        assert self._ready.wait(STARTS_S), "".join(self.printed)
        assert self.process.poll() is None, "".join(self.printed)

    def kill(self) -> None:
        """Kill it and the processes that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self._reading.join()

    def _read(self, ready: re.Pattern[str]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed.append(line)
                if ready.search(line):
                    self._ready.set()
        self._ready.set()


@contextmanager
def foreign(*arguments: str | Path, ready: re.Pattern[str], **environment: str) -> Iterator[Foreign]:
    """A server, ready as soon as it prints `ready`."""
    running = Foreign(arguments, ready, environment)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def llama_cpp() -> Iterator[tuple[str, Foreign]]:
    """llama.cpp's own server with the embedded model's file: its base URL and its process. It requires no key."""
    port = free_port()
    with foreign(sys.executable, HERE / "llama_server.py", str(port), ready=re.compile("ready")) as running:
        yield f"http://127.0.0.1:{port}", running


@contextmanager
def litellm(upstream: str, directory: Path) -> Iterator[str]:
    """LiteLLM's proxy in front of a server; its base URL."""
    config = directory / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: smol\n"
        "    litellm_params:\n"
        f"      {{model: openai/smol, api_base: '{upstream}/v1', api_key: none, max_retries: 0}}\n"
    )
    port = free_port()
    environment = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "NO_PROXY": "*",
    }
    proxy = (command("litellm", "litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port))
    with foreign(*proxy, ready=UVICORN, **environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def mockai(responses: Path) -> Iterator[str]:
    """The fake server of the package ai-mock; its base URL."""
    port = free_port()
    serve = (python("fakes"), "-m", "uvicorn", "mockai.server:app", "--host", "127.0.0.1", "--port", str(port))
    environment = {"MOCKAI_RESPONSES": str(responses), "MOCKAI_EMBEDDING_SIZE": "8"}
    with foreign(*serve, ready=UVICORN, **environment):
        yield f"http://127.0.0.1:{port}/openai/chat/completions"


@contextmanager
def aimock(fixtures: Path, *options: str) -> Iterator[str]:
    """CopilotKit's aimock; its base URL."""
    port = free_port()
    serve = (node(), script(".bin/llmock"), "--port", str(port), "--fixtures", fixtures)
    with foreign(*serve, *options, ready=re.compile(r"listening|running|http://", re.IGNORECASE)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def openai_mock_api(config: Path) -> Iterator[str]:
    """The npm package openai-mock-api; its base URL."""
    port = free_port()
    serve = (node(), script(".bin/openai-mock-api"), "--config", config, "--port", str(port))
    with foreign(*serve, ready=re.compile(r"(started|listening|running)", re.IGNORECASE)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def oidc_provider() -> Iterator[str]:
    """The package oidc-provider-mock, an OpenID Connect provider on Authlib; its issuer."""
    port = free_port()
    with foreign(command("oidc", "oidc-provider-mock"), "--port", str(port), ready=UVICORN):
        yield f"http://127.0.0.1:{port}"
