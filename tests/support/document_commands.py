"""The shell commands of the documents, each of which a test runs word for word but for the service's address."""

import re

from process import ROOT

DOCUMENTS = (
    "README.md",
    "QUICKSTART.md",
    "clients/python/README.md",
    "clients/typescript/README.md",
    "docs/api.md",
    "docs/operations.md",
    "docs/python.md",
    "docs/react.md",
    "examples/nextjs/README.md",
)
SERVICE = "http://127.0.0.1:8000"
INSTALLS = re.compile(r"^cd |\bnpm\b|\bpip install\b")
"""A command that installs or builds packages. tests/world/live runs it, and tests/house/test_docs.py all others."""


def commands(document: str) -> list[str]:
    """Return the commands in the blocks of shell code of a document, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines if line.strip()]


def installing(document: str) -> list[str]:
    """Return the commands of a document that install or build packages."""
    return [command for command in commands(document) if INSTALLS.search(command)]
