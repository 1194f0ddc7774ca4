"""Errors in the shapes of many servers, in a stream and as refusals, are mapped to our codes; good chunks never are."""

from typing import Any

import pytest

from errors import McpAuthorizationRequired, UpstreamModelNotFound, UpstreamQuota
from services.completions.error_shapes import is_error
from services.completions.errors import another_model_may_help, error_of

Json = dict[str, Any]

TOO_LONG = "This model's maximum context length is 10 tokens."
ERRORS: list[tuple[Any, str]] = [
    # older vLLM, Dashscope, a gateway: the first shapes to be reported
    (
        {"object": "error", "message": TOO_LONG, "type": "BadRequestError", "param": None, "code": 400},
        "context_too_long",
    ),
    ({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded", "request_id": "r"}, "upstream_quota"),
    ({"status": "error", "message": "no capacity"}, "upstream_failed"),
    # `error` of each type
    ({"error": "boom"}, "upstream_failed"),
    ({"error": "rate limit exceeded"}, "upstream_quota"),
    ({"error": True, "message": "Incorrect API key provided", "code": "401"}, "upstream_auth"),
    ({"error": 500}, "upstream_failed"),
    ({"error": ["a", "b"]}, "upstream_failed"),
    ({"error": {"message": "m", "code": 429}}, "upstream_quota"),
    ({"error": {"message": "m", "code": "429"}}, "upstream_quota"),
    ({"error": {"message": "m", "status": 408}}, "upstream_timeout"),
    ({"error": {"message": "m", "type": "permission_error"}}, "upstream_auth"),
    ({"error": {"code": "insufficient_quota"}}, "upstream_quota"),
    ({"error": {"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}}, "upstream_auth"),
    (
        {"error": {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}},
        "context_too_long",
    ),
    ({"error": {"message": "m", "type": "invalid_request_error"}}, "upstream_rejected"),
    ({"error": {"message": "m", "code": "model_not_found"}}, "upstream_rejected"),
    ({"errors": [{"message": "Too many requests", "code": 1015}]}, "upstream_quota"),  # Cloudflare
    ({"choices": [], "error": {"message": "m"}}, "upstream_failed"),
    ({"choices": [{"delta": {"content": "x"}}], "error": {"message": "m", "code": 504}}, "upstream_timeout"),
    # Anthropic, Bedrock
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "upstream_failed"),
    ({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, "upstream_quota"),
    ({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, "upstream_auth"),
    ({"__type": "ThrottlingException", "message": "slow down"}, "upstream_quota"),
    ({"message": "Input is too long for requested model."}, "context_too_long"),
    (
        {"message": "The security token included in the request is expired", "__type": "ExpiredTokenException"},
        "upstream_failed",
    ),
    # Gemini
    ([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}], "upstream_quota"),
    ({"error": {"code": 403, "message": "m", "status": "PERMISSION_DENIED"}}, "upstream_auth"),
    ({"error": {"code": 504, "message": "m", "status": "DEADLINE_EXCEEDED"}}, "upstream_timeout"),
    ({"error": {"code": 400, "message": "m", "status": "FAILED_PRECONDITION"}}, "upstream_rejected"),
    (
        {
            "error": {
                "code": 400,
                "message": "The input token count (12) exceeds the maximum number of tokens allowed (10).",
            }
        },
        "context_too_long",
    ),
    # Azure, MiniMax, Apigee, FastAPI, RFC 9457, Spring, Baidu, Volcano, Zhipu
    ({"statusCode": 401, "message": "Access denied due to invalid subscription key"}, "upstream_auth"),
    ({"error": {"code": "content_filter", "message": "filtered", "innererror": {"code": "x"}}}, "upstream_rejected"),
    ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}, "upstream_quota"),
    ({"base_resp": {"status_code": 1004, "status_msg": "login fail: check your key"}}, "upstream_auth"),
    ({"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}}, "upstream_auth"),
    ({"detail": "Not authenticated"}, "upstream_auth"),
    ({"detail": [{"loc": ["body", "model"], "msg": "Field required", "type": "missing"}]}, "upstream_failed"),
    ({"title": "Too Many Requests", "status": 429, "detail": "slow"}, "upstream_quota"),
    ({"timestamp": "2026-01-01", "status": 500, "error": "Internal Server Error", "path": "/v1"}, "upstream_failed"),
    ({"error_code": 17, "error_msg": "Open api daily request limit reached"}, "upstream_quota"),
    ({"code": 1113, "msg": "余额不足"}, "upstream_quota"),
    ({"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, "upstream_quota"),
    ({"success": False, "message": "Model is busy"}, "upstream_failed"),
    ({"ok": False}, "upstream_failed"),
    ({"message": "Internal server error"}, "upstream_failed"),
    ({"choices": [{"delta": {"role": "assistant", "content": ""}}], "code": 500, "message": "x"}, "upstream_failed"),
    ({"choices": [{}], "code": "DataInspectionFailed", "message": "x"}, "upstream_rejected"),
    ({"status": "failed"}, "upstream_failed"),
    ({"type": "rate_limit_error", "message": "m"}, "upstream_quota"),
    # an object that is an error by its type, its event or its reason
    ({"event": "error", "message": "m"}, "upstream_failed"),
    ({"type": "server_error", "message": "m"}, "upstream_failed"),
    ({"type": "overloaded_error", "message": "Overloaded"}, "upstream_failed"),
    ({"type": "invalid_request_error", "message": "m"}, "upstream_rejected"),
    ({"type": "rate_limit_exceeded"}, "upstream_quota"),
    ({"object": "exception", "message": "m"}, "upstream_failed"),
    ({"event_type": "stream-end", "finish_reason": "ERROR"}, "upstream_failed"),  # Cohere
    ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, "upstream_quota"),
    # by a key that names an error, however it is written: FastChat, Bedrock, Tencent, Volcano, gateways
    ({"text": "**NETWORK ERROR**", "error_code": 50001}, "upstream_failed"),
    ({"throttlingException": {"message": "m"}}, "upstream_quota"),
    ({"accessDeniedException": {"message": "m"}}, "upstream_auth"),
    ({"modelStreamErrorException": {"message": "m", "originalStatusCode": 500}}, "upstream_failed"),
    ({"Response": {"Error": {"Code": "LimitExceeded", "Message": "m"}, "RequestId": "r"}}, "upstream_quota"),
    ({"ErrorMsg": {"Msg": "m", "Code": 4001}}, "upstream_failed"),
    ({"ResponseMetadata": {"Error": {"Code": "AccessDenied", "Message": "m"}}}, "upstream_auth"),
    ({"errorMessage": "Task timed out after 30 seconds"}, "upstream_timeout"),
    ({"is_error": True, "content": "m"}, "upstream_failed"),
    ({"err": "m"}, "upstream_failed"),
    ({"exception": "m"}, "upstream_failed"),
    # in an envelope: Spark, gateways
    ({"header": {"code": 10013, "message": "m", "sid": "s"}}, "upstream_failed"),
    ({"result": {"error": {"code": 429}}}, "upstream_quota"),
    ({"data": {"status": "failed"}}, "upstream_failed"),
    ({"message": {"error": "m"}}, "upstream_failed"),
    # beside choices that hold nothing
    ({"choices": [{"index": 0, "delta": {}}], "code": "429", "message": "m"}, "upstream_quota"),
    ({"choices": [{"delta": {"role": "assistant", "content": ""}}], "status": "error"}, "upstream_failed"),
    ({"choices": [{}], "status": "error", "message": "no capacity"}, "upstream_failed"),
    ({"code": "InternalError"}, "upstream_failed"),
    ({"success": "false", "msg": "m"}, "upstream_failed"),
    # errors passed on by LiteLLM, OpenRouter
    ({"error": {"message": "litellm.AuthenticationError: no", "type": None, "code": None}}, "upstream_auth"),
    ({"error": {"message": "litellm.Timeout: no", "type": None, "code": None}}, "upstream_timeout"),
    (
        {"error": {"message": "Provider returned error", "code": 502, "metadata": {"raw": '{"error":{"code":429}}'}}},
        "upstream_quota",
    ),
    ({"error": {"message": '{"type":"error","error":{"type":"rate_limit_error"}}', "code": 500}}, "upstream_quota"),
]


@pytest.mark.parametrize(("body", "code"), ERRORS)
def test_an_error_in_a_stream(body: Any, code: str) -> None:
    """Each shape is recognised, and its code is derived from its names, its numbers or its message."""
    assert is_error(body)
    assert error_of(body).code == code


NO_ERRORS: list[Any] = [
    {},
    [],
    None,
    5,
    "error",
    {"error": None},
    {"error": ""},
    {"error": {}},
    {"error": False},
    {"error": {"code": None, "message": None, "type": ""}},
    {"error": {"code": 0, "message": "success"}},
    {"errors": []},
    {"detail": None},
    {"code": 0},
    {"code": "200", "message": "OK"},
    {"code": 0, "msg": "anything"},
    {"status": "completed", "message": "done"},
    {"status": 200, "message": "fine"},
    {"status": "queued", "message": "2 before you"},
    {"type": "ping", "message": "hi"},
    {"object": "chat.completion.chunk", "message": "hi"},
    {"success": True, "message": "hi"},
    {"choices": [], "usage": {"prompt_tokens": 5}},
    {"choices": [], "prompt_filter_results": [{"content_filter_results": {"error": {"code": "x"}}}]},
    {"choices": [{"delta": {"content": "error"}}], "code": 1, "message": "m", "status": "error", "detail": "d"},
    {"choices": [{"delta": {}}], "error": None, "base_resp": {"status_code": 0, "status_msg": "success"}},
    {"message": {"role": "assistant", "content": "hi"}},
    {"type": "message_start", "message": {"id": "m", "role": "assistant"}},
    {"type": "response.created", "response": {"status": "in_progress", "error": None}},
    {"type": "status", "message": "Searching"},
    {"header": {"code": 0, "message": "Success"}},
    {"error_code": 0, "error_msg": ""},
    {"errors": [], "is_error": False},
    {"choices": [{"delta": {"role": "assistant"}}], "status": "running", "message": "hi"},
    {"choices": [{"delta": {}, "content_filter_result": {"error": {"code": "content_filter_error"}}}]},
    {"id": "c1", "model": "m"},
]


@pytest.mark.parametrize("chunk", NO_ERRORS)
def test_what_is_no_error(chunk: Any) -> None:
    """Empty errors, words for success, states of a queue, and anything beside choices are no errors."""
    assert not is_error(chunk)


REFUSALS: list[tuple[int, Any, str]] = [
    (400, {"error": {"message": TOO_LONG}}, "context_too_long"),
    (400, {"message": "rate limit reached"}, "upstream_quota"),
    (400, {"error": {"message": "Invalid 'timeout': expected a number"}}, "upstream_rejected"),
    (400, "Bad Request", "upstream_rejected"),
    (401, None, "upstream_auth"),
    (402, None, "upstream_quota"),
    (403, {"error": {"message": "Quota exceeded for this key"}}, "upstream_quota"),
    (403, "Forbidden", "upstream_auth"),
    (404, {"detail": "Not Found"}, "upstream_rejected"),
    (413, {"error": {"message": "Request too large"}}, "upstream_rejected"),
    (
        413,
        {"error": {"message": "Request too large: tokens per minute", "code": "rate_limit_exceeded"}},
        "upstream_quota",
    ),
    (
        422,
        {"detail": [{"loc": ["body"], "msg": "max_tokens is too large", "type": "value_error"}]},
        "upstream_rejected",
    ),
    (429, {}, "upstream_quota"),
    (
        500,
        {"error": {"message": "request (9 tokens) exceeds the available context size (4 tokens)"}},
        "context_too_long",
    ),
    (500, {"error": {"code": 429}}, "upstream_quota"),
    (500, {"error": {"message": "boom", "type": "server_error"}}, "upstream_failed"),
    (503, "overloaded", "upstream_failed"),
    (504, None, "upstream_timeout"),
    (524, "a timeout occurred", "upstream_timeout"),
    (302, "", "upstream_failed"),
]


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS)
def test_a_refusal(status: int, body: Any, code: str) -> None:
    """The HTTP status counts, and the body refines it."""
    assert error_of(body, status).code == code


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
        "Your input exceeds the context window of this model.",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "Requested token count exceeds the model's maximum context length of 4096 tokens.",
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
        "Input prompt (5000 tokens) is too long and exceeds limit of 4096",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 and 20",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
        "Prompt length (5000) exceeds maximum input length (4096)",
        "Prompt length 5000 is greater than max_seq_len 4096",
        "Total tokens of image and text exceed max message tokens",
        "Prompt exceeds max length",
        "Prompt 超长",
        "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
        "Please reduce the length of the messages or completion.",
        "Invalid request: Your request exceeded model token limit: 8192",
        "Range of input length should be [1, 30720]",
        "prompt too long; exceeded max context length by 4 tokens",
        "prompt token count of 150000 exceeds the limit of 128000",
        "invalid params, context window exceeds limit",
        "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    ],
)
def test_a_context_that_is_too_long(message: str) -> None:
    """A dozen servers' messages for it are recognised, in a stream and as a refusal with any status."""
    body = {"error": {"message": message, "type": "invalid_request_error"}}
    assert [error_of(body).code, error_of(body, 400).code, error_of(body, 500).code] == ["context_too_long"] * 3


def test_a_link_and_a_wait_are_kept() -> None:
    """An MCP server that must be authorised first has its own error; the time to wait is passed on."""
    link = {"connect_url": "https://example.com"}
    assert isinstance(error_of({"detail": link}, 401), McpAuthorizationRequired)
    assert isinstance(error_of({"error": {"code": 401, **link}}), McpAuthorizationRequired)
    error = error_of({}, 429, retry_after=7)
    assert isinstance(error, UpstreamQuota)
    assert error.retry_after == 7


def test_nothing_is_too_deep_or_too_long() -> None:
    """The search within an error is bounded, and it is an error whatever its content."""
    nested: Json = {"error": {"message": "m"}}
    for _ in range(200):
        nested = {"error": nested}
    assert error_of(nested).code == "upstream_failed"
    assert error_of({"errors": [{"message": "x" * 100_000}] * 10_000}).code == "upstream_failed"
    assert is_error({"error": [[[]], {"a": [{"b": "no"}]}]})


@pytest.mark.parametrize("status", [429, 400])
def test_too_many_tokens_in_a_time_are_no_long_context(status: int) -> None:
    """Bedrock's message for a rate limit is no context error: the same request can succeed later."""
    error = {"message": "Too many tokens, please wait before trying again."}
    assert error_of(error, status).code == ("upstream_quota" if status == 429 else "upstream_rejected")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, {"message": "The model `x` does not exist or you do not have access to it.", "code": "model_not_found"}),
        (404, {"message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}),  # vLLM
        (404, {"type": "not_found_error", "message": "model: claude-x"}),  # Anthropic
        (404, {"message": "models/x is not found for API version v1main", "status": "NOT_FOUND"}),  # Gemini
        (404, {"message": 'model "qwen3:9b" not found, try pulling it first'}),  # Ollama
        (404, {"message": "No endpoints found for x/y."}),  # OpenRouter
        (404, {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}),
        (400, {"message": "Model Not Exist", "type": "invalid_request_error"}),  # DeepSeek
        (400, {"message": "x/y is not a valid model ID", "code": 400}),  # OpenRouter
        (400, {"message": "Invalid model: x", "type": "invalid_model"}),  # Mistral
        (400, {"message": "The model `x` has been decommissioned and is no longer supported."}),  # Groq
        (400, {"message": "Unable to access model x. Please visit …", "code": "model_not_available"}),  # Together
        (403, {"message": "Project `p` does not have access to model `x`"}),  # OpenAI
        (400, {"code": "1211", "message": "模型不存在，请检查模型代码。"}),  # Zhipu
    ],
)
def test_another_model_may_help_if_the_model_is_not_there(status: int, error: Json) -> None:
    """A refusal of the model's name is recognised among other refusals with the same code."""
    found = error_of({"error": error}, status)
    assert isinstance(found, UpstreamModelNotFound)
    assert (found.code, another_model_may_help(found)) == ("upstream_rejected", True)


@pytest.mark.parametrize(
    ("status", "error", "helps"),
    [
        (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}, True),
        (402, {"message": "Insufficient Balance"}, True),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, True),
        (500, {"message": "The server had an error"}, True),
        (504, {"message": "timeout"}, True),
        (400, {"message": "prompt is too long: 1 tokens > 0 maximum"}, True),
        (401, {"message": "Invalid API key", "code": "invalid_api_key"}, False),
        (403, {"message": "permission denied"}, False),
        (404, {"message": "Not Found"}, False),
        (400, {"message": "Unsupported parameter: stop", "param": "stop"}, False),
        (400, {"message": "The response was filtered", "code": "content_filter"}, False),
        (422, {"message": "field required"}, False),
    ],
)
def test_another_model_may_help_as_the_table_says(status: int, error: Json, helps: bool) -> None:
    """docs/upstreams.md has the table of failures after which another model is asked."""
    assert another_model_may_help(error_of({"error": error}, status)) is helps
