"""The fixtures of the browser tests: a pytest plugin, which each of their modules names."""

from collections.abc import Iterator
from pathlib import Path

import next_app
import pytest

pytest_plugins = "shared_browser"


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """The origin of the app in its production build."""
    next_app.HOOK_APP.build()
    with next_app.HOOK_APP.served("start") as origin:
        yield origin


@pytest.fixture
def asking(tmp_path: Path) -> dict[str, str]:
    """Settings with a tool that always waits for a person: `delete_folder`."""
    (tmp_path / "page_tools.py").write_text(
        "from tools import tool\n\n\n@tool(approval=True)\ndef delete_folder(folder: str) -> str:\n"
        '    """Delete a folder."""\n    return f"deleted {folder}"\n'
    )
    return {"AGENT_TOOLS": "page_tools", "PYTHONPATH": str(tmp_path), "TOOLS_BY_DEFAULT": "all"}
