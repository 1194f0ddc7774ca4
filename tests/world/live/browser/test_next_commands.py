"""The documents' npm commands for the Next.js example: they install, build and serve it."""

import sys
from pathlib import Path

import httpx
import next_app
import pytest
from document_commands import SERVICE, installing
from node import shell
from one_at_a_time import one_at_a_time

pytestmark = pytest.mark.timeout(400)  # the first run on a machine installs the app


@pytest.mark.parametrize("document", ["QUICKSTART.md", "examples/nextjs/README.md"])
def test_the_commands_serve_the_example(document: str) -> None:
    """The commands work as they are written, from the folder of the repository or from the example's own."""
    app = next_app.CHAT_APP
    app.build()
    *building, serving = [command for command in installing(document) if SERVICE not in command]
    assert [*building[-2:], serving] == ["npm install", "npm run build", "npm start"]
    start = app.app.folder.parents[1] if building[0] == "cd examples/nextjs" else app.app.folder
    with one_at_a_time("next-apps"):
        shell(" && ".join(building), project=start, timeout_s=next_app.BUILD_S)
        path = f'PATH="{Path(sys.executable).parent}:$PATH"'
        with app.serving(["sh", "-c", f"{path}; {serving}"]) as origin:
            assert "What can I do for you?" in httpx.get(f"{origin}/agent", follow_redirects=True).text
