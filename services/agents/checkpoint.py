"""The state of a suspended run, and the part of a step that it shares with a run under way."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from events import RunWarning, Usage
from services.agents.conversation import WireMessage
from services.agents.tool_calls import Call
from services.upstreams.wire_rules import without_provider_fields


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


class Checkpoint(StepOutput):
    """The state to resume a run from, in the middle of a step's calls. It is stored as JSON.

    `messages` are those that the step's request had. `family` is that of the model. `models` are the model that answers
    and its fallbacks. `invalid_answers` are those that didn't match the output schema.
    """

    messages: list[WireMessage]
    calls: list[Call]
    call_ids: list[str]
    family: str | None = None
    models: list[str] = []
    invalid_answers: int = 0

    def for_family(self, family: str) -> "Checkpoint":
        """Return the checkpoint for a model of this family. Another family's reasoning and signatures are removed."""
        if self.family in (None, family):
            return self
        calls = [replace(call, extra={}) for call in self.calls]
        return self.model_copy(
            update={"reasoning": {}, "messages": [*map(without_provider_fields, self.messages)], "calls": calls}
        )
