"""The page at / as a user sees it: opens it in Chromium, finds and presses things, and waits for what appears."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, Self

import environments
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

TIMEOUT_S = 20.0
QUESTION = "#question"
COLOUR_RULES = ("color-contrast", "link-in-text-block")  # axe-core's rules whose result depends on the theme
STATE = """
const [done] = arguments;
const main = document.querySelector("script[type=module]").src;
import(new URL("store.js", main)).then(({ store }) => done(JSON.stringify(store.get())));
"""
CHOOSE = """
const main = document.querySelector("script[type=module]").src;
return import(new URL("choice.js", main)).then(({ choose }) => choose(arguments[0]));
"""
FIND = """
const [selector, name] = arguments;
const isShown = (element) => {
  const { width, height } = element.getBoundingClientRect();
  return width > 0 && height > 0 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
};
const isNamed = (element) => name === null || element.computedName === name;
return Array.from(document.querySelectorAll(selector)).find((each) => isShown(each) && isNamed(each));
"""
AXE = """
const [selector, rules, done] = arguments;
const options = { resultTypes: ["violations"], preload: false, ...(rules && { runOnly: rules }) };
axe.run(selector, options).then(({ violations }) =>
  done(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)])));
"""


@cache
def axe_source() -> str:
    return environments.script("axe-core/axe.min.js").read_text()


class ShownPage:
    """The page in a browser's present tab. Each search waits until there is something to be found."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    # Opening

    def open(self, query: str = "", *, is_first_visit: bool = True) -> Self:
        """Open the page, by default without what an earlier visit has stored."""
        if is_first_visit:
            stored = {"origin": self.url, "storageTypes": "local_storage"}
            self.browser.execute_cdp_cmd("Storage.clearDataForOrigin", stored)
        self.console()  # forgets the lines of the earlier page
        self.browser.get(f"{self.url}/{query}")
        self.element(QUESTION)
        return self

    def reload(self) -> None:
        self.browser.refresh()
        self.element(QUESTION)

    def size(self, width: int, height: int = 900) -> Self:
        """Set the size of the page's window, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return self

    def theme(self, theme: Literal["light", "dark"]) -> Self:
        """Set the system's theme."""
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        return self

    # Waiting and finding

    def until(self, condition: Callable[[], Any], said: str = "") -> Any:
        """Return the condition's result once it is true. An element that is replaced meanwhile counts as false."""
        wait = WebDriverWait(self.browser, TIMEOUT_S, 0.05, ignored_exceptions=(StaleElementReferenceException,))
        try:
            return wait.until(lambda _: condition())
        except TimeoutException as error:
            error.add_note(f"{said}\nThe page shows:\n{self.text()}\nThe console has:\n{self.console()}")
            raise

    def element(self, selector: str) -> WebElement:
        """Return the first displayed element of a CSS selector."""
        element: WebElement = self.until(lambda: self._find(selector), selector)
        return element

    def has(self, selector: str) -> bool:
        """Return whether an element of the selector is displayed now."""
        return self._find(selector) is not None

    def until_shown(self, text: str, selector: str = "body") -> None:
        """Return once an element of the selector contains the text."""
        self.until(lambda: any(text in shown for shown in self.texts(selector)), f"{selector}: {text}")

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element of the selector."""
        script = "return Array.from(document.querySelectorAll(arguments[0]), (element) => element.innerText)"
        return list(self.browser.execute_script(script, selector))

    def text(self) -> str:
        return "\n".join(self.texts("body"))

    def control(self, name: str, selector: str = "button, a, input, select, textarea, summary") -> WebElement:
        """Return the displayed control with this accessible name."""
        element: WebElement = self.until(lambda: self._find(selector, name), f"a control with the name {name}")
        return element

    # Acting

    def press(self, name: str) -> None:
        """Click the control with this accessible name."""
        self.until(lambda: _clicked(self.control(name)), f"press {name}")

    def follow(self, text: str) -> None:
        """Click the link that contains the text."""
        self.until(lambda: self.browser.find_elements(By.PARTIAL_LINK_TEXT, text), text)
        self.until(lambda: _clicked(self.browser.find_element(By.PARTIAL_LINK_TEXT, text)))

    def focus(self, selector: str) -> None:
        """Give an element the focus, as the Tab key does."""
        self.browser.execute_script("arguments[0].focus()", self.element(selector))

    def ask(self, question: str) -> None:
        """Write a question and send it."""
        field = self.element(QUESTION)
        self.focus(QUESTION)
        self.browser.execute_cdp_cmd("Input.insertText", {"text": question})  # at once: a key takes 5 ms
        field.send_keys(Keys.ENTER)

    def choose(self, **choice: Any) -> None:
        """Choose what the next question is sent with."""
        self.browser.execute_script(CHOOSE, choice)

    def keys(self, *keys: str) -> None:
        """Press keys one after another, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def chord(self, modifier: str, key: str) -> None:
        """Press a key while a modifier is held."""
        ActionChains(self.browser).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def focused(self) -> str:
        """Return the accessible name of the element that has the focus."""
        return str(self.browser.execute_script("return document.activeElement.computedName"))

    # Observing

    def state(self) -> dict[str, Any]:
        """Return the page's shared state (`store.js`)."""
        state: dict[str, Any] = json.loads(self.browser.execute_async_script(STATE))
        return state

    def until_state(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return the page's shared state once the condition is true for it."""
        self.until(lambda: condition(self.state()))
        return self.state()

    def query(self) -> str:
        """Return the query string of the page's URL."""
        return str(self.browser.execute_script("return location.search"))

    def console(self) -> list[str]:
        """Return the lines of the console since the last call, which have what the policy has refused, too.

        The page names its icon, so only the first tab can have asked for `favicon.ico`.
        """
        lines = [str(line["message"]) for line in self.browser.get_log("browser")]  # type: ignore[no-untyped-call]
        return [line for line in lines if "/favicon.ico" not in line]

    def findings(self, selector: str = ":root", rules: Sequence[str] | None = None) -> list[Any]:
        """Return what axe-core finds wrong with the page, or with a part of it, as it is shown now.

        `rules` are the only ones that are checked, and by default all are.
        """
        if not self.browser.execute_script("return 'axe' in window"):
            self.browser.execute_cdp_cmd(
                "Runtime.evaluate", {"expression": axe_source()}
            )  # the policy has no say in this
        return list(self.browser.execute_async_script(AXE, selector, rules))

    def findings_in_both_themes(self, selector: str = ":root") -> list[Any]:
        """Return what axe-core finds wrong, in the light theme, and with the colours of the dark one."""
        light = self.theme("light").findings(selector)
        return light + self.theme("dark").findings(selector, COLOUR_RULES)

    def _find(self, selector: str, name: str | None = None) -> WebElement | None:
        """Return the first displayed element of the selector, which also has the accessible name if there is one."""
        found: WebElement | None = self.browser.execute_script(FIND, selector, name)
        return found


def _clicked(element: WebElement) -> bool:
    element.click()
    return True
