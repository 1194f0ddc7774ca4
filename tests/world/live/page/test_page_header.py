"""The header: what is chosen there is sent with the next question, and kept for the next visit."""

from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import answer

pytest_plugins = "page_fixtures"


def sent(page: ShownPage, fake: FakeDedalus) -> dict[str, object]:
    """The body of a question that is asked now."""
    fake.turn(*answer("Well."))
    page.ask("Well?")
    page.until_shown("Well.", "[role=log]")
    body: dict[str, object] = page.state()["lastRequest"]["body"]
    return body


def test_the_model_is_searched_chosen_and_kept(page: ShownPage, fake: FakeDedalus) -> None:
    """The arrow keys and Enter choose in the list. The choice survives a reload."""
    page.open()
    page.until(lambda: page.state()["catalog"]["models"])
    page.press("Model: model")
    page.keys("claude")
    page.until(lambda: len(page.texts("[role=option]")) == 1)
    page.keys(Keys.ENTER)
    assert page.focused() == "Model: claude-sonnet-4-5"
    page.reload()
    page.control("Model: claude-sonnet-4-5")
    assert sent(page, fake)["model"] == "anthropic/claude-sonnet-4-5"


def test_a_model_outside_the_list_is_named(page: ShownPage) -> None:
    """A name with a slash that the list doesn't have can be chosen as it is."""
    page.open()
    page.press("Model: model")
    page.keys("mistral/new-model", Keys.ENTER)
    page.control("Model: new-model")


def test_a_script_stands_in_the_model_s_place(page: ShownPage) -> None:
    """The header names what answers: a chosen script takes the place of the model, until it is turned off."""
    page.open().choose(scenario="default")
    page.until(lambda: not page.has(".bar [title=Model]"))
    page.press("Script: default, turn off")
    page.control("Model: model")


def test_tools_and_servers_are_chosen(page: ShownPage, fake: FakeDedalus) -> None:
    """Checked tools are sent, with the request to ask before each call, and an MCP server that isn't in the list."""
    page.open()
    page.press("Tools and servers")
    page.press("get_weather Get the weather in a city.")
    page.press("Ask me before each Python tool call")
    page.element("[name=server]").send_keys("https://mcp.example.com/mcp", Keys.ENTER)
    page.control("Tools 2 selected")
    page.keys(Keys.ESCAPE)
    page.until(lambda: page.focused() == "Tools 2 selected")
    body = sent(page, fake)
    assert (body["tools"], body["require_approval"]) == (["get_weather"], ["get_weather"])
    assert body["mcp_servers"] == ["https://mcp.example.com/mcp"]


def test_what_is_stored_need_not_fit(page: ShownPage, fake: FakeDedalus) -> None:
    """Values that another version has stored are left out, and a tool that is gone can be taken away."""
    page.open()
    stored = '{"tools": ["gone"], "temperature": "hot", "mcp_servers": 7, "colour": "red"}'
    page.browser.execute_script("localStorage.setItem('agent-stream-choice', arguments[0])", stored)
    page.reload()
    page.press("Tools 1 selected")
    page.press("gone No longer available.")
    page.control("Tools and servers")
    body = sent(page, fake)
    assert {"temperature", "mcp_servers", "colour"}.isdisjoint(body)
    assert body["tools"] == []


def test_a_wrong_server_is_not_added(page: ShownPage) -> None:
    """The panel says what a server's name looks like."""
    page.open()
    page.press("Tools and servers")
    page.element("[name=server]").send_keys("no server", Keys.ENTER)
    page.until_shown("Enter an https URL or owner/name.")
    assert page.state()["choice"]["mcp_servers"] == []


def test_parameters_are_sent_and_reset(page: ShownPage, fake: FakeDedalus) -> None:
    """A number beyond its limits is not sent. Reset leaves everything out."""
    page.open()
    page.press("Parameters")
    page.element("[role=dialog] textarea").send_keys("Be brief.")
    page.control("Temperature").send_keys("0.5")
    page.control("Max tokens").send_keys("-3")
    page.keys(Keys.ESCAPE)
    body = sent(page, fake)
    assert (body["instructions"], body["temperature"]) == ("Be brief.", 0.5)
    assert "max_tokens" not in body
    page.press("Parameters, 2 set")
    page.press("Reset to defaults")
    assert page.control("Temperature").get_attribute("value") == ""
    page.keys(Keys.ESCAPE)
    assert {"instructions", "temperature"}.isdisjoint(sent(page, fake))


def test_a_script_is_named_until_it_is_turned_off(page: ShownPage, fake: FakeDedalus) -> None:
    """While a script answers, the header says so. A reload in the middle loses nothing of the chat."""
    page.open()
    page.press("Parameters")
    page.element("[role=dialog] section select").send_keys("tool_error")
    page.keys(Keys.ESCAPE)
    page.ask("Well?")
    page.until_shown("get_weather", "[role=log]")
    page.reload()
    page.until_shown("Well?", ".question")
    page.until_shown("I could not look up the weather", "[role=log]")
    page.control("Send")
    page.until_shown("Well?", "nav")
    page.open(is_first_visit=False)
    assert page.state()["choice"]["scenario"] is None, "a script is for one visit"
    assert "scenario" not in sent(page, fake)
