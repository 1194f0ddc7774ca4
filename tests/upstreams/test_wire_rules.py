"""Tests the requests to each model server: by the table, by the operator's rules, and corrected after a refusal."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import gives, named
from service import NOWHERE, Service, only, service, settings, text
from wire import (
    Done,
    Finish,
    Head,
    Json,
    RawBytes,
    Status,
    Step,
    Text,
    ToolCall,
    answer,
    refusal,
)

from services.upstreams.corrections import MAX_LEFT_OUT, corrected
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.providers import Provider, provider_at, rules_of, with_model
from services.upstreams.selection import Upstreams
from services.upstreams.upstream import MAX_LEARNED_MODELS
from services.upstreams.wire_rules import call_id, fitted
from setting_objects import WireRules

pytestmark = pytest.mark.anyio

PLAIN = WireRules()
LONG_ID = "fc_0f0e50a1476a6c35006912c58dc9f8819192c25864eb16f07f"
CALLED: Json = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": LONG_ID, "type": "function", "function": {"name": "echo", "arguments": "{}"}}],
}
RESULT: Json = {"role": "tool", "tool_call_id": LONG_ID, "content": "nothing"}
ASKED: Json = {
    "model": "m",
    "messages": [{"role": "user", "content": "?"}, CALLED, RESULT],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 7,
    "temperature": 0.2,
    "seed": 5,
    "reasoning_effort": "high",
    "stop": ["END"],
}


def openai(message: str, param: str | None = None, code: str | None = None) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def pydantic(name: str) -> Json:
    """An error response of a server built with pydantic, which repeats the request."""
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]}


# Each as it was reported: the server's message, and what has to change.
REFUSALS: list[tuple[object, dict[str, Any]]] = [
    # Anthropic's rule for two parameters: one of them is left
    (
        openai("`temperature` and `reasoning_effort` cannot both be specified for this model. Use only one."),
        {"left_out": ('reasoning_effort="high"',)},
    ),
    (
        openai("You may only set either temperature or reasoning_effort."),
        {"left_out": ('reasoning_effort="high"',)},
    ),
    # stream_options
    (openai("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter"), {"stream_options": False}),
    (openai("Unrecognized request argument supplied: stream_options"), {"stream_options": False}),
    (pydantic("stream_options"), {"stream_options": False}),
    ({"object": "error", "message": pydantic("stream_options"), "code": None}, {"stream_options": False}),  # Mistral
    (
        {"detail": "Extra parameters ['stream_options'] are not allowed when extra-parameters is not set"},  # Azure AI
        {"stream_options": False},
    ),
    ('json: unknown field "stream_options"', {"stream_options": False}),
    ({"message": "stream_options: Extra inputs are not permitted"}, {"stream_options": False}),
    (
        [{"error": {"code": 400, "message": 'Unknown name "stream_options": Cannot find field.'}}],
        {"stream_options": False},
    ),
    (openai("property 'stream_options' is unsupported, did you mean 'stream'?"), {"stream_options": False}),  # Groq
    ({"code": "InvalidParameter", "message": "stream_options"}, {"stream_options": False}),
    (openai("The parameter `stream_options` specified in the request are not valid"), {"stream_options": False}),
    (openai("Invalid value for 'stream_options': unexpected key"), {"stream_options": False}),
    (openai("include_usage is not recognized"), {"stream_options": False}),
    (openai("参数 stream_options 不支持"), {"stream_options": False}),
    # stream
    (
        openai("Your organization must be verified to stream this model.", "stream", "unsupported_value"),
        {"stream": False},
    ),
    (openai("Unsupported value: 'stream' does not support true with this model."), {"stream": False}),
    ({"message": "The model does not support streaming"}, {"stream": False}),
    # max_tokens
    (
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        {"max_tokens": "max_completion_tokens"},
    ),
    (
        {"error": {"message": "Provider returned error", "metadata": {"raw": "Unsupported parameter: 'max_tokens'"}}},
        {"max_tokens": "max_completion_tokens"},  # OpenRouter
    ),
    # what can be left out
    (
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is "
            "supported.",
            "temperature",
            "unsupported_value",
        ),
        {"left_out": ("temperature=0.2",)},
    ),
    (openai("invalid temperature: only 1 is allowed for this model"), {"left_out": ("temperature=0.2",)}),  # Moonshot
    (openai("Unsupported parameter: 'temperature' is not supported with this model."), {"left_out": ("temperature",)}),
    (openai("Model grok-4 does not support parameter reasoningEffort."), {"left_out": ("reasoning_effort",)}),
    ([{"error": {"message": 'Unknown name "seed": Cannot find field.'}}], {"left_out": ("seed",)}),
    (openai("seed is not a recognized parameter"), {"left_out": ("seed",)}),
    (openai("The parameter `reasoning_effort` is not valid for this model"), {"left_out": ("reasoning_effort",)}),
    (openai("seed is not supported, use random_seed instead"), {"seed": "random_seed"}),
    (
        {
            "error": {
                "message": "litellm.UnsupportedParamsError: x does not support parameters: ['seed', 'temperature']"
            }
        },
        {"left_out": ("temperature", "seed")},
    ),
    # messages
    (openai("Invalid 'content': 'content' field must be a string or an array of objects."), {"empty_content": "text"}),
    (openai("invalid message content type: <nil>"), {"empty_content": "text"}),  # Ollama
    (openai("messages.1.content: Input should be a valid string"), {"empty_content": "text"}),
    (
        {"object": "error", "message": "Tool call id was fc_0 but must be a-z, A-Z, 0-9, with a length of 9."},
        {"call_ids": "nine"},
    ),
    (
        openai("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),  # Anthropic
        {"call_ids": "nine"},
    ),
    ({"object": "error", "message": "System role not supported", "code": 400}, {"system_role": False}),  # vLLM, Gemma
    (openai("Developer instruction is not enabled for models/gemma-3-27b-it"), {"system_role": False}),  # Google
    (
        openai("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "messages[0].role"),
        {"system_role": False},
    ),
    (
        openai("Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40."),
        {"call_ids": "short"},
    ),
]


@pytest.mark.parametrize(("said", "changes"), REFUSALS, ids=lambda value: str(value)[:60])
def test_a_refusal_that_names_what_was_sent_corrects_the_rules(said: object, changes: dict[str, Any]) -> None:
    """The messages of real servers correct the rules, whatever the shape of their error."""
    assert corrected(PLAIN, fitted(ASKED, PLAIN), 400, said) == PLAIN.model_copy(update=changes)


UNMENDABLE: list[object] = [
    openai("Unknown parameter: 'stop'.", "stop"),
    openai("'response_format' is not supported"),
    openai("This model's maximum context length is 10 tokens."),
    openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
    openai("temperature must be between 0 and 1"),
    openai("The model `m` does not exist", None, "model_not_found"),
    openai("Unknown parameter: 'top_p'."),  # which wasn't sent
    {"detail": [{"type": "missing", "loc": ["body", "prompt"], "msg": "not permitted", "input": ASKED}]},
    "<html>404 Not Found</html>",
    None,
    5,
]


@pytest.mark.parametrize("said", UNMENDABLE, ids=lambda value: str(value)[:60])
def test_any_other_refusal_changes_nothing(said: object) -> None:
    """Nothing that affects the answer is changed, nor what only appears in the request that a refusal repeats."""
    assert corrected(PLAIN, fitted(ASKED, PLAIN), 400, said) is None


@pytest.mark.parametrize("status", [401, 402, 403, 408, 413, 429, 502, 503])
def test_a_status_of_another_meaning_teaches_nothing(status: int) -> None:
    """An error about a key, a quota or an outage isn't about a parameter, whatever its text."""
    assert corrected(PLAIN, fitted(ASKED, PLAIN), status, "Unknown parameter: 'stream_options'") is None


