"""Request bodies must be JSON by their header and in UTF-8, and the report of validation errors is bounded."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from service import EXECUTE, SIMULATE, STREAM, Service
from wire import answer

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

SESSIONS = "/api/agent/sessions"
JSON = {"content-type": "application/json"}


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    return error


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/x-www-form-urlencoded",  # what curl -d sends
        "text/plain",
        "text/plain;charset=UTF-8",  # what fetch sends with a text
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "application/json5",
        "json",
    ],
)
@pytest.mark.parametrize("path", [STREAM, EXECUTE, SIMULATE, SESSIONS])
async def test_another_content_type_is_refused_by_the_header_s_name(
    path: str, content_type: str | None, agent: Service
) -> None:
    """A page elsewhere may send these types without a preflight (CORS), so none of them is accepted as JSON."""
    headers = {"content-type": content_type} if content_type else {}
    response = await agent.client.post(path, content=b'{"input": "hi"}', headers=headers)
    assert "Content-Type: application/json" in error_of(response, 415, "not_json")["message"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8", "application/ld+json"],
)
async def test_json_has_many_spellings(content_type: str, fake: FakeDedalus, shared: Service) -> None:
    """The type may be in any case, have a charset, or be a kind of JSON."""
    fake.turn(*answer("ok"))
    response = await shared.client.post(EXECUTE, content=b'{"input": "hi"}', headers={"content-type": content_type})
    assert response.json()["output"] == "ok"


@pytest.mark.parametrize(
    "body",
    [
        '{"input": "caf\u00e9"}'.encode("latin-1"),
        '{"input": "\u201chi\u201d"}'.encode("cp1252"),
        '{"input": "\u65e5\u672c"}'.encode("shift-jis"),
        '{"input": "hi"}'.encode("utf-16"),
        '{"input": "hi"}'.encode("utf-32-le"),
        b'{"input": "\xed\xa0\xbd"}',
        b'{"input": "' + b"x" * 300_000 + b'\xe9"}',
        b'{"input": "cut \xc3',
    ],
    ids=["latin-1", "cp1252", "shift-jis", "utf-16", "utf-32", "surrogate", "in a late piece", "cut"],
)
async def test_another_encoding_is_refused_by_the_name_of_the_right_one(body: bytes, agent: Service) -> None:
    """The error names UTF-8, which helps in a terminal with another encoding; also if a character is cut in two."""
    response = await agent.client.post(STREAM, content=body, headers=JSON)
    assert "UTF-8" in error_of(response, 422, "invalid_request")["message"]


async def test_a_body_is_the_same_in_whatever_pieces_it_comes(fake: FakeDedalus, shared: Service) -> None:
    """Characters, escapes and strings may fall between two pieces, as a slow client sends them."""
    question = 'caf\u00e9 \U0001f600 "\\" [{' * 3
    body = json.dumps({"input": question}, ensure_ascii=False).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])

    fake.turn(*answer("ok"))
    response = await shared.client.post(EXECUTE, content=pieces(), headers=JSON)
    [request] = fake.chats
    assert response.status_code == 200
    assert request.body["messages"] == [{"role": "user", "content": question}]


MANY = 4_000
UNKNOWN = {f"k{number}": 1 for number in range(MANY)}


@pytest.mark.parametrize(
    "body",
    [
        {"input": [{}] * MANY},
        {"input": [1] * MANY},
        {"input": [{"type": "image", "url": "ftp://x"}] * MANY},
        {"input": [{"type": "text", "text": "?", **UNKNOWN}]},
        {"input": "?", "messages": [{}] * 1000},
        {"input": "?", "messages": [{"role": "user", "content": [{}] * MANY}]},
        {"input": "?", "messages": [{"role": "user", "content": "?", **UNKNOWN}]},
        {"input": "?", **UNKNOWN},
        {"input": "?", "metadata": UNKNOWN},
        {"input": "?", "client_tools": [{}] * 128},
        {"input": "?", "mcp_servers": [{}] * 32},
        {"input": "?", "tools": [1] * 128},
        {"input": "?", "stop": [1] * MANY},
        {"input": "?", "temperature": UNKNOWN},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
async def test_few_faults_are_collected_however_many_there_are(body: dict[str, Any], agent: Service) -> None:
    """Each costs as much as a field: a list stops at its first error, and many unknown fields are one."""
    response = await agent.client.post(STREAM, json=body)
    assert 1 <= len(error_of(response, 422, "invalid_request")["details"]) <= 3


LONG = "k" * 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        {"input": "?", LONG: 1},
        {"input": "?", "metadata": {LONG: "v"}},
        {"input": "?", "metadata": {f"{LONG}-": 1}},
        {"input": "?", "client_tools": [{"name": "t", LONG: 1}]},
        {"input": [{"type": "text", "text": "?", "é" * 1_000_000: 1}]},
    ],
    ids=["unknown", "key", "no identifier", "in a tool", "not ASCII"],
)
@pytest.mark.parametrize("path", [STREAM, EXECUTE, SIMULATE])
async def test_a_fault_shows_the_beginning_of_a_long_name(path: str, body: dict[str, Any], agent: Service) -> None:
    """The response isn't as large as the request."""
    response = await agent.client.post(path, json=body)
    assert error_of(response, 422, "invalid_request")["details"]
    assert len(response.content) < 2000


