"""The rule of each route, by its name: what it asks of its caller. A route that isn't here can't be built."""

from collections.abc import Mapping

from services.access.rules import ADMINISTERS, ANY_CALLER, PUBLIC, READS, READS_RUN, WRITES, Rule

RULES: Mapping[str, Rule] = {
    # health_router
    "about": PUBLIC,
    "health": PUBLIC,
    "ready": PUBLIC,
    # page, docs_pages
    "static": PUBLIC,
    "docs": PUBLIC,
    "redoc": PUBLIC,
    "script": PUBLIC,
    # agent_router
    "stream": WRITES,
    "execute": WRITES,
    "simulate": WRITES,
    "models": READS,
    "tools": READS,
    "mcp_servers": READS,
    "mcp_server_tools": READS,
    # runs_router
    "start_run": WRITES,
    "list_runs": READS,
    "get_run": READS_RUN,
    "delete_run": WRITES,
    "run_events": READS_RUN,
    "cancel_run": WRITES,
    "decide_approval": WRITES,
    "decide_budget": WRITES,
    "send_tool_results": WRITES,
    "create_run_token": READS,
    # sessions_router
    "create_session": WRITES,
    "list_sessions": READS,
    "get_session": READS,
    "update_session": WRITES,
    "delete_session": WRITES,
    "session_messages": READS,
    "session_runs": READS,
    # access_router
    "me": ANY_CALLER,
    "create_key": ADMINISTERS,
    "list_keys": ADMINISTERS,
    "revoke_key": ADMINISTERS,
    "rotate_key": ADMINISTERS,
    "export_caller": ADMINISTERS,
    "delete_caller": ADMINISTERS,
}
