"""Tests that a run keeps its budget: it waits when too little is left, is raised or refused, and overshoots little."""

import signal
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from lending import Lend
from local_tools import LocalTool, added, named
from metered_model import MeteredModel
from process import Nursery
from restarts import Place
from run_readers import events_url
from service import EXECUTE, STREAM, Event, Service, checked, names, only, service, text
from session_calls import ask, messages, said
from waiting_runs import RUNS, get, refusal, waiting_run, waits, whole
from wire import Cut, Json, RawChunk, Status, Step, Text, Thinking, Usage, answer

from setting_objects import ModelPrice

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

TOOLS = named(LocalTool("add", added))
LOOP: Json = {"input": "Count.", "max_steps": 20}
PRICE = ModelPrice(input_per_million=Decimal(10), output_per_million=Decimal(100))
PRICES = {"test/model": PRICE}
THREE_STEPS = 425
"""The tokens of the first three steps of `LOOP` with a `MeteredModel`. The prompt of the fourth has 214 more."""
SUM: Json = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
WRONG = answer("It is three.", Usage(30, 10, 40))
RIGHT = answer('{"sum": 3}', Usage(60, 10, 70))
DIES: Sequence[Step] = [Text("I was about to say a few words of which none will count."), Cut()]


async def decide(agent: Service, run_id: str, **decision: Any) -> httpx.Response:
    return await agent.post(f"{RUNS}/{run_id}/budget", decision)


async def pending(agent: Service, run_id: str) -> Json:
    """Wait until the run waits, and return the budget that it waits for."""
    [budget] = (await waits(agent, run_id))["pending"]
    assert budget["kind"] == "budget"
    return dict(budget)


def details(response: httpx.Response) -> dict[str, str]:
    """Return the messages of a refused request by their places."""
    assert refusal(response) == (422, "invalid_request")
    return {detail["loc"]: detail["message"] for detail in response.json()["error"]["details"]}


def budgets(events: list[Event]) -> list[Json]:
    """Return the budgets that a run waited for."""
    return [item for waiting in only(events, "waiting") for item in waiting["pending"] if item["kind"] == "budget"]


# The loop


def test_a_loop_waits_once_its_third_step_is_paid_and_goes_on_after_restarts(tmp_path: Path, nursery: Nursery) -> None:
    """A 20-step loop has a budget for three. It waits through kill -9 and SIGTERM, is raised twice, and ends."""
    model = MeteredModel(turns=20, tool="calculate", arguments={"expression": "1+2"})
    with FakeDedalus.in_thread() as fake:
        fake.choose(model)
        place = Place(tmp_path, fake, nursery)
        ask_for = LOOP | {"tools": ["calculate"], "max_total_tokens": 900, "session_id": "chat"}
        with place.served() as (process, client):
            run = executed(client, ask_for)
            seen = client.get(events_url(run["run_id"]), params={"until": "waiting"}).content
            [budget] = run["pending"]
            process.kill()
            process.wait(10)
        assert (run["status"], run["steps"], budget["spent_tokens"]) == ("waiting", 3, model.tokens)
        with place.served() as (process, client):
            restored = client.get(f"{RUNS}/{run['run_id']}").json()
            raised = client.post(f"{RUNS}/{run['run_id']}/budget", json={"max_total_tokens": 3000})
            second = client.get(events_url(run["run_id"]), params={"until": "waiting", "after": run_length(seen)})
            spent, turns = model.tokens, len(model.spent)
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        with place.served() as (_, client):
            client.post(f"{RUNS}/{run['run_id']}/budget", json={"max_total_tokens": 100_000})
            body = client.get(events_url(run["run_id"])).content
            history = client.get("/api/agent/sessions/chat/messages").json()["messages"]
    events = checked(body)
    assert restored["pending"] == [budget]
    assert raised.status_code == 202
    assert without_pings(body).startswith(without_pings(seen) + without_pings(second.content))
    waited_for = [(each["max_total_tokens"], each["spent_tokens"]) for each in budgets(events)]
    assert waited_for == [(900, budget["spent_tokens"]), (3000, spent)]
    totals = [900] * 3 + [3000] * (turns - 3) + [100_000] * (20 - turns)
    errors = errors_of_estimates(fake, model, totals)
    assert budget["spent_tokens"] <= 900 + max(0, errors[2])
    assert spent <= 3000 + max(0, errors[turns - 1])
    assert max(errors[1:]) < 40
    assert only(events, "budget_response") == [
        {"approved": True, "max_total_tokens": 3000},
        {"approved": True, "max_total_tokens": 100_000},
    ]
    assert_twenty_steps(events, history, model.tokens)