@pytest.mark.parametrize("word", ["id ", "reasoning_content ", "'content' null ", "max_tokens "])
def test_a_hostile_refusal_is_read_in_little_time(word: str) -> None:
    """No text causes backtracking in a pattern, since the loop's other streams wait meanwhile."""
    body = {"error": {"message": word * 1_000_000, "more": [word] * 100_000}}
    started = time.process_time()
    corrected(PLAIN, fitted(ASKED, PLAIN), 400, body)
    assert time.process_time() - started < 0.05


def test_a_refusal_is_read_in_bounded_depth_and_what_is_left_out_is_bounded() -> None:
    """A hostile server can cause neither deep recursion nor unbounded memory."""
    deep: Any = "Unknown parameter: 'stream_options'"
    for _ in range(5000):
        deep = [deep]
    assert corrected(PLAIN, ASKED, 400, deep) is None
    full = WireRules(left_out=tuple(f"temperature={n}" for n in range(MAX_LEFT_OUT)))
    better = corrected(full, ASKED, 400, "temperature is not supported")
    assert better is not None
    assert better.left_out == (*full.left_out[1:], "temperature")


# The request's form


def test_the_rules_of_openai_s_reference_change_only_a_long_id() -> None:
    """A conventional request is unchanged; an id above 40 characters is shortened alike in call and result."""
    sent = fitted(ASKED, PLAIN)
    assert {**sent, "messages": None} == {**ASKED, "messages": None}
    _, called, result = sent["messages"]
    assert called["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) <= 40
    assert (called["content"], called["tool_calls"][0]["function"]) == (None, CALLED["tool_calls"][0]["function"])


def test_each_rule_changes_what_it_names() -> None:
    """Each rule changes what it names: field names, omitted fields, the content beside calls, ids."""
    rules = WireRules(
        max_tokens="max_completion_tokens",
        stream=False,
        empty_content="text",
        call_ids="nine",
        seed="random_seed",
        left_out=("temperature", 'reasoning_effort="high"'),
    )
    sent = fitted(ASKED, rules)
    assert sent.keys() == {"model", "messages", "stream", "max_completion_tokens", "random_seed", "stop"}
    assert (sent["max_completion_tokens"], sent["random_seed"]) == (7, 5)
    question, called, result = sent["messages"]
    assert question is ASKED["messages"][0]
    assert called["content"] == ""
    assert re.fullmatch(r"[A-Za-z0-9]{9}", result["tool_call_id"])
    assert called["tool_calls"][0]["id"] == result["tool_call_id"]
    assert "reasoning_effort" in fitted({**ASKED, "reasoning_effort": "low"}, rules)


SIGNED: Json = {
    "role": "assistant",
    "content": "So.",
    "reasoning_content": "Hm.",
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "echo", "arguments": "{}", "signature": "s"},
            "extra_content": {"google": {"thought_signature": "s"}},
        }
    ],
}
PLAINER: Json = {
    "role": "assistant",
    "content": "So.",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "echo", "arguments": "{}"}}],
}


