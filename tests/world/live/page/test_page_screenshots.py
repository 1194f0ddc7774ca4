"""The screenshots of the page in the README, and the check that they show the page as it is.

`UPDATE_SCREENSHOTS=1 ./run.sh test-world -k test_the_readme_shows_the_page` makes them again.
"""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest
from fake_dedalus import FakeDedalus
from process import ROOT
from shown_page import ShownPage
from wire import Done, Finish, Step, Thinking, ToolCall, Usage, answer

pytest_plugins = "page_fixtures"

IMAGES = ROOT / "docs/images"
SHOWN = IMAGES / "shown.txt"  # the digest of the files that the images show
UPDATES = os.environ.get("UPDATE_SCREENSHOTS") == "1"
SMALLEST_BYTES = 20_000  # an empty page makes a smaller image
ANSWER = """It is **3 °C** in Oslo, with light snow.

| when | sky | °C |
|---|---|---:|
| today | light snow | 3 |
| tomorrow | clear | -1 |

To ask for it yourself:

```python
from agent_stream import AgentStream

with AgentStream() as agent:
    for text in agent.stream("Is it cold in Oslo?", tools=["get_weather"]).text:
        print(text, end="")
```
"""


def digest() -> str:
    """The digest of the page's own files."""
    files = sorted([ROOT / "static/index.html", *(ROOT / "static/page").rglob("*.*")])
    return sha256(b"".join(str(file.relative_to(ROOT)).encode() + file.read_bytes() for file in files)).hexdigest()


def weather() -> list[list[Step]]:
    """The turns of a run that calls a tool, and then asks to delete a folder."""
    call = ToolCall("call_1", "get_weather", json.dumps({"city": "Oslo"}))
    return [
        [Thinking("I need the weather. "), call, Finish("tool_calls", Usage(80, 21, 101)), Done()],
        answer(ANSWER, Usage(131, 94, 225)),
    ]


def shown(page: ShownPage, fake: FakeDedalus) -> None:
    """Show an answer with a tool call, and below it a call that waits for approval."""
    for turn in weather():
        fake.turn(*turn)
    page.open().choose(tools=["get_weather", "delete_folder"])
    page.ask("Is it cold in Oslo?")
    page.until_shown("To ask for it yourself", ".answer")
    page.until(lambda: page.has(".composer [type=submit]"))
    fake.turn(ToolCall("call_2", "delete_folder", '{"folder": "spam"}'), Finish("tool_calls"), Done())
    page.ask("Delete my folder spam.")
    page.element(".dock")
    page.until_shown("waiting", ".sidebar .item")
    page.until_shown("waiting", ".run-status")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_readme_shows_the_page(
    page: ShownPage, fake: FakeDedalus, theme: Literal["light", "dark"], tmp_path: Path
) -> None:
    """Each image in the README was made of the files that the service serves, in both themes and on a phone."""
    folder = IMAGES if UPDATES else tmp_path
    shown(page.theme(theme), fake)
    for name, width, height in (("page", 1440, 900), ("phone", 390, 780)):
        page.size(width, height)
        page.element(".dock")
        image = folder / f"{name}-{theme}.png"
        page.browser.save_screenshot(str(image))
        assert image.stat().st_size > SMALLEST_BYTES
        assert (IMAGES / image.name).exists()
    if UPDATES:
        SHOWN.write_text(f"{digest()}\n")
    assert SHOWN.read_text() == f"{digest()}\n", "the page has changed: make the screenshots again"