def assert_twenty_steps(events: list[Event], history: list[Json], tokens: int) -> None:
    """The run has made each step once, counted all tokens and left its calls and answer in the session."""
    assert [step["step"] for step in only(events, "step_started")] == [*range(1, 21)]
    [complete] = only(events, "complete")
    assert (complete["status"], complete["usage"]["total_tokens"]) == ("succeeded", tokens)
    assert [message["role"] for message in history].count("tool") == 19
    assert history[-1]["content"] == "Done."


def errors_of_estimates(fake: FakeDedalus, model: MeteredModel, totals: Sequence[int]) -> list[int]:
    """Return how many tokens each prompt had more than was estimated. `totals` are the budgets of the turns."""
    errors, before = [], 0
    for total, request, usage in zip(totals, fake.chats, model.spent, strict=True):
        estimate = total - before - request.body["max_tokens"]
        errors.append(usage.prompt - estimate)
        before += usage.total
    return errors


def executed(client: httpx.Client, body: Json) -> Json:
    return dict(client.post(EXECUTE, json=body).json())


def without_pings(body: bytes) -> bytes:
    return body.replace(b": ping\n\n", b"")


def run_length(body: bytes) -> int:
    return without_pings(body).count(b"\n\n")


@pytest.mark.parametrize("characters_per_token", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("budget", [300, 777, 1500, 4000])
async def test_the_overshoot_is_at_most_the_error_of_one_estimate(
    budget: int, characters_per_token: int, lend: Lend
) -> None:
    """However a server counts, a run spends at most its total, and what one prompt has more than was estimated."""
    model = MeteredModel(turns=20, characters_per_token=characters_per_token, output_tokens=1000)
    async with lend(TOOLS, max_output_bytes=10_000_000) as (fake, agent):
        fake.choose(model)
        async with waiting_run(agent, STREAM, **LOOP, max_total_tokens=budget) as run_id:
            await decide(agent, run_id, approved=False)
        events = await whole(agent, run_id)
    errors = errors_of_estimates(fake, model, [budget] * len(model.spent))
    assert model.tokens == only(events, "complete")[0]["usage"]["total_tokens"] == budgets(events)[0]["spent_tokens"]
    assert model.tokens <= budget + max(0, errors[-1])
    # After the first step, only the new messages are estimated: those of a call have about 200 characters.
    assert all(error <= 250 / characters_per_token for error in errors[1:])


async def test_a_budget_in_dollars_holds_as_well(lend: Lend) -> None:
    """The next turn's output is limited to what the rest pays for at the model's price. `spent_cost_usd` is exact."""
    model = MeteredModel(turns=20, characters_per_token=8)
    async with lend(TOOLS, model_prices=PRICES) as (fake, agent):
        fake.choose(model)
        async with waiting_run(agent, STREAM, **LOOP, max_cost_usd=0.02) as run_id:
            budget = await pending(agent, run_id)
            usage = (await get(agent, run_id))["usage"]
            await decide(agent, run_id, max_cost_usd=0.9)
        events = await whole(agent, run_id)
    assert budget["max_cost_usd"] == 0.02
    assert budget["spent_cost_usd"] == usage["cost_usd"]
    assert 0.01 < budget["spent_cost_usd"] <= 0.02
    first = fake.chats[0].body["max_tokens"]
    assert first * 100 / 1e6 <= 0.02 - model.spent[0].prompt * 10 / 1e6
    assert only(events, "complete")[0]["status"] == "succeeded"
    assert only(events, "budget_response") == [{"approved": True, "max_cost_usd": 0.9}]


async def test_a_budget_that_is_not_even_enough_for_the_first_step(lend: Lend) -> None:
    """The run waits before its first step, with nothing spent, and begins once it is raised."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Yes."))
        async with waiting_run(agent, STREAM, max_total_tokens=5) as run_id:
            budget = await pending(agent, run_id)
            asked = len(fake.chats)
            await decide(agent, run_id, max_total_tokens=500)
        events = await whole(agent, run_id)
    assert (budget["spent_tokens"], asked) == (0, 0)
    assert names(events)[:4] == ["run_started", "waiting", "budget_response", "step_started"]
    assert only(events, "final_output") == [{"content": "Yes."}]


async def test_a_run_whose_last_step_spends_its_budget_ends(lend: Lend) -> None:
    """Nothing more is to be paid, so there is nothing to decide."""
    model = MeteredModel(turns=3)
    async with lend(TOOLS) as (fake, agent):
        fake.choose(model)
        events = await agent.stream(LOOP | {"max_total_tokens": THREE_STEPS})
    assert model.tokens == THREE_STEPS
    assert only(events, "waiting") == []
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_approvals_and_the_budget_are_waited_for_one_after_the_other(lend: Lend) -> None:
    """A call is approved, then the budget is raised. What was spent before the first wait counts after it."""
    model = MeteredModel(turns=5)
    async with lend(TOOLS) as (fake, agent):
        fake.choose(model)
        body = LOOP | {"max_total_tokens": 150, "require_approval": ["add"]}
        async with waiting_run(agent, STREAM, **body) as run_id:
            approved = await agent.post(f"{RUNS}/{run_id}/approvals/call_1", {"approved": True})
            budget = await pending(agent, run_id)
            await agent.post(f"{RUNS}/{run_id}/cancel", {})
        events = await whole(agent, run_id)
    assert approved.status_code == 202
    assert budget["spent_tokens"] == model.tokens == model.spent[0].total
    assert [names(events)[-3:], len(model.spent)] == [["step_finished", "waiting", "complete"], 1]


# Attempts


async def test_an_answer_that_is_asked_for_again_counts(lend: Lend) -> None:
    """The budget is spent by an invalid answer: the run waits in the middle of its step, and then asks again."""
    async with lend() as (fake, agent):
        fake.turn(*WRONG)
        fake.turn(*RIGHT)
        body = {"output_schema": SUM, "max_total_tokens": 200}
        async with waiting_run(agent, STREAM, **body) as run_id:
            waiting = await get(agent, run_id)
            await decide(agent, run_id, max_total_tokens=1000)
        events = await whole(agent, run_id)
    assert [item["spent_tokens"] for item in waiting["pending"]] == [40]
    restarted = names(events).index("step_restarted")
    assert names(events)[restarted - 3 : restarted] == ["partial_output", "waiting", "budget_response"]
    assert only(events, "final_output") == [{"content": '{"sum": 3}', "data": {"sum": 3}, "attempts": 2}]
    assert only(events, "step_finished")[0]["usage"]["total_tokens"] == 110
    assert "Your answer does not match" in fake.chats[1].body["messages"][-1]["content"]


async def test_a_refused_budget_keeps_the_invalid_answer_and_its_usage(lend: Lend) -> None:
    """The step isn't restarted, so the run has the text. `complete` and the session count what was paid."""
    async with lend() as (fake, agent):
        fake.turn(*WRONG)
        body = {"output_schema": SUM, "max_total_tokens": 200, "session_id": "chat"}
        async with waiting_run(agent, STREAM, **body) as run_id:
            await decide(agent, run_id, approved=False)
        events = await whole(agent, run_id)
        history = await messages(agent)
        fake.turn(*answer("Four."))
        await ask(agent, "2 + 2?")
    assert names(events)[-4:] == ["waiting", "budget_response", "error", "complete"]
    assert only(events, "complete")[0]["usage"]["total_tokens"] == 40
    assert said(history) == [("user", "?"), ("assistant", "It is three.")]
    assert history[1]["error"]["code"] == "budget_exceeded"
    assert [message["content"] for message in fake.chats[-1].body["messages"]] == ["?", "It is three.", "2 + 2?"]


async def test_an_attempt_that_was_dropped_without_a_count_is_estimated(lend: Lend) -> None:
    """The first model dies before its server counts tokens. The budget counts them, and then the fallback is paid."""
    scripts: dict[str, Sequence[Step]] = {"a/one": DIES, "b/two": answer("Because.", Usage(20, 5, 25))}
    async with lend() as (fake, agent):
        fake.choose(lambda body: scripts[body["model"]])
        body: Json = {"model": "a/one", "fallback_models": ["b/two"], "max_total_tokens": 35}
        async with waiting_run(agent, STREAM, **body) as run_id:
            budget = await pending(agent, run_id)
            await decide(agent, run_id, max_total_tokens=100)
        events = await whole(agent, run_id)
    assert 20 <= budget["spent_tokens"] <= 35
    assert names(events).index("step_restarted") < names(events).index("waiting")
    assert [request.body["model"] for request in fake.chats] == ["a/one", "b/two"]
    assert only(events, "step_started") == [{"step": 1, "model": "a/one"}]
    assert only(events, "final_output") == [{"content": "Because."}]


async def test_the_output_of_a_cut_answer_counts_if_its_server_has_counted_the_prompt_alone() -> None:
    """A server counts the prompt in its first chunk, then dies. The fallback waits for a larger budget."""
    counted = RawChunk({"choices": [{"index": 0, "delta": {"role": "assistant"}}], "usage": Usage(20, 1, 21).wire()})
    scripts: dict[str, Sequence[Step]] = {"a/one": [counted, *DIES], "b/two": answer("Because.", Usage(20, 5, 25))}
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(lambda body: scripts[body["model"]])
        body: Json = {"model": "a/one", "fallback_models": ["b/two"], "max_total_tokens": 55}
        async with waiting_run(agent, STREAM, **body) as run_id:
            budget = await pending(agent, run_id)
            await decide(agent, run_id, max_total_tokens=100)
        events = await whole(agent, run_id)
    assert 35 <= budget["spent_tokens"] <= 45
    assert only(events, "complete")[0]["usage"]["total_tokens"] == 46


def test_a_wait_between_two_models_survives_kill_9(tmp_path: Path, nursery: Nursery) -> None:
    """The next process asks the fallback, and not the model that has failed."""
    scripts: dict[str, Sequence[Step]] = {"a/one": DIES, "b/two": answer("Because.", Usage(20, 5, 25))}
    with FakeDedalus.in_thread() as fake:
        fake.choose(lambda body: scripts[body["model"]])
        place = Place(tmp_path, fake, nursery, TOOLS_BY_DEFAULT="none")
        with place.served() as (process, client):
            body: Json = {"input": "?", "model": "a/one", "fallback_models": ["b/two"], "max_total_tokens": 35}
            run_id = executed(client, body)["run_id"]
            process.kill()
            process.wait(10)
        with place.served() as (_, client):
            client.post(f"{RUNS}/{run_id}/budget", json={"max_total_tokens": 100})
            events = checked(client.get(events_url(run_id)).content)
    assert [request.body["model"] for request in fake.chats] == ["a/one", "b/two"]
    assert only(events, "final_output") == [{"content": "Because."}]


# Decisions


async def test_a_refusal_ends_the_run_with_402_at_execute(lend: Lend) -> None:
    """The same request with its Idempotency-Key is the same run: 202 while it waits, and 402 once it was refused."""
    model = MeteredModel(turns=20)
    async with lend(TOOLS) as (fake, agent):
        fake.choose(model)
        body = LOOP | {"max_total_tokens": THREE_STEPS, "session_id": "chat"}
        first, again = [await agent.post(EXECUTE, body, **{"idempotency-key": "k"}) for _ in range(2)]
        run_id = first.json()["run_id"]
        refused = await decide(agent, run_id, approved=False)
        ended = await agent.post(EXECUTE, body, **{"idempotency-key": "k"})
        run = await get(agent, run_id)
        history = await messages(agent)
        events = await whole(agent, run_id)
    assert (first.status_code, again.json()) == (202, first.json())
    assert first.json()["pending"] == budgets(events)
    assert first.json()["pending"][0]["spent_tokens"] == THREE_STEPS
    assert refused.status_code == 202
    assert refusal(ended) == (402, "budget_exceeded")
    assert (ended.json()["error"]["run_id"], ended.json()["error"]["retryable"]) == (run_id, False)
    assert (run["status"], run["error"]["code"]) == ("failed", "budget_exceeded")
    assert only(events, "budget_response") == [{"approved": False}]
    assert [message["content"] for message in history if message["role"] == "assistant"] == [
        *("Step 1.", "Step 2.", "Step 3.")
    ]
    assert len(model.spent) == 3


async def test_a_budget_that_nobody_raises_in_time_is_refused() -> None:
    """After APPROVAL_TIMEOUT_S the run ends as after a refusal, and the log says so."""
    async with FakeDedalus() as fake, service(fake.url, TOOLS, approval_timeout_s=0.05) as agent:
        fake.choose(MeteredModel(turns=20))
        events = await agent.stream(LOOP | {"max_total_tokens": THREE_STEPS})
    assert names(events)[-4:] == ["waiting", "budget_response", "error", "complete"]
    assert only(events, "budget_response") == [{"approved": False}]
    assert only(events, "error")[0]["code"] == "budget_exceeded"


async def test_a_cancelled_run_needs_no_decision(lend: Lend) -> None:
    """A run that waits for its budget can be cancelled, and then takes no decision."""
    async with lend(TOOLS) as (fake, agent):
        fake.choose(MeteredModel(turns=20))
        async with waiting_run(agent, STREAM, **LOOP, max_total_tokens=THREE_STEPS) as run_id:
            await agent.post(f"{RUNS}/{run_id}/cancel", {})
        late = await decide(agent, run_id, max_total_tokens=9000)
        events = await whole(agent, run_id)
    assert names(events)[-2:] == ["waiting", "complete"]
    assert only(events, "complete")[0]["status"] == "cancelled"
    assert refusal(late) == (409, "run_not_waiting")


async def test_totals_that_can_t_be_are_refused_with_the_reason() -> None:
    """Too low, above the operator's bound, a total that the run lacks, none at all: the run waits on."""
    async with FakeDedalus() as fake, service(fake.url, TOOLS, max_total_tokens=5000) as agent:
        fake.choose(MeteredModel(turns=20))
        async with waiting_run(agent, STREAM, **LOOP, max_total_tokens=THREE_STEPS) as run_id:
            before = await get(agent, run_id)
            too_low = details(await decide(agent, run_id, max_total_tokens=THREE_STEPS))
            too_high = details(await decide(agent, run_id, max_total_tokens=5001))
            another = details(await decide(agent, run_id, max_total_tokens=4000, max_cost_usd=1))
            nothing = details(await decide(agent, run_id))
            both = details(await decide(agent, run_id, approved=False, max_total_tokens=4000))
            after = await get(agent, run_id)
            await decide(agent, run_id, approved=False)
    assert too_low == {"max_total_tokens": f"The run has spent {THREE_STEPS}: send a larger total."}
    assert too_high == {"max_total_tokens": "MAX_TOTAL_TOKENS allows at most 5000."}
    assert another == {"max_cost_usd": "The run has no such total: send only those that `pending` has."}
    assert "send a new max_cost_usd or max_total_tokens" in nothing["body"]
    assert "new totals need approved: true" in both["body"]
    assert after == before


async def test_each_spent_total_has_to_be_raised(lend: Lend) -> None:
    """Both totals are spent: a decision that raises only one of them is refused."""
    model = MeteredModel(turns=20, output_tokens=4000)
    async with lend(TOOLS, model_prices=PRICES) as (fake, agent):
        fake.choose(model)
        totals = {"max_total_tokens": 100, "max_cost_usd": 0.005}
        async with waiting_run(agent, STREAM, **LOOP, **totals) as run_id:
            budget = await pending(agent, run_id)
            await decide(agent, run_id, max_cost_usd=0.9, max_total_tokens=budget["spent_tokens"] + 1)
            second = await pending(agent, run_id)
            await decide(agent, run_id, approved=False)
        events = await whole(agent, run_id)
    assert budget.keys() == {"kind", "spent_tokens", "max_total_tokens", "spent_cost_usd", "max_cost_usd", "expires_at"}
    assert (second["max_cost_usd"], second["spent_tokens"]) == (0.9, budget["spent_tokens"])
    assert names(events).count("waiting") == 2


async def test_a_repeated_decision_has_no_effect_and_another_is_too_late(lend: Lend) -> None:
    """A client that lost the response sends its decision again, and gets the same response."""
    async with lend(TOOLS) as (fake, agent):
        fake.choose(MeteredModel(turns=20))
        async with waiting_run(agent, STREAM, **LOOP, max_total_tokens=THREE_STEPS) as run_id:
            await decide(agent, run_id, max_total_tokens=100_000)
        again = await decide(agent, run_id, max_total_tokens=100_000)
        other = await decide(agent, run_id, approved=False)
        events = await whole(agent, run_id)
    assert again.status_code == 202
    assert refusal(other) == (409, "run_not_waiting")
    assert len(only(events, "budget_response")) == 1


async def test_an_answer_of_another_kind_is_refused(lend: Lend) -> None:
    """A run that waits for its budget takes no approval, and one that waits for an approval no budget."""
    async with lend(TOOLS) as (fake, agent):
        fake.choose(MeteredModel(turns=20))
        async with waiting_run(agent, STREAM, **LOOP, max_total_tokens=THREE_STEPS) as run_id:
            approval = await agent.post(f"{RUNS}/{run_id}/approvals/call_1", {"approved": True})
            await decide(agent, run_id, approved=False)
        async with waiting_run(agent, STREAM, **LOOP, require_approval=["add"], max_total_tokens=9000) as run_id:
            budget = await decide(agent, run_id, max_total_tokens=10_000)
            await agent.post(f"{RUNS}/{run_id}/cancel", {})
        unknown = await decide(agent, "run_" + "f" * 32, approved=False)
    assert refusal(approval) == (404, "tool_call_not_found")
    assert refusal(budget) == (409, "run_not_waiting")
    assert refusal(unknown) == (404, "run_not_found")


async def test_the_response_can_be_the_stream(lend: Lend) -> None:
    """With `Accept: text/event-stream`, the response to a decision is the run's stream after the cursor."""
    async with lend(TOOLS) as (fake, agent):
        fake.choose(MeteredModel(turns=4))
        run = (await agent.post(EXECUTE, LOOP | {"max_total_tokens": THREE_STEPS})).json()
        last = (await get(agent, run["run_id"]))["last_seq"]
        headers = {"accept": "text/event-stream", "last-event-id": str(last)}
        response = await agent.post(f"{RUNS}/{run['run_id']}/budget", {"max_total_tokens": 9000}, **headers)
    assert b"event: budget_response" in response.content
    assert b"event: complete" in response.content


# The operator's bounds, and prices


async def test_the_operator_s_bound_is_the_budget_of_a_request_without_one() -> None:
    """Nobody could raise it, so the run ends at once, with what to do: 402 at /execute."""
    async with FakeDedalus() as fake, service(fake.url, TOOLS, max_total_tokens=THREE_STEPS) as agent:
        fake.choose(MeteredModel(turns=20))
        response = await agent.post(EXECUTE, LOOP)
        too_much = details(await agent.post(EXECUTE, LOOP | {"max_total_tokens": THREE_STEPS + 1}))
        events = await whole(agent, response.json()["error"]["run_id"])
    assert refusal(response) == (402, "budget_exceeded")
    assert "MAX_TOTAL_TOKENS allows no larger one" in response.json()["error"]["message"]
    assert names(events)[-3:] == ["step_finished", "error", "complete"]
    assert too_much == {"max_total_tokens": f"MAX_TOTAL_TOKENS allows at most {THREE_STEPS}."}


async def test_a_bound_in_dollars_is_a_budget_as_well() -> None:
    """MAX_COST_USD ends a run of a request without a budget. A script that costs nothing is free of it."""
    given: Json = {"model_prices": PRICES, "max_cost_usd": Decimal("0.02")}
    async with FakeDedalus() as fake, service(fake.url, TOOLS, **given) as agent:
        fake.choose(MeteredModel(turns=20))
        response = await agent.post(EXECUTE, LOOP)
        too_much = details(await agent.post(EXECUTE, LOOP | {"max_cost_usd": 0.03}))
        free = await agent.post(EXECUTE, {"input": "?", "model": "simulated/context"})
        unpriced = details(await agent.post(EXECUTE, {"input": "?", "model": "b/two"}))
    assert refusal(response) == (402, "budget_exceeded")
    assert too_much == {"max_cost_usd": "MAX_COST_USD allows at most 0.02."}
    assert free.status_code == 200
    assert "MAX_COST_USD is set, and the price of b/two is not known." in unpriced["model"]


@pytest.mark.parametrize("model", ["b/two", "simulated/tools"])
@pytest.mark.parametrize("is_fallback", [False, True], ids=["model", "fallback"])
async def test_a_model_without_a_price_can_t_have_a_budget_in_dollars(
    model: str, *, is_fallback: bool, lend: Lend
) -> None:
    """The request is refused before anything is spent, with what to do instead."""
    models = {"fallback_models": [model]} if is_fallback else {"model": model}
    async with lend(model_prices=PRICES) as (fake, agent):
        refused = details(await agent.post(STREAM, {"input": "?", "max_cost_usd": 1, **models}))
        fake.turn(*answer("Yes."))
        fake.turn(*answer("Yes."))
        accepted = await agent.post(EXECUTE, {"input": "?", "max_total_tokens": 1000, **models})
    assert f"The price of {model} is not known" in refused["max_cost_usd"]
    assert "Send max_total_tokens instead" in refused["max_cost_usd"]
    assert "MODEL_PRICES" in refused["max_cost_usd"]
    assert accepted.status_code == 200


async def test_a_fallback_of_the_setting_without_a_price_is_left_out() -> None:
    """The operator's fallbacks are those that can answer this request, so the request is served without this one."""
    given: Json = {"model_prices": PRICES, "fallback_models": {"test/model": ("b/two",)}}
    async with FakeDedalus() as fake, service(fake.url, **given) as agent:
        fake.always(Status(503, {"error": {"message": "overloaded"}}))
        response = await agent.post(EXECUTE, {"input": "?", "max_cost_usd": 1})
    assert refusal(response) == (502, "upstream_failed")
    assert {request.body["model"] for request in fake.chats} == {"test/model"}


async def test_the_first_price_list_is_waited_for() -> None:
    """A gateway's list has the price: the first request after the start needn't be refused for its lack."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.models = [{"id": "a/one", "pricing": {"prompt": "0.00001", "completion": "0.0001"}}]
        fake.turn(*answer("Yes.", Usage(10, 1, 11)))
        response = await agent.post(EXECUTE, {"input": "?", "model": "a/one", "max_cost_usd": 1})
    assert response.json()["usage"]["cost_usd"] == 0.0002


# The limit on the wire


async def test_without_a_budget_no_limit_is_sent(lend: Lend) -> None:
    """The requests of a run without a budget are as they were."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Yes."))
        await agent.stream({"input": "?"})
    assert not {"max_tokens", "output_limit"} & fake.chats[0].body.keys()


