"""Prints the events of a scripted run whose connection breaks: `python examples/python_resume.py`.

The client resumes the run by itself. If you stop the program with Ctrl-C, this command prints the rest of the run:
`python examples/python_resume.py RUN_ID SEQ`, with `run_id` and `seq` of the last event that was printed.
"""

import sys

from agent_stream import AgentStream

with AgentStream() as agent:
    run = agent.simulate(scenario="truncated", delay_ms=50, on_disconnect="continue")
    if sys.argv[1:]:
        run = agent.attach(sys.argv[1], after=int(sys.argv[2]))
    for event in run:
        print(event)
