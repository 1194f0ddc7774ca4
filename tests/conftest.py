"""Fixtures and hooks that all tests share."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import hypothesis
import pytest
from process import Nursery, opened_nursery

from settings import Settings

if TYPE_CHECKING:
    from service import Service

LIVE = Path(__file__).parent / "world" / "live"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def nursery(testrun_uid: str) -> Iterator[Nursery]:
    """Starts services fast. The first test that wants it, in any worker, starts the process that forks it."""
    with opened_nursery(testrun_uid) as made:
        yield made


@pytest.fixture(scope="module")
async def agent() -> AsyncIterator["Service"]:
    """A service without an upstream, which a module's tests share where they leave nothing behind in it."""
    from service import NOWHERE, service  # here, since the process that starts the workers needs none of it

    async with service(NOWHERE) as agent:
        yield agent


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> Iterator[None]:
    """No key or setting of the machine's environment reaches a test."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
            monkeypatch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients load the certificate of one authority: those of all 140 take 30 ms of CPU for each client that is made.

    Tests in `tests/world/live` download packages, and so need them all.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        if not any(LIVE in item.path.parents for item in request.session.items):
            first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
            file = tmp_path_factory.mktemp("authorities") / "first.pem"
            file.write_text(first + end)
            monkeypatch.setenv("SSL_CERT_FILE", str(file))
        yield


# By wall time on two cores: first those in `tests/world/live`, then the fast ones.
SLOWEST = (
    "test_browser_nextjs_example",
    "test_browser_outages",
    "test_page_faults",
    "test_browser_pages",
    "test_page_accessible",
    "test_browser_tabs",
    "test_typescript_commands",
    "test_page_chat",
    "test_page_inspector",
    "test_page_replay",
    "test_engines",
    "test_typescript",
    "test_page_speed",
    "test_page_xss",
    "test_python_client_failures",
    "test_output_check",
    "test_clock",
    "test_database",
    "test_waiting_hard",
    "test_catalog",
    "test_docs",
    "test_slow_reader",
    "test_test_client",
    "test_chaos",
    "test_first_commands",
    "test_database_connections",
    "test_queued_runs",
    "test_stream_endings",
    "test_budgets",
    "test_openapi",
    "test_deletions",
    "test_python_client",
    "test_upstream_failures",
    "test_runs",
    "test_client_questions",
    "test_session_search",
    "test_mcp_oddities",
    "test_store_failures",
    "test_process",
    "test_drain",
    "test_background",
    "test_json_parsing",
    "test_python_tools_in_runs",
    "test_tool_results",
    "test_mcp_rules",
    "test_architecture",
    "test_upstreams",
    "test_sessions",
    "test_http_protocol",
    "test_file_log",
    "test_python_client_programs",
    "test_approvals",
    "test_mcp_faults",
    "test_fake_dedalus",
    "test_fallbacks",
    "test_oddities",
    "test_guarded_http",
    "test_event_log_model",
    "test_tool_calls",
    "test_refusals",
    "test_limits",
    "test_settings",
    "test_child_processes",
    "test_waiting_restart",
    "test_http_client_fuzz",
)

# `--hypothesis-profile=long` tries each property more often than there is time for in the fast tests.
hypothesis.settings.register_profile("fast", max_examples=25, deadline=None)
hypothesis.settings.register_profile("long", max_examples=3000, deadline=None)
hypothesis.settings.load_profile("fast")


gc.disable()  # until everything is imported and collected: see `pytest_collection_finish`


def pytest_collection_finish() -> None:
    """Keep modules and test items out of every garbage collection: collecting tests took 7.5 s of CPU, now 4.2 s.

    With Python's own thresholds, the tests would then spend a twentieth of their CPU on it, and with the service's less
    than half of that.
    """
    from serving import GC_THRESHOLD  # here, as in `agent`

    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core, because many tests wait for other processes half of their time."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that in the end no worker is left alone with one of them."""
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
