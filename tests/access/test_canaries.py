"""Keys and tokens that a caller puts where they don't belong are found nowhere: logs, answers, database, files."""

from pathlib import Path

import httpx
from callers import ADA, API_KEYS, KEYS, OPS, bearer
from process import Nursery, forked_app
from service import NOWHERE, SIMULATE, STREAM

from services.access.keys import new_key

RUNS = "/api/agent/runs"


def test_credentials_are_found_nowhere(nursery: Nursery, tmp_path: Path) -> None:
    """A valid key, a wrong one, one of the environment and a run token, in headers, paths, queries and bodies."""
    given = {"AUTH": "keys", "API_KEYS": API_KEYS, "DEDALUS_BASE_URL": NOWHERE, "LOG_LEVEL": "debug"}
    answers: list[httpx.Response] = []
    with (
        forked_app(nursery, DATA_DIR=str(tmp_path), **given) as app,
        httpx.Client(base_url=app.url, timeout=30) as client,
    ):
        key = client.post(KEYS, json={"owner": "cy"}, headers=bearer(OPS)).json()["key"]
        run_id = client.post(SIMULATE, json={"delay_ms": 0}, headers=bearer(key)).headers["x-run-id"]
        token = client.post(f"{RUNS}/{run_id}/token", headers=bearer(key)).json()["token"]
        canaries = (key, new_key().key, ADA, OPS, token)
        for canary in canaries:
            places = (
                {**bearer(canary), "X-API-Key": canary},
                {"X-API-Key": canary, "Cookie": f"key={canary}"},
                {"Authorization": canary, "Referer": f"{app.url}/?key={canary}"},
                bearer(key) | {"X-Act-As": canary},
                bearer(key) | {"Last-Event-ID": canary},
            )
            for headers in places:
                answers.append(client.get(f"{RUNS}/{run_id}/events?wait=false", headers=headers))
                answers.append(client.post(STREAM, json={"input": "?", "model": "simulated/context"}, headers=headers))
            for path in (f"/{canary}", f"{RUNS}/{canary}", f"{RUNS}?key={canary}&token={canary}", f"{KEYS}/{canary}"):
                answers.append(client.get(path, headers=bearer(key)))
                answers.append(client.delete(path, headers=bearer(OPS)))
        made = client.get(RUNS, headers=bearer(key) | {"X-Request-ID": key})
        answers += [made, client.get("/openapi.json"), client.get(KEYS, headers=bearer(OPS))]
    kept = "".join(file.read_text("latin-1") for file in tmp_path.rglob("*") if file.is_file())
    log = "".join(app.log)
    for canary in canaries:
        assert canary not in log
        assert canary not in kept
        assert not [answer.url for answer in answers if canary in f"{answer.text}{answer.headers}"]
    assert made.headers["x-request-id"].startswith("req_")
