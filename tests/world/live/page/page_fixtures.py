"""The fixtures of the page's tests: a pytest plugin, which each of their modules names.

    pytest_plugins = "page_fixtures"

    def test_the_answer_is_shown(page: ShownPage, fake: FakeDedalus) -> None:
        fake.turn(*answer("Hello."))
        page.open().ask("Hi")
        page.until_shown("Hello.", "[role=log]")

The module's tests share a browser and a service, and each has a session of its own, because a new chat gets a new id.
"""

from collections.abc import Iterator
from pathlib import Path

import environments
import pytest
from browser import chromium
from fake_dedalus import FakeDedalus
from node import install
from process import Nursery, Process, forked_app
from selenium.webdriver import Chrome
from shown_page import ShownPage

TOOLS = '''
from tools import tool


@tool
def get_weather(city: str) -> dict:
    """Get the weather in a city."""
    return {"city": city, "celsius": 3}


@tool(approval=True)
def delete_folder(folder: str) -> str:
    """Delete a folder."""
    return f"deleted {folder}"
'''


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    """The model server behind `app`. A test scripts its answers."""
    with FakeDedalus.in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def page_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with two tools: `get_weather`, and `delete_folder`, which waits for a person."""
    folder: Path = tmp_path_factory.mktemp("tools")
    (folder / "page_test_tools.py").write_text(TOOLS)
    return {"AGENT_TOOLS": "page_test_tools", "PYTHONPATH": str(folder), "DEFAULT_MODEL": "test/model"}


@pytest.fixture(scope="module")
def app(nursery: Nursery, fake: FakeDedalus, page_settings: dict[str, str]) -> Iterator[Process]:
    """The service, which asks `fake`."""
    with forked_app(nursery, DEDALUS_BASE_URL=fake.url, **page_settings) as app:
        yield app


@pytest.fixture(scope="session")
def axe() -> None:
    """Installs axe-core."""
    install(environments.NPM_FOLDER)


@pytest.fixture
def page(chrome: Chrome, app: Process) -> Iterator[ShownPage]:
    """The page, in a wide window and the light theme. The test opens it."""
    yield ShownPage(chrome, app.url).size(1440).theme("light")
    chrome.get("about:blank")
