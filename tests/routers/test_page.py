"""The page at /: which clients get it, with what headers, and the files that it loads."""

import gzip
import io
import json
import re
import tarfile
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from process import ROOT
from service import NOWHERE, Service, service
from starlette.datastructures import Headers

from routers import client_package
from routers.accept import prefers_html
from routers.openapi import VERSION
from routers.page import version_folder
from routers.static_files import StaticFile

pytestmark = pytest.mark.anyio

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
VENDOR = ROOT / "static/vendor"


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the text of its inline scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._is_inline = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_inline = tag == "script" and "src" not in dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._is_inline = False

    def handle_data(self, data: str) -> None:
        if self._is_inline:
            self.scripts.append(data)


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;level=1", True),
        ("text/html;q=0.5", True),
        ("application/json;q=0.8, text/html", True),
        ("text/html, application/json", False),
        ("application/json, text/plain, */*", False),
        ("text/html;q=0", False),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_which_clients_prefer_html(accept: str, is_preferred: bool) -> None:
    """Only clients that name text/html, and not JSON as highly, get the page: the API comes first."""
    assert prefers_html(Headers({"accept": accept})) is is_preferred


async def test_browsers_get_the_page_and_others_get_json(agent: Service) -> None:
    """The same URL serves the page and the JSON, and the Vary header names what the choice depends on."""
    page = await agent.client.get("/", headers={"Accept": BROWSER})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["vary"].split(", ")[:2] == ["Accept", "Accept-Encoding"]
    about = await agent.client.get("/", headers={"Accept": "*/*"})
    assert about.json()["name"] == "Agent Stream"
    assert "Accept" in about.headers["vary"].split(", ")


async def test_a_head_has_the_headers_of_the_page(agent: Service) -> None:
    """HEAD returns what GET does, without the body."""
    head, get = [await agent.client.request(method, "/", headers={"Accept": BROWSER}) for method in ("HEAD", "GET")]
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "content-security-policy", "etag"):
        assert head.headers[name] == get.headers[name]


async def test_page_off_closes_the_page() -> None:
    """With PAGE=off, browsers get JSON, too, and the page's files are unknown paths."""
    async with service(NOWHERE, page="off") as agent:
        assert (await agent.client.get("/", headers={"Accept": BROWSER})).json()["name"] == "Agent Stream"
        missing = await agent.client.get("/static/page/main.js")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_the_policy_allows_the_import_map_and_nothing_else_inline(agent: Service) -> None:
    """The one inline script has its hash in the policy. No tag has a handler, a style, or a URL of another host."""
    response = await agent.client.get("/", headers={"Accept": BROWSER})
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    page = Tags(response.text)
    [script] = page.scripts
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert {name for name in names if name == "style" or name.startswith("on")} == set()
    assert all(url.startswith("./") for url in page_urls(response.text))


def page_urls(page: str) -> list[str]:
    """The URLs that a page names, those of its import map included."""
    urls = [url for _, attributes in Tags(page).tags for name, url in attributes.items() if name in ("src", "href")]
    return [*(url or "" for url in urls), *re.findall(r'": "([^"]+)"', page)]


def test_no_markup_of_the_page_s_modules_is_inline_script_or_style() -> None:
    """The templates have no style attribute as a string and no handler as a string: the policy would refuse both."""
    for path in (ROOT / "static/page").rglob("*.js"):
        source = path.read_text()
        assert not re.search(r"\bstyle=[\"']", source), path
        assert not re.search(r"\bon[a-z]+=[\"']", source, re.IGNORECASE), path
        assert not re.search(r"https?://(?!127\.0\.0\.1|localhost|www\.w3\.org/)", imports_of(source)), path


COMMENT = re.compile(r"^\s*(//|/\*|\*)")


def test_the_page_s_modules_are_short() -> None:
    """As the service's modules: at most 200 lines of code each, without blank lines and comments."""
    for path in (ROOT / "static/page").rglob("*.js"):
        lines = [line for line in path.read_text().splitlines() if line.strip() and not COMMENT.match(line)]
        assert 0 < len(lines) <= 200, path


def imports_of(source: str) -> str:
    return "\n".join(re.findall(r"^(?:import|export)\b[^;]*;", source, re.MULTILINE))


