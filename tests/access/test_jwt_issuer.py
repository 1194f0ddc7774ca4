"""Tests how an issuer's keys are fetched: where from, when again, and what happens while the issuer fails or hangs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from key_server import DISCOVERY, KEYS, KeyServer, SigningKey, key_server, response
from wire import Signal

from errors import IssuerUnavailable, UrlRefused
from services.access.jwt_issuer import MAX_DOCUMENT_BYTES, IssuerKeys, KeySource, Pace, keys_url_of
from services.access.jwt_keys import VerificationKey, read_key_set
from services.outbound.fetch import FetchFailed

pytestmark = pytest.mark.anyio

ALGORITHMS = frozenset(("RS256", "ES256", "EdDSA"))
OLD, NEW = SigningKey("old"), SigningKey("new", number=1)
LATER_S = 600.0
AT_ONCE = Pace(refetch_pause_s=0, retries_s=(0,))


def source(issuer: KeyServer, url: str | None = None) -> KeySource:
    return KeySource(issuer.issuer, url, ALGORITHMS)


@asynccontextmanager
async def issuer_keys(issuer: KeyServer, ttl_s: float = LATER_S, pace: Pace = AT_ONCE) -> AsyncIterator[IssuerKeys]:
    """The keys of the issuer, which are fetched in the background."""
    keys = IssuerKeys(source(issuer).load, ttl_s, pace)
    try:
        yield keys
    finally:
        await keys.aclose()


async def kids(keys: IssuerKeys, kid: str | None) -> list[str | None]:
    return [key.kid for key in await keys.candidates(kid, "ES256")]


# Where the keys are


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_issuer_s_configuration_says_where_its_keys_are(slash: str) -> None:
    """An issuer is written with or without a slash at its end (Auth0's has one), and its configuration has the same."""
    async with key_server(OLD) as issuer:
        issuer.configuration = {"issuer": issuer.issuer + slash, "jwks_uri": issuer.issuer + KEYS}
        [key] = await KeySource(issuer.issuer + slash, None, ALGORITHMS).load()
        assert key.kid == "old"
        assert issuer.requests == [DISCOVERY, KEYS]


async def test_keys_at_a_given_url_need_no_configuration() -> None:
    """With JWT_JWKS_URL, nothing else is requested."""
    async with key_server(OLD) as issuer:
        [key] = await source(issuer, issuer.issuer + KEYS).load()
        assert key.kid == "old"
        assert issuer.requests == [KEYS]


SELF = "https://issuer.example"


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"},
        {"issuer": f"{SELF}/", "jwks_uri": f"{SELF}/keys"},
        {"issuer": SELF, "jwks_uri": "http://issuer.example/keys"},
        {"issuer": SELF, "jwks_uri": "file:///etc/passwd"},
        {"issuer": SELF, "jwks_uri": 7},
        {"issuer": SELF},
        {"jwks_uri": f"{SELF}/keys"},
        {"keys": []},
        [],
        None,
    ],
)
def test_a_configuration_of_another_issuer_or_without_tls_is_refused(configuration: Any) -> None:
    """Only a configuration that names this very issuer is followed, and only to where nobody can replace the keys."""
    with pytest.raises(ValueError, match="configuration"):
        keys_url_of(configuration, SELF)


BIG = b'{"keys": [' + b" " * MAX_DOCUMENT_BYTES + b"]}"


@pytest.mark.parametrize(
    "answer",
    [
        response({"error": "down"}, "500 Internal Server Error"),
        response({"keys": []}, "404 Not Found"),
        response({}, "302 Found"),
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/keys\r\nContent-Length: 0\r\n\r\n",
        response(b"<html>"),
        response(b"\xff\xfe\x00"),
        response(b"[" * 100_000),
        response({"keys": "x"}),
        response(BIG),
        b"nonsense\r\n\r\n",
    ],
    ids=range(10),
)
async def test_an_answer_that_is_no_key_set_is_a_failed_fetch(answer: bytes) -> None:
    """Whatever the server sends, fetching ends with one of three exceptions, in bounded time and memory."""
    async with key_server() as issuer:
        issuer.answer = answer
        with pytest.raises((FetchFailed, UrlRefused, ValueError, RecursionError)):
            await source(issuer, issuer.issuer + KEYS).load()


# When they are fetched


async def test_the_first_requests_wait_for_the_first_keys() -> None:
    """A token that comes while the keys are on their way is not refused."""
    async with key_server(OLD) as issuer, issuer_keys(issuer) as keys:
        assert await kids(keys, "old") == ["old"]
        assert issuer.requests == [DISCOVERY, KEYS]


async def test_known_keys_are_used_without_a_fetch() -> None:
    """Tokens with a known key cost no request to the issuer."""
    async with key_server(OLD) as issuer, issuer_keys(issuer) as keys:
        for _ in range(20):
            assert await kids(keys, "old") == ["old"]
        assert issuer.requests.count(KEYS) == 1


async def test_a_new_key_is_accepted_with_its_first_token() -> None:
    """After a rotation the unknown key is fetched while the request waits, and a key that was withdrawn is refused."""
    async with key_server(OLD) as issuer, issuer_keys(issuer) as keys:
        await kids(keys, "old")
        issuer.keys = [NEW.published()]
        assert await kids(keys, "new") == ["new"]
        assert await kids(keys, "old") == []