@pytest.mark.parametrize(
    "url",
    ["https://x.example/" + piece * 2000 for piece in ("../", "%C3", "aa/", "\u00e9")]
    + ["https://" + "\u00e9." * 600, "https://" + "@" * 5000],
    ids=["dots", "escapes", "path", "not ASCII", "names", "ats"],
)
async def test_a_long_url_is_refused_before_it_is_parsed(url: str, agent: Service) -> None:
    """Parsing 9 MB takes 160 ms, in which every stream would stand still."""
    response = await agent.client.post(EXECUTE, json={"input": [{"type": "image", "url": url}]})
    details = error_of(response, 422, "invalid_request")["details"]
    assert any("too long" in detail["message"] for detail in details)


@pytest.mark.parametrize("count", [1000, 1001])
async def test_a_content_has_a_thousand_parts_at_most(count: int, fake: FakeDedalus, shared: Service) -> None:
    """The limit is that of `messages`; each part is checked."""
    fake.turn(*answer("ok"))
    body = {"input": [{"type": "text", "text": "?"}] * count}
    response = await shared.client.post(EXECUTE, json=body)
    assert response.status_code == (200 if count == 1000 else 422)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("data:image/png;base64,AA\r\nAA\n", "data:image/png;base64,AAAA"),
        ("DATA:image/png;base64,AAAA", "DATA:image/png;base64,AAAA"),
    ],
)
async def test_an_inline_image_is_sent_as_it_came(url: str, sent: str, fake: FakeDedalus, shared: Service) -> None:
    """It isn't parsed. Only line breaks, with which base64 is often folded, are removed."""
    fake.turn(*answer("ok"))
    response = await shared.client.post(EXECUTE, json={"input": [{"type": "image", "url": url}]})
    [request] = fake.chats
    assert response.status_code == 200
    assert request.body["messages"][0]["content"] == [{"type": "image_url", "image_url": {"url": sent}}]


@pytest.mark.parametrize("url", ["data:image/png;base64,\u00e9", "ftp://example.com/a.png", "http://x.example/a", ""])
async def test_an_image_is_https_or_inline(url: str, agent: Service) -> None:
    """An image with another URL is refused, with an error that doesn't repeat the URL."""
    response = await agent.client.post(STREAM, json={"input": [{"type": "image", "url": url}]})
    details = error_of(response, 422, "invalid_request")["details"]
    assert any("url" in detail["loc"] for detail in details)
    assert "Traceback" not in response.text
    assert url == "" or url not in response.text
