"""Runs that wait: requests, calls and answers that their tests share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from local_tools import LocalTool
from run_readers import reading
from service import STREAM, Event, Service, checked
from wire import Done, Finish, Step, ToolCall

RUNS = "/api/agent/runs"
ASK: dict[str, Any] = {"input": "?", "require_approval": ["delete"]}
PAGE_TOOL: dict[str, Any] = {
    "name": "locate",
    "description": "Where the user is.",
    "parameters": {"type": "object", "properties": {"exact": {"type": "boolean"}}},
}


def calling(*calls: tuple[str, str, str]) -> list[Step]:
    """A turn that makes these calls: (id, name, arguments)."""
    made = [
        ToolCall(call_id, name, arguments, index=index, thought_signature=f"sig-{call_id}")
        for index, (call_id, name, arguments) in enumerate(calls)
    ]
    return [*made, Finish("tool_calls"), Done()]


DELETE = calling(("call_1", "delete", '{"folder":"drafts"}'))


async def decide(agent: Service, run_id: str, call_id: str = "call_1", **decision: Any) -> httpx.Response:
    return await agent.post(f"{RUNS}/{run_id}/approvals/{call_id}", {"approved": True} | decision)


async def send(agent: Service, run_id: str, *results: Mapping[str, Any]) -> httpx.Response:
    return await agent.post(f"{RUNS}/{run_id}/tool-results", {"results": list(results)})


async def get(agent: Service, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = (await agent.client.get(f"{RUNS}/{run_id}")).json()
    return run


@asynccontextmanager
async def waiting_run(agent: Service, path: str = STREAM, **body: object) -> AsyncIterator[str]:
    """Start a run, read it to its wait, and enter the block with its id. Then read it to its end."""
    async with reading(agent, path, **body) as reader:
        await reader.until(b"event: waiting")
        yield reader.run_id
        await reader.rest()


async def waits(agent: Service, run_id: str) -> dict[str, Any]:
    """Wait until the run's status is `waiting`, and return the run."""
    while (run := await get(agent, run_id))["status"] != "waiting":
        assert run["status"] == "running"
    return run


async def whole(agent: Service, run_id: str) -> list[Event]:
    """Follow the run to its end, and return all its events. Checks the grammar."""
    return checked((await agent.client.get(f"{RUNS}/{run_id}/events")).content)


def deletes() -> LocalTool:
    async def work(arguments: Mapping[str, Any]) -> Any:
        return {"deleted": arguments["folder"]}

    return LocalTool("delete", work)


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
