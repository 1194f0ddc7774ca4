"""The composition root: builds the service. Start it by `python app.py`, or by an ASGI server's `app:create_app`."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C during the imports, which take 1.5 s, shows no traceback

import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from secrets import token_bytes

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError

import log_lines
from database.engine import Database
from database.migrate import NewerDatabase
from descriptors import within_descriptors
from errors import CapacityError
from event_logs.base import EventLog
from event_logs.directory_lock import DirectoryInUse
from resources import Checks, Resources, open_resources
from routers import (
    access_router,
    agent_router,
    docs_pages,
    error_responses,
    health_router,
    openapi,
    runs_router,
    sessions_router,
)
from routers import page as pages
from routers.middleware.order import add_middleware
from services.access.api_keys import ApiKeys
from services.access.gate import Gate
from services.access.jwt_verifier import JwtVerifier
from services.access.key_table import KeyTable
from services.access.run_tokens import RunTokens
from services.access.secret import secret_of
from services.agent_service import AgentService
from services.agents.budget import BudgetBounds
from services.agents.checked_output import OutputRules
from services.agents.dedalus import DedalusAgent
from services.agents.loop_state import AgentLimits
from services.agents.provider_states import ProviderStates
from services.agents.simulated import SimulatedAgent
from services.agents.toolbox import Registry
from services.caller_data import CallerData
from services.intake.answers import AnswerIntake
from services.intake.budget_bounds import bounds_of
from services.intake.restoring import RunRestorer
from services.intake.routing import RouteResolver
from services.intake.starting import RunStarter
from services.intake.work import WorkFactory
from services.outbound.client import GuardedClient
from services.readiness import Readiness
from services.runs.admission import Admission
from services.runs.idempotency import IdempotencyKeys
from services.runs.live import LiveRuns
from services.sessions.retention import Retention
from services.sessions.sessions import Sessions
from services.sessions.turns import SessionTurns
from services.tooling.decorator import ToolsInvalid
from services.upstreams.model_turn import Deadlines
from services.upstreams.providers import PROVIDERS, Provider
from services.upstreams.selection import DEDALUS_URL, Upstreams
from serving import draining_first, serve
from settings import ENV_FILE, Settings, unused_names, validation_errors

logger = logging.getLogger("agent_stream")

SUBSTITUTING = "No model server is configured: the embedded model answers requests for any model"
NOT_SUBSTITUTING = "No model server is configured: the embedded model answers requests that name it or no model"
NO_MODEL = "Only the scripted models can answer: %s"
NO_KEY = "AUTH=keys, and there is no API key yet. Create one: python -m cli keys create --owner NAME"
UNUSED_ISSUER = "JWT_ISSUER is set, but AUTH=%s accepts no tokens"
LOUD = ("httpx", "httpx2", "mcp", "watchfiles")  # their INFO lines are many, and have URLs that may contain keys


def create_app(
    settings: Settings | None = None,
    tools: Registry | None = None,
    providers: Mapping[str, Provider] = PROVIDERS,
    dedalus: str = DEDALUS_URL,
) -> FastAPI:
    """Build the app. Without `settings`, they are read from the environment and `.env`.

    In that case MODEL_SUBSTITUTION is off, because the ASGI server that calls this may not listen on HOST.

    `tools` replaces the tools of the directory tools and of AGENT_TOOLS. `providers` and `dedalus` set the URLs of the
    model servers' APIs. Tests use both.
    """
    settings = settings or Settings().model_copy(update={"model_substitution": False})
    log_lines.install(settings.secrets())
    settings = within_descriptors(settings)
    app = FastAPIOffline(
        title="Agent Stream",
        version=openapi.VERSION,
        description=openapi.description_with(page=settings.page == "on"),
        lifespan=lambda app: opened(app, settings, tools, providers, dedalus),
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,
        docs_url=None,  # routers/docs_pages.py serves both
        redoc_url=None,
        openapi_tags=openapi.TAGS,
    )
    app.state.settings = settings
    app.state.start_refused = False
    for module in (agent_router, runs_router, sessions_router, access_router, health_router, docs_pages):
        app.include_router(module.router)
    pages.install(app, settings)
    error_responses.install(app)
    openapi.install(app, authenticates=settings.authenticates)
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
    """The app's lifespan: build what all requests share, keep it in the app's state, and close it in reverse order."""
    async with AsyncExitStack() as stack:
        try:
            resources = await open_resources(settings, registry, providers, dedalus, stack)
        except (DirectoryInUse, NewerDatabase, ToolsInvalid, CapacityError, OSError, ValueError) as error:
            logger.critical("The service can't start: %s", error)
            app.state.start_refused = True
            raise
        live = await assembled(app, settings, resources, stack)
        local = resources.upstreams.local
        log_model_servers(resources.upstreams)
        if resources.upstreams.all[0].kind == "local" and local.installed():
            local.start()
        with draining_first(live, settings.drain_s):
            yield


async def assembled(app: FastAPI, settings: Settings, resources: Resources, stack: AsyncExitStack) -> LiveRuns:
    """Build the services, put them into the app's state, and restore the runs that a former process left waiting."""
    upstreams, catalog, guard, tools, checks, stores = resources
    log, database, write_behind, records, restorable = stores
    http = await stack.enter_async_context(GuardedClient(guard))
    await open_access(app, settings, database, stack)
    admission = Admission(write_behind, max_running=settings.max_concurrent_runs, max_waiting=settings.max_waiting_runs)
    live = LiveRuns(settings, log, records, write_behind, admission)
    stack.push_async_callback(live.aclose)
    bounds = bounds_of(settings)
    limits = agent_limits(settings, bounds, checks)
    agent = DedalusAgent(upstreams, limits, tools, guard, http, ProviderStates(database))
    turns = SessionTurns(database, records, write_behind, live, admission)
    routes = RouteResolver(upstreams, catalog, settings.fallback_models, bounds)
    work = WorkFactory(settings, turns, routes, agent, SimulatedAgent(), catalog)
    starts = RunStarter(settings, live, admission, turns, IdempotencyKeys(database, log), work)
    answers = AnswerIntake(settings, log, live, records, work)
    sessions = Sessions(database, log, write_behind, live, turns)
    app.state.service = AgentService(log, records, live, starts, answers, sessions)
    app.state.caller_data = CallerData(log, records, sessions, app.state.api_keys)
    app.state.readiness = Readiness(admission, log, database, upstreams)
    app.state.log, app.state.database, app.state.write_behind = log, database, write_behind
    app.state.live, app.state.starts, app.state.sessions = live, starts, sessions
    app.state.upstreams, app.state.catalog, app.state.tools = upstreams, catalog, tools
    catalog.default_model()  # fetches the list that decides it, if one does, and so logs an unreachable server
    await RunRestorer(settings, live, work).restore(restorable)
    stack.push_async_callback(opened_retention(settings, database, log, sessions).aclose)
    return live


