"""The sidebar: chats with their states, search, renaming and deleting; runs; tools."""

from collections.abc import Iterator

import httpx
import pytest
from fake_dedalus import FakeDedalus
from process import Process
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Status, answer

pytest_plugins = "page_fixtures"

SESSIONS = "/api/agent/sessions"
PAGE, MANY = 30, 70
DAY_MS = 86_400_000
TITLES = ".sidebar .item .cut"


@pytest.fixture
def chats(app: Process) -> Iterator[httpx.Client]:
    """A client for the service, whose runs have ended and whose sessions have been deleted."""
    with httpx.Client(base_url=app.url) as client:
        for status in ("running", "waiting"):
            for run in client.get("/api/agent/runs", params={"status": status}).json()["runs"]:
                client.post(f"/api/agent/runs/{run['run_id']}/cancel")
                client.get(f"/api/agent/runs/{run['run_id']}/events")  # ends with the run
        for session in client.get(SESSIONS, params={"limit": 100}).json()["sessions"]:
            client.delete(f"{SESSIONS}/{session['session_id']}")
        yield client


def add(chats: httpx.Client, *titles: str) -> None:
    for number, title in enumerate(titles):
        chats.post(SESSIONS, json={"session_id": f"chat-{number}", "title": title}).raise_for_status()


def titles(page: ShownPage) -> list[str]:
    return page.texts(TITLES)


def test_the_search_finds_titles_with_all_its_words(page: ShownPage, chats: httpx.Client) -> None:
    """Words may come in any order and case. Enter opens the first chat that is found."""
    add(chats, "The weather in Oslo", "Tides", "Oslo by night")
    page.open()
    page.until(lambda: len(titles(page)) == 3)
    page.element("#search").send_keys("oslo WEATHER")
    page.until(lambda: titles(page) == ["The weather in Oslo"])
    page.keys(Keys.ENTER)
    page.until(lambda: page.query() == "?session=chat-0")
    page.element("#search").send_keys(" night")
    page.until_shown("No matching chats.", ".sidebar")


def test_the_search_goes_on_to_older_chats(page: ShownPage, chats: httpx.Client) -> None:
    """A title that is further back than the first page is found without a click, and can be changed there."""
    add(chats, "The first chat", *(f"Chat {number}" for number in range(1, MANY)))
    page.open()
    page.until(lambda: len(titles(page)) == PAGE)
    page.element("#search").send_keys("the first")
    page.until(lambda: titles(page) == ["The first chat"])
    page.focus(".sidebar .item a")
    page.press("Rename The first chat")
    page.keys("The first of all", Keys.ENTER)
    page.until(lambda: titles(page) == ["The first of all"])


def test_a_new_chat_beside_many_is_not_asked_for_too_early(
    page: ShownPage, chats: httpx.Client, fake: FakeDedalus
) -> None:
    """A chat that has just begun appears in a list of which more pages are left, and no request fails."""
    add(chats, *(f"Chat {number}" for number in range(MANY)))
    fake.turn(*answer("Hello."))
    page.open()
    page.until(lambda: len(titles(page)) == PAGE)
    page.ask("Hello?")
    page.until(lambda: "Hello?" in titles(page))
    assert page.console() == []


def test_a_chat_is_renamed_in_its_place(page: ShownPage, chats: httpx.Client) -> None:
    """Enter saves the new title, Escape keeps the old one, and the focus returns to the chat."""
    add(chats, "Tides")
    page.open()
    page.focus(".sidebar .item a")
    page.press("Rename Tides")
    page.keys("Tides and moons", Keys.ENTER)
    page.until(lambda: titles(page) == ["Tides and moons"])
    assert chats.get(f"{SESSIONS}/chat-0").json()["title"] == "Tides and moons"
    page.until(lambda: "Tides and moons" in page.focused())
    page.keys(Keys.F2)
    page.until(lambda: page.focused() == "Title")
    page.keys("Other", Keys.ESCAPE)
    page.until(lambda: titles(page) == ["Tides and moons"])


def test_a_chat_is_deleted_after_a_question(page: ShownPage, chats: httpx.Client) -> None:
    """The shown chat makes place for a new one. `Cancel` and Escape delete nothing."""
    add(chats, "Tides", "Moons")
    page.open("?session=chat-0")
    page.focus(".sidebar .item.is-current a")
    page.press("Delete Tides")
    page.press("Cancel")
    page.press("Delete Tides")
    page.press("Delete")
    page.until(lambda: titles(page) == ["Moons"])
    page.until(lambda: page.query() == "")
    assert chats.get(f"{SESSIONS}/chat-0").status_code == 404


def test_a_chat_that_is_busy_can_not_be_deleted(page: ShownPage, chats: httpx.Client) -> None:
    """The service's reason is shown at the chat."""
    chats.post("/api/agent/runs", json=WAITING | {"session_id": "busy"}).raise_for_status()
    page.open()
    page.element(".sidebar .dot.is-waiting")
    page.focus(".sidebar .item a")
    page.press('Delete delete_folder {"folder": "drafts"}')
    page.press("Delete")
    page.until(lambda: any(page.texts(".sidebar [role=alert]")))


WAITING = {
    "input": 'delete_folder {"folder": "drafts"}',
    "model": "simulated/tools",
    "tools": ["delete_folder"],
}


