"""The chat as a user meets it: answers, tool calls, approvals, failures, and everything that can be done with them."""

from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from shown_page import QUESTION, ShownPage
from wire import Done, Finish, Gate, Stall, Status, Text, Thinking, ToolCall, Usage, WaitFor, answer, calling

pytest_plugins = "page_fixtures"

LOG, DOCK, ANSWER = "[role=log]", ".dock", ".answer"
DROP = """
const [selector, kind, name, type, bytes] = arguments;
const files = new DataTransfer();
files.items.add(new File([new Uint8Array(bytes)], name, { type }));
const about = kind === "drop" ? { dataTransfer: files } : { clipboardData: files };
const make = kind === "drop" ? DragEvent : ClipboardEvent;
document.querySelector(selector).dispatchEvent(new make(kind, { bubbles: true, cancelable: true, ...about }));
"""
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def with_tools(page: ShownPage) -> ShownPage:
    """Open the page and choose the service's tools."""
    page.open().choose(tools=["get_weather", "delete_folder"])
    return page


def until_ready(page: ShownPage) -> None:
    """Wait until no run is under way."""
    page.until(lambda: page.has(".composer [type=submit]"), "Send")


def put_file(page: ShownPage, kind: str, name: str, media_type: str, content: bytes) -> None:
    """Drop a file on the chat, or paste it into the question."""
    page.browser.execute_script(DROP, ".chat" if kind == "drop" else QUESTION, kind, name, media_type, list(content))


def last_question(fake: FakeDedalus) -> Any:
    """The content of the last message that the model was sent."""
    return fake.chats[-1].body["messages"][-1]["content"]


def test_a_tool_call_is_shown_while_it_happens(page: ShownPage, fake: FakeDedalus) -> None:
    """The card has the arguments as they are written. Later it has the result, folded, and the answer has its facts."""
    gate = Gate()
    call = ToolCall("call_1", "get_weather", '{"city": "Os'), WaitFor(gate), ToolCall(None, None, 'lo"}')
    fake.turn(Thinking("Let me look."), *call, Finish("tool_calls"), Done())
    fake.turn(*answer("It is **3 °C**.", Usage(80, 42, 122)))
    with_tools(page).ask("How cold is it in Oslo?")
    page.until_shown('{"city": "Os', ".tool")
    page.until_shown("writing arguments", ".tool")
    assert not page.has(".tool-details")
    gate.open()
    page.until_shown("3 °C", ANSWER)
    page.until_shown("42 tokens", ".facts")
    page.element(".tool summary").click()
    page.until_shown('"celsius": 3', ".tool-details")
    page.until_shown("Server tool", ".tool-details")
    page.element(".thinking summary").click()
    page.until_shown("Let me look.", ".thinking")
    assert page.texts(f"{ANSWER} strong") == ["3 °C"]


def test_the_error_of_a_call_stands_in_its_place(page: ShownPage, fake: FakeDedalus) -> None:
    """A call that failed says why without being unfolded."""
    fake.turn(*calling("get_weather", '{"town": "Oslo"}'))
    fake.turn(*answer("I don't know."))
    with_tools(page).ask("How cold is it?")
    page.until_shown("failed", ".tool .state")
    page.until_shown("city", ".tool-error")
    page.until_shown("I don't know.", ANSWER)


def test_arguments_are_edited_before_they_are_approved(page: ShownPage, fake: FakeDedalus) -> None:
    """Text that is no JSON can't be approved, and the service's check of the arguments is shown in place."""
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(*answer("It is gone."))
    with_tools(page).ask("Delete the drafts")
    field = page.element(f"{DOCK} textarea")
    page.until_shown("Denied automatically in 23 h 59 min", DOCK)
    replace(page, field, '{"folder": ')
    page.until_shown("Invalid JSON", f"{DOCK} [role=alert]")
    assert not page.element(f"{DOCK} .primary").is_enabled()
    page.keys(Keys.ESCAPE)  # stops no run while arguments are edited
    replace(page, field, '{"folder": 5}')
    page.press("Approve with changes")
    page.until_shown("folder", f"{DOCK} [role=alert]")
    replace(page, field, '{"folder": "old"}')
    page.press("Approve with changes")
    page.until_shown("It is gone.", ANSWER)
    assert last_question(fake).endswith("deleted old")
    assert page.texts(".tool .brief") == ['{"folder":"old"}']
    assert not page.has(DOCK)
    assert page.focused() == "Question"


def replace(page: ShownPage, field: Any, text: str) -> None:
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


