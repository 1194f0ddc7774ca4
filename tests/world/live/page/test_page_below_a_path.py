"""The page behind a proxy that serves it below a path."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from browser import open_tab
from fake_dedalus import FakeDedalus
from process import Process
from selenium.webdriver import Chrome
from shown_page import ShownPage
from wire import answer

pytest_plugins = "page_fixtures"

PATH = "/team/agents"
PIECE = 65536
MODELS = "#operations-agent-models"


class Proxy(BaseHTTPRequestHandler):
    """Passes requests below PATH to the service at `upstream`, without that path. Everything else is a 404."""

    protocol_version = "HTTP/1.0"  # each response ends with its connection
    upstream: str

    def _pass(self) -> None:
        if not self.path.startswith(f"{PATH}/"):
            self.send_error(404)
            return
        connection = http.client.HTTPConnection(self.upstream)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        connection.request(self.command, self.path.removeprefix(PATH), body, headers)
        response = connection.getresponse()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        while piece := response.read1(PIECE):
            self.wfile.write(piece)
        connection.close()

    def do_GET(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def below(app: Process) -> Iterator[str]:
    """The address of the page below the path."""
    proxy = type("ProxyOfThisTest", (Proxy,), {"upstream": urlsplit(app.url).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), proxy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}{PATH}"
        server.shutdown()


def test_it_works_below_a_path(browser: Chrome, below: str, fake: FakeDedalus) -> None:
    """The page loads, streams an answer, lists its chat, and links to the documentation and back."""
    open_tab(browser)
    page = ShownPage(browser, below).size(1440)
    fake.turn(*answer("Right here."))
    page.open().ask("Where are you?")
    page.until_shown("Right here.", "[role=log]")
    page.follow("Where are you?")
    assert page.query().startswith("?session=")
    assert urlsplit(browser.current_url).path == f"{PATH}/"
    assert page.console() == []
    page.press("API")
    page.until_shown("Ask the agent and stream its answer")
    assert page.control("Try it on the page").get_attribute("href") == f"{below}/"


def test_swagger_s_requests_stay_below_the_path(browser: Chrome, below: str) -> None:
    """Swagger's "Try it out" sends its request through the proxy to the service."""
    open_tab(browser)
    page = ShownPage(browser, below)
    browser.get(f"{below}/docs#/agent/models")
    for button in ("Try it out", "Execute"):
        page.until_shown(button, MODELS)
        page.press(button)
    page.until_shown(f"{below}/api/agent/models", f"{MODELS} .request-url")
    page.until_shown("200", f"{MODELS} .live-responses-table .response-col_status")
