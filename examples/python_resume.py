"""Reads a run whose connection breaks: `python examples/python_resume.py`. Stop it with Ctrl-C to read the rest later.

The run is a scripted one; for a real run, call `agent.stream` in place of `agent.simulate`. It needs the Python client:
`.venv/bin/python -m pip install ./clients/python`.
"""

import logging
import os
import sys

from agent_stream import AgentStream, PartialOutput, Thinking
from dotenv import dotenv_values

URL = os.environ.get("AGENT_STREAM_URL") or f"http://127.0.0.1:{dotenv_values().get('PORT') or 8000}"
logging.basicConfig()
logging.getLogger("agent_stream").setLevel(logging.INFO)  # shows where the connection breaks

with AgentStream(URL) as agent:
    match sys.argv[1:]:
        case [run_id, after]:
            run = agent.attach(run_id, after=int(after))
        case _:
            run = agent.simulate(scenario="truncated", delay_ms=100, on_disconnect="continue")
    try:
        for event in run:
            if isinstance(event, Thinking | PartialOutput):
                print(event.content, end="", flush=True)
    except KeyboardInterrupt:
        sys.exit(f"\nTo read the rest: python examples/python_resume.py {run.id} {run.last_seq}")
print()