def test_a_budget_that_is_spent_is_raised(page: ShownPage) -> None:
    """The dock says what is spent, over a reload, too. A total that is too low is refused in place, Enter sends."""
    page.open()
    page.choose(scenario="budget")
    page.ask("Is it cold?")
    page.until_shown("64 of 80 tokens spent", DOCK)
    assert page.focused() == "The budget is spent. Raise it to continue?"
    assert page.texts(".composer .hint") == ["Raise the budget first, or end the run"]
    page.keys(Keys.ENTER)  # raises nothing, because no field has the focus
    page.until_shown("Ends automatically in 23 h 59 min", DOCK)
    page.reload()
    page.until_shown("64 of 80 tokens spent", DOCK)
    field = page.element(f"{DOCK} input")
    assert field.accessible_name == "New total, in tokens"
    assert field.get_attribute("value") == "160"
    replace(page, field, "64")
    page.keys(Keys.ENTER)
    page.until_shown("send a larger total", f"{DOCK} [role=alert]")
    replace(page, field, "200")
    page.keys(Keys.ENTER)
    page.until_shown("It is 3 °C in Oslo.", ANSWER)
    until_ready(page)
    assert not page.has(DOCK)
    assert page.focused() == "Question"


def test_a_budget_that_is_not_raised_ends_the_run(page: ShownPage) -> None:
    """The answer so far stays, with the error."""
    page.open()
    page.choose(scenario="budget")
    page.ask("Is it cold?")
    page.press("End the run")
    page.until_shown("budget_exceeded", ".failure")
    until_ready(page)
    assert page.has(".tool")
    assert not page.has(DOCK)


def test_a_refusal_has_a_reason(page: ShownPage, fake: FakeDedalus) -> None:
    """Two calls are decided one by one. The model reads the reason, and the cards show the decisions."""
    calls = [ToolCall(f"call_{place}", "delete_folder", f'{{"folder": "f{place}"}}', index=place) for place in range(2)]
    fake.turn(*calls, Finish("tool_calls"), Done())
    fake.turn(*answer("As you wish."))
    with_tools(page).ask("Delete them")
    page.until_shown("The agent is waiting for 2 answers.", DOCK)
    page.press("Approve")
    page.until(lambda: len(page.texts(f"{DOCK} .approval")) == 1)
    page.press("Add a reason")
    page.keys("Not this one.")
    page.press("Deny")
    page.until_shown("As you wish.", ANSWER)
    assert "Not this one." in last_question(fake)
    assert [state for state in page.texts(".tool .state") if state == "denied"] == ["denied"]


def test_a_reload_loses_no_approval_and_no_token(page: ShownPage, fake: FakeDedalus) -> None:
    """A page that is reloaded while a run waits, and again while it streams, shows all of it."""
    gate = Gate()
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(Text("One, "), WaitFor(gate), Text("two."), Finish("stop"), Done())
    with_tools(page).ask("Delete the drafts")
    page.element(DOCK)
    page.reload()
    page.press("Approve")
    page.until_shown("One,", ANSWER)
    page.reload()
    page.until_shown("One,", ANSWER)
    assert not page.has(".composer [type=submit]")
    gate.open()
    page.until_shown("One, two.", ANSWER)
    until_ready(page)
    assert len(page.texts(ANSWER)) == 1


def test_a_failed_run_is_tried_again(page: ShownPage, fake: FakeDedalus) -> None:
    """The error has its code and its request id. Another try takes the place of the failed one."""
    fake.turn(Status(401, {"error": {"message": "no"}}))
    page.open().ask("Will it work?")
    page.until_shown("upstream_auth", ".failure")
    page.until_shown("req_", ".failure .id")
    fake.turn(*answer("Yes."))
    page.press("Try again")
    page.until_shown("Yes.", ANSWER)
    assert not page.has(".failure")
    assert page.texts(".question .bubble") == ["Will it work?"]


def test_escape_stops_the_run(page: ShownPage, fake: FakeDedalus) -> None:
    """Stop stands in place of Send, and the text stays. The answer and the inspector say that it was stopped."""
    fake.turn(Text("Once upon a time"), Stall())
    page.open().ask("Tell me a story")
    page.until_shown("Once upon a time", ANSWER)
    page.control("Stop")
    page.keys(Keys.ESCAPE)
    page.until_shown("Stopped.", ANSWER)
    page.until_shown("cancelled", ".run-status")
    until_ready(page)
    page.reload()
    page.until_shown("Stopped.", ANSWER)
    page.until_shown("Once upon a time", ANSWER)


