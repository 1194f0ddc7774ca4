"""The naive service that `run.py` compares ours with. It uses the usual libraries in the usual way.

It has FastAPI, sse-starlette, the SDK's typed chunks, and a pydantic model for each event. Its limit on connections is
raised, so that the service is measured and not its pool. It reads `DEDALUS_BASE_URL`, `DEDALUS_API_KEY` and `PORT` from
the environment.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import uvicorn
from dedalus_labs import AsyncDedalus, DefaultAsyncHttpxClient
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sse_starlette import EventSourceResponse, ServerSentEvent


class AgentRequest(BaseModel):
    """The body of a run's request."""

    input: str
    model: str


class StreamEvent(BaseModel):
    """One event of the stream."""

    event: str
    data: dict[str, str]
    run_id: str
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make one client, whose connections all runs share."""
    limits = httpx.Limits(max_connections=10_000, max_keepalive_connections=10_000)
    http_client = DefaultAsyncHttpxClient(limits=limits, timeout=httpx.Timeout(600))
    async with AsyncDedalus(http_client=http_client) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
@app.get("/ready")
async def health() -> dict[str, str]:
    """Respond once the service accepts requests."""
    return {"status": "ok"}


async def run_events(request: AgentRequest) -> AsyncIterator[ServerSentEvent]:
    """Yield an event for each chunk of the upstream, and a last one with the run's status."""
    run_id = f"run_{uuid4().hex}"
    status = "failed"
    chunks = await app.state.client.chat.completions.create(
        model=request.model, messages=[{"role": "user", "content": request.input}], stream=True
    )
    async for chunk in chunks:
        for choice in chunk.choices:
            if choice.delta.content:
                event = StreamEvent(event="partial_output", data={"content": choice.delta.content}, run_id=run_id)
                yield ServerSentEvent(data=event.model_dump_json(), event=event.event)
            if choice.finish_reason:
                status = "succeeded"
    complete = StreamEvent(event="complete", data={"status": status}, run_id=run_id)
    yield ServerSentEvent(data=complete.model_dump_json(), event=complete.event)


@app.post("/api/agent/stream")
async def stream(request: AgentRequest) -> EventSourceResponse:
    """Run the agent and stream its events."""
    return EventSourceResponse(run_events(request))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
