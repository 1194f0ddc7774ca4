"""Tests the tokens of an OpenID Connect provider that other people wrote, as a page gets them by the code flow."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from foreign import oidc_provider
from service import NOWHERE, service

pytestmark = pytest.mark.anyio

CLIENT = "agent-stream"
BACK = "http://localhost/back"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider() as url:
        yield url


async def signed_in(issuer: str, user: str) -> str:
    """The ID token of a user that has signed in on the provider's page."""
    asked = {"client_id": CLIENT, "redirect_uri": BACK, "response_type": "code", "scope": "openid"}
    async with httpx.AsyncClient(base_url=issuer) as browser:
        sent_back = await browser.post("/oauth2/authorize", params=asked, data={"sub": user})
        [code] = parse_qs(urlsplit(sent_back.headers["location"]).query)["code"]
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
        token: str = (await browser.post("/oauth2/token", data=given, auth=(CLIENT, "secret"))).json()["id_token"]
        return token


async def test_a_user_who_signed_in_at_the_provider_is_a_caller(issuer: str) -> None:
    """The provider's configuration and keys are found by its name, and its tokens have no kid."""
    async with service(NOWHERE, auth="jwt", jwt_issuer=issuer, jwt_audience=(CLIENT,)) as agent:
        token = await signed_in(issuer, "ann@example.com")
        known = await agent.client.get("/api/agent/me", headers={"Authorization": f"Bearer {token}"})
        assert known.json()["owner"] == "jwt:ann@example.com"


async def test_a_token_of_the_provider_for_another_client_is_refused(issuer: str) -> None:
    """The audience of an ID token is the client that the user signed in to."""
    async with service(NOWHERE, auth="jwt", jwt_issuer=issuer, jwt_audience=("another-client",)) as agent:
        token = await signed_in(issuer, "ann")
        refused = await agent.client.get("/api/agent/me", headers={"Authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
