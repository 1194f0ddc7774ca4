"""Routes of /api/agent: ask the agent, play a scripted run, list models, tools and MCP servers."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from catalog_models import McpServerList, ModelList
from models import AgentRequest, Scenario, SimulateRequest
from routers.dependencies import (
    CallerDep,
    CatalogDep,
    IdempotencyKey,
    RequestId,
    ServiceDep,
    ToolsDep,
    Until,
    Wait,
    caller_of,
    frame_stream,
    run_path,
)
from routers.error_responses import error_response
from routers.json_route import JsonRoute, json_response
from routers.openapi import ERRORS, STREAM_STARTS
from routers.sse import torn
from run_models import AgentResponse, Run
from services.agent_service import AgentService
from services.agents.scenarios import TEAR_AFTER
from services.runs.folding import raised
from tool_models import McpToolList, ToolList

WAITING: dict[int | str, dict[str, Any]] = {
    202: {
        "model": AgentResponse,
        "description": "The run is waiting for an approval, for a decision on its budget, or for client tools.",
    }
}
STARTS = STREAM_STARTS | {
    202: {"model": Run, "description": "With `wait=false`: the run.", "headers": STREAM_STARTS[200]["headers"]}
}
router = APIRouter(prefix="/api/agent", tags=["agent"], responses=ERRORS, route_class=JsonRoute)


@router.post("/stream", summary="Ask the agent and stream its answer", response_class=Response, responses=STARTS)
async def stream(
    request: Request,
    body: AgentRequest,
    key: IdempotencyKey = None,
    until: Until = None,
    wait: Wait = True,
) -> Response:
    """Start a run and stream its events as they happen, from `run_started` to `complete`.

    A lost connection does not end the run at once. To resume the stream, send a GET request to the URL in the
    response's `Location` header, with the id of the last event received as `Last-Event-ID`.
    """
    # Not by `Depends`, as elsewhere: FastAPI takes 40 µs for each, and a run of a few tokens has some 1,500.
    service: AgentService = request.app.state.service
    caller, request_id = caller_of(request), request.state.request_id
    if not wait:
        return await _started(request, service, await service.start(caller, body, request_id, key))
    return frame_stream(request, await service.execute_agent_streaming(caller, body, request_id, key), until)


@router.post(
    "/execute", summary="Ask the agent and get one JSON response", response_model=AgentResponse, responses=WAITING
)
async def execute(
    request: Request,
    response: Response,
    body: AgentRequest,
    service: ServiceDep,
    caller: CallerDep,
    request_id: RequestId,
    key: IdempotencyKey = None,
) -> AgentResponse | Response:
    """Start a run and respond when it has ended, with the content of its stream. A failed run is an error response.

    If the run has to wait for an approval, a larger budget or client tools, the response is 202 with status `waiting`.
    Follow the run at the URL in the `Location` header.
    """
    run = asyncio.create_task(service.execute_agent(caller, body, request_id, key))
    gone = asyncio.create_task(_client_gone(request))
    try:
        await asyncio.wait({run, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            return Response(status_code=499)  # the client has gone and will not read it
        answered, folded = run.result()
        if folded.error is not None:
            return error_response(raised(folded.error), request.scope, answered.run_id)
        if answered.status == "waiting":
            response.status_code = 202
            response.headers["Location"] = f"{run_path(request, answered.run_id)}/events"
        return answered
    finally:
        run.cancel()
        gone.cancel()


@router.post(
    "/stream/simulate",
    summary="Stream a scripted run, without a model",
    response_class=Response,
    responses=STARTS,
)
async def simulate(
    request: Request,
    body: SimulateRequest,
    service: ServiceDep,
    caller: CallerDep,
    request_id: RequestId,
    key: IdempotencyKey = None,
    until: Until = None,
    wait: Wait = True,
) -> Response:
    """Stream a scripted run with the events of a real one, to build a front end without a key or a model.

    The request accepts the fields of `/stream` and ignores those that a script can't use. `scenario` selects the
    script. With a `session_id`, the session keeps the script's question and answer like any other.
    """
    if not wait:
        return await _started(request, service, await service.start(caller, body, request_id, key))
    run = await service.simulate_streaming_execution(caller, body, request_id, key)
    if body.scenario is Scenario.TRUNCATED:
        run.frames = torn(run.frames, after=TEAR_AFTER)
    return frame_stream(request, run, until)


@router.get("/models", summary="List models")
async def models(catalog: CatalogDep) -> ModelList:
    """Return the models that the configured model servers list. A request can name others."""
    return await catalog.models()


@router.get("/tools", summary="List Python tools")
async def tools(tools: ToolsDep) -> ToolList:
    """Return the Python tools of this service. A request lists in `tools` those that the model may call."""
    return tools.listed()


@router.get("/mcp-servers", summary="List MCP servers")
async def mcp_servers(catalog: CatalogDep) -> McpServerList:
    """Return the MCP servers of MCP_SERVERS and of the public marketplace. A request can name others."""
    return await catalog.mcp_servers()


@router.get("/mcp-servers/{name:path}/tools", summary="List the tools of an MCP server")
async def mcp_server_tools(
    name: Annotated[str, Path(description="The name of the server in MCP_SERVERS.")], tools: ToolsDep
) -> McpToolList:
    """Return the tools of a server in MCP_SERVERS, under the names that the model sees."""
    return await tools.of_server(name)


async def _started(request: Request, service: AgentService, run_id: str) -> Response:
    """Return the run, for a client that polls it."""
    response = await json_response(await service.get(caller_of(request).owner, run_id))
    response.status_code = 202
    response.headers["X-Run-ID"] = run_id
    response.headers["Location"] = f"{run_path(request, run_id)}/events"
    return response


async def _client_gone(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
