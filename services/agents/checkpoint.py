"""What the model said in a step, and where a run is left off that waits in the middle of one."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from events import Usage
from services.agents.conversation import WireMessage
from services.agents.tool_calls import Call
from services.upstreams.wire_rules import plain


class Said(BaseModel):
    """What the model said in a step beside its calls. `reasoning` are keys of its message, as they came."""

    step: int
    text: str
    reasoning: dict[str, Any] = {}
    finish_reason: str
    usage: Usage
    correlation_id: str | None


class Checkpoint(Said):
    """Where a run was left off that waits: in the middle of a step's calls. It is kept as JSON.

    `messages` are what the step was told. `family` is that of the model.
    """

    messages: list[WireMessage]
    calls: list[Call]
    call_ids: list[str]
    family: str | None = None

    def to(self, family: str) -> "Checkpoint":
        """The same for a model of this family, to which another family's reasoning and signatures mean nothing."""
        if self.family in (None, family):
            return self
        calls = [replace(call, extra={}) for call in self.calls]
        return self.model_copy(update={"reasoning": {}, "messages": [*map(plain, self.messages)], "calls": calls})
