"""A model that calls a tool in each of its turns, and counts its tokens as a server does: by what it was sent."""

import json
from dataclasses import dataclass, field

from wire import Done, Finish, Json, Step, Text, ToolCall, Usage

CHARACTERS_PER_TOKEN = 4


@dataclass
class MeteredModel:
    """Script it with `FakeDedalus.choose`. `spent` has the usage of each turn so far.

    A turn calls `tool` until there were `turns` of them, and the last one answers. Each has `output_tokens`, or as many
    as the request allows. A prompt has one token for `characters_per_token` of its JSON.
    """

    turns: int
    tool: str = "add"
    arguments: Json = field(default_factory=lambda: {"a": 1, "b": 2})
    output_tokens: int = 40
    characters_per_token: int = CHARACTERS_PER_TOKEN
    spent: list[Usage] = field(default_factory=list)

    def __call__(self, body: Json) -> list[Step]:
        prompt = len(json.dumps([body["messages"], body.get("tools")])) // self.characters_per_token
        output = min(self.output_tokens, body.get("max_tokens", self.output_tokens))
        usage = Usage(prompt, output, prompt + output)
        self.spent.append(usage)
        number = sum(message["role"] == "assistant" for message in body["messages"]) + 1
        if number >= self.turns:
            return [Text("Done."), Finish("stop", usage), Done()]
        call = ToolCall(f"call_{number}", self.tool, json.dumps(self.arguments))
        return [Text(f"Step {number}."), call, Finish("tool_calls", usage), Done()]

    @property
    def tokens(self) -> int:
        """The tokens of all turns so far."""
        return sum(usage.total for usage in self.spent)
