"""Tests which parameters each server gets, and in which form: the table of docs/upstreams.md against the wire."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import gives, named
from pydantic import ValidationError
from service import EXECUTE, SIMULATE, STREAM, Service, only, service, text
from wire import Done, Finish, Json, ToolCall, answer, refusal

from errors import InvalidRequest
from json_codec.writing import written
from models import AgentRequest
from parameter_models import ModelParameters
from services.agents.parameters import model_parameters
from services.upstreams.providers import KNOWN, Provider, rules_of
from services.upstreams.wire_parameters import RESERVED, check_options, check_parameters
from services.upstreams.wire_rules import OPTIONAL, fitted
from setting_objects import WireRules

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "upstreams.md"
UPSTREAMS = {
    **{name: name for name in KNOWN},
    "Dedalus and any other server": None,
    "Gemini": "google",
    "Together AI": "together_ai",
    "Fireworks AI": "fireworks_ai",
    "Kimi (Moonshot)": "moonshot",
}
"""The names of rows in the documented table, where they aren't those of the providers."""
ASKED: Json = {
    "tool_choice": {"name": "echo"},
    "parallel_tool_calls": False,
    "thinking_budget": 2048,
    "verbosity": "low",
    "service_tier": "flex",
    "prompt_cache_retention": "24h",
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "top_k": 40,
    "web_search": {"search_context_size": "low", "user_location": {"city": "Oslo"}},
}
NAMED = {"type": "function", "function": {"name": "echo"}}
NESTED = {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}}
FLAT = {"search_context_size": "low", "user_location": {"city": "Oslo"}}
GOOGLE = {"google": {"thinking_config": {"thinking_budget": 2048, "include_thoughts": True}}}
FORMS: dict[str, Json] = {
    "left out": {},
    "named": {"tool_choice": NAMED},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    "reasoning": {"reasoning": {"max_tokens": 2048}},
    "google": {"extra_body": GOOGLE},
    "nested": {"web_search_options": NESTED},
    "flat": {"web_search_options": FLAT},
    "plugin": {"plugins": [{"id": "web"}], "web_search_options": NESTED},
}
"""The form on the wire of each entry. `sent` means unchanged. `any` and `nothing` mean a refusal."""


def documented() -> dict[tuple[str, str], str]:
    """The entries of the table in the docs, by server and parameter."""
    lines = DOCS.read_text().splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("| server | `tool_choice`"))
    _, *parameters = cells(lines[head])
    found: dict[tuple[str, str], str] = {}
    for line in lines[head + 2 :]:
        if not line:
            return found
        server, *entries = cells(line)
        found |= {(server, name.strip("`")): entry for name, entry in zip(parameters, entries, strict=True)}
    raise AssertionError("the table has no end")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


TABLE = documented()


def rules_in(server: str) -> WireRules:
    return rules_of(UPSTREAMS.get(server, server.lower()))


def test_the_table_has_every_server_and_every_parameter_that_differs() -> None:
    """A new provider, or a new parameter that can be left out, fails the test until the docs have it."""
    servers = {UPSTREAMS.get(server, server.lower()) for server, _ in TABLE}
    assert servers == {*KNOWN, None}
    everywhere = {"temperature", "top_p", "seed", "reasoning_effort", "max_turns", "prompt_cache_key"}
    assert {parameter for _, parameter in TABLE} == {*OPTIONAL, "tool_choice"} - everywhere
    assert ASKED.keys() <= ModelParameters.model_fields.keys()


@pytest.mark.parametrize(("server", "parameter"), TABLE)
async def test_a_parameter_has_the_documented_form_on_the_wire(server: str, parameter: str) -> None:
    """The bytes of the request have the parameter as the table says, and nothing else is added."""
    entry, rules = TABLE[server, parameter], rules_in(server)
    parameters = model_parameters(AgentRequest.model_validate({"input": "?", parameter: ASKED[parameter]}))
    if entry in {"any", "nothing"}:
        with pytest.raises(InvalidRequest):
            check_parameters(parameters, rules)
        return
    check_parameters(parameters, rules)
    sent = json.loads(await written(fitted({"messages": [], **parameters}, rules)))
    assert sent == {"messages": [], **FORMS.get(entry, {parameter: ASKED[parameter]})}