def test_escape_ends_no_wait(page: ShownPage, fake: FakeDedalus) -> None:
    """A run that waits for a person goes on waiting, and the composer says that the approval comes first."""
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(*answer("It is gone."))
    with_tools(page).ask("Delete the drafts")
    page.until_shown("Answer the approval first, or stop the run", ".composer .hint")
    for selector in (f"{DOCK} .approval", QUESTION, ".scroller"):
        page.focus(selector)
        page.keys(Keys.ESCAPE)
    page.press("Approve")
    page.until_shown("It is gone.", ANSWER)
    assert "Stopped." not in page.text()


def test_a_refused_question_loses_nothing(page: ShownPage) -> None:
    """The text and the attachments come back into the composer, with the reason above it."""
    page.open()
    page.choose(temperature=5)
    put_file(page, "drop", "notes.txt", "text/plain", b"some notes")
    page.until_shown("notes.txt", ".composer")
    page.ask("Read this")
    page.until_shown("invalid_request", ".failure")
    assert page.element(QUESTION).get_attribute("value") == "Read this"
    page.until_shown("notes.txt", ".composer")


def test_the_last_question_is_edited(page: ShownPage, fake: FakeDedalus) -> None:
    """↑ in the empty composer edits it. Escape leaves it as it is, and Enter asks the changed one in its place."""
    fake.turn(*answer("Cold."))
    page.open().ask("Is it cold?")
    page.until_shown("Cold.", ANSWER)
    until_ready(page)
    page.element(QUESTION).send_keys(Keys.ARROW_UP)
    page.element(".editor textarea")
    page.keys("!", Keys.ESCAPE)
    page.until(lambda: not page.has(".editor"))
    page.element(QUESTION).send_keys(Keys.ARROW_UP)
    page.element(".editor textarea")
    fake.turn(*answer("Warm."))
    page.keys(" Or warm?", Keys.ENTER)
    page.until_shown("Warm.", ANSWER)
    assert page.texts(".question .bubble") == ["Is it cold? Or warm?"]