@pytest.mark.parametrize(
    ("reasoning", "message", "sent"),
    [
        ("back", SIGNED, SIGNED),
        ("back", PLAINER, PLAINER),
        ("never", SIGNED, PLAINER),
        ("always", SIGNED, SIGNED),
        ("always", PLAINER, {**PLAINER, "reasoning_content": " "}),
    ],
)
def test_reasoning_and_signatures_go_back_as_the_rule_says(reasoning: Any, message: Json, sent: Json) -> None:
    """Unchanged; not at all, from calls as well; or in every message of the model, with a space where there is none."""
    assert fitted({"messages": [message]}, WireRules(reasoning=reasoning))["messages"] == [sent]


@pytest.mark.parametrize(
    ("question", "joined"),
    [
        ("Why?", "Be brief.\n\nWhy?"),
        ([{"type": "text", "text": "Why?"}], [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Why?"}]),
    ],
)
def test_without_a_system_role_instructions_begin_the_first_question(question: Any, joined: Any) -> None:
    """The instructions are not lost: they precede the first question."""
    system, later = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "So."}
    messages = [system, {"role": "user", "content": question}, later]
    sent = fitted({"messages": messages}, WireRules(system_role=False))["messages"]
    assert sent == [{"role": "user", "content": joined}, later]
    assert fitted({"messages": [later]}, WireRules(system_role=False))["messages"] == [later]


@pytest.mark.parametrize(
    ("given", "form", "kept"),
    [
        ("D681PevKs", "nine", True),
        ("call_1", "nine", False),
        ("call_0123456789", "auto", True),
        ("x" * 40, "auto", True),
        ("x" * 41, "auto", False),
        ("x" * 41, "short", False),
        (f"call_1__thought__{'s' * 300}", "auto", True),  # LiteLLM keeps Gemini's signature in the id
        (f"call_1__thought__{'s' * 300}", "short", False),  # which OpenAI ignores
        (LONG_ID, "any", True),
    ],
)
def test_an_id_of_the_right_form_goes_back_as_it_came(given: str, form: Any, kept: bool) -> None:
    """An id of the wrong form is replaced by one that depends on it alone, so that prefix caches match."""
    rules = WireRules(call_ids=form)
    assert (call_id(given, rules) == given) is kept
    assert call_id(given, rules) == call_id(given, rules)
    assert call_id(given, rules) != call_id(f"{given}2", rules)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.mistral.ai", "mistral"),
        ("api.openai.com", "openai"),
        ("my-team.openai.azure.com", "azure"),
        ("x.services.ai.azure.com", "azure"),
        ("openrouter.ai", "openrouter"),
        ("evilopenrouter.ai", None),
        ("api.mistral.ai.example.com", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_its_host(host: str, name: str | None) -> None:
    """A base URL on a provider's host follows that provider's rules."""
    assert provider_at(host) == name
    assert name is not None or rules_of(name) == PLAIN


@pytest.mark.parametrize(
    ("model", "max_tokens", "call_ids"),
    [
        ("openai/gpt-5", "max_completion_tokens", "short"),
        ("gemini/gemini-3-pro", "max_tokens", "any"),
        ("mistralai/mistral-small-3.2-24b-instruct", "max_tokens", "nine"),
        ("mistral/mistral-large-latest", "max_tokens", "nine"),
        ("qwen3:0.6b", "max_tokens", "auto"),
    ],
)
def test_behind_a_gateway_the_model_s_provider_counts(model: str, max_tokens: str, call_ids: str) -> None:
    """OpenRouter, LiteLLM and Dedalus pass on ids and limits; their way of streaming is their own."""
    rules = with_model(PLAIN, model)
    assert (rules.max_tokens, rules.call_ids, rules.stream_options) == (max_tokens, call_ids, True)
    assert not rules.cache_control


# Through the service

Script = Callable[[Json], Sequence[Step] | None]


def refusing(*rules: tuple[Callable[[Json], bool], Status]) -> Script:
    """A server that refuses a request for the first error that it finds."""

    def script(body: Json) -> Sequence[Step] | None:
        return next(([refused] for found, refused in rules if found(body)), answer("ok"))

    return script


def has(name: str) -> Callable[[Json], bool]:
    return lambda body: name in body


STRICT = refusing(
    (has("stream_options"), refusal(400, "Unknown parameter: 'stream_options'.", "invalid_request_error")),
    (has("max_tokens"), refusal(400, "Unsupported parameter: 'max_tokens'.", "invalid_request_error")),
    (has("temperature"), Status(422, pydantic("temperature"))),
)


async def test_a_refused_parameter_costs_one_more_try_once() -> None:
    """The second request to the same model is sent as the first was accepted; another model starts afresh."""
    body = {"input": "?", "max_tokens": 5, "temperature": 0.5}
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(STRICT)
        first, second = [await agent.stream(body) for _ in range(2)]
        tries = len(fake.chats)
        await agent.stream({**body, "model": "other"})
    assert (text(first), text(second), tries, len(fake.chats)) == ("ok", "ok", 5, 9)
    sent = fake.chats[4].body
    assert sent.keys() == {"model", "messages", "stream", "max_completion_tokens"}
    for events in (first, second):
        [warning] = only(events, "warning")
        assert warning["code"] == "parameter_left_out"
        assert "temperature" in warning["message"]


def refused_with_200(status: Status, form: str) -> Sequence[Step]:
    """A refusal with status 200: as the first event of a stream, or as the whole body."""
    error = json.dumps(status.body)
    return [Head(), RawBytes((f"data: {error}\n\n" if form == "event" else error).encode())]


@pytest.mark.parametrize("form", ["event", "body"])
async def test_a_refusal_in_a_stream_costs_one_more_try_once(form: str) -> None:
    """Gateways return 200 before they know the model server's response."""
    refused = refusal(400, "Unknown parameter: 'stream_options'.", "invalid_request_error")
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(lambda body: refused_with_200(refused, form) if "stream_options" in body else answer("ok"))
        assert [text(await agent.stream({"input": "?"})) for _ in range(2)] == ["ok", "ok"]
        assert len(fake.chats) == 3


async def test_a_refusal_in_a_stream_after_text_is_an_error() -> None:
    """A request isn't repeated once the answer has begun."""
    refused = refusal(400, "Unknown parameter: 'stream_options'.", "invalid_request_error")
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("Hel"), RawBytes(f"data: {json.dumps(refused.body)}\n\n".encode()))
        events = await agent.stream({"input": "?"})
        assert (text(events), len(fake.chats)) == ("Hel", 1)
        assert only(events, "error")[0]["code"] == "upstream_rejected"


async def test_a_model_that_does_not_stream_answers_whole() -> None:
    """OpenAI doesn't stream some models to unverified organizations: the answer arrives without streaming."""
    message = "Your organization must be verified to stream this model."
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    whole = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}

    def script(body: Json) -> Sequence[Step]:
        return [refusal(400, message, "x", param="stream") if body["stream"] else Status(200, whole)]

    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(script)
        events = await agent.stream({"input": "?"})
    assert text(events) == "Hello."
    [end] = only(events, "complete")
    assert (end["status"], end["usage"]["total_tokens"]) == ("succeeded", 3)
    assert fake.chats[1].body.keys() == {"model", "messages", "stream"}


