"""A service with authentication, and callers with keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from service import NOWHERE, Service, service

from access_models import KeyCreate, NewApiKey

KEYS = "/api/agent/keys"
ME = "/api/agent/me"
ADA, BOB, OPS = "ada-key-0123456789", "bob-key-0123456789", "ops-key-0123456789"
API_KEYS = f"ada:{ADA},bob:{BOB},ops:{OPS}:admin"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def guarded_service(url: str = NOWHERE, **settings: Any) -> AsyncIterator[Service]:
    """A service that ada, bob and the admin ops may call, each with its key of the environment."""
    async with service(url, **{"auth": "keys", "api_keys": API_KEYS, **settings}) as agent:
        yield agent


@asynccontextmanager
async def calling(agent: Service, key: str, **headers: str) -> AsyncIterator[Service]:
    """The service with a client that sends this key."""
    sent = {"Accept": "application/json", **bearer(key), **headers}
    async with httpx.AsyncClient(base_url=agent.url, headers=sent, timeout=30, verify=False) as client:
        yield Service(agent.app, agent.url, client, agent.server)


async def new_key(agent: Service, owner: str = "cy", **fields: Any) -> NewApiKey:
    """Create a key in the service's database, which the service knows at once."""
    made: NewApiKey = await agent.app.state.api_keys.create(KeyCreate(owner=owner, **fields))
    return made


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return response.status_code, response.json()["error"]["code"]
