"""Tests prices and costs: against public lists, in the lists of servers, and in runs, sessions and their sums."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from service import EXECUTE, Service, only, service
from session_calls import ask
from wire import Cut, Json, Step, Text, UsageChunk, answer
from wire import Usage as Reported

from services.catalog.list_prices import listed_price
from services.completions.usage import usage_of
from services.upstreams.price_snapshot import snapshot_price
from services.upstreams.prices import Price, Rates, Tier
from setting_objects import ModelPrice
from usage_models import NO_USAGE, Usage

pytestmark = pytest.mark.anyio

LISTS = json.loads((Path(__file__).parents[1] / "fixtures" / "public-prices.json").read_text())
PUBLIC = [
    (each["provider"], model, dict(zip(each["columns"], map(Decimal, rates), strict=True)))
    for each in LISTS
    for model, rates in each["models"].items()
]


@pytest.mark.parametrize(("provider", "model", "public"), PUBLIC, ids=[model for _, model, _ in PUBLIC])
def test_a_price_is_the_one_in_the_provider_s_public_list(provider: str, model: str, public: Json) -> None:
    """The snapshot's prices are those of stored copies of the public lists, whose source and date the file has."""
    price = snapshot_price(provider, model)
    assert price is not None
    assert {name: getattr(price.rates, name) for name in public} == public


def test_enough_models_are_compared() -> None:
    """The copies have at least ten models, and each says where it is from."""
    assert len({model for _, model, _ in PUBLIC}) >= 10
    assert all(each["source"] and each["note"] for each in LISTS)


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-nobody-has-heard-of", None),
        ("nobody", "gpt-4.1", None),
        ("openai", "gpt-5", "a-tier-of-no-provider"),
        ("perplexity", "sonar-deep-research", None),  # billed by citation tokens that it doesn't report
    ],
)
def test_an_unknown_price_is_not_guessed(provider: str, model: str, tier: str | None) -> None:
    """The snapshot has no price for an unknown model, provider or tier, or where a unit is not reported."""
    assert snapshot_price(provider, model, tier) is None


def test_a_service_tier_has_its_own_price() -> None:
    """OpenAI's priority tier costs twice as much as the standard one."""
    standard, priority = snapshot_price("openai", "gpt-5"), snapshot_price("openai", "gpt-5", "priority")
    assert standard is not None
    assert priority is not None
    assert priority.rates.output == 2 * standard.rates.output


