"""The service behind the page in its tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fake_dedalus import FakeDedalus
from process import Nursery, Process, forked_app

TOOLS = '''
from tools import tool


@tool
def get_weather(city: str) -> dict:
    """Get the weather in a city."""
    return {"city": city, "celsius": 3}


@tool(approval=True)
def delete_folder(folder: str) -> str:
    """Delete a folder."""
    return f"deleted {folder}"
'''


@contextmanager
def page_app(nursery: Nursery, fake: FakeDedalus, folder: Path, tools: str, **settings: str) -> Iterator[Process]:
    """A service that asks `fake`, with the Python tools of this source, which is written to the folder."""
    (folder / "page_test_tools.py").write_text(tools)
    found = {"AGENT_TOOLS": "page_test_tools", "PYTHONPATH": str(folder)}
    with forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="test/model", **found, **settings) as app:
        yield app
