"""The package in a new Vite app: installed from the service, compiled, built, and streaming in Chromium."""

import os
import subprocess
from shutil import copytree

import pytest
from environments import VITE_APP, node, npm
from fake_dedalus import FakeDedalus
from file_server import files
from one_at_a_time import one_at_a_time
from process import Nursery, forked_app
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tabs import TIMEOUT_S
from wire import answer

pytest_plugins = "browser_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the app


def build(service: str) -> None:
    """Install the package from a service as its documentation says, and build the app for that service."""
    VITE_APP.install()
    copytree(VITE_APP.sources, VITE_APP.folder, dirs_exist_ok=True)
    npm(VITE_APP.folder, "install", "--no-save", f"{service}/static/agent-stream.tgz")
    environment = os.environ | {"PATH": f"{node().parent}:{os.environ['PATH']}", "VITE_API_URL": service}
    for command in (["typescript/bin/tsc"], ["vite/bin/vite.js", "build"]):
        done = subprocess.run(
            [node(), f"node_modules/{command[0]}", *command[1:]],
            cwd=VITE_APP.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_answer_streams_in_a_vite_app(nursery: Nursery, browser: Chrome) -> None:
    """The app compiles in strict mode, and shows the answer of the service that it was built for."""
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url) as app:
        fake.always(*answer("Hello world"))
        with one_at_a_time("vite-app"):
            build(app.url)
            with files(VITE_APP.folder / "dist") as pages:
                browser.get(pages)
                browser.find_element(By.TAG_NAME, "button").click()
                wait = WebDriverWait(browser, TIMEOUT_S, 0.05)
                wait.until(lambda b: b.find_element(By.TAG_NAME, "small").text == "succeeded")
                assert browser.find_element(By.TAG_NAME, "p").text == "Hello world"
