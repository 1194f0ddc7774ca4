"""Tests the first table of docs/upstreams.md, and its sentences about single providers, against the wire."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from wire import Json

from services.upstreams.providers import KNOWN, rules_of
from services.upstreams.wire_rules import fitted

DOCS = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text()
NAMES = {
    "Gemini": "google",
    "Kimi (Moonshot)": "moonshot",
    "Together AI": "together_ai",
    "Fireworks AI": "fireworks_ai",
    "Azure, v1": "azure",
}
"""The providers of documented names that aren't the provider's own in other letters."""
LONG_ID = "fc_0f0e50a1476a6c35006912c58dc9f8819192c25864eb16f07f"
SIGNED_ID = f"call_1__thought__{'s' * 300}"


def documented() -> dict[str, str]:
    """What differs in a request, by provider: the fourth column of the table."""
    _, table = DOCS.split("\n| server | in `.env`", 1)
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.split("\n\n", 1)[0].splitlines()]
    providers = {NAMES.get(row[0], row[0].lower()): row for row in rows}
    return {name: providers[name][3] for name in KNOWN}


DIFFERENCES = documented()


def asked(call_id: str) -> Json:
    """A request with everything that the column is about."""
    call = {"id": call_id, "type": "function", "function": {"name": "echo", "arguments": "{}"}}
    return {
        "messages": [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
            {"role": "tool", "content": "5", "tool_call_id": call_id},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "seed": 5,
    }


def sent_id(provider: str, call_id: str) -> str:
    """The id of a call's result as this provider gets it."""
    return str(fitted(asked(call_id), rules_of(provider))["messages"][2]["tool_call_id"])


SAYS: dict[str, Callable[[str], bool]] = {
    "`max_completion_tokens`": lambda name: "max_completion_tokens" in fitted(asked(LONG_ID), rules_of(name)),
    "no `stream_options`": lambda name: "stream_options" not in fitted(asked(LONG_ID), rules_of(name)),
    "`random_seed` instead": lambda name: "random_seed" in fitted(asked(LONG_ID), rules_of(name)),
    "nine letters and digits": lambda name: len(sent_id(name, LONG_ID)) == 9,
    "at most 40 characters": lambda name: 9 < len(sent_id(name, SIGNED_ID)) <= 40,
    "returned unchanged": lambda name: sent_id(name, LONG_ID) == LONG_ID,
}
"""What the column says of a provider, and whether its requests show it."""


@pytest.mark.parametrize("provider", KNOWN)
@pytest.mark.parametrize("said", SAYS)
def test_a_request_differs_as_the_table_says(said: str, provider: str) -> None:
    """A difference is on the wire if the row has it, and only then."""
    row = DIFFERENCES["openai"] if "as for OpenAI" in DIFFERENCES[provider] else DIFFERENCES[provider]
    assert SAYS[said](provider) == (said in row)


def in_sentence(pattern: str) -> set[str]:
    """The providers that a sentence names."""
    [names] = re.findall(rf"^([^.|\n]*) {pattern}", DOCS, re.MULTILINE)
    return {NAMES.get(name, name.lower()) for name in re.split(", | and ", names)}


def test_the_documented_providers_get_no_reasoning() -> None:
    """A message of the model reaches all others with its reasoning."""
    without = {name for name in KNOWN if "Hm." not in str(fitted(asked(LONG_ID), rules_of(name)))}
    assert without == in_sentence("receive no reasoning")


def test_the_documented_providers_get_a_key_for_their_cache() -> None:
    """The rule is on for these alone."""
    assert {name for name in KNOWN if rules_of(name).prompt_cache_key} == in_sentence("also get a `prompt_cache_key`")
