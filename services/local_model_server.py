"""The embedded model's process: serves a small real model on loopback through llama.cpp's own HTTP server.

A process of its own because loading holds the interpreter's lock for about a second, and a crash in native code should
not take the service along. Reads its API key from the first line of standard input, writes the server's URL as the
first line of standard output, and lives until standard input closes, which it does when the service dies.
"""

import os
import sys

import xllamacpp

CONTEXT_TOKENS = 8192
SLOTS = 2
THREADS = max(1, (os.cpu_count() or 1) // 2)  # they wait for each other at each layer, so each needs a free core


def main() -> None:
    """Serve the model file named on the command line under the name that follows it."""
    path, alias = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {alias}
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.kv_unified = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [sys.stdin.readline().strip()]
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # the server's own ending can wait for its threads for ever


if __name__ == "__main__":
    main()