@pytest.mark.parametrize(("given", "sent"), [(10, 10), (5000, 186)], ids=["lower", "higher"])
async def test_the_lower_of_both_limits_is_sent(given: int, sent: int, lend: Lend) -> None:
    """`max_tokens` of the request is lowered to what the budget leaves, and never raised."""
    async with lend() as (fake, agent):
        fake.turn(*answer("Yes."))
        await agent.stream({"input": "Why is it so?", "max_tokens": given, "max_total_tokens": 198})
    assert fake.chats[0].body["max_tokens"] == sent


async def test_calls_that_the_limit_has_cut_are_not_made(lend: Lend) -> None:
    """An answer with as many tokens as the budget allowed is cut, so its calls may be incomplete."""
    model = MeteredModel(turns=20)
    async with lend(TOOLS) as (fake, agent):
        fake.choose(model)
        body = LOOP | {"max_total_tokens": model_first_prompt() + 20}
        async with waiting_run(agent, STREAM, **body) as run_id:
            await decide(agent, run_id, approved=False)
        events = await whole(agent, run_id)
    assert 16 <= model.spent[0].completion <= 20
    assert "Not run: the answer was cut off" in only(events, "tool_result")[0]["content"]


def model_first_prompt() -> int:
    """The estimated tokens of the first prompt of `LOOP`."""
    return 53


