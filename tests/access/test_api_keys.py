"""API keys: their form, what is stored of them, the keys in memory, and the operations of admins."""

import logging
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from callers import ADA, API_KEYS, KEYS, ME, OPS, bearer, calling, code_of, guarded_service
from databases import execute, opened
from live_tasks import when
from service import settings

from access_models import KeyCreate, KeyRotation, Scope
from database.engine import Database
from errors import InvalidCursor, InvalidRequest, KeyNotFound
from services.access import key_table
from services.access.api_keys import ApiKeys
from services.access.key_table import KeyTable
from services.access.keys import digest_of, id_in
from services.access.keys import new_key as random_key
from services.access.secret import FILE, secret_of

pytest_plugins = "database_fixtures"
pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
TOMORROW = datetime.now(UTC) + timedelta(days=1)
NEVER = KeyCreate(owner="ada")


# The form


def test_a_key_is_random_and_begins_with_its_id() -> None:
    """No two keys have an id or a secret in common, and only the whole key is one."""
    made = [random_key() for _ in range(200)]
    assert len({key.key_id for key in made}) == len({key.key for key in made}) == 200
    for key_id, key in made:
        assert id_in(key) == key_id
        assert key.startswith(f"{key_id}_")
        assert not id_in(key[:-1])
        assert not id_in(f"{key}0")