async def open_access(app: FastAPI, settings: Settings, database: Database, stack: AsyncExitStack) -> None:
    """Put what decides about callers into the app's state. Without authentication there is no secret to keep."""
    keys, verifier = None, None
    if settings.jwt_issuer and not settings.accepts_tokens:
        logger.warning(UNUSED_ISSUER, settings.auth)
    secret = secret_of(settings) if settings.authenticates else token_bytes()
    if settings.accepts_keys:
        keys = await KeyTable.open(database, secret, settings.api_keys)
        stack.push_async_callback(keys.aclose)
        if keys.is_empty:
            logger.warning(NO_KEY)
    if settings.accepts_tokens:
        verifier = JwtVerifier(settings)
        stack.push_async_callback(verifier.aclose)
    app.state.api_keys = ApiKeys(database, secret, keys)
    app.state.run_tokens = RunTokens(secret)
    app.state.gate = Gate(settings, keys, verifier, app.state.run_tokens)


def agent_limits(settings: Settings, bounds: BudgetBounds, checks: Checks) -> AgentLimits:
    """Return the limits and checks of the agent's turns."""
    window_chars, restarts = settings.check_output_window_chars, settings.check_output_restart
    return AgentLimits(
        Deadlines(settings.first_byte_timeout_s, settings.stall_timeout_s),
        settings.max_steps,
        settings.max_tool_result_bytes,
        settings.max_calls_per_turn,
        bounds,
        checks.input,
        OutputRules(checks.output, window_chars, restarts) if checks.output else None,
    )


def log_model_servers(upstreams: Upstreams) -> None:
    """Log which model servers answer requests."""
    first = upstreams.all[0]
    match first.kind:
        case "local":
            try:
                upstreams.local.require()
            except CapacityError as error:
                logger.warning(NO_MODEL, error)
            else:
                logger.info(SUBSTITUTING if upstreams.substitutes else NOT_SUBSTITUTING)
        case "custom":
            logger.info("Model server: DEDALUS_BASE_URL, %s", first.client.base_url)
        case "dedalus":
            logger.info("Model server: Dedalus")
        case _:
            logger.info("Model servers, called directly: %s", ", ".join(upstream.name for upstream in upstreams.all))


def opened_retention(settings: Settings, database: Database, log: EventLog, sessions: Sessions) -> Retention:
    """Start to delete old runs and sessions. Call it after the runs that a former process left are restored."""
    days = settings.session_retention_days
    keep_sessions = None if days is None else timedelta(days=days)
    return Retention(database, log, sessions, timedelta(days=settings.retention_days), keep_sessions)


def main() -> None:
    """Read the settings, set the log up, and serve until a signal asks to stop."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # unused_names() reports the same lines, with the file
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
    os.umask(0o077)  # the files contain what callers wrote, so only the service may read them
    app = create_app(settings)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `serve` expects KeyboardInterrupt
    serve(app)


if __name__ == "__main__":
    main()
