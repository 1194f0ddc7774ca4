"""A refusal by the upstream names what to check: the setting of a key or of an address, or the parameter."""

from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from service import NOWHERE, only, service
from wire import Status, Step, refusal

from services.upstreams.providers import Provider

pytestmark = pytest.mark.anyio


async def failed(answer: Step, **body: Any) -> dict[str, Any]:
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(answer)
        [error] = only(await agent.stream({"input": "?", **body}), "error")
    return error


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_its_setting(status: int) -> None:
    """The error names DEDALUS_API_KEY for a base URL, the provider's own key for a provider."""
    refused = refusal(status, "Incorrect API key provided", "invalid_request_error", error_code="invalid_api_key")
    error = await failed(refused)
    async with FakeDedalus() as fake:
        fake.always(refused)
        table = {"xai": Provider(fake.url, ("xai_api_key",), "grok")}
        async with service(providers=table, xai_api_key="k") as agent:
            [of_provider] = only(await agent.stream({"input": "?"}), "error")
    assert (error["code"], of_provider["code"]) == ("upstream_auth", "upstream_auth")
    assert "DEDALUS_API_KEY" in error["message"]
    assert "XAI_API_KEY" in of_provider["message"]


@pytest.mark.parametrize(
    "said",
    [
        Status(404, {"detail": "Not Found"}),
        Status(404, "404 page not found"),
        Status(404, "<html><body>nginx</body></html>", {"content-type": "text/html"}),
        Status(405, {"detail": "Method Not Allowed"}),
        Status(301, "", {"location": "https://example.com/v1/chat/completions"}),
        Status(308, "<html>308</html>", {"location": "https://example.com/", "content-type": "text/html"}),
        Status(404, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),  # LM Studio
        refusal(404, "Invalid URL (POST /v1/v2/chat/completions)", "invalid_request_error"),
    ],
    ids=lambda status: str(status.body)[:40],
)
async def test_a_wrong_address_names_the_base_url(said: Status) -> None:
    """A wrong path isn't mistaken for a wrong model's name."""
    error = await failed(said)
    assert error["code"] == ("upstream_failed" if said.code < 400 else "upstream_rejected")
    assert "DEDALUS_BASE_URL" in error["message"]


@pytest.mark.parametrize(
    "said",
    [
        refusal(404, "The model `m` does not exist", "invalid_request_error", error_code="model_not_found"),
        Status(404, {"error": {"message": "model 'm' not found, try pulling it first"}}),
        Status(404, {"error": {"code": "DeploymentNotFound", "message": "There is no deployment for this model"}}),
    ],
    ids=lambda status: str(status.body)[:40],
)
async def test_a_model_that_is_not_there_is_reported_as_that(said: Status) -> None:
    """The address is right if the server knows what a model is."""
    error = await failed(said)
    assert error["code"] == "upstream_rejected"
    assert "model's name" in error["message"]


@pytest.mark.parametrize(("param", "named"), [("stop", "stop"), ("messages[0].content", "messages")])
async def test_a_refused_parameter_is_named(param: str, named: str) -> None:
    """The error names a parameter that was sent; the upstream's own words stay in the log."""
    error = await failed(refusal(400, "That is not how it goes", "invalid_request_error", param=param), stop="END")
    assert error["code"] == "upstream_rejected"
    assert f"does not accept {named} " in error["message"]
    assert "how it goes" not in error["message"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (Status(400, {"error": "Unknown parameter: 'stop'."}), "stop"),
        (Status(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"]}]}), "response_format"),
        (Status(400, {"message": "tool calls are unsupported: unknown field tools"}), None),
        (Status(400, {"message": "The model does not support images"}), None),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_parameter_is_named_where_the_error_is_in_words(said: Status, named: str | None) -> None:
    """A parameter is named if it was sent and its name is no word of ordinary errors."""
    error = await failed(said, stop="END", response_format={"type": "json_object"})
    assert (f"does not accept {named} " in error["message"]) is (named is not None)


async def test_refused_mcp_servers_name_the_setting() -> None:
    """A base URL counts as a gateway to Dedalus unless a setting says otherwise."""
    error = await failed(refusal(400, "Unknown parameter: 'mcp_servers'.", "x"), mcp_servers=["tsion/exa"])
    assert "DEDALUS_BASE_URL_HOSTS_MCP=false" in error["message"]


async def test_a_parameter_that_was_not_sent_is_not_repeated() -> None:
    """An upstream can't inject words into our errors."""
    error = await failed(refusal(400, "No", "invalid_request_error", param="your key sk-1"))
    assert "sk-1" not in error["message"]


async def test_a_web_page_in_place_of_an_answer_names_the_base_url() -> None:
    """The base URL may be the address of a server's web pages rather than of its API."""
    error = await failed(Status(200, "<html><body>Welcome</body></html>", {"content-type": "text/html"}))
    assert error["code"] == "upstream_protocol"
    assert "DEDALUS_BASE_URL" in error["message"]


async def test_a_server_that_is_not_there_names_the_base_url(caplog: pytest.LogCaptureFixture) -> None:
    """If nothing listens at its port, the error and the log name the setting."""
    async with service(NOWHERE) as agent:
        [error] = only(await agent.stream({"input": "?"}), "error")
    assert error["code"] == "upstream_failed"
    assert "DEDALUS_BASE_URL" in error["message"]
    assert "DEDALUS_BASE_URL" in caplog.text