def test_what_is_stored_is_not_the_key() -> None:
    """The digest depends on the key and on the secret."""
    key = random_key().key
    digests = {digest_of(SECRET, key), digest_of(SECRET, key + "x"), digest_of(b"t" * 32, key)}
    assert len(digests) == 3
    assert all(key not in digest for digest in digests)


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is in a file of mode 600, and the same at each start; AUTH_SECRET takes precedence over it."""
    used = settings(data_dir=tmp_path / "data")
    secret = secret_of(used)
    file = tmp_path / "data" / FILE
    assert secret_of(used) == secret
    assert len(secret) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [FILE]
    assert secret_of(settings(data_dir=tmp_path / "data", auth_secret="x" * 32)) == b"x" * 32
    assert caplog.records == []
    file.chmod(0o644)
    assert secret_of(used) == secret
    assert "chmod 600" in caplog.text


# The keys of the database


async def test_a_key_is_created_listed_rotated_and_revoked(database: Database) -> None:
    """A rotated key has the rights of the old one, which ends at once or after an overlap."""
    keys = ApiKeys(database, SECRET)
    asked = KeyCreate(owner="ada", name="laptop", scopes=[Scope.ADMIN], models=["a/*"], expires_at=TOMORROW)
    first = await keys.create(asked)
    second = await keys.rotate(first.key_id, KeyRotation(overlap_s=60))
    third = await keys.rotate(second.key_id, KeyRotation())
    await keys.create(KeyCreate(owner="bob"))
    listed = {key.key_id: key for key in (await keys.page("ada", None, 9)).keys}
    rights = {"owner": "ada", "name": "laptop", "scopes": [Scope.ADMIN], "models": ["a/*"]}
    for made in (first, second, third):
        assert made.model_dump(include=set(rights)) == listed[made.key_id].model_dump(include=set(rights)) == rights
    assert listed.keys() == {first.key_id, second.key_id, third.key_id}
    assert first.expires_at == second.expires_at == third.expires_at
    assert (listed[first.key_id].expires_at or "") < (first.expires_at or "")
    assert listed[second.key_id].revoked_at is not None
    assert listed[third.key_id].revoked_at is None
    revoked = await keys.revoke(third.key_id)
    assert await keys.revoke(third.key_id) == revoked
    with pytest.raises(InvalidRequest):
        await keys.rotate(third.key_id, KeyRotation())
    with pytest.raises(KeyNotFound):
        await keys.revoke("as_000000000000")


async def test_a_key_that_would_never_be_valid_is_refused(database: Database) -> None:
    """Its end has to be in the future, for a rotated key as well."""
    keys = ApiKeys(database, SECRET)
    over = datetime.now(UTC) - timedelta(seconds=1)
    made = await keys.create(NEVER)
    with pytest.raises(InvalidRequest):
        await keys.create(KeyCreate(owner="ada", expires_at=over))
    with pytest.raises(InvalidRequest):
        await keys.rotate(made.key_id, KeyRotation(expires_at=over))
    assert len((await keys.page(None, None, 9)).keys) == 1


async def test_paging_through_keys_is_complete(database: Database) -> None:
    """Each key is listed once, the latest first."""
    keys = ApiKeys(database, SECRET)
    made = [(await keys.create(KeyCreate(owner=f"o{n % 2}"))).key_id for n in range(7)]
    seen = []
    cursor = None
    while True:
        page = await keys.page(None, cursor, 2)
        seen += [key.key_id for key in page.keys]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == sorted(made)
    with pytest.raises(InvalidCursor):
        await keys.page(None, "nothing", 2)


# The keys in memory


async def test_another_process_s_changes_are_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of keys sees created, revoked and rotated keys soon, and gives the signal of a key that has gone."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    keys = ApiKeys(database, SECRET)
    table = await KeyTable.open(database, SECRET, ())
    try:
        assert table.is_empty
        made = await keys.create(NEVER)
        await when(lambda: table.caller_of(made.key) is not None)
        gone: list[bool] = []
        table.left(made.key_id).call(lambda: gone.append(True))
        rotated = await keys.rotate(made.key_id, KeyRotation())
        await when(lambda: table.caller_of(rotated.key) is not None)
        await when(lambda: bool(gone))
        assert table.caller_of(made.key) is None
    finally:
        await table.aclose()


async def test_an_expired_key_is_refused_and_gives_its_signal(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is looked at when the key is used, and its streams end without a use."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    keys = ApiKeys(database, SECRET)
    made = await keys.create(KeyCreate(owner="ada", expires_at=datetime.now(UTC) + timedelta(hours=1)))
    table = await KeyTable.open(database, SECRET, ())
    try:
        gone: list[bool] = []
        table.left(made.key_id).call(lambda: gone.append(True))
        assert table.caller_of(made.key) is not None
        monkeypatch.setattr(key_table, "now", lambda: made.expires_at)
        await when(lambda: bool(gone))
        assert table.caller_of(made.key) is None
        assert not table.is_valid(made.key_id)
    finally:
        await table.aclose()


async def test_the_last_use_is_recorded_at_most_once_a_minute(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of uses is one write, which changes nothing that tables of keys would read again."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    monkeypatch.setattr(key_table, "USES_S", 0.01)
    keys = ApiKeys(database, SECRET)
    made, unused = await keys.create(NEVER), await keys.create(NEVER)
    table = await KeyTable.open(database, SECRET, ())
    for _ in range(5):
        assert table.caller_of(made.key) is not None
    await when(lambda: not table._used)
    await table.aclose()
    used = {key.key_id: key.last_used_at for key in (await keys.page(None, None, 9)).keys}
    assert used[unused.key_id] is None
    assert used[made.key_id] is not None
    assert table._revision == 2


async def test_known_keys_stay_valid_while_the_database_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage locks nobody out. After it, changes are noticed again."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    async with opened(tmp_path / "x.db") as database:
        keys = ApiKeys(database, SECRET)
        made = await keys.create(NEVER)
        table = await KeyTable.open(database, SECRET, ())
        await database._connections.reading.dispose()
        moved = (tmp_path / "x.db").rename(tmp_path / "moved")
        (tmp_path / "x.db").mkdir()
        await when(lambda: "API keys can't be read" in caplog.text)
        assert table.caller_of(made.key) is not None
        (tmp_path / "x.db").rmdir()
        moved.rename(tmp_path / "x.db")
        await keys.revoke(made.key_id)
        await when(lambda: table.caller_of(made.key) is None)
        await table.aclose()


async def test_the_end_of_the_refreshing_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that is no outage doesn't end it in silence."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    async with opened(tmp_path / "x.db") as database:
        table = await KeyTable.open(database, SECRET, ())
        await execute(database, "DROP TABLE revisions")
        await when(lambda: "aren't noticed any more" in caplog.text)
        await table.aclose()


async def test_a_wrong_key_costs_as_much_as_a_right_one(database: Database) -> None:
    """A right key, a wrong one with a known id, and one with an unknown id take the same time within a third."""
    made = await ApiKeys(database, SECRET).create(NEVER)
    table = await KeyTable.open(database, SECRET, ())
    right, known_id, unknown = made.key, f"{made.key[:-1]}0", random_key().key
    times: dict[str, list[float]] = {right: [], known_id: [], unknown: []}
    for _ in range(2000):
        for key, taken in times.items():
            began = time.perf_counter()
            table.caller_of(key)
            taken.append(time.perf_counter() - began)
    await table.aclose()
    medians = [statistics.median(taken) for taken in times.values()]
    assert max(medians) < min(medians) * 4 / 3


# The routes


async def test_admins_manage_keys_beside_the_running_service(caplog: pytest.LogCaptureFixture) -> None:
    """A created key works at once, is shown once, and is refused as soon as it is revoked. The log never has it."""
    caplog.set_level(logging.INFO)
    async with guarded_service() as agent, calling(agent, OPS) as ops:
        created = await ops.post(KEYS, {"owner": "cy", "name": "a program"})
        key = created.json()
        assert (created.status_code, created.headers["cache-control"]) == (201, "no-store")
        assert (await agent.client.get(ME, headers=bearer(key["key"]))).json()["owner"] == "cy"
        listed = await ops.client.get(KEYS, params={"owner": "cy"})
        rotated = (await ops.post(f"{KEYS}/{key['key_id']}/rotate", {})).json()
        assert code_of(await agent.client.get(ME, headers=bearer(key["key"]))) == (401, "unauthenticated")
        assert (await agent.client.get(ME, headers=bearer(rotated["key"]))).json()["key_id"] == rotated["key_id"]
        assert (await ops.client.delete(f"{KEYS}/{rotated['key_id']}")).json()["revoked_at"]
        assert code_of(await agent.client.get(ME, headers=bearer(rotated["key"]))) == (401, "unauthenticated")
        assert code_of(await ops.client.delete(f"{KEYS}/as_x")) == (404, "key_not_found")
        assert code_of(await ops.post(KEYS, {"owner": "anonymous"})) == (422, "invalid_request")
    assert [one["key_id"] for one in listed.json()["keys"]] == [key["key_id"]]
    assert key["key"] not in listed.text
    assert f"API key {key['key_id']} of cy was created" in caplog.text
    for secret in (key["key"], rotated["key"], OPS, ADA):
        assert secret not in caplog.text


async def test_a_start_without_a_key_says_how_to_create_one(caplog: pytest.LogCaptureFixture) -> None:
    """With AUTH=keys and no key, the log has the command. With one of the environment, it hasn't."""
    async with guarded_service(api_keys=()):
        assert "python -m cli keys create" in caplog.text
    caplog.clear()
    async with guarded_service(api_keys=API_KEYS):
        assert "python -m cli keys create" not in caplog.text


async def test_the_document_says_how_to_authenticate() -> None:
    """Swagger's Authorize button has both forms of a key, and each operation its scope."""
    async with guarded_service() as agent:
        document = (await agent.client.get("/openapi.json")).json()
        page = await agent.client.get("/docs")
    assert document["components"]["securitySchemes"].keys() == {"bearer", "api_key", "run_token"}
    paths = document["paths"]
    assert paths["/api/agent/stream"]["post"]["security"] == [{"bearer": ["runs:write"]}, {"api_key": ["runs:write"]}]
    assert paths["/api/agent/me"]["get"]["security"] == [{"bearer": []}, {"api_key": []}]
    assert paths["/health"]["get"]["security"] == []
    assert page.status_code == 200