RATES = Rates(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"))
LONG = Tier(200_000, Rates(Decimal(6), Decimal("22.5"), Decimal("0.6"), Decimal("7.5")))
PRICE = Price("settings", RATES, (LONG,), Decimal("0.01"))
COSTS: list[tuple[Json, str]] = [
    ({"prompt_tokens": 1000, "completion_tokens": 100}, "0.0145"),
    ({"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 1000}}, "0.0103"),
    # OpenRouter counts written tokens in the prompt, Anthropic and Bedrock beside it.
    ({"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 1000}}, "0.01375"),
    ({"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 1000}, "0.01375"),
    ({"inputTokens": 0, "outputTokens": 0, "cacheWriteInputTokens": 1000}, "0.01375"),
    ({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 1000}, "0.0103"),
    # OpenAI counts reasoning in the output, xAI only in the total.
    (
        {
            "prompt_tokens": 0,
            "completion_tokens": 100,
            "total_tokens": 100,
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        "0.0115",
    ),
    (
        {
            "prompt_tokens": 0,
            "completion_tokens": 60,
            "total_tokens": 100,
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        "0.0115",
    ),
    ({"prompt_tokens": 200_000, "completion_tokens": 0}, "0.61"),
    ({"prompt_tokens": 200_001, "completion_tokens": 100}, "1.212256"),
]


@pytest.mark.parametrize(("report", "dollars"), COSTS)
def test_each_kind_of_token_has_its_price(report: Json, dollars: str) -> None:
    """Cached, written, reasoning and long-context tokens are priced as such, in each provider's form of usage."""
    assert PRICE.cost(usage_of(report, NO_USAGE)) == Decimal(dollars)


def test_without_counts_there_is_no_cost() -> None:
    """An answer whose server reports no tokens has an unknown cost."""
    assert PRICE.cost(NO_USAGE) is None


def used(tokens: int, cost: str | None) -> Usage:
    dollars = None if cost is None else Decimal(cost)
    return Usage(input_tokens=tokens, output_tokens=0, total_tokens=tokens, cost_usd=dollars)


def test_a_sum_is_exact_and_unknown_if_a_part_is() -> None:
    """Costs are added as decimals. The sum of a known and an unknown cost is unknown, also after more is added."""
    assert (used(1, "0.1") + used(1, "0.2")).model_dump()["cost_usd"] == 0.3
    assert (NO_USAGE + used(1, "0.1")).cost_usd == Decimal("0.1")
    assert (used(1, "0.1") + used(1, None) + used(1, "0.1")).cost_usd is None


LISTED: list[tuple[Any, str | None, Price | None]] = [
    (
        {"input_per_million": 2.5, "output_per_million": 10, "cached_input_per_million": 1.25},
        None,
        Price("server", Rates(Decimal("2.5"), Decimal(10), Decimal("1.25"))),
    ),
    (
        {
            "prompt": "0.000003",
            "completion": "0.000015",
            "request": "0",
            "internal_reasoning": "0",
            "input_cache_read": "0.0000003",
            "input_cache_write": "0.00000375",
            "overrides": [{"min_prompt_tokens": 200_001, "prompt": "0.000006"}],
        },
        None,
        Price(
            "server",
            Rates(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75")),
            (Tier(200_000, Rates(Decimal(6), Decimal(15), Decimal("0.3"), Decimal("3.75"))),),
        ),
    ),
    (
        {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        None,
        Price("server", Rates(Decimal(1), Decimal(2))),
    ),
    (
        {"input": 0.88, "output": 0.88, "hourly": 0},
        "together_ai",
        Price("server", Rates(Decimal("0.88"), Decimal("0.88"))),
    ),
    (
        {"input": "0.0000025", "output": "0.00001"},
        None,
        None,
    ),  # Vercel's prices are per token: no server's form for sure
    ({"prompt": "-1", "completion": "-1"}, None, None),  # openrouter/auto: it depends on the model
    ({"prompt": "0.1", "completion": "0.1", "overrides": [{"utc_hours": [0, 8], "prompt": "0.05"}]}, None, None),
    ({"prompt": "10", "completion": "10"}, None, None),  # ten million dollars per million
    ({"prompt": "NaN", "completion": "0"}, None, None),
    ({"prompt": [], "completion": {}}, None, None),
    ({"prompt": "0.1", "completion": "0.1", "overrides": 7}, None, None),
    ("free", None, None),
]


@pytest.mark.parametrize(("pricing", "server", "expected"), LISTED)
def test_a_list_s_prices_are_read_or_unknown(pricing: Any, server: str | None, expected: Price | None) -> None:
    """The reader accepts each known form. It reports anything else, or a conditional price, as unknown."""
    assert listed_price(pricing, server) == expected


TEN = ModelPrice(input_per_million=Decimal(10), output_per_million=Decimal(100))
USED: Sequence[Step] = answer("Because.", Reported(1000, 10, 1010))


async def usage_of_run(agent: Service, run_id: str) -> Json:
    usage: Json = (await agent.client.get(f"/api/agent/runs/{run_id}")).json()["usage"]
    return usage


async def test_a_run_and_its_session_have_the_sum_of_their_steps() -> None:
    """`cost_usd` is in each step, in `complete`, in the run, in /execute and in the session."""
    async with FakeDedalus() as fake, service(fake.url, model_prices={"a/one": TEN}) as agent:
        fake.always(*USED)
        events = await ask(agent, "Why?", model="a/one")
        run = await usage_of_run(agent, events[0]["run_id"])
        executed = (await agent.post(EXECUTE, {"input": "?", "model": "a/one"})).json()
        await ask(agent, "And?", model="a/one")
        session = (await agent.client.get("/api/agent/sessions/chat")).json()
        await ask(agent, "And now?", model="b/two")
        mixed = (await agent.client.get("/api/agent/sessions/chat")).json()
    [step] = only(events, "step_finished")
    costs = [usage["cost_usd"] for usage in (step["usage"], events[-1]["data"]["usage"], run, executed["usage"])]
    assert costs == [0.011] * 4
    assert session["usage"]["cost_usd"] == 0.022
    assert "cost_usd" not in mixed["usage"]


async def test_a_server_s_own_list_has_the_price_and_a_dropped_attempt_is_paid() -> None:
    """Each attempt costs what its own model does, also the one that another model replaced."""
    listed = [
        {"id": "a/one", "pricing": {"prompt": "0.00001", "completion": "0.0001"}},
        {"id": "b/two", "pricing": {"prompt": "0.000001", "completion": "0.00001"}},
    ]
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models = listed
        models = (await agent.client.get("/api/agent/models")).json()["models"]
        scripts: dict[str, Sequence[Step]] = {"a/one": [Text("I "), UsageChunk(100, 2, 102), Cut()], "b/two": USED}
        fake.choose(lambda body: scripts[body["model"]])
        request = {"input": "?", "model": "a/one", "fallback_models": ["b/two"]}
        executed = (await agent.post(EXECUTE, request)).json()
    assert models[0]["pricing"] == {"source": "server", "input_per_million": 10.0, "output_per_million": 100.0}
    assert executed["answered_by"] == "b/two"
    assert executed["usage"]["cost_usd"] == 0.0012 + 0.0011
