"""The states of a suspended run, and the parts of a step that they share with a run under way."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import BaseModel

from event_data import RestartReason, RunWarning
from services.agents.budget import BudgetState
from services.agents.conversation import WireMessage
from services.agents.tool_calls import Call
from services.tooling.checks import CheckKind
from services.upstreams.wire_rules import without_provider_fields
from usage_models import NO_USAGE, Usage


class StepOutput(BaseModel):
    """The model's output of a step, beside its calls. `reasoning` holds keys of its message, unchanged.

    `correlation_id` and `deferred_calls` are sent back with the next request. `model` is the one that answered, None in
    checkpoints of earlier versions.
    """

    step: int
    text: str
    reasoning: dict[str, Any] = {}
    finish_reason: str
    usage: Usage
    correlation_id: str | None
    deferred_calls: list[dict[str, Any]] = []
    model: str | None = None
    warnings: list[RunWarning] = []


class StepProgress(BaseModel):
    """A step between two of its attempts, or before the first one.

    `usage` is that of the attempts so far, and `unreported` the part of it that no `step_restarted` has. `is_started`
    says whether the log has its `step_started`, and `restart_reason` why the next attempt begins with a
    `step_restarted`, if it does. `was_blocked` says whether the output of an attempt was blocked.
    """

    step: int
    usage: Usage = NO_USAGE
    unreported: Usage = NO_USAGE
    is_started: bool = False
    restart_reason: RestartReason | None = None
    was_blocked: bool = False


class RunState(BaseModel):
    """The state of a run, stored as JSON while it waits.

    `messages` are those of the step's request. `family` is that of the model. `models` are the model that answers and
    its fallbacks. `invalid_answers` are those that didn't match the output schema. `passed` is that of `LoopState`.
    `budget` is None in checkpoints of earlier versions.
    """

    messages: list[WireMessage]
    call_ids: list[str]
    family: str | None = None
    models: list[str] = []
    invalid_answers: int = 0
    passed: dict[CheckKind, str] = {}
    budget: BudgetState | None = None

    def for_family(self, family: str) -> Self:
        """Return the checkpoint for a model of this family. Another family's reasoning and signatures are removed."""
        return self if self.family in (None, family) else self._without_provider_fields()

    def _without_provider_fields(self) -> Self:
        return self.model_copy(update={"messages": [*map(without_provider_fields, self.messages)]})


class Checkpoint(RunState, StepOutput):
    """The state to resume a run from, in the middle of a step's calls."""

    calls: list[Call]

    def _without_provider_fields(self) -> Self:
        calls = [replace(call, extra={}) for call in self.calls]
        return super()._without_provider_fields().model_copy(update={"reasoning": {}, "calls": calls})


class BudgetCheckpoint(RunState, StepProgress):
    """The state to resume a run from, before an attempt for which its budget had too little left."""

    kind: Literal["budget"] = "budget"
    correlation_id: str | None
    deferred_calls: list[dict[str, Any]]


def checkpoint_of(state: Mapping[str, Any]) -> Checkpoint | BudgetCheckpoint:
    """Return the checkpoint of its JSON."""
    if state.get("kind") == "budget":
        return BudgetCheckpoint.model_validate(state)
    return Checkpoint.model_validate(state)
