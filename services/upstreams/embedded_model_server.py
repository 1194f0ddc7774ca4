"""The embedded model's process: serves a small real model on loopback through llama.cpp's own HTTP server.

A process of its own because loading holds the interpreter's lock for about a second, and a crash in native code should
not take the service along. Reads its API key from the first line of standard input, writes the server's URL and whether
the model takes tools as the first line of standard output, and lives until standard input closes, which it does when
the service dies.
"""

import json
import os
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

import xllamacpp

SLOTS = 2
TOOLS, NO_TOOLS = "tools", "no-tools"


def main() -> None:
    """Serve a model file under a name, with so many tokens of context and threads, as the command line says."""
    path, alias, context_tokens, threads = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {alias}
    params.n_ctx = int(context_tokens)
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.kv_unified = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key := sys.stdin.readline().strip()]
    server = xllamacpp.Server(params)
    told = TOOLS if takes_tools(server.listening_address, key) else NO_TOOLS
    sys.stdout.write(f"{server.listening_address} {told}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # the server's own ending can wait for its threads for ever


def takes_tools(url: str, key: str) -> bool:
    """Whether the model's chat template has a place for tools, as llama.cpp finds by rendering it."""
    connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/props", headers={"Authorization": f"Bearer {key}"})
    told = json.load(connection.getresponse())
    connection.close()
    return told.get("chat_template_caps", {}).get("supports_tools") is True


if __name__ == "__main__":
    main()
