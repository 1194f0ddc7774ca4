"""The fixtures of the page's tests: a pytest plugin, which each of their modules names.

    pytest_plugins = "page_fixtures"

    def test_the_answer_is_shown(page: ShownPage, fake: FakeDedalus) -> None:
        fake.turn(*answer("Hello."))
        page.open().ask("Hi")
        page.until_shown("Hello.", "[role=log]")

All tests of a worker share a browser and a service. Each has an empty tab, and sessions of its own, because a new
chat gets a new id. A module whose service needs other settings has its own `app`, made by `page_app` of
`page_service.py`.
"""

from collections.abc import Iterator

import environments
import pytest
from browser import open_tab
from fake_dedalus import FakeDedalus
from node import install
from page_service import TOOLS, page_app
from process import Nursery, Process
from selenium.webdriver import Chrome
from shown_page import ShownPage

pytest_plugins = "shared_browser"


@pytest.fixture(scope="session")
def shared_fake() -> Iterator[FakeDedalus]:
    """The model server behind `app`."""
    with FakeDedalus.in_thread() as fake:
        yield fake


@pytest.fixture
def fake(shared_fake: FakeDedalus) -> FakeDedalus:
    """The model server behind `app`. A test scripts its answers. It forgets those of the tests before."""
    shared_fake.forget()
    return shared_fake


@pytest.fixture(scope="session")
def app(nursery: Nursery, shared_fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with two tools: `get_weather`, and `delete_folder`, which waits for a person."""
    with page_app(nursery, shared_fake, tmp_path_factory.mktemp("tools"), TOOLS) as app:
        yield app


@pytest.fixture(scope="session")
def app_with_all_tools(
    nursery: Nursery, shared_fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A service with the same tools, which every run has."""
    with page_app(nursery, shared_fake, tmp_path_factory.mktemp("tools"), TOOLS, TOOLS_BY_DEFAULT="all") as app:
        yield app


@pytest.fixture(scope="session")
def axe() -> None:
    """Installs axe-core."""
    install(environments.NPM_FOLDER)


@pytest.fixture
def page(browser: Chrome, app: Process) -> ShownPage:
    """The page in an empty tab, in a wide window and the light theme. The test opens it."""
    open_tab(browser)
    return ShownPage(browser, app.url).size(1440).theme("light")
