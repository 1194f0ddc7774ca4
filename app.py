"""Builds the service: `python app.py`, or any ASGI server with `--factory app:create_app`."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError

import log_lines
from database.engine import Database
from database.migrate import NewerDatabase
from descriptors import within_descriptors
from errors import CapacityError
from event_logs.base import EventLog
from event_logs.directory_lock import DirectoryInUse, locked
from event_logs.file import FileEventLog
from event_logs.memory import MemoryEventLog
from json_codec.scan import JsonLimits
from routers import agent_router, docs_pages, error_answers, health_router, openapi, runs_router, sessions_router
from routers.middleware.body_limits import BodyLimits
from routers.middleware.cors import Cors
from routers.middleware.direct_send import DirectSend
from routers.middleware.host_check import HostCheck
from routers.middleware.request_context import RequestContext
from routers.middleware.room_check import RoomCheck
from services.agent_service import AgentService
from services.agents.dedalus import DedalusAgent
from services.agents.loop import AgentLimits
from services.agents.provider_states import ProviderStates
from services.agents.simulated import SimulatedAgent
from services.agents.toolbox import Registry, Toolbox
from services.catalog.catalog import Catalog
from services.intake.answers import AnswerIntake
from services.intake.restoring import RunRestorer
from services.intake.routing import RouteResolver
from services.intake.starting import RunStarter
from services.intake.work import WorkFactory
from services.mcp.client import McpClient
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard
from services.readiness import Readiness
from services.runs.admission import Admission
from services.runs.idempotency import IdempotencyKeys
from services.runs.live import LiveRuns
from services.runs.records import RunRecords
from services.runs.recovery import RestorableRun, recover
from services.runs.write_behind import WriteBehind
from services.sessions.retention import Retention
from services.sessions.sessions import Sessions
from services.sessions.turns import SessionTurns
from services.tooling.decorator import ToolsInvalid
from services.tooling.registry import ToolRegistry
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.model_turn import Deadlines
from services.upstreams.providers import PROVIDERS, Provider
from services.upstreams.selection import DEDALUS_URL, Upstreams
from serving import draining_first, serve
from settings import ENV_FILE, Settings, unused_names, validation_errors

logger = logging.getLogger("agent_stream")

SUBSTITUTING = "No model server is configured: the embedded model answers, whatever model a request names"
NOT_SUBSTITUTING = "No model server is configured: the embedded model answers requests that name it or no model"
LOUD = ("httpx", "httpx2", "mcp", "watchfiles")  # the first three log URLs, which may hold keys


def create_app(
    settings: Settings | None = None,
    tools: Registry | None = None,
    providers: Mapping[str, Provider] = PROVIDERS,
    dedalus: str = DEDALUS_URL,
) -> FastAPI:
    """The service. Without `settings`, they are read from the environment and `.env`.

    Then the server that calls this may listen elsewhere than HOST says, so MODEL_SUBSTITUTION is off.

    `tools` stand in for those of the folder tools and of AGENT_TOOLS; `providers` and `dedalus` say where their APIs
    are.
    """
    settings = settings or Settings().model_copy(update={"model_substitution": False})
    log_lines.install(settings.secrets())
    settings = within_descriptors(settings)
    app = FastAPIOffline(
        title="Agent Stream",
        version=openapi.VERSION,
        description="Runs a Dedalus agent and streams what it thinks, calls and says as typed server-sent events.",
        lifespan=lambda app: opened(app, settings, tools, providers, dedalus),
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,
        redoc_url=None,  # routers/docs_pages.py has it
        openapi_tags=openapi.TAGS,
    )
    app.state.settings = settings
    for module in (agent_router, runs_router, sessions_router, health_router, docs_pages):
        app.include_router(module.router)
    error_answers.install(app)
    openapi.install(app)
    add_middleware(app, settings)
    return app


@asynccontextmanager
async def opened(
    app: FastAPI,
    settings: Settings,
    registry: Registry | None,
    providers: Mapping[str, Provider],
    dedalus: str,
) -> AsyncIterator[None]:
    """The app's lifespan: what all requests share is in its state, and is closed in reverse order."""
    async with AsyncExitStack() as stack:
        local = EmbeddedModel(settings.embedded_model, settings.embedded_context_tokens, settings.embedded_threads)
        stack.push_async_callback(local.aclose)
        try:
            upstreams = Upstreams(settings, local, providers, dedalus)
            stack.push_async_callback(upstreams.aclose)
            catalog = Catalog(upstreams, settings.models_ttl_s, settings.marketplace_url, settings.mcp_servers)
            stack.push_async_callback(catalog.aclose)
            guard = UrlGuard(settings.url_allowed, settings.url_denied)
            tools = opened_tools(settings, registry, guard, stack)
            stores = await opened_stores(settings, stack)
        except (DirectoryInUse, NewerDatabase, ToolsInvalid, CapacityError, OSError, ValueError) as error:
            logger.critical("The service can't start: %s", error)
            raise
        log, database, write_behind, records, restorable = stores
        http = await stack.enter_async_context(GuardedClient(guard))
        admission = Admission(
            write_behind, max_running=settings.max_concurrent_runs, max_waiting=settings.max_waiting_runs
        )
        live = LiveRuns(settings, log, records, write_behind, admission)
        stack.push_async_callback(live.aclose)
        deadlines = Deadlines(settings.first_byte_timeout_s, settings.stall_timeout_s)
        limits = AgentLimits(deadlines, settings.max_steps, settings.max_tool_result_bytes, settings.max_calls_per_turn)
        agent = DedalusAgent(upstreams, limits, tools, guard, http, ProviderStates(database))
        turns = SessionTurns(database, records, write_behind, live, admission)
        work = WorkFactory(settings, turns, RouteResolver(upstreams, catalog), agent, SimulatedAgent(), catalog)
        starts = RunStarter(settings, live, admission, turns, IdempotencyKeys(database, log), work)
        answers = AnswerIntake(settings, log, live, records, work)
        sessions = Sessions(database, log, write_behind, live, turns)
        app.state.service = AgentService(log, records, live, starts, answers, sessions)
        app.state.readiness = Readiness(admission, log, database, upstreams)
        app.state.log, app.state.database, app.state.write_behind = log, database, write_behind
        app.state.live, app.state.starts, app.state.sessions = live, starts, sessions
        app.state.upstreams, app.state.catalog, app.state.tools = upstreams, catalog, tools
        catalog.default_model()  # asks the model's server where that decides, and so reports one that isn't there
        await RunRestorer(settings, live, work).restore(restorable)
        stack.push_async_callback(opened_retention(settings, database, log, sessions).aclose)
        if upstreams.all[0].kind == "local" and local.installed():
            logger.info(SUBSTITUTING if upstreams.substitutes else NOT_SUBSTITUTING)
            local.start()
        with draining_first(live, settings.drain_s):
            yield


