"""The page loads only from the service. It is small and fast, and the browser has no complaint."""

from typing import Any
from urllib.parse import urlsplit

from shown_page import ShownPage

pytest_plugins = "page_fixtures"

MOST_BYTES = 250_000
PAINT_MS = 300
LOADED = "return performance.getEntries().filter((e) => 'transferSize' in e).map((e) => e.toJSON())"
PAINTED = """
const [done] = arguments;
new PerformanceObserver((list) => done(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true });
"""


def loaded(page: ShownPage) -> list[dict[str, Any]]:
    """Return the resource timings of the files that the page has loaded so far, itself included."""
    page.until_state(lambda state: None not in state["catalog"].values())
    return list(page.browser.execute_script(LOADED))


def test_everything_comes_from_the_service_and_is_small(page: ShownPage) -> None:
    """A first visit asks no other host, transfers at most 250 kB, and the console stays empty."""
    page.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    entries = loaded(page.open())
    assert {urlsplit(entry["name"]).netloc for entry in entries} == {urlsplit(page.url).netloc}
    assert 30_000 < sum(entry["encodedBodySize"] for entry in entries) < MOST_BYTES
    assert page.console() == []


def test_the_first_paint_is_fast(page: ShownPage) -> None:
    """Something is painted within 300 ms. The best of five visits counts: other programs use the machine, too."""
    paints = [page.open().browser.execute_async_script(PAINTED) for _ in range(5)]
    assert min(paints) < PAINT_MS
