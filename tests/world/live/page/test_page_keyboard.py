"""The page by keyboard alone, in a wide and in a narrow window."""

from selenium.webdriver import Keys
from shown_page import ShownPage

pytest_plugins = "page_fixtures"


def test_the_first_tab_stop_leads_to_the_question(page: ShownPage) -> None:
    """The skip link is shown when it has the focus, and Enter on it goes to the composer."""
    page.open()
    page.browser.execute_script("document.activeElement.blur()")
    page.keys(Keys.TAB)
    assert page.focused() == "Skip to message box"
    page.keys(Keys.ENTER)
    page.until(lambda: page.browser.switch_to.active_element.get_attribute("id") == "question")


def test_ctrl_k_searches_and_enter_begins_a_new_chat(page: ShownPage) -> None:
    """Ctrl-K goes to the search from everywhere. Enter in the empty search shows a new chat."""
    page.open("?session=some-chat")
    page.press("Tools")
    page.chord(Keys.CONTROL, "k")
    page.until(lambda: page.focused() == "Search chats")
    page.keys(Keys.ENTER)
    page.until(lambda: page.query() == "")


def test_a_drawer_has_the_focus_and_gives_it_back(page: ShownPage) -> None:
    """In a narrow window Ctrl-K opens the sidebar. Escape closes it, and its button has the focus again."""
    page.size(390, 844).open()
    assert not page.has(".sidebar")
    page.chord(Keys.CONTROL, "k")
    page.until(lambda: page.focused() == "Search chats")
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.has(".sidebar"))
    page.until(lambda: page.focused() == "Open sidebar")
    page.press("Inspector")
    page.until(lambda: page.focused() == "Close inspector")
    page.keys(Keys.ENTER)
    page.until(lambda: page.focused() == "Inspector")


def test_what_is_behind_a_drawer_can_not_be_reached(page: ShownPage) -> None:
    """The Tab key stays in the drawer, and a click beside it closes it."""
    page.size(390, 844).open()
    page.press("Open sidebar")
    page.element(".sidebar.is-open")
    for _ in range(12):
        page.keys(Keys.TAB)
        assert not page.browser.execute_script("return document.querySelector('main').contains(document.activeElement)")
    page.browser.execute_script("document.querySelector('.backdrop').click()")
    page.until(lambda: not page.has(".sidebar"))


def test_the_inspector_can_be_hidden(page: ShownPage) -> None:
    """In a wide window its button takes the column away and brings it back."""
    page.open()
    page.press("Inspector")
    page.until(lambda: not page.has(".inspector"))
    page.press("Inspector")
    page.element(".inspector")