def test_dots_show_what_needs_attention(page: ShownPage, chats: httpx.Client, fake: FakeDedalus) -> None:
    """A chat whose latest run waits or has failed has a dot, and its state in words beside it. Others have none."""
    fake.turn(Status(400, {"error": {"message": "No."}}))
    chats.post("/api/agent/execute", json={"input": "Fail", "session_id": "failed"})
    fake.turn(*answer("Fine."))
    chats.post("/api/agent/execute", json={"input": "Succeed", "session_id": "fine"})
    chats.post("/api/agent/execute", json=WAITING | {"session_id": "waits"})
    page.open()
    page.element(".sidebar .dot.is-waiting")
    page.element(".sidebar .dot.is-failed")
    words = [page.element(f".sidebar .item [title={title}]").text.split("\n") for title in ("Fail", "Succeed")]
    assert words == [["Fail", "failed"], ["Succeed"]]
    assert page.texts(".sidebar .item .tiny")[0].startswith("waiting")
    assert len(page.browser.find_elements("css selector", ".sidebar .dot:not(.is-quiet)")) == 2


def test_chats_are_listed_by_day(page: ShownPage, chats: httpx.Client) -> None:
    """Each day has a heading. A browser whose clock is a day ahead shows the chats of today under Yesterday."""
    add(chats, "Tides")
    page.open()
    page.until(lambda: page.texts(".sidebar section h2") == ["Today"])
    ahead = {"source": f"const now = Date.now; Date.now = () => now() + {DAY_MS}"}
    script = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", ahead)
    page.open()
    page.until(lambda: page.texts(".sidebar section h2") == ["Yesterday"])
    assert titles(page) == ["Tides"]
    page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_older_chats_are_loaded_on_request(page: ShownPage, chats: httpx.Client) -> None:
    """The list shows the latest 30 chats, and the others a page at a time."""
    add(chats, *[f"Chat {number}" for number in range(35)])
    page.open()
    page.until(lambda: len(titles(page)) == 30)
    page.press("Show more")
    page.until(lambda: len(titles(page)) == 35)
    assert not page.has(".sidebar .more")


def test_an_older_chat_of_the_url_has_its_title(page: ShownPage, chats: httpx.Client) -> None:
    """A chat that the URL names is in the list, even if it is further back than what is loaded."""
    add(chats, *[f"Chat {number}" for number in range(35)])
    page.open("?session=chat-2")
    page.until(lambda: titles(page) == [*(f"Chat {number}" for number in range(34, 4, -1)), "Chat 2"])
    page.until_shown("Chat 2", "h1")


def test_back_and_forward_go_through_the_chats(page: ShownPage, chats: httpx.Client, fake: FakeDedalus) -> None:
    """Each chat that was opened is an entry of the browser's history."""
    for number in (1, 2):
        fake.turn(*answer(f"Answer {number}."))
        chats.post("/api/agent/execute", json={"input": f"Question {number}", "session_id": f"chat-{number}"})
    page.open()
    for number in (1, 2):
        page.follow(f"Question {number}")
        page.until_shown(f"Answer {number}.", "[role=log]")
    page.browser.back()
    page.until_shown("Answer 1.", "[role=log]")
    assert page.query() == "?session=chat-1"
    page.browser.back()
    page.until(lambda: page.query() == "")
    page.browser.forward()
    page.until_shown("Answer 1.", "[role=log]")


def test_a_run_is_opened_in_its_chat(page: ShownPage, chats: httpx.Client, fake: FakeDedalus) -> None:
    """The list of runs shows the chat of each run. The URL names both, and the list."""
    fake.turn(*answer("At noon."))
    run = chats.post("/api/agent/execute", json={"input": "When is high tide?", "session_id": "tides"}).json()["run_id"]
    page.open()
    page.press("Runs")
    page.follow("When is high tide?")
    page.until_shown("At noon.", "[role=log]")
    assert page.query() == f"?session=tides&run={run}&list=runs"
    page.open(page.query())
    page.until_shown("When is high tide?", "h1")
    page.until_shown("When is high tide?", ".sidebar .item")


def test_a_run_of_the_url_is_shown_in_its_branch(page: ShownPage, chats: httpx.Client, fake: FakeDedalus) -> None:
    """A URL with a run shows the branch that has it, and not the session's latest."""
    fake.turn(*answer("The first answer."))
    asked = {"input": "When is high tide?", "session_id": "tides"}
    run = chats.post("/api/agent/execute", json=asked).json()["run_id"]
    fake.turn(*answer("The second answer."))
    chats.post("/api/agent/execute", json=asked | {"parent_run_id": run, "parent_state": "before"})
    page.open("?session=tides")
    page.until_shown("The second answer.", "[role=log]")
    page.open(f"?session=tides&run={run}")
    page.until_shown("The first answer.", "[role=log]")
    assert "The second answer." not in page.text()


def test_the_tools_are_listed(page: ShownPage) -> None:
    """Each tool has its name, what it does and its arguments. The arrow keys move between the lists."""
    page.open()
    page.press("Chats")
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.until_shown("delete_folder", ".sidebar")
    page.press("delete_folder needs approval")
    page.until_shown("Delete a folder.", ".sidebar")
