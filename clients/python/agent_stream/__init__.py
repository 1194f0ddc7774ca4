"""The Python client of Agent Stream.

    from agent_stream import AgentStream, PartialOutput

    with AgentStream("http://127.0.0.1:8000") as agent, agent.stream("Why is the sky blue?") as run:
        for event in run:
            match event:
                case PartialOutput(text):
                    print(text, end="", flush=True)

`AsyncAgentStream` is the same for asyncio.
"""

from agent_stream._async.client import AsyncAgentStream
from agent_stream._async.run import AsyncRun
from agent_stream._sync.client import AgentStream
from agent_stream._sync.run import Run
from agent_stream.errors import AgentStreamError, ApiError, RunFailed, Unreachable
from agent_stream.events import (
    ApprovalRequest,
    ApprovalResponse,
    BudgetResponse,
    Complete,
    Event,
    FinalOutput,
    PartialOutput,
    RunError,
    RunStarted,
    RunWarning,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    StreamEvent,
    Thinking,
    ToolProgress,
    ToolResult,
    ToolUse,
    ToolUseDelta,
    Waiting,
)
from agent_stream.records import (
    CitedPage,
    Decision,
    ErrorInfo,
    FieldError,
    FunctionCall,
    LongInputPrices,
    McpServerInfo,
    McpServerList,
    McpToolList,
    MessageList,
    ModelInfo,
    ModelList,
    PendingBudget,
    PendingCall,
    PendingItem,
    Pricing,
    RunList,
    RunRecord,
    Session,
    SessionList,
    SessionMessage,
    ToolCall,
    ToolInfo,
    ToolList,
    Usage,
)
from agent_stream.requests import RequestOptions, SimulateOptions
from agent_stream.transcript import Result

__all__ = [
    "AgentStream",
    "AgentStreamError",
    "ApiError",
    "ApprovalRequest",
    "ApprovalResponse",
    "AsyncAgentStream",
    "AsyncRun",
    "BudgetResponse",
    "CitedPage",
    "Complete",
    "Decision",
    "ErrorInfo",
    "Event",
    "FieldError",
    "FinalOutput",
    "FunctionCall",
    "LongInputPrices",
    "McpServerInfo",
    "McpServerList",
    "McpToolList",
    "MessageList",
    "ModelInfo",
    "ModelList",
    "PartialOutput",
    "PendingBudget",
    "PendingCall",
    "PendingItem",
    "Pricing",
    "RequestOptions",
    "Result",
    "Run",
    "RunError",
    "RunFailed",
    "RunList",
    "RunRecord",
    "RunStarted",
    "RunWarning",
    "Session",
    "SessionList",
    "SessionMessage",
    "SimulateOptions",
    "Source",
    "StepFinished",
    "StepRestarted",
    "StepStarted",
    "StreamEvent",
    "Thinking",
    "ToolCall",
    "ToolInfo",
    "ToolList",
    "ToolProgress",
    "ToolResult",
    "ToolUse",
    "ToolUseDelta",
    "Unreachable",
    "Usage",
    "Waiting",
]