async def test_a_refusal_that_can_t_be_mended_is_an_error_after_one_try() -> None:
    """Leaving out `stop` would change the answer, so the error is returned."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(refusing((has("stop"), refusal(400, "Unknown parameter: 'stop'.", "invalid_request_error"))))
        events = await agent.stream({"input": "?", "stop": "END"})
    assert only(events, "error")[0]["code"] == "upstream_rejected"
    assert len(fake.chats) == 1


async def test_a_server_that_refuses_both_names_of_a_parameter_is_asked_twice() -> None:
    """No form that was refused before is tried again."""
    both = refusing(
        (has("max_tokens"), refusal(400, "Unknown parameter: 'max_tokens'", "x")),
        (has("max_completion_tokens"), refusal(400, "Unknown parameter: 'max_completion_tokens'", "x")),
    )
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(both)
        events = await agent.stream({"input": "?", "max_tokens": 5})
    assert only(events, "error")[0]["code"] == "upstream_rejected"
    assert len(fake.chats) == 2


def calling(call: str, then: Script) -> Script:
    """A model that calls `echo` first."""

    def script(body: Json) -> Sequence[Step] | None:
        if body["messages"][-1]["role"] == "tool":
            return then(body)
        return [ToolCall(call, "echo", '{"text": "a"}'), Finish("tool_calls"), Done()]

    return script


def calls_of(body: Json) -> Json:
    found: Json = next(message for message in body["messages"] if message.get("tool_calls"))
    return found


OF_NINE = refusing(
    (
        lambda body: not re.fullmatch("[A-Za-z0-9]{9}", calls_of(body)["tool_calls"][0]["id"]),
        refusal(400, "Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9.", "invalid_request_error"),
    )
)
WITH_TEXT = refusing(
    (
        lambda body: calls_of(body)["content"] is None,
        refusal(400, "invalid message content type: <nil>", "invalid_request_error"),
    )
)


@pytest.mark.parametrize("server", [OF_NINE, WITH_TEXT], ids=["ids of nine", "content beside calls"])
async def test_messages_take_the_form_that_a_refusal_asks_for(server: Script) -> None:
    """The run continues after its call; events and sessions keep the id from the model."""
    async with FakeDedalus() as fake, service(fake.url, tools=named(gives("echo", "nothing"))) as agent:
        fake.choose(calling("call_1", server))
        events = await agent.stream({"input": "?"})
    assert text(events) == "ok"
    assert [use["tool_call_id"] for use in only(events, "tool_use")] == ["call_1"]
    assert len(fake.chats) == 3


async def asked(agent: Service, fake: FakeDedalus, **body: Any) -> Mapping[str, Any]:
    fake.always(*answer("ok"))
    assert text(await agent.stream({"input": "?", "max_tokens": 5, "seed": 1, **body})) == "ok"
    sent: Mapping[str, Any] = fake.chats[-1].body
    return sent


async def test_a_known_provider_is_asked_in_its_own_form_at_once() -> None:
    """Mistral receives no stream_options, its own name for the seed and ids of nine, without a refusal first."""
    async with FakeDedalus() as fake:
        table = {"mistral": Provider(fake.url, ("mistral_api_key",), "m")}
        async with service(providers=table, tools=named(gives("echo", "nothing")), mistral_api_key="k") as agent:
            sent = await asked(agent, fake)
            fake.choose(calling("call_1", lambda _: answer("ok")))
            await agent.stream({"input": "?"})
    assert (sent["random_seed"], sent["max_tokens"]) == (1, 5)
    assert not sent.keys() & {"stream_options", "seed"}
    last = fake.chats[-1].body["messages"]
    assert [len(message["tool_call_id"]) for message in last if message["role"] == "tool"] == [9]
    assert len(fake.chats) == 3


async def test_the_operator_s_rules_win_over_the_table() -> None:
    """UPSTREAM_RULES for the base URL also override what a model's name implies."""
    by_hand = {"custom": {"stream_options": False, "max_tokens": "max_tokens", "left_out": ["seed"]}}
    async with FakeDedalus() as fake, service(fake.url, upstream_rules=by_hand) as agent:
        sent = await asked(agent, fake, model="openai/gpt-5")
    assert sent["max_tokens"] == 5
    assert not sent.keys() & {"stream_options", "seed", "max_completion_tokens"}


async def test_rules_for_an_upstream_that_is_not_known_stop_the_start() -> None:
    """A typo in UPSTREAM_RULES stops the start with an error."""
    with pytest.raises(ValueError, match=r"UPSTREAM_RULES.*not for mistrall"):
        Upstreams(settings(upstream_rules={"mistrall": {"seed": "random_seed"}}), EmbeddedModel())


async def test_what_is_remembered_of_models_is_bounded() -> None:
    """A caller that names ever new models costs no memory."""
    async with aclosing(Upstreams(settings(dedalus_base_url=NOWHERE), EmbeddedModel())) as made:
        for number in range(MAX_LEARNED_MODELS + 5):
            made.route(f"model-{number}").learn(WireRules(stream_options=False))
        assert len(made.all[0].known) == MAX_LEARNED_MODELS
        assert not made.route(f"model-{MAX_LEARNED_MODELS + 4}").rules.stream_options
        assert made.route("model-0").rules == PLAIN