async def test_the_thinking_has_room_within_the_limit(lend: Lend) -> None:
    """`thinking_budget` is lowered below `max_tokens`. With too little left for its minimum, the run waits."""
    async with lend() as (fake, agent):
        fake.turn(Thinking("Hm."), *answer("Yes."))
        await agent.stream({"input": "?", "thinking_budget": 4000, "max_total_tokens": 3000})
        async with waiting_run(agent, STREAM, thinking_budget=4000, max_total_tokens=1000) as run_id:
            await decide(agent, run_id, approved=False)
    sent = fake.chats[0].body
    assert sent["thinking"]["budget_tokens"] == sent["max_tokens"] - 1
    assert len(fake.chats) == 1


TOO_LARGE = [
    "max_tokens is too large: {sent}. This model supports at most 16384 completion tokens, and you provided {sent}.",
    "max_tokens: {sent} > 16384, which is the maximum allowed number of output tokens for claude-3-5-20241022",
    "`max_completion_tokens` must be less than or equal to `16384`, the maximum value for this model",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 16384]",
    "This model's maximum context length is 16384 tokens. However, you requested too many tokens (14 in the messages, "
    "{sent} in the completion).",
    "Requested token count exceeds the model's maximum context length of 16384 tokens: 20 tokens from the input "
    "messages and {sent} tokens for the completion.",
    "This endpoint's maximum context length is 16384 tokens. However, you requested about 9 of text input, {sent} in "
    "the output.",
    "`inputs` tokens + `max_new_tokens` must be <= 16384. Given: 20 `inputs` tokens and {sent} `max_new_tokens`",
    "Unable to submit request because it has a maxOutputTokens value of {sent} but the supported range is from 1 "
    "(inclusive) to 16385 (exclusive).",
]


@pytest.mark.parametrize("said", TOO_LARGE)
async def test_a_limit_above_the_model_s_own_is_left_out(said: str) -> None:
    """The server refuses it and says its maximum: the request is sent without, and so are later ones above that."""

    def strict(body: Json) -> Sequence[Step]:
        if body.get("max_tokens", 0) > 16384:
            return [
                Status(
                    400,
                    {
                        "error": {
                            "message": said.format(sent=body["max_tokens"]),
                            "type": "invalid_request_error",
                            "param": "max_tokens",
                        }
                    },
                )
            ]
        return answer("Yes.", Usage(10, 1, 11))

    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.choose(strict)
        for total in (100_000, 50_000, 9000):
            events = await agent.stream({"input": "?", "max_total_tokens": total})
            assert text(events, "final_output") == "Yes."
    sent = [request.body.get("max_tokens") for request in fake.chats]
    assert sent[1:3] == [None, None]
    assert len(sent) == 4
    assert sent[3] is not None