def opened_tools(settings: Settings, registry: Registry | None, guard: UrlGuard, stack: AsyncExitStack) -> Toolbox:
    """The tools of this service and of MCP servers. Raise `ToolsInvalid`."""
    if registry is None:
        registry = own = ToolRegistry(
            settings.agent_tools, timeout_s=settings.tool_timeout_s, threads=settings.tool_threads
        )
        stack.push_async_callback(own.aclose)
        if settings.tools_reload:
            watching = asyncio.create_task(own.watch(), name="tools reload")
            watching.add_done_callback(_tell_a_fault)
            stack.callback(watching.cancel)
    servers = McpClient(
        settings.mcp_servers,
        guard,
        connect_timeout_s=settings.mcp_connect_timeout_s,
        tool_timeout_s=settings.tool_timeout_s,
    )
    stack.push_async_callback(servers.aclose)
    return Toolbox(registry, servers, settings.tools_by_default)


def _tell_a_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()):
        logger.error("the tools are not watched any more: restart to take up changes", exc_info=fault)


class Stores(NamedTuple):
    """The event log, the database, and what keeps the records of runs in step with the log.

    `restorable` are the runs that a former process left waiting, for a person or for their turn.
    """

    log: EventLog
    database: Database
    write_behind: WriteBehind
    records: RunRecords
    restorable: list[RestorableRun]


async def opened_stores(settings: Settings, stack: AsyncExitStack) -> Stores:
    """Open the stores and end the runs that a former process left working."""
    stack.callback(os.close, locked(settings.data_dir))
    directory = settings.event_log_directory()
    log: EventLog
    if directory is None:
        log = MemoryEventLog(settings.memory_log_bytes)
    else:
        kept_s = settings.retention_days * 86400
        log = FileEventLog(directory, retention_s=kept_s, fsync=settings.event_log_fsync)
    stack.push_async_callback(log.aclose)
    database = await Database.open(settings.database_url_or_default())
    stack.push_async_callback(database.aclose)
    write_behind = WriteBehind(database, log)
    stack.push_async_callback(write_behind.aclose)
    records = RunRecords(database, log, write_behind)
    restorable = await recover(database, log, write_behind, records)
    return Stores(log, database, write_behind, records, restorable)


def opened_retention(settings: Settings, database: Database, log: EventLog, sessions: Sessions) -> Retention:
    """What deletes old runs and sessions. It begins once the runs that a former process left are kept."""
    unused = settings.session_retention_days
    sessions_kept = None if unused is None else timedelta(days=unused)
    return Retention(database, log, sessions, timedelta(days=settings.retention_days), sessions_kept)


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """What stands around every request, from the inside out."""
    json = JsonLimits(settings.max_json_values, settings.max_json_depth)
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        json=json,
        timeout_s=settings.body_timeout_s,
        together=settings.max_bodies_bytes,
    )
    app.add_middleware(RoomCheck)
    own_name = f"[{settings.host}]" if ":" in settings.host else settings.host
    app.add_middleware(HostCheck, allowed=(own_name, *settings.allowed_hosts))
    app.add_middleware(RequestContext)
    app.add_middleware(Cors, settings=settings)
    app.add_middleware(DirectSend)


def main() -> None:
    """Serve until a signal says to stop."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # it names a line without its file: unused_names() names both
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(validation_errors(error))
    except UnicodeError:
        sys.exit(f"{ENV_FILE} is not UTF-8. Save it in that encoding.")
    log_lines.install()
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    for library in LOUD:
        logging.getLogger(library).setLevel(logging.WARNING)
    for sentence in unused_names():
        logger.warning("%s", sentence)
    os.umask(0o077)  # what callers said is in files: they are the service's alone
    app = create_app(settings)
    serve(app)


if __name__ == "__main__":
    main()
