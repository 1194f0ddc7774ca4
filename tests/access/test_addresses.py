"""Where the service answers without authentication: on loopback, and elsewhere only if the operator allows it."""

from pathlib import Path

import httpx
import pytest
from callers import ADA, API_KEYS, ME, bearer, code_of, guarded_service
from forked_command import forked_command
from process import Nursery, forked_app
from service import NOWHERE, Service, service

from settings import is_loopback

pytestmark = pytest.mark.anyio

ELSEWHERE = "10.1.2.3"


async def asked(agent: Service, address: str, path: str, **headers: str) -> httpx.Response:
    """A request that came in at this address of the service's machine."""
    transport = httpx.ASGITransport(agent.app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{address}") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.1.2.3", False),
        ("::ffff:10.1.2.3", False),
        ("fe80::1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_addresses_are_known(address: str, is_local: bool) -> None:
    """IPv4, IPv6, mapped addresses and the one name that means loopback."""
    assert is_loopback(address) is is_local


async def test_without_authentication_other_addresses_than_loopback_are_refused() -> None:
    """A request is judged by the address at which it came in; what is public is answered everywhere."""
    async with service(NOWHERE, allowed_hosts="*") as agent:
        assert (await asked(agent, "127.0.0.1", ME)).status_code == 200
        assert (await asked(agent, "[::1]", ME)).status_code == 200
        refused = await asked(agent, ELSEWHERE, ME)
        assert code_of(refused) == (403, "authentication_required")
        assert "AUTH=keys" in refused.json()["error"]["message"]
        assert code_of(await asked(agent, ELSEWHERE, "/api/agent/runs")) == (403, "authentication_required")
        assert (await asked(agent, ELSEWHERE, "/health")).status_code == 200


async def test_the_operator_can_allow_everybody() -> None:
    """With ALLOW_ANONYMOUS, every address is as loopback is."""
    async with service(NOWHERE, allowed_hosts="*", allow_anonymous=True) as agent:
        assert (await asked(agent, ELSEWHERE, ME)).json()["owner"] == "anonymous"


async def test_with_authentication_every_address_needs_a_key() -> None:
    """Loopback is no exception."""
    async with guarded_service(allowed_hosts="*") as agent:
        for address in ("127.0.0.1", ELSEWHERE):
            assert code_of(await asked(agent, address, ME)) == (401, "unauthenticated")
            assert (await asked(agent, address, ME, **bearer(ADA))).json()["owner"] == "ada"


def test_the_start_refuses_to_let_everybody_in(nursery: Nursery, tmp_path: Path) -> None:
    """Another HOST than loopback needs authentication; the last line says what to set."""
    given = {"HOST": "0.0.0.0", "PORT": "0", "DATA_DIR": str(tmp_path), "DEDALUS_BASE_URL": NOWHERE}
    with forked_command(nursery, "app", env=given, directory=tmp_path) as command:
        _, err = command.communicate()
        status = command.wait(5)
    last = err.decode().splitlines()[-1]
    assert status == 1
    assert last.startswith("HOST=0.0.0.0 is not a loopback address")
    assert all(name in last for name in ("AUTH=keys", "HOST=127.0.0.1", "ALLOW_ANONYMOUS=true"))


def test_the_start_with_authentication_says_nothing_of_the_address(nursery: Nursery) -> None:
    """With keys, every address may be listened on."""
    with forked_app(nursery, HOST="0.0.0.0", AUTH="keys", API_KEYS=API_KEYS, DEDALUS_BASE_URL=NOWHERE) as app:
        url = app.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}{ME}").status_code == 401
        assert httpx.get(f"{url}{ME}", headers=bearer(ADA)).json()["owner"] == "ada"
    assert not [line for line in app.log if "loopback" in line]
    assert not [line for line in app.log if ADA in line]