@pytest.mark.parametrize("server", sorted({server for server, _ in TABLE}))
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_is_sent_as_a_word(server: str, choice: str) -> None:
    """A server that can't be forced gets `auto` and `none`. `required` is refused, naming the field."""
    rules = rules_in(server)
    if choice == "required" and TABLE[server, "tool_choice"] == "nothing":
        with pytest.raises(InvalidRequest) as refused:
            check_parameters({"tool_choice": choice}, rules)
        assert [detail.loc for detail in refused.value.details] == ["tool_choice"]
    else:
        check_parameters({"tool_choice": choice}, rules)
        assert fitted({"messages": [], "tool_choice": choice}, rules)["tool_choice"] == choice


@pytest.mark.parametrize(
    ("parameter", "value", "rules", "sent"),
    [
        ("thinking_budget", "adaptive", WireRules(), {"thinking": {"type": "adaptive"}}),
        ("thinking_budget", "adaptive", WireRules(thinking="reasoning"), {"reasoning": {"enabled": True}}),
        (
            "thinking_budget",
            "adaptive",
            WireRules(thinking="google"),
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": -1, "include_thoughts": True}}}},
        ),
        ("web_search", True, WireRules(), {"web_search_options": {}}),
        ("web_search", True, WireRules(web_search="flat"), {"web_search_options": {}}),
        ("web_search", True, WireRules(web_search="plugin"), {"plugins": [{"id": "web"}]}),
        ("web_search", {"user_location": {}}, WireRules(), {"web_search_options": {}}),
        ("web_search", False, WireRules(), {}),
        ("provider_options", {"logit_bias": {"1": 5}}, WireRules(), {"logit_bias": {"1": 5}}),
    ],
)
def test_the_short_values_of_parameters(parameter: str, value: Any, rules: WireRules, sent: Json) -> None:
    """`adaptive`, `true` and `false` have forms of their own."""
    parameters = model_parameters(AgentRequest.model_validate({"input": "?", parameter: value}))
    assert fitted({"messages": [], **parameters}, rules) == {"messages": [], **sent}


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ({"type": "function", "function": {"name": "echo"}}, {"name": "echo"}),
        ({"type": "tool", "name": "echo"}, {"name": "echo"}),
        ({"type": "tool", "toolName": "echo"}, {"name": "echo"}),
        ({"type": "function", "name": "echo"}, {"name": "echo"}),
        ({"name": "echo"}, {"name": "echo"}),
        ({"type": "any"}, "required"),
        ("any", "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ("required", "required"),
    ],
    ids=str,
)
def test_a_choice_is_understood_in_the_forms_of_chat_clients(given: Any, understood: Any) -> None:
    """The forms of OpenAI's two APIs, of Anthropic and of the AI SDK mean the same."""
    request = AgentRequest.model_validate({"input": "?", "tool_choice": given})
    assert model_parameters(request) == {"tool_choice": understood}


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"functions": [{"name": "f"}]}, "use tools"),
        ({"function_call": "auto"}, "use tool_choice"),
        ({"n": 2}, "n must be 1"),
        ({"n": [1]}, "n must be 1"),
        ({"max_completion_tokens": 5}, "use max_tokens"),
        ({"thinking": {"type": "enabled"}}, "use thinking_budget"),
        ({"web_search_options": {}}, "use web_search"),
        ({"thinking_budget": 2048, "reasoning_effort": "low"}, "not both"),
        ({"thinking_budget": "adaptive", "reasoning_effort": "low"}, "not both"),
        ({"thinking_budget": 2048, "max_tokens": 2048}, "less than max_tokens"),
        ({"thinking_budget": 1023}, "greater than or equal to 1024"),
        ({"top_k": 0}, "greater than or equal to 1"),
        ({"frequency_penalty": 2.1}, "less than or equal to 2"),
        ({"tool_choice": "sometimes"}, "'auto', 'none' or 'required'"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice"),
        ({"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "echo", "disable_parallel_tool_use": True}}, "tool_choice"),
        ({"verbosity": "loud"}, "verbosity"),
        ({"service_tier": "a b"}, "service_tier"),
        ({"web_search": {"depth": 3}}, "web_search"),
        ({"max_turns": 0}, "max_turns"),
        ({"provider_options": {f"k{number}": 1 for number in range(33)}}, "at most 32"),
    ],
    ids=str,
)
async def test_what_can_t_be_meant_is_refused_with_what_to_do(body: Json, hint: str) -> None:
    """Deprecated parameters, and values that contradict each other, are validation errors."""
    with pytest.raises(ValidationError, match=hint):
        AgentRequest.model_validate({"input": "?", **body})


def test_deprecated_parameters_may_be_null_and_n_may_be_one() -> None:
    """Chat clients send their defaults."""
    request = AgentRequest.model_validate({"input": "?", "functions": None, "function_call": None, "n": 1})
    assert model_parameters(request) == {}


@pytest.mark.parametrize(
    "name", ["model", "messages", "stream", "tools", "temperature", "thinking", "tool_choice", "prompt_cache_key"]
)
def test_provider_options_never_replace_what_the_service_writes(name: str) -> None:
    """A reserved name is refused even if PROVIDER_OPTIONS has it."""
    assert name in RESERVED
    with pytest.raises(InvalidRequest) as refused:
        check_options({name: 1}, (name,))
    assert [detail.loc for detail in refused.value.details] == [f"provider_options.{name}"]


def test_provider_options_need_the_operator_s_leave_and_don_t_repeat_a_field() -> None:
    """Names outside of PROVIDER_OPTIONS are refused, and one that a parameter of the request writes, too."""
    check_options({"extra_body": {}}, ("extra_body",))
    with pytest.raises(InvalidRequest):
        check_options({"logit_bias": {}}, ("extra_body",))
    twice = {"thinking_budget": 2048, "provider_options": {"extra_body": {}}}
    check_parameters(twice, WireRules())
    with pytest.raises(InvalidRequest):
        check_parameters(twice, WireRules(thinking="google"))


# Through the service

CALL = [ToolCall("call_1", "echo", "{}"), Finish("tool_calls"), Done()]


@pytest.mark.parametrize(
    ("choice", "first", "second"),
    [
        ("required", "required", None),
        ({"name": "echo"}, NAMED, None),
        ("auto", "auto", "auto"),
        ("none", "none", "none"),
    ],
)
async def test_a_call_is_forced_in_the_first_step_only(choice: Any, first: Any, second: Any) -> None:
    """The other parameters are the same in each step. `none` holds throughout."""
    async with FakeDedalus() as fake, service(fake.url, tools=named(gives("echo", "hi"))) as agent:
        fake.turn(*CALL)
        fake.always(*answer("ok"))
        body = {"input": "?", "tool_choice": choice, "parallel_tool_calls": False, "top_k": 3, "verbosity": "low"}
        assert text(await agent.stream(body)) == "ok"
        one, two = (chat.body for chat in fake.chats)
    assert (one["tool_choice"], two.get("tool_choice")) == (first, second)
    same = one.keys() - {"messages", "tool_choice"}
    assert {key: one[key] for key in same} == {key: two[key] for key in same}
    assert (one["parallel_tool_calls"], one["top_k"], one["verbosity"]) == (False, 3, "low")


async def test_choices_about_tools_are_not_sent_without_tools() -> None:
    """OpenAI refuses both in a request without tools."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(*answer("ok"))
        await agent.stream({"input": "?", "tool_choice": "auto", "parallel_tool_calls": True})
    assert not fake.chats[0].body.keys() & {"tool_choice", "parallel_tool_calls"}


async def refused(agent: Service, body: Json, path: str = EXECUTE) -> tuple[int, str, list[str]]:
    response = await agent.post(path, {"input": "?", **body}, accept="application/json")
    error = response.json()["error"]
    return response.status_code, error["code"], [detail["loc"] for detail in error.get("details", [])]


async def test_a_forced_call_needs_its_tool() -> None:
    """A name that the request doesn't have, or no tool at all, is refused before the run."""
    async with FakeDedalus() as fake, service(fake.url, tools=named(gives("echo", "hi"))) as agent:
        named_other = await refused(agent, {"tool_choice": {"name": "other"}})
        without = await refused(agent, {"tool_choice": "required", "tools": []}, STREAM)
    assert named_other == (422, "tool_unavailable", ["tool_choice.name"])
    assert without == (422, "tool_unavailable", ["tool_choice"])
    assert not fake.chats


async def test_hosted_servers_get_the_turns_that_are_left() -> None:
    """Each step has one fewer. The request's own number is sent in each."""
    asked = {"input": "?", "mcp_servers": ["a/b"], "max_steps": 5}
    async with FakeDedalus() as fake, service(fake.url, tools=named(gives("echo", "hi"))) as agent:
        for own in ({}, {"max_turns": 3}):
            fake.turn(*CALL)
            fake.turn(*answer("ok"))
            await agent.stream({**asked, **own})
        fake.turn(*answer("ok"))
        await agent.stream({"input": "?"})
    assert [chat.body.get("max_turns") for chat in fake.chats] == [5, 4, 3, 3, None]


async def test_a_provider_gets_its_own_form_and_the_caller_a_warning_for_the_rest() -> None:
    """OpenAI accepts neither top_k nor a budget for thinking, and hosts no MCP servers."""
    async with FakeDedalus() as fake:
        table = {"openai": Provider(fake.url, ("openai_api_key",), "m")}
        async with service(providers=table, openai_api_key="k", provider_options="logit_bias") as agent:
            fake.always(*answer("ok"))
            body = {**ASKED, "tool_choice": "none", "max_turns": 3, "provider_options": {"logit_bias": {"1": 2}}}
            events = await agent.stream({"input": "?", **body})
            refusals = [await refused(agent, {"provider_options": {name: 1}}) for name in ("other", "model")]
    assert text(events) == "ok"
    sent = fake.chats[0].body
    assert sent["web_search_options"] == NESTED
    assert sent["logit_bias"] == {"1": 2}
    assert not sent.keys() & {"top_k", "thinking", "thinking_budget", "max_turns", "provider_options", "web_search"}
    warnings = only(events, "warning")
    assert {warning["code"] for warning in warnings} == {"parameter_left_out"}
    assert [name for warning in warnings for name in ASKED | {"max_turns": 3} if f" {name} " in warning["message"]] == [
        "max_turns",
        "thinking_budget",
        "top_k",
    ]
    assert [status for status, _, _ in refusals] == [422, 422]
    assert [loc for _, _, locs in refusals for loc in locs] == ["provider_options.other", "provider_options.model"]


async def test_a_refusal_under_the_name_on_the_wire_leaves_the_parameter_out() -> None:
    """A server that refuses `thinking` is asked without it, and the warning names the request's field."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(
            lambda body: [refusal(400, "Unknown parameter: 'thinking'.", "x")] if "thinking" in body else answer("ok")
        )
        events = await agent.stream({"input": "?", "thinking_budget": 2048})
    assert text(events) == "ok"
    assert len(fake.chats) == 2
    [warning] = only(events, "warning")
    assert "thinking_budget" in warning["message"]


async def test_the_refusal_of_a_deprecated_parameter_says_what_to_use(agent: Service) -> None:
    """The message of the 422 names the field."""
    for path in (EXECUTE, SIMULATE):
        response = await agent.post(path, {"input": "?", "functions": [{"name": "f"}]}, accept="application/json")
        assert response.status_code == 422
        assert "use tools" in response.json()["error"]["details"][0]["message"]
