"""The limits and the growing conversation that the steps of a run share."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.agents.budget import NO_BOUNDS, BudgetBounds
from services.agents.checked_output import CheckedOutput, OutputRules
from services.agents.conversation import WireMessage
from services.agents.run_context import RunContext
from services.agents.tool_calls import Call, ToolCalls
from services.tooling.checks import CheckKind, TextCheck
from services.upstreams.model_turn import Deadlines
from services.upstreams.upstream import Route
from services.upstreams.wire_rules import without_provider_fields


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """The limits of a run's turns. Times are in seconds, sizes in bytes of UTF-8.

    `check_input` checks requests, and `output_rules` say how output is checked. Each is None if nothing is checked.
    """

    deadlines: Deadlines
    max_steps: int
    max_tool_result_bytes: int
    max_calls_per_turn: int
    budget: BudgetBounds = NO_BOUNDS
    check_input: TextCheck | None = None
    output_rules: OutputRules | None = None


@dataclass(slots=True)
class LoopState:
    """The part of a loop that grows from turn to turn.

    `messages` are those of the next turn's request. `call_ids` are the ids of all calls so far. `left_out` are the
    parameters that the caller has been warned about, and `unavailable` the hosted MCP servers. `correlation_id` and
    `deferred_calls` are the server's state of its own calls. `invalid_answers` are those that didn't match the output
    schema. `passed` has the end of the text and of the thinking that have passed the check of outputs.
    """

    messages: list[WireMessage]
    call_ids: set[str]
    correlation_id: str | None = None
    deferred_calls: list[dict[str, Any]] = field(default_factory=list)
    unavailable: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    invalid_answers: int = 0
    passed: dict[CheckKind, str] = field(default_factory=dict)

    def calls(self, context: RunContext, limits: AgentLimits, earlier: Iterable[Call] = ()) -> ToolCalls:
        """Return the calls of a turn. `earlier` are those of a turn that was suspended."""
        return ToolCalls(
            context.toolset,
            context.route.upstream.hosts_mcp,
            limits.max_tool_result_bytes,
            limits.max_calls_per_turn,
            self.call_ids,
            earlier,
        )

    def checked_output(self, context: RunContext, limits: AgentLimits, step: int) -> CheckedOutput | None:
        """Return what holds the output of a step back until it is checked, or None if nothing is checked."""
        rules = limits.output_rules
        return None if rules is None else CheckedOutput(rules, context, step, self.passed)

    def leave(self, before: Route, after: Route) -> None:
        """Remove what the next model's server doesn't accept: another family's reasoning, another server's state."""
        if before.family != after.family:
            self.messages = [*map(without_provider_fields, self.messages)]
        if before.upstream is not after.upstream:
            self.correlation_id = None
            self.deferred_calls = []
