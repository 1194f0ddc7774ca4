"""Real engines and proxies as upstreams, over their own HTTP servers: llama.cpp, and LiteLLM's proxy before it."""

from collections.abc import Iterator

import pytest
from foreign import KEY, Foreign, litellm, llama_cpp
from service import EXECUTE, STREAM, checked, names, only, service, text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]  # a model on two cores beside browsers and builds

QUESTION = "Name three colours."
LONG = "word " * 3000  # three times what the model accepts


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """llama.cpp."""
    with llama_cpp() as (url, _):
        yield url


@pytest.fixture(scope="module", params=["llama.cpp", "litellm"])
def upstream(request: pytest.FixtureRequest, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the engine itself, or of the proxy before it."""
    if request.param == "llama.cpp":
        yield engine
        return
    with litellm(engine, tmp_path_factory.mktemp("litellm")) as url:
        yield url


async def test_an_answer_arrives_whole(upstream: str) -> None:
    """The stream's text is the final output, with a finish reason and counted tokens."""
    async with service(upstream, default_model="smol", dedalus_api_key=KEY) as agent:
        events = await agent.stream({"input": QUESTION, "max_tokens": 20, "temperature": 0, "seed": 1})
    [final] = only(events, "final_output")
    [finished] = only(events, "step_finished")
    assert final["content"] == text(events) != ""
    assert finished["finish_reason"] in ("stop", "length")
    assert finished["usage"]["output_tokens"] > 0
    assert names(events)[-1] == "complete"
    assert "warning" not in names(events)


async def test_both_endpoints_give_the_same_answer(upstream: str) -> None:
    """/execute returns the folded events of /stream."""
    asked = {"input": QUESTION, "max_tokens": 8, "temperature": 0, "seed": 1}
    async with service(upstream, default_model="smol", dedalus_api_key=KEY) as agent:
        streamed = text(await agent.stream(asked))
        executed = (await agent.post(EXECUTE, asked)).json()
    assert executed["status"] == "succeeded"
    assert executed["output"] == streamed


async def test_an_answer_that_is_cut_by_max_tokens_says_so(upstream: str) -> None:
    """The finish reason is `length`."""
    async with service(upstream, default_model="smol", dedalus_api_key=KEY) as agent:
        events = await agent.stream({"input": "Tell a long story.", "max_tokens": 3, "temperature": 0})
    assert only(events, "complete")[0]["finish_reason"] == "length"


async def test_a_question_that_is_too_long_has_its_own_error(upstream: str) -> None:
    """The caller receives only the error code, and nothing of the engine's text."""
    async with service(upstream, default_model="smol", dedalus_api_key=KEY) as agent:
        response = await agent.post(EXECUTE, {"input": LONG})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "context_too_long")


async def test_the_models_are_listed(upstream: str) -> None:
    """Without a setting, the default model is the one that the engine serves."""
    async with service(upstream, default_model=None, dedalus_api_key=KEY) as agent:
        models = (await agent.client.get("/api/agent/models")).json()
        events = await agent.stream({"input": QUESTION, "max_tokens": 3})
    assert models["source"] == "upstream"
    assert "smol" in [model["id"] for model in models["models"]]
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_an_engine_that_dies_in_the_answer_fails_the_run(engine_to_kill: tuple[str, Foreign]) -> None:
    """A killed engine never leads to a success."""
    url, process = engine_to_kill
    async with (
        service(url, default_model="smol", dedalus_api_key=KEY) as agent,
        agent.client.stream("POST", STREAM, json={"input": "Tell a long story.", "max_tokens": 900}) as response,
    ):
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if b"event: partial_output" in body:
                process.kill()
    events = checked(body)
    assert only(events, "error")[0]["code"] == "upstream_disconnected"
    assert only(events, "complete")[0]["status"] == "failed"


@pytest.fixture
def engine_to_kill() -> Iterator[tuple[str, Foreign]]:
    """An engine of the test's own."""
    with llama_cpp() as running:
        yield running