def test_versions_are_shown_in_turn(page: ShownPage, fake: FakeDedalus) -> None:
    """After another answer to the same question, ◂ and Forward show the first one, ▸, Back and a reload the second."""
    fake.turn(*answer("First."))
    page.open().ask("Which?")
    page.until_shown("First.", ANSWER)
    fake.turn(*answer("Second."))
    page.press("Regenerate")
    page.until_shown("Second.", ANSWER)
    page.until_shown("2/2", ".branches")
    page.press("Previous version")
    page.until_shown("First.", ANSWER)
    page.until_shown("1/2", ".branches")
    assert "&run=run_" in page.query()  # the URL names the version
    page.browser.back()
    page.until_shown("2/2", ".branches")  # the URL without a run names the latest version
    page.until_shown("Second.", ANSWER)
    page.browser.forward()
    page.until_shown("1/2", ".branches")
    page.press("Next version")
    page.until_shown("Second.", ANSWER)
    page.reload()
    page.until_shown("2/2", ".branches")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_images_and_text_files_are_sent(page: ShownPage, fake: FakeDedalus, kind: str) -> None:
    """A question has the image as a data URL, and the file's text with its name."""
    page.open()
    put_file(page, kind, "dot.png", "image/png", PIXEL)
    put_file(page, kind, "café.md", "text/markdown", "# Über".encode())
    page.until(lambda: len(page.texts(".composer .attachments li")) == 2)
    fake.turn(*answer("A dot."))
    page.ask("What is it?")
    page.until_shown("A dot.", ANSWER)
    text, image, file = last_question(fake)
    assert text == {"type": "text", "text": "What is it?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert file["text"] == "File café.md:\n\n# Über"
    page.reload()
    page.until_shown("café.md", ".question")
    page.element(".question img")


@pytest.mark.parametrize(
    ("name", "media_type", "content", "problem"),
    [
        ("song.mp3", "audio/mpeg", b"\xff\xfb\x00", "song.mp3 isn't a text file or a supported image"),
        ("big.txt", "text/plain", b"x" * 600_000, "big.txt is too large (600 kB). The limit is 500 kB."),
        ("empty.txt", "text/plain", b" \n", "empty.txt is empty."),
    ],
)
def test_a_file_that_can_t_be_sent(page: ShownPage, name: str, media_type: str, content: bytes, problem: str) -> None:
    """The composer says what is wrong with it."""
    page.open()
    put_file(page, "drop", name, media_type, content)
    page.until_shown(problem, ".composer [role=alert]")
    assert page.texts(".composer .attachments li") == []


def test_files_are_chosen_with_the_button_and_removed(page: ShownPage, tmp_path: Path) -> None:
    """The button opens the browser's own dialog, whose files can be removed again."""
    (tmp_path / "notes.txt").write_text("some notes")
    page.open()
    page.browser.find_element("css selector", ".composer input[type=file]").send_keys(str(tmp_path / "notes.txt"))
    page.until_shown("notes.txt", ".composer")
    page.press("Remove notes.txt")
    page.until(lambda: page.texts(".composer .attachments li") == [])


def test_the_composer_has_lines(page: ShownPage, fake: FakeDedalus) -> None:
    """Shift+Enter is a new line, and the field grows. What was begun is there after a reload."""
    page.open()
    field = page.element(QUESTION)
    height = field.size["height"]
    field.send_keys("One")
    page.chord(Keys.SHIFT, Keys.ENTER)
    page.keys("two")
    assert page.element(QUESTION).size["height"] > height
    fake.turn(*answer("Both."))
    field.send_keys(Keys.ENTER)
    page.until_shown("Both.", ANSWER)
    assert last_question(fake) == "One\ntwo"
    until_ready(page)
    page.element(QUESTION).send_keys("begun")
    page.reload()
    assert page.element(QUESTION).get_attribute("value") == "begun"


def test_a_reader_can_scroll_away(page: ShownPage, fake: FakeDedalus) -> None:
    """The end stays in view while an answer grows, until the reader scrolls up. A button leads back."""
    first, second = Gate(), Gate()
    lines = [f"Line {number}.\n\n" for number in range(60)]
    fake.turn(Text(*lines), WaitFor(first), Text(*lines), WaitFor(second), Text("The end."), Finish("stop"), Done())
    page.open().ask("Count")
    page.until_shown("Line 59.", ANSWER)
    page.until(lambda: gap(page) < 2, "at the end")
    page.browser.execute_script("document.querySelector('.scroller').scrollTop -= 500")
    page.control("Jump to latest")
    place = scroll_top(page)
    first.open()
    page.until(lambda: page.texts(ANSWER)[0].count("Line 59.") == 2)
    assert scroll_top(page) == place
    page.press("Jump to latest")
    page.until(lambda: gap(page) < 2, "at the end again")
    second.open()
    page.until_shown("The end.", ANSWER)
    page.until(lambda: gap(page) < 2, "still at the end")


def test_a_long_answer_leaves_the_page_in_its_place(page: ShownPage, fake: FakeDedalus) -> None:
    """The document stays as high as the window, and scrolling to the end of an answer moves nothing but the answer."""
    fake.turn(*answer("```python\nx = 1\n```\n\n" * 60))
    page.open().ask("Show me code")
    page.until(lambda: len(page.texts(f"{ANSWER} .code")) == 60)
    page.browser.execute_script("Array.from(document.querySelectorAll('.answer .hidden')).at(-1).scrollIntoView()")
    assert page.browser.execute_script("return document.documentElement.scrollHeight - innerHeight") == 0
    assert page.browser.execute_script("return document.querySelector('.shell').getBoundingClientRect().top") == 0


def gap(page: ShownPage) -> float:
    """Return the height in pixels of the conversation below what is shown."""
    script = "const { scrollHeight: all, scrollTop: above, clientHeight: shown } = document.querySelector('.scroller');"
    return float(page.browser.execute_script(f"{script} return all - above - shown"))


def scroll_top(page: ShownPage) -> float:
    return float(page.browser.execute_script("return document.querySelector('.scroller').scrollTop"))


def test_a_tool_of_the_page(page: ShownPage, fake: FakeDedalus) -> None:
    """The page runs its own tools if they are chosen: the model gets the title, and why there is no location."""
    page.open()
    page.choose(tools=["page_title", "get_location"])
    calls = ToolCall("call_1", "page_title", '{"title": "Changed"}'), ToolCall("call_2", "get_location", "{}", index=1)
    fake.turn(*calls, Finish("tool_calls"), Done())
    fake.turn(*answer("Done."))
    page.browser.execute_cdp_cmd("Browser.setPermission", {"permission": {"name": "geolocation"}, "setting": "denied"})
    page.ask("Change the title")
    page.until_shown("Done.", ANSWER)
    results = [message["content"] for message in fake.chats[-1].body["messages"] if message["role"] == "tool"]
    assert results == ['{"title":"Changed"}', "The user didn't allow this page to read the location."]


def test_only_chosen_tools_of_the_page_are_offered(page: ShownPage, fake: FakeDedalus) -> None:
    """Without a choice, the model gets none of them."""
    fake.turn(*answer("Hello."))
    page.open().ask("Hi")
    page.until_shown("Hello.", ANSWER)
    assert "tools" not in fake.chats[-1].body


FORMULAS = (
    "$a_1 * b_1$",
    "$x*y*z$",
    "$[a](b)_i < `c` \\% \\$ d$",
    r"\(x_1 \* y_1\)",
    "$$\na\n- b_1*c\n= d*e\n$$",
    "\\[\n\\frac{a*b}{c*d}\n\\]",
)


def test_formulas_are_shown_as_they_are_written(page: ShownPage, fake: FakeDedalus) -> None:
    """Markdown leaves formulas alone, in the text, in bold text, lists and tables, and takes no money for one."""
    money = "It costs $5 and *maybe* $10, or \\$7 *net* $x"
    text = "\n\n".join([*FORMULAS, "1. Solve\n   $$\n   e - f\n   $$\n\n**so $g*h$**", money])
    table = "\n\n| a | b |\n|---|---|\n| $i*j*k$ | 1 |"
    fake.turn(Text(*(text + table)), Finish("stop"), Done())
    page.open().ask("How?")
    page.until_shown("i*j*k", f"{ANSWER} td")
    until_ready(page)
    assert page.texts(f"{ANSWER} .formula") == [*FORMULAS, "$$\ne - f\n$$", "$g*h$", "$i*j*k$"]
    page.until_shown("It costs $5 and maybe $10, or $7 net $x", ANSWER)
    assert page.texts(f"{ANSWER} em") == ["maybe", "net"]


def test_a_scripted_answer_stays(page: ShownPage, fake: FakeDedalus) -> None:
    """A script's answer is kept in the chat like a model's: above the answers that follow, and through a reload."""
    page.open()
    page.choose(scenario="default")
    page.ask("Try it")
    page.until_shown("It is 3 °C in Oslo", ANSWER)
    until_ready(page)
    page.choose(scenario=None)
    fake.turn(*answer("Hello."))
    page.ask("Hi")
    page.until_shown("Hello.", ANSWER)
    until_ready(page)
    assert page.texts(".question .bubble") == ["Try it", "Hi"]
    page.reload()
    page.until_shown("Hello.", ANSWER)
    assert page.texts(".question .bubble") == ["Try it", "Hi"]
    assert "It is 3 °C in Oslo" in page.texts(ANSWER)[0]


def test_a_restarted_step_is_one_line(page: ShownPage) -> None:
    """The text of the model that failed is gone, and a line names the model that started over.

    A reloaded page shows this line and names this model, too.
    """
    page.open()
    page.choose(scenario="fallback")
    page.ask("Is it cold?")
    page.until_shown("Another model answers.", ANSWER)
    until_ready(page)
    assert "30 °C" not in page.texts(ANSWER)[0]
    [line] = page.texts(f"{ANSWER} .warning")
    assert line.endswith("simulated/fallback started over.")
    page.reload()
    page.until_shown("simulated/fallback", f"{ANSWER} .facts")
    page.until(lambda: page.texts(f"{ANSWER} .warning") == [line])
    assert "30 °C" not in page.texts(ANSWER)[0]


def test_a_reload_keeps_the_facts_of_an_answer(page: ShownPage, fake: FakeDedalus) -> None:
    """A reloaded chat shows the warnings of its runs and the times of their calls, as before."""
    fake.turn(*calling("get_weather", '{"city": "Oslo"}'))
    fake.turn(Finish("stop"), Done())
    with_tools(page).ask("How cold is it?")
    page.until_shown("empty_answer", f"{ANSWER} .warning")
    until_ready(page)
    warnings, states = page.texts(f"{ANSWER} .warning"), page.texts(".tool .state")
    assert states[0].endswith(" ms")
    page.reload()
    page.until(lambda: page.texts(f"{ANSWER} .warning") == warnings)
    assert page.texts(".tool .state") == states


def test_enter_that_chooses_a_word_sends_nothing(page: ShownPage, fake: FakeDedalus) -> None:
    """An input method's Enter stays with it: where the composition still goes, and in Safari, where it has ended."""
    asked = len(fake.chats)
    page.open().element(QUESTION).send_keys("\u6771\u4eac")
    for about in ({"isComposing": True}, {"keyCode": 229}):
        script = "document.querySelector(arguments[0]).dispatchEvent(new KeyboardEvent('keydown', arguments[1]))"
        page.browser.execute_script(script, QUESTION, {"key": "Enter", "bubbles": True, "cancelable": True, **about})
    assert page.element(QUESTION).get_property("value") == "\u6771\u4eac"
    assert len(fake.chats) == asked
    fake.turn(*answer("Tokyo."))
    page.element(QUESTION).send_keys(Keys.ENTER)
    page.until_shown("Tokyo.", ANSWER)
