"""Asks the agent, and prints the answer while it arrives: `python examples/python_stream.py "Why is the sky blue?"`.

`./run.sh` installs the client that it needs into `.venv`. In any other environment, run
`python -m pip install ./clients/python`. If the service isn't at port 8000, set AGENT_STREAM_URL.
"""

import sys

from agent_stream import AgentStream, PartialOutput

with AgentStream() as agent, agent.stream(" ".join(sys.argv[1:]) or "Why is the sky blue?") as run:
    for event in run:
        match event:
            case PartialOutput(text):
                print(text, end="", flush=True)
print()
