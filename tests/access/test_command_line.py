"""`python -m cli`: what an operator does beside the running service."""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from callers import ME, bearer, guarded_service
from forked_command import forked_command
from live_tasks import when
from process import Nursery

from services.access import key_table
from settings import Settings

pytestmark = pytest.mark.anyio


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


async def command(nursery: Nursery, data: Path, *arguments: str) -> Done:
    """Run a command beside the service of the test, which goes on meanwhile."""
    nursery.load("cli.__main__")
    outside = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    environment = outside | {"DATA_DIR": str(data), "TERM": "dumb", "NO_COLOR": "1"}
    with forked_command(nursery, "cli.__main__", *arguments, env=environment) as program:
        out, err = await asyncio.to_thread(program.communicate)
        return Done(program.wait(5), out.decode(), err.decode())


async def test_keys_are_managed_beside_the_running_service(
    nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of the command works in the service without a restart, and no more once the command has revoked it."""
    monkeypatch.setattr(key_table, "REFRESH_S", 0.01)
    async with guarded_service(data_dir=tmp_path) as agent:
        created = await command(nursery, tmp_path, "keys", "create", "--owner", "cy", "--name", "a program")
        key = created.out.strip()
        table = agent.app.state.gate._keys
        await when(lambda: table.caller_of(key) is not None)
        me = (await agent.client.get(ME, headers=bearer(key))).json()
        listed = (await command(nursery, tmp_path, "keys", "list", "--owner", "cy")).out
        rotated = (await command(nursery, tmp_path, "keys", "rotate", me["key_id"], "--overlap-hours", "1")).out.strip()
        await when(lambda: table.caller_of(rotated) is not None)
        assert (await agent.client.get(ME, headers=bearer(key))).status_code == 200
        revoked = await command(nursery, tmp_path, "keys", "revoke", me["key_id"])
        await when(lambda: table.caller_of(key) is None)
        assert (await agent.client.get(ME, headers=bearer(key))).status_code == 401
        assert (await agent.client.get(ME, headers=bearer(rotated))).status_code == 200
    assert me["owner"] == "cy"
    assert "It is shown once" in created.err
    assert all(part in listed for part in (me["key_id"], "cy", "runs:read,runs:write", "valid", "a program"))
    assert key not in listed
    assert revoked.out.startswith(f"{me['key_id']} of cy: revoked 20")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("keys", "revoke", "as_x"), 1, "There is no API key with this id."),
        (("keys", "create", "--owner", "anonymous"), 2, "choose another name"),
        (("keys", "create", "--owner", "a", "--scope", "root"), 2, "runs:write"),
        (("keys", "create"), 2, "--owner"),
    ],
)
async def test_what_is_refused_is_said(
    arguments: tuple[str, ...], status: int, says: str, nursery: Nursery, tmp_path: Path
) -> None:
    """The exit status is not 0, and the message says what is wrong, without a traceback."""
    done = await command(nursery, tmp_path, *arguments)
    assert done.status == status
    assert says in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
    assert done.out == ""
