"""Asks the agent, and prints the answer while it arrives: `python examples/python_stream.py "Why is the sky blue?"`."""

import json
import os
import sys

import httpx

URL = os.environ.get("AGENT_STREAM_URL", "http://127.0.0.1:8000")
question = " ".join(sys.argv[1:]) or "Why is the sky blue?"

with httpx.stream("POST", f"{URL}/api/agent/stream", json={"input": question}, timeout=60) as response:
    for line in response.iter_lines():
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            if event["event"] == "partial_output":
                print(event["data"]["content"], end="", flush=True)
            elif event["event"] == "error":
                print(event["data"]["code"], event["data"]["message"], file=sys.stderr)
            elif event["event"] == "complete":
                print()
                sys.exit(event["data"]["status"] != "succeeded")

sys.exit("The stream ended without `complete`: python_resume.py shows how to resume it.")
