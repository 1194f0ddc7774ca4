"""The seam for local tools: what the agent loop offers to the model and how it runs a call."""

from collections.abc import Mapping
from typing import Any, Protocol


class Tool(Protocol):
    """A tool that this service runs itself."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """What the model is told: `{"name", "description", "parameters": JSON schema}`."""

    async def __call__(self, arguments: dict[str, Any]) -> Any:
        """Run it; the result is a JSON value. An exception becomes an error result that the model sees."""


NO_TOOLS: Mapping[str, Tool] = {}
