"""Requests to sessions, and their responses."""

from typing import Any

import httpx
from service import Event, Service

SESSIONS = "/api/agent/sessions"
RUNS = "/api/agent/runs"


async def ask(agent: Service, question: str, session: str = "chat", **body: Any) -> list[Event]:
    return await agent.stream({"input": question, "session_id": session} | body)


async def get(agent: Service, path: str, **query: Any) -> Any:
    response = await agent.client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def messages(agent: Service, session: str = "chat", **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(agent, f"{SESSIONS}/{session}/messages", **query))["messages"]
    return found


def said(conversation: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in conversation]


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