async def test_keys_are_fetched_again_when_they_are_old() -> None:
    """A key that the issuer withdrew is refused without any unknown token, once the keys are older than their time."""
    async with key_server(OLD) as issuer, issuer_keys(issuer, ttl_s=0.01) as keys:
        await kids(keys, "old")
        issuer.keys = [NEW.published()]
        await issuer.wait_asked(issuer.requests.count(KEYS) + 2)  # the first of these may have had the former keys
        assert await kids(keys, "new") == ["new"]
        assert await kids(keys, "old") == []


async def test_an_unknown_key_causes_one_fetch_a_minute() -> None:
    """A client that goes on sending a withdrawn key doesn't make the service flood the issuer."""
    async with key_server(OLD) as issuer, issuer_keys(issuer) as keys:
        await kids(keys, "old")
        for _ in range(20):
            assert await kids(keys, "gone") == []
        assert issuer.requests.count(KEYS) == 2


async def test_a_storm_of_unknown_keys_causes_one_fetch() -> None:
    """Ten thousand invented keys within the pause between two fetches cost one fetch, and no memory."""
    async with key_server(OLD) as issuer, issuer_keys(issuer, pace=Pace(refetch_pause_s=LATER_S)) as keys:
        await kids(keys, "old")
        for number in range(10_000):
            assert await kids(keys, f"invented {number}") == []
        assert issuer.requests.count(KEYS) == 1
        assert len(keys._unknown) == 0


async def test_concurrent_unknown_keys_share_a_fetch() -> None:
    """Requests that come together wait for the same fetch."""
    async with key_server(OLD) as issuer, issuer_keys(issuer) as keys:
        await kids(keys, "old")
        issuer.keys = [OLD.published(), NEW.published()]
        found = await asyncio.gather(*(kids(keys, kid) for kid in ["new"] * 20 + ["gone"] * 20))
        assert found == [["new"]] * 20 + [[]] * 20
        assert issuer.requests.count(KEYS) == 2


# While the issuer fails


async def test_without_any_key_the_issuer_is_unavailable() -> None:
    """A service that starts while its issuer is down refuses no token for good: it says when to try again."""
    async with key_server(OLD) as issuer:
        issuer.answer = response({}, "503 Service Unavailable")
        async with issuer_keys(issuer, pace=Pace(retries_s=(LATER_S,))) as keys:
            with pytest.raises(IssuerUnavailable) as refused:
                await kids(keys, "old")
            assert (refused.value.status, refused.value.retry_after) == (503, 2)


async def test_the_keys_are_fetched_once_the_issuer_is_back() -> None:
    """The fetch is repeated in the background, without a request."""
    async with key_server(OLD) as issuer:
        issuer.answer = response({}, "503 Service Unavailable")
        async with issuer_keys(issuer, pace=Pace(retries_s=(0,))) as keys:
            await issuer.asked.wait(lambda: issuer.requests.count(DISCOVERY) > 2, 5, lambda: "no retry")
            issuer.answer = None
            await issuer.wait_asked(1)
            assert await kids(keys, "old") == ["old"]


@pytest.mark.parametrize("answer", [response({}, "500 Internal Server Error"), response(b"{"), response({"keys": []})])
async def test_former_keys_stay_while_the_issuer_fails(answer: bytes) -> None:
    """A known key goes on being accepted. An unknown one may be a new one, so its token isn't refused for good."""
    async with key_server(OLD) as issuer, issuer_keys(issuer, pace=Pace(0, retries_s=(LATER_S,))) as keys:
        await kids(keys, "old")
        issuer.answer = answer
        with pytest.raises(IssuerUnavailable):
            await kids(keys, "new")
        assert await kids(keys, "old") == ["old"]


async def test_a_hanging_issuer_holds_up_nobody() -> None:
    """Known keys are found at once, and only requests of the fetch's first moments wait for it, for a bounded time."""
    fetches = []

    async def load() -> list[VerificationKey]:
        fetches.append(time.monotonic())
        if len(fetches) > 1:
            await asyncio.Event().wait()
        return read_key_set({"keys": [OLD.published()]}, ALGORITHMS)

    keys = IssuerKeys(load, LATER_S, Pace(0, max_wait_s=0.1))
    await kids(keys, "old")
    with pytest.raises(IssuerUnavailable):
        await kids(keys, "new")
    waited = time.monotonic() - fetches[1]
    assert 0.09 < waited < 1
    begun = time.monotonic()
    for number in range(1000):
        with pytest.raises(IssuerUnavailable):
            await kids(keys, f"new {number}")
        assert await kids(keys, "old") == ["old"]
    assert time.monotonic() - begun < 1
    assert len(fetches) == 2
    await keys.aclose()


async def test_closing_ends_a_fetch_that_hangs() -> None:
    """The service stops without waiting for its issuer, and nothing is fetched after that."""
    async with key_server(OLD, hangs=True) as issuer:
        async with issuer_keys(issuer) as keys:
            await issuer.gate.wait_reached()
        assert keys._fetching is None


async def test_a_failing_fetch_is_repeated_less_and_less_often() -> None:
    """The times between fetches are those of the list, and then its last one."""
    calls: list[float] = []
    called = Signal()

    async def load() -> list[VerificationKey]:
        calls.append(time.monotonic())
        called.notify()
        raise FetchFailed("The server did not answer in full within 10 s.")

    keys = IssuerKeys(load, LATER_S, Pace(retries_s=(0.01, 0.03)))
    await called.wait(lambda: len(calls) > 3, 5, lambda: f"{len(calls)} calls")
    await keys.aclose()
    between = [after - before for before, after in pairwise(calls[:4])]
    assert [time > least for time, least in zip(between, (0.01, 0.03, 0.03), strict=True)] == [True] * 3
