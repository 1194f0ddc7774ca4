"""Asks the agent, and prints the answer while it arrives: `python examples/python_stream.py "Why is the sky blue?"`.

It needs the Python client: `.venv/bin/python -m pip install ./clients/python`.
"""

import os
import sys

from agent_stream import AgentStream, AgentStreamError, PartialOutput
from dotenv import dotenv_values

URL = os.environ.get("AGENT_STREAM_URL") or f"http://127.0.0.1:{dotenv_values().get('PORT') or 8000}"

try:
    with AgentStream(URL) as agent, agent.stream(" ".join(sys.argv[1:]) or "Why is the sky blue?") as run:
        for event in run:
            if isinstance(event, PartialOutput):
                print(event.content, end="", flush=True)
    print()
except AgentStreamError as error:
    sys.exit(str(error))
