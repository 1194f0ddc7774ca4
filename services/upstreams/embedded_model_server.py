"""Serves the embedded model on loopback through llama.cpp's own HTTP server. It is a program of its own.

Loading a model holds the interpreter's lock for about a second, and a crash in native code would end the service. The
program reads its API key from the first line of standard input, and writes one line to standard output: the server's
URL, and whether the model supports tools. It ends when standard input closes, which happens when the service dies.
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
    """Serve a model. The command line has its file, its name, its context in tokens and the number of threads."""
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
    tool_support = TOOLS if takes_tools(server.listening_address, key) else NO_TOOLS
    sys.stdout.write(f"{server.listening_address} {tool_support}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # a normal exit may wait for the server's threads without end


def takes_tools(url: str, key: str) -> bool:
    """Whether the model's chat template supports tools, which llama.cpp finds out by rendering it."""
    connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/props", headers={"Authorization": f"Bearer {key}"})
    properties = json.load(connection.getresponse())
    connection.close()
    return properties.get("chat_template_caps", {}).get("supports_tools") is True


if __name__ == "__main__":
    main()
