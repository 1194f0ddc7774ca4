"""Opens what the services are built on: the clients of model servers, the catalog, the tools and the stores.

A part of the composition root, `app`. Whatever is opened is closed by the exit stack that is passed.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

from database.engine import Database
from event_logs.base import EventLog
from event_logs.directory_lock import locked
from event_logs.file import FileEventLog
from event_logs.memory import MemoryEventLog
from services.agents.toolbox import Registry, Toolbox
from services.catalog.catalog import Catalog
from services.mcp.client import McpClient
from services.mcp.resolution import McpChoice
from services.outbound.url_guard import UrlGuard
from services.runs.records import RunRecords
from services.runs.recovery import RestorableRun, recover
from services.runs.write_behind import WriteBehind
from services.tooling.checks import TextCheck
from services.tooling.registry import ToolRegistry
from services.tooling.threads import ToolThreads
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.providers import Provider
from services.upstreams.selection import Upstreams
from settings import Settings

logger = logging.getLogger("agent_stream")


class Stores(NamedTuple):
    """The event log, the database, and what keeps the records of runs in step with the log.

    `restorable` are the runs that a former process left waiting, for a person or for their turn.
    """

    log: EventLog
    database: Database
    write_behind: WriteBehind
    records: RunRecords
    restorable: list[RestorableRun]


async def _open_stores(settings: Settings, stack: AsyncExitStack) -> Stores:
    """Open the stores and end the runs that a former process left working."""
    stack.callback(os.close, locked(settings.data_dir))
    directory = settings.event_log_directory()
    log: EventLog
    if directory is None:
        log = MemoryEventLog(settings.memory_log_bytes)
    else:
        retention_s = settings.retention_days * 86400
        log = FileEventLog(directory, retention_s=retention_s, fsync=settings.event_log_fsync)
    stack.push_async_callback(log.aclose)
    database = await Database.open(settings.database_url_or_default())
    stack.push_async_callback(database.aclose)
    write_behind = WriteBehind(database, log)
    stack.push_async_callback(write_behind.aclose)
    records = RunRecords(database, log, write_behind)
    restorable = await recover(database, log, write_behind, records)
    return Stores(log, database, write_behind, records, restorable)


class Checks(NamedTuple):
    """The operator's checks of requests and of models' output, each None if there is none."""

    input: TextCheck | None
    output: TextCheck | None


class Resources(NamedTuple):
    """The parts that the service is built on. Each can refuse to open."""

    upstreams: Upstreams
    catalog: Catalog
    guard: UrlGuard
    tools: Toolbox
    checks: Checks
    stores: Stores


async def open_resources(
    settings: Settings,
    registry: Registry | None,
    providers: Mapping[str, Provider],
    dedalus: str,
    stack: AsyncExitStack,
) -> Resources:
    """Open the model servers' clients, the catalog, the tools and the stores. `stack` closes them."""
    local = EmbeddedModel(settings.embedded_model, settings.embedded_context_tokens, settings.embedded_threads)
    stack.push_async_callback(local.aclose)
    upstreams = Upstreams(settings, local, providers, dedalus)
    stack.push_async_callback(upstreams.aclose)
    for upstream in upstreams.all:
        await upstream.prices.load()
    catalog = Catalog(upstreams, settings.models_ttl_s, settings.marketplace_url, settings.mcp_servers)
    stack.push_async_callback(catalog.aclose)
    guard = UrlGuard(settings.url_allowed, settings.url_denied)
    tools = _open_tools(settings, registry, guard, stack)
    checks = _open_checks(settings, stack)
    return Resources(upstreams, catalog, guard, tools, checks, await _open_stores(settings, stack))


def _open_checks(settings: Settings, stack: AsyncExitStack) -> Checks:
    """Import the functions of the checks, each with threads of its own. Raise `ToolsInvalid`."""

    def check(setting: str, named: str | None) -> TextCheck | None:
        if named is None:
            return None
        threads = ToolThreads(settings.tool_threads)
        stack.callback(threads.close)
        return TextCheck(setting, named, timeout_s=settings.check_timeout_s, threads=threads)

    return Checks(check("CHECK_INPUT", settings.check_input), check("CHECK_OUTPUT", settings.check_output))


def _open_tools(settings: Settings, registry: Registry | None, guard: UrlGuard, stack: AsyncExitStack) -> Toolbox:
    """Load the Python tools and open the client of MCP servers. Raise `ToolsInvalid`."""
    if registry is None:
        registry = own = ToolRegistry(
            settings.agent_tools, timeout_s=settings.tool_timeout_s, threads=settings.tool_threads
        )
        stack.push_async_callback(own.aclose)
        if settings.tools_reload:
            watching = asyncio.create_task(own.watch(), name="tools reload")
            watching.add_done_callback(_log_failure)
            stack.callback(watching.cancel)
    servers = McpClient(
        settings.mcp_servers,
        guard,
        connect_timeout_s=settings.mcp_connect_timeout_s,
        tool_timeout_s=settings.tool_timeout_s,
    )
    stack.push_async_callback(servers.aclose)
    choice = McpChoice(settings.mcp_servers, guard)
    return Toolbox(registry, choice, servers, settings.tools_by_default)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()):
        logger.error("TOOLS_RELOAD has failed. Restart the service to load changed tools", exc_info=failure)
