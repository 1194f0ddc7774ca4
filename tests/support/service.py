"""The real service under a real server, for tests: on a free port, in the test's own event loop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import httpx
import uvicorn
from fastapi import FastAPI, routing
from grammar import check_grammar, parse_frames
from local_tools import FixedTools
from process import FAST_DISK
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from starlette.routing import BaseRoute

from app import create_app
from database.engine import Database
from services.sessions.retention import PAUSE_S, Retention
from services.tooling.base import Tool
from services.upstreams.providers import PROVIDERS, Provider
from services.upstreams.selection import DEDALUS_URL
from serving import configured, listen
from settings import Settings

Event = dict[str, Any]
NOWHERE = "http://127.0.0.1:9"  # an upstream for tests that don't call one: nothing listens there
STREAM = "/api/agent/stream"
EXECUTE = "/api/agent/execute"
SIMULATE = "/api/agent/stream/simulate"
DATABASE = "agent_stream.db"
STORES = ("data_dir", "database_url", "event_log_url")  # settings that may lead to data of an earlier service
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for clients that use none: each would take 1 ms to make its own
_MIGRATED: list[bytes] = []  # filled by `empty_database`
_ROUTES: dict[tuple[int, str], tuple[BaseRoute, routing._EffectiveRouteContext | None]] = {}  # see `_build_once`
_build_route = routing._IncludedRouter._build_effective_context
_NEW_DATA: ContextVar[bool] = ContextVar("new_data", default=False)  # whether a service starts without old data
_sweep_repeatedly = Retention._repeat


def _build_once(self: routing._IncludedRouter, route: BaseRoute) -> routing._EffectiveRouteContext | None:
    """Build a route for the first app of the process only. At its first request, each app would take 20 ms for it.

    The apps share their routers, and a built route refers to nothing of its app that these tests use. The route is kept
    with what was built of it, so that no other route ever gets its id.
    """
    key = id(route), self.include_context.prefix
    if key not in _ROUTES:
        _ROUTES[key] = route, _build_route(self, route)
    return _ROUTES[key][1]


routing._IncludedRouter._build_effective_context = _build_once  # type: ignore[method-assign]


async def _sweep_old_data(self: Retention) -> None:
    """Leave out the sweep at the start of a service without old data: it finds nothing, and takes 10 ms of CPU."""
    if _NEW_DATA.get():
        await asyncio.sleep(PAUSE_S)
    await _sweep_repeatedly(self)


Retention._repeat = _sweep_old_data  # type: ignore[method-assign]


class SharedDialect(SQLiteDialect_aiosqlite):
    """SQLite's dialect, whose engines compile each statement once in a process, and not once each.

    A service has two engines, and would take 15 ms of CPU to compile the statements of its start and first run.
    """

    supports_statement_cache = True
    _compiled: ClassVar[dict[Any, Any]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedDialect)

    def __hash__(self) -> int:
        return hash(SharedDialect)

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=cls._compiled)


registry.register("sqlite.aiosqlite", __name__, "SharedDialect")


class Server(uvicorn.Server):
    """uvicorn's server, which reports when it listens and stops at once instead of at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: Any = None) -> None:
        """Shut down as the library does, without its fixed pause of 0.1 s."""
        for listening in [*self.servers, *(sockets or ())]:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            await asyncio.wait_for(self._wait_tasks_to_complete(), self.config.timeout_graceful_shutdown)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@dataclass
class Service:
    """A running service and a client for it."""

    app: FastAPI
    url: str
    client: httpx.AsyncClient
    server: Server

    async def post(self, path: str, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers=headers)

    async def stream(self, body: Mapping[str, Any], path: str = STREAM) -> list[Event]:
        """Follow a run to its end, and return its events. Checks the bytes and the grammar."""
        response = await self.post(path, body)
        assert response.status_code == 200, response.text
        return checked(response.content)

    async def events(self, run_id: str, after: int = 0) -> list[Event]:
        """Return the run's events after a cursor, to its end."""
        response = await self.client.get(f"/api/agent/runs/{run_id}/events", params={"after": after})
        assert response.status_code == 200, response.text
        return parse_frames(response.content)


def checked(body: bytes) -> list[Event]:
    events = parse_frames(body)
    check_grammar(events)
    return events


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def only(events: list[Event], name: str) -> list[dict[str, Any]]:
    """Return the data of the events of one name."""
    return [event["data"] for event in events if event["event"] == name]


def text(events: list[Event], name: str = "partial_output") -> str:
    return "".join(data["content"] for data in only(events, name))


class ArgumentSettings(Settings):
    """Settings from arguments alone. Making the lookups in the environment would take 1.5 ms of CPU."""

    def __init__(self, **given: Any) -> None:
        BaseModel.__init__(self, **given)


def settings(**given: Any) -> Settings:
    """Settings that don't depend on the machine's environment, and call no outside server."""
    values: dict[str, Any] = {"marketplace_url": "", "disconnect_grace_s": 10} | given
    return ArgumentSettings(**values)


@asynccontextmanager
async def service(
    base_url: str | None = None,
    tools: Mapping[str, Tool] = {},
    providers: Mapping[str, Provider] = PROVIDERS,
    dedalus: str = DEDALUS_URL,
    **given: Any,
) -> AsyncIterator[Service]:
    """The service, with `base_url` as its upstream and `test/model` as its default model where one is given.

    `tools` are all its Python tools. Every run has them, unless its request or `given` names others.
    """
    if base_url is not None:
        given = {"dedalus_base_url": base_url, "default_model": "test/model"} | given
    with TemporaryDirectory(dir=FAST_DISK) as directory:
        wanted = settings(**({"data_dir": directory, "tools_by_default": "all"} | given))
        file = Path(wanted.data_dir) / DATABASE
        if "database_url" not in given and not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.write_bytes(await empty_database())
        async with _served(wanted, tools, providers, dedalus, new_data=given.keys().isdisjoint(STORES)) as served:
            yield served


async def empty_database() -> bytes:
    """The file of a migrated database, made once in a process: to migrate one takes 60 ms of CPU, and a start 40 ms."""
    if not _MIGRATED:
        with TemporaryDirectory(dir=FAST_DISK) as directory:
            file = Path(directory) / DATABASE
            await (await Database.open(f"sqlite+aiosqlite:///{file}")).aclose()
            _MIGRATED.append(file.read_bytes())
    return _MIGRATED[0]


@asynccontextmanager
async def _served(
    wanted: Settings, tools: Mapping[str, Tool], providers: Mapping[str, Provider], dedalus: str, *, new_data: bool
) -> AsyncIterator[Service]:
    app = create_app(wanted, FixedTools(tools), providers, dedalus)
    # Without a configuration of its own for each service, which takes 1 ms, uvicorn's log goes to the root logger.
    config = configured(app, host="127.0.0.1", port=0, log_config=None, log_level="error", lifespan="on")
    server = Server(config)
    listening_socket = listen(config, wanted.send_timeout_s)
    url = f"http://127.0.0.1:{listening_socket.getsockname()[1]}"
    outside = _NEW_DATA.set(new_data)
    serving = asyncio.create_task(server.serve([listening_socket]))
    _NEW_DATA.reset(outside)
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    assert not serving.done(), "the service did not start"
    try:
        accept = {"Accept": "application/json"}  # tests read refusals as JSON; streams are sent as streams all the same
        async with httpx.AsyncClient(base_url=url, headers=accept, timeout=30, verify=NO_TLS) as client:
            yield Service(app, url, client, server)
    finally:
        server.stopping.set()
        await serving
