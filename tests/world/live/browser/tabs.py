"""Tabs of a browser that show the hook's pages, and the service behind them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any
from urllib.parse import urlencode

from browser import open_tab
from fake_dedalus import FakeDedalus
from process import Nursery, Process, forked_app
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

TIMEOUT_S = 30.0


@contextmanager
def service(nursery: Nursery, origin: str, fake: FakeDedalus, **settings: str) -> Iterator[Process]:
    """The service, for pages of that origin."""
    with forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=origin, **settings) as running:
        yield running


class Tab:
    """A tab with one of the app's pages: `hook` for the hook alone, `chat` for the component."""

    def __init__(self, browser: Chrome, origin: str, page: str = "hook", **options: str) -> None:
        self.browser = browser
        open_tab(browser)
        self._handle = browser.current_window_handle
        self._has_hook = page == "hook"
        browser.get(f"{origin}/{page}?{urlencode(options)}")
        self._until_ready()

    def duplicate(self) -> "Tab":
        """Return a copy of the tab: like Duplicate in its menu, `window.open` copies its sessionStorage."""
        known = set(self.browser.window_handles)
        self.script("window.open(location.href)")
        duplicate = copy(self)
        [duplicate._handle] = set(self.browser.window_handles) - known
        duplicate._select()
        duplicate._until_ready()
        return duplicate

    def front(self) -> "Tab":
        """Bring it to the front of the browser's tabs."""
        self._select()
        self.command("Page.bringToFront")
        return self

    def close(self) -> None:
        self._select()
        if self.browser.window_handles == [self._handle]:
            self.browser.switch_to.new_window("tab")  # without a tab the browser would end
            self._select()
        self.browser.close()
        self.browser.switch_to.window(self.browser.window_handles[0])

    def script(self, source: str) -> Any:
        """Return the result of a script that runs in the page."""
        self._select()
        return self.browser.execute_script(source)

    def command(self, name: str, **arguments: Any) -> Any:
        """Return the response to a command of the DevTools protocol."""
        self._select()
        return self.browser.execute_cdp_cmd(name, arguments)

    def until(self, condition: Callable[[], Any], timeout: float = TIMEOUT_S, said: str = "") -> Any:
        """Return the result of a condition once it is true."""
        return WebDriverWait(self.browser, timeout, 0.05).until(lambda _: condition(), said)

    # The hook's page

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of the hook, without waiting for its promise."""
        serialized = ", ".join(json.dumps(argument) for argument in arguments)
        self.script(f"void window.agent.{method}({serialized})")

    def state(self) -> dict[str, Any]:
        """Return the hook's present state, without its methods."""
        state: dict[str, Any] = self.script("return JSON.parse(JSON.stringify(window.agent))")
        return state

    def until_state(self, condition: Callable[[dict[str, Any]], Any], timeout: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the hook's state once it matches."""
        seen: dict[str, Any] = {}

        def is_as_wanted() -> bool:
            seen.clear()
            seen.update(self.state())
            return bool(condition(seen))

        try:
            self.until(is_as_wanted, timeout)
        except Exception as error:
            error.add_note(json.dumps(seen)[:3000])
            raise
        return seen

    def until_status(self, status: str, timeout: float = TIMEOUT_S) -> dict[str, Any]:
        return self.until_state(lambda state: state["status"] == status, timeout)

    # The component's page

    def type(self, text: str) -> None:
        self._select()
        self.browser.find_element(By.TAG_NAME, "input").send_keys(text)

    def press(self, name: str) -> None:
        self._select()
        self.browser.find_element(By.XPATH, f"//button[text()='{name}']").click()

    def ask(self, question: str) -> None:
        self.type(question)
        self.press("Ask")

    def shown(self) -> str:
        """Return the text that the page shows, without the form, a paragraph a line."""
        texts = self.script("return Array.from(document.querySelectorAll('main p'), (p) => p.innerText)")
        return "\n".join(filter(None, (" ".join(text.split()) for text in texts)))

    def until_shown(self, wanted: str, *, status: str) -> str:
        """Return the shown text once it contains `text` and the run has the status."""
        state = "return document.querySelector('[role=status]')?.innerText"
        self.until(lambda: wanted in self.shown() and self.script(state) == status, said=f"{wanted} {status}")
        return self.shown()

    def card(self) -> str:
        """Return the question to the person once it is shown."""
        return str(self.until(lambda: self.script("return document.querySelector('section')?.innerText")))

    def until_alert(self, wanted: str) -> None:
        """Wait until the page shows an error."""
        alerts = "return Array.from(document.querySelectorAll('[role=alert]'), (alert) => alert.innerText).join()"
        self.until(lambda: wanted in self.script(alerts), said=wanted)

    def type_arguments(self, text: str) -> None:
        """Change the arguments of the call that waits for approval.

        Keys select the former text: WebDriver's `clear` makes no `input` event, so React's next render restores it.
        """
        field = self.browser.find_element(By.TAG_NAME, "textarea")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def heading(self) -> Any:
        return self.script("return document.querySelector('h1')?.innerText")

    def follow_link(self, text: str) -> None:
        self._select()
        self.browser.find_element(By.LINK_TEXT, text).click()

    def back(self) -> None:
        self._select()
        self.browser.back()

    def reload(self) -> None:
        self._select()
        self.browser.refresh()
        self._until_ready()

    def _until_ready(self) -> None:
        ready = "window.agent !== undefined" if self._has_hook else "document.querySelector('[role=status]') !== null"
        self.until(lambda: self.script(f"return {ready}"))

    def _select(self) -> None:
        if self.browser.current_window_handle != self._handle:
            self.browser.switch_to.window(self._handle)