async def test_everything_that_the_page_names_is_served(agent: Service) -> None:
    """Each URL of the page leads to a file, and each import of its modules, too."""
    page = (await agent.client.get("/", headers={"Accept": BROWSER})).text
    for url in page_urls(page):
        path = url.removeprefix(".")
        if not path.endswith("/") and path != "/docs":
            assert (await agent.client.get(path)).status_code == 200, path


async def test_a_file_is_compressed_once_and_revalidated(agent: Service) -> None:
    """A client that accepts gzip gets it, one that doesn't gets the file, and one that has it gets 304."""
    path, source = "/static/page/store.js", (ROOT / "static/page/store.js").read_bytes()
    plain = await agent.client.get(path, headers={"Accept-Encoding": "identity"})
    assert (plain.content, plain.headers["content-type"]) == (source, "text/javascript; charset=utf-8")
    assert "content-encoding" not in plain.headers
    async with agent.client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        body = b"".join([piece async for piece in packed.aiter_raw()])
    assert (gzip.decompress(body), packed.headers["content-encoding"]) == (source, "gzip")
    assert packed.headers["etag"] == plain.headers["etag"]
    assert plain.headers["cache-control"] == "no-cache"
    again = await agent.client.get(path, headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_browsers_keep_the_files_of_this_version(agent: Service) -> None:
    """The page's URLs have a version. Its files may be kept for ever, and those of another version aren't."""
    page = (await agent.client.get("/", headers={"Accept": BROWSER})).text
    [main] = [url for url in page_urls(page) if url.endswith("/main.js")]
    kept = await agent.client.get(main.removeprefix("."))
    assert "immutable" in kept.headers["cache-control"]
    other = await agent.client.get(f"/static/v-{'0' * 16}/page/main.js")
    assert (other.content, other.headers["cache-control"]) == (kept.content, "no-cache")


def test_a_version_has_one_folder() -> None:
    """The folder is another one when a file is changed, renamed or added."""
    files = {"a.js": StaticFile(b"1", "text/javascript")}
    changed = {"a.js": StaticFile(b"2", "text/javascript")}
    renamed = {"b.js": files["a.js"]}
    folders = {version_folder(each) for each in (files, dict(files), changed, renamed, files | renamed)}
    assert len(folders) == 4


@pytest.mark.parametrize(
    "path", ["page/missing.js", "v-1/page/main.js", "../app.py", "%2e%2e/app.py", "vendor/checksums", "", "index.html"]
)
async def test_other_paths_are_unknown(path: str, agent: Service) -> None:
    """Only the files that were read are served."""
    response = await agent.client.get(f"/static/{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_the_libraries_are_those_of_npm() -> None:
    """Each file below static/vendor has the sum that is recorded, and none is unrecorded."""
    lines = (VENDOR / "checksums.txt").read_text().splitlines()
    recorded = {path: digest for digest, path in (line.split("  ") for line in lines)}
    notes = {"checksums.txt", "README.md"}
    files = {str(path.relative_to(VENDOR)): path for path in VENDOR.rglob("*") if path.is_file()}
    assert {name: digest_of(path) for name, path in files.items() if name not in notes} == recorded
    assert {path.parent.name for path in VENDOR.rglob("LICENSE")} == {p.name for p in VENDOR.iterdir() if p.is_dir()}


def digest_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


async def test_the_package_of_the_client_has_the_module_that_pages_load(agent: Service) -> None:
    """The npm package is the same each time, isn't compressed twice, and names the files that it has."""
    response = await agent.client.get("/static/agent-stream.tgz")
    assert (response.headers["Content-Type"], "Content-Encoding" in response.headers) == ("application/gzip", False)
    module = await agent.client.get("/static/agent-stream.js")
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        files = {name: archive.extractfile(name) for name in archive.getnames()}
        assert files["package/dist/index.js"].read() == module.content  # type: ignore[union-attr]
        about = json.load(files["package/package.json"])  # type: ignore[arg-type]
    entries = [path for entry in about["exports"].values() if isinstance(entry, dict) for path in entry.values()]
    assert {f"package/{path.removeprefix('./')}" for path in entries} <= files.keys()
    assert about["version"] == VERSION
    client_package.tarball.cache_clear()
    assert client_package.tarball() == response.content
