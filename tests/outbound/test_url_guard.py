"""The URLs that the service connects to: each known trick, and the effect of the operator's two lists."""

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from errors import UrlRefused
from services.outbound.public_addresses import embedded, is_public
from services.outbound.url_guard import REFUSED, Destination, UrlGuard, system_resolver

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"


class Names:
    """A resolver with known names, which records its queries. A list of answers is returned one after the other."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = {name.replace("__", "."): list(addresses) for name, addresses in known.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append(name)
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[name]


class Anything:
    """A resolver that returns one answer for every name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append(name)
        return self.addresses


def guard(*addresses: str, allowed: Sequence[str] = (), denied: Sequence[str] = ()) -> UrlGuard:
    return UrlGuard(allowed, denied, Anything(*addresses or (PUBLIC,)))


# URLs that are refused, whatever their name resolves to

TRICKS = {
    "user": "https://user@example.com/",
    "user and password": "https://user:secret@example.com/",
    "user that looks like the host": "https://example.com@127.0.0.1/",
    "empty user": "https://@example.com/",
    "backslash before the at sign": "https://example.com\\@127.0.0.1/",
    "backslash for slash": "https:\\\\example.com/",
    "backslash in the path": "https://example.com/a\\b",
    "space before": " https://example.com/",
    "space in the host": "https://exa mple.com/",
    "tab in the scheme": "ht\ttps://example.com/",
    "line break": "https://example.com/\r\nHost: inside",
    "null": "https://example.com\x00.evil.test/",
    "delete": "https://example.com/\x7f",
    "no-break space": "https://example.com\u00a0/",
    "zero-width space": "https://exam\u200bple.com/",
    "soft hyphen": "https://exam\u00adple.com/",
    "right-to-left override": "https://example.com/\u202eabc",
    "half a surrogate pair": "https://example.com/\ud800",
    "nothing": "",
    "no scheme": "example.com/",
    "scheme of the page": "//example.com/",
    "no slashes": "https:example.com",
    "one slash": "https:/example.com/",
    "three slashes": "https:///example.com/",
    "no host": "https://",
    "no host, http": "http:///",
    "no host but a port": "https://:443/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://example.com/",
    "javascript": "javascript:alert(1)",
    "data": "data:text/plain,hello",
    "ftp": "ftp://example.com/",
    "websocket": "wss://example.com/",
    "http": "http://example.com/",
    "percent in the host": "https://%65xample.com/",
    "percent-encoded dot": "https://127%2e0.0.1/",
    "percent-encoded address": "https://%31%32%37.0.0.1/",
    "port 0": "https://example.com:0/",
    "port 65536": "https://example.com:65536/",
    "port 99999999": "https://example.com:99999999/",
    "port that is empty": "https://example.com:/",
    "port that is a word": "https://example.com:https/",
    "port with a sign": "https://example.com:+443/",
    "port in full-width digits": "https://example.com:４４３/",
    "two ports": "https://example.com:443:80/",
    "two dots": "https://example..com/",
    "dot before": "https://.example.com/",
    "two dots after": "https://example.com../",
    "only a dot": "https://./",
    "label too long": f"https://{'a' * 64}.example.com/",
    "name too long": f"https://{'a.' * 130}com/",
    "hyphen first": "https://-example.com/",
    "sub-delimiters": "https://example.com$&+,;=/",
    "quote": "https://example.com'/",
    "bracket that stays open": "https://[::1/",
    "bracket after": "https://::1]/",
    "IPv6 without brackets": "https://2606:4700::1111/",
    "IPv4 in brackets": "https://[93.184.216.34]/",
    "IPvFuture": "https://[v1.fe80::a]/",
    "IPv6 zone": "https://[fe80::1%25eth0]/",
    "IPv6 zone, plain": "https://[2606:4700::1111%1]/",
    "IPv6 too long": "https://[1:2:3:4:5:6:7:8:9]/",
    "full-width digits": "https://１２７.0.0.1/",
    "full-width dots": "https://127．0．0．1/",
    "ideographic dot": "https://example。com/",
    "circled digits": "https://①②⑦.0.0.1/",
    "letter that was two letters once": "https://straße.example/",
    "ligature": "https://ﬀ.example/",
    "full-width letters": "https://ｅｘａｍｐｌｅ.com/",
    "hexadecimal": "https://0x7f.1/",
    "hexadecimal, whole": "https://0x7f000001/",
    "hexadecimal last part": "https://127.0.0.0x1/",
    "decimal, whole": "https://2130706433/",
    "octal": "https://0177.0.0.1/",
    "leading zeros of a public address": "https://093.184.216.034/",
    "two parts": "https://127.1/",
    "three parts": "https://127.0.1/",
    "five parts": "https://127.0.0.0.1/",
    "part above 255": "https://256.0.0.1/",
    "name that ends in a number": "https://example.1/",
    "too long": f"https://example.com/{'a' * 9000}",
    "localhost": "https://localhost/",
    "localhost in capitals": "https://LOCALHOST/",
    "localhost with a dot": "https://localhost./",
    "below localhost": "https://app.localhost/",
    "multicast DNS": "https://printer.local/",
    "internal": "https://db.internal/",
    "home network": "https://nas.home.arpa/",
    "one label": "https://intranet/",
    "Google's metadata": "https://metadata.google.internal/computeMetadata/v1/",
    "Google's metadata with a dot": "https://Metadata.Google.Internal./",
    "Google's other metadata": "https://metadata.goog/",
}


@pytest.mark.parametrize("url", TRICKS.values(), ids=TRICKS.keys())
async def test_a_trick_is_refused(url: str) -> None:
    """It is refused before its name is resolved, even if that would lead to a public address; for an image, too."""
    names = Anything(PUBLIC)
    guarding = UrlGuard(resolve=names)
    with pytest.raises(UrlRefused):
        await guarding.resolve(url)
    if not url.startswith("data:"):
        with pytest.raises(UrlRefused):
            await guarding.check_image(url)
    assert names.asked == []


NOT_PUBLIC = {
    "this network": ("0.0.0.0", "0.1.2.3"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    "carriers' NAT": ("100.64.0.1", "100.127.255.254"),
    "loopback": ("127.0.0.1", "127.255.255.254"),
    "link-local": ("169.254.0.1",),
    "IETF": ("192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170"),
    "examples": ("192.0.2.1", "198.51.100.1", "203.0.113.1"),
    "6to4 relays": ("192.88.99.1",),
    "benchmarks": ("198.18.0.1", "198.19.255.255"),
    "multicast": ("224.0.0.1", "239.255.255.255"),
    "reserved": ("240.0.0.1", "255.255.255.254"),
    "broadcast": ("255.255.255.255",),
    "Amazon's metadata": ("169.254.169.254", "fd00:ec2::254"),
    "Amazon's container credentials": ("169.254.170.2", "169.254.170.23", "fd00:ec2::23"),
    "Google's metadata": ("fd20:ce::254",),
    "Alibaba's metadata": ("100.100.100.200",),
    "Oracle's metadata": ("192.0.0.192",),
    "Azure's host": ("168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16"),
    "IPv6 unspecified": ("::",),
    "IPv6 loopback": ("::1",),
    "IPv4-mapped": ("::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    "IPv4-compatible": ("::10.0.0.1", "::127.0.0.1", "::93.184.216.34"),
    "IPv4-translated": ("::ffff:0:10.0.0.1",),
    "NAT64": ("64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254"),
    "local NAT64": ("64:ff9b:1::10.0.0.1", "64:ff9b:1::93.184.216.34"),
    "6to4": ("2002:a00:1::", "2002:7f00:1::", "2002:5db8:d822::"),
    "Teredo": ("2001:0:a00:1::", "2001::5db8:d822:0:0:f5ff:fffe"),
    "ISATAP": ("fe80::5efe:a00:1", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:7f00:1"),
    "discarded": ("100::1",),
    "IETF's IPv6": ("2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1"),
    "IPv6 examples": ("2001:db8::1", "3fff::1", "3fff:fff::1"),
    "segment routing": ("5f00::1",),
    "unique local": ("fc00::1", "fdff::1"),
    "IPv6 link-local": ("fe80::1", "febf::1"),
    "site-local": ("fec0::1", "feff::1"),
    "IPv6 multicast": ("ff02::1", "ff0e::1"),
    "not given out": ("1::1", "4000::1", "e000::1"),
}
CASES = [(name, address) for name, addresses in NOT_PUBLIC.items() for address in addresses]


def host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", [a for _, a in CASES], ids=[f"{name} {address}" for name, address in CASES])
async def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """It is refused in the URL itself, and as the result of resolving a name, with the same message."""
    with pytest.raises(UrlRefused, match="does not call that URL") as literal:
        await guard().resolve(f"https://{host(address)}/")
    with pytest.raises(UrlRefused) as named:
        await guard(address).resolve("https://example.com/")
    with pytest.raises(UrlRefused):
        await guard(address).check_image("https://example.com/a.png")
    assert literal.value.message == named.value.message == REFUSED


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"),
        *("2001:4860:4860::8888", "2a00:1450::5eff:a00:1", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34"),
    ],
)
async def test_a_public_address_is_good(address: str) -> None:
    """Public addresses at the edges of refused networks are allowed, also through NAT64 on a machine without IPv4."""
    found = (await guard().resolve(f"https://{host(address)}/")).addresses
    assert found == (await guard(address).resolve("https://example.com/")).addresses == (str(ip_address(address)),)


async def test_embedded_addresses_are_found() -> None:
    """The IPv4 address is found in each of the forms that embed one."""
    forms = {
        "::ffff:10.0.0.1": ["10.0.0.1"],
        "::10.0.0.1": ["10.0.0.1"],
        "64:ff9b::10.0.0.1": ["10.0.0.1"],
        "64:ff9b:1:a00:0:100::": ["0.0.0.0", "10.0.0.1"],
        "2002:a00:1::": ["10.0.0.1"],
        "2001:0:a00:1::f5ff:fffd": ["10.0.0.1", "10.0.0.2"],
        "fe80::5efe:a00:1": ["10.0.0.1"],
        "2606:4700::1111": [],
        "10.0.0.1": [],
    }
    assert {form: [str(found) for found in embedded(ip_address(form))] for form in forms} == forms


# The destination of an allowed URL


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com", "example.com", 443),
        ("HTTPS://EXAMPLE.com:8443/a?b#c", "example.com", 8443),
        ("https://example.com./", "example.com", 443),
        ("https://example.com?a=b@c", "example.com", 443),
        ("https://example.com#@evil.test", "example.com", 443),
        ("https://example.com/@a:b", "example.com", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://BÜCHER.example/straße", "xn--bcher-kva.example", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://a_b.example.com/", "a_b.example.com", 443),
        ("https://1.example.com/", "1.example.com", 443),
        ("https://0x7f.com/", "0x7f.com", 443),
        ("https://93.184.216.34.:1/", "93.184.216.34", 1),
        ("https://[2606:4700:0::1111]:65535/", "2606:4700::1111", 65535),
    ],
)
async def test_a_good_url_gives_its_destination(url: str, host: str, port: int) -> None:
    """The host in DNS form, and the scheme's port by default."""
    destination = await guard().resolve(url)
    assert (destination.host, destination.port) == (host, port)


async def test_a_name_is_resolved_once_and_pinned() -> None:
    """DNS rebinding: the addresses are those of the one answer that was checked, in its order, each once."""
    names = Anything(PUBLIC, "2606:4700::1111", PUBLIC)
    destination = await UrlGuard(resolve=names).resolve("https://example.com/")
    assert destination == Destination("example.com", 443, (PUBLIC, "2606:4700::1111"))
    assert names.asked == ["example.com"]


@pytest.mark.parametrize("answer", [(PUBLIC, "10.0.0.1"), ("10.0.0.1", PUBLIC), (PUBLIC, "::1"), (PUBLIC, "fd00::1")])
async def test_one_address_inside_refuses_the_name(answer: tuple[str, ...]) -> None:
    """A name with a public and a private address is refused; the public one isn't tried."""
    with pytest.raises(UrlRefused):
        await guard(*answer).resolve("https://example.com/")


async def test_a_refusal_says_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    """Unknown, private, denied, local: one message, so that a caller learns nothing. The log has the reason."""
    caplog.set_level(logging.INFO)
    names = Names(inside__example__com=["10.1.2.3"], denied__example__com=[PUBLIC], empty__example__com=[])
    guarding = UrlGuard(denied=["denied.example.com"], resolve=names)
    messages = set()
    for name in ("inside.example.com", "unknown.example.com", "denied.example.com", "empty.example.com", "db.internal"):
        with pytest.raises(UrlRefused) as refused:
            await guarding.resolve(f"https://{name}/")
        messages.add(refused.value.message)
    assert messages == {REFUSED}
    assert "10.1.2.3" in caplog.text
    assert "10.1.2.3" not in REFUSED


async def test_a_name_that_takes_too_long_is_refused() -> None:
    """A resolver that never answers is cut off after the guard's own time limit, with the error of an unknown name."""

    async def never(name: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return [PUBLIC]

    with pytest.raises(UrlRefused, match="must be a known name"):
        await UrlGuard(resolve=never, timeout_s=0.01).resolve("https://example.com/")


async def test_the_machine_s_resolver_runs_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in threads of its own, and returns the result of `getaddrinfo`."""
    threads = []

    def look_up(name: str, port: int, **options: object) -> list[tuple[object, ...]]:
        threads.append(threading.current_thread().name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert (await UrlGuard().resolve("https://example.com/")).addresses == (PUBLIC,)
    assert list(await system_resolver()("example.com", 443)) == [PUBLIC]
    assert all(name.startswith("url-guard") for name in threads)


# Images


async def test_an_image_may_be_inline_or_where_only_the_model_s_server_can_see() -> None:
    """A data URL is allowed, as is a name that this machine can't resolve; one that leads inside is refused."""
    guarding = UrlGuard(resolve=Names(example__com=[PUBLIC], inside__example__com=[PUBLIC, "10.0.0.1"]))
    for url in ("data:image/png;base64,AAAA", "DATA:,", "https://example.com/a.png", "https://unknown.example.com/"):
        await guarding.check_image(url)
    for url in ("https://inside.example.com/a.png", "https://10.0.0.1/", "http://example.com/", "https://db.internal/"):
        with pytest.raises(UrlRefused):
            await guarding.check_image(url)


# The operator's lists


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("intranet.example.com", "https://intranet.example.com/", "10.0.0.1"),
        ("Intranet.Example.com.", "http://INTRANET.example.com.:8080/", "10.0.0.1"),
        ("*.example.com", "http://a.b.example.com/", "127.0.0.1"),
        ("bücher.example", "http://xn--bcher-kva.example/", "10.0.0.1"),
        ("mcp", "http://mcp:8000/mcp", "172.17.0.2"),
        ("localhost", "http://localhost:3000/", "::1"),
        ("*.internal", "https://db.internal/", "10.0.0.1"),
        ("10.1.0.0/16", "http://10.1.2.3/", ""),
        ("10.1.0.0/16", "https://[::ffff:10.1.2.3]/", ""),
        ("10.1.0.0/16", "https://example.com/", "10.1.2.3"),
        ("10.1.2.3", "https://10.1.2.3/", ""),
        ("[fd00::1]", "http://[fd00::1]/", ""),
        ("fd00::/8", "https://example.com/", "fd12::1"),
        ("169.254.169.254", "http://169.254.169.254/latest/", ""),
        ("168.63.129.16", "https://example.com/", "168.63.129.16"),
        ("0.0.0.0/0", "http://127.0.0.1/", ""),
    ],
)
async def test_what_url_allowed_names_is_good(entry: str, url: str, address: str) -> None:
    """A name is allowed with any address; an address or network in the URL, or as the result of resolving a name."""
    assert (await guard(address, allowed=[entry]).resolve(url)).addresses


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("example.com", "https://a.example.com/", "10.0.0.1"),
        ("*.example.com", "https://example.com/", "10.0.0.1"),
        ("*.example.com", "https://badexample.com/", "10.0.0.1"),
        ("*.example.com", "https://example.com.evil.test/", "10.0.0.1"),
        ("10.1.0.0/16", "https://10.2.0.1/", ""),
        ("10.1.0.0/16", "https://db.internal/", "10.1.0.1"),
        ("10.1.0.0/16", "http://example.com/", "10.1.0.1"),
        ("example.com", "https://example.com/", "169.254.169.254"),
        ("169.254.0.0/16", "https://169.254.169.254/", ""),
        ("0.0.0.0/0", "https://168.63.129.16/", ""),
        ("::/0", "https://[::ffff:169.254.169.254]/", ""),
        ("2002::/16", "https://[2002:a9fe:a9fe::]/", ""),
        ("*.google.internal", "https://metadata.google.internal/", PUBLIC),
        ("metadata.google.internal", "https://metadata.google.internal/", "169.254.169.254"),
    ],
)
async def test_what_url_allowed_names_is_no_more_than_that(entry: str, url: str, address: str) -> None:
    """No other names; no http or local names by their addresses; metadata only by its exact address."""
    with pytest.raises(UrlRefused):
        await guard(address, allowed=[entry]).resolve(url)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("example.com", "https://example.com/", PUBLIC),
        ("example.com", "https://EXAMPLE.com./", PUBLIC),
        ("*.example.com", "https://a.example.com/", PUBLIC),
        ("93.184.216.0/24", "https://example.com/", PUBLIC),
        ("93.184.216.34", "https://93.184.216.34/", ""),
        ("93.184.216.34", "https://[::ffff:93.184.216.34]/", ""),
        ("93.184.216.34", "https://[64:ff9b::93.184.216.34]/", ""),
        ("93.184.216.34", "https://[2002:5db8:d822::]/", ""),
        ("2606:4700::/32", "https://example.com/", "2606:4700::1111"),
    ],
)
async def test_url_denied_wins(entry: str, url: str, address: str) -> None:
    """It overrides URL_ALLOWED by name and by address, in each form of the address; for images, too."""
    guarding = guard(address, allowed=["example.com", "*.example.com", "0.0.0.0/0", "::/0"], denied=[entry])
    with pytest.raises(UrlRefused):
        await guarding.resolve(url)
    with pytest.raises(UrlRefused):
        await guarding.check_image(url)


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "*.", "a.*.com", "**.com", "https://a.com", "a.com/path", "a.com:443", "10.0.0.1/8", "10.0.0.0/33"),
        *("127.1", "0x7f.1", "[::1", "user@a.com", "ａ.com", "a b.com", "::1%eth0/128", "-a.com"),
    ],
)
def test_an_entry_that_means_nothing_is_named(entry: str) -> None:
    """The error names an entry of either list that isn't valid."""
    for allowed, denied in ((["a.com", entry], []), ([], [entry])):
        with pytest.raises(ValueError, match="is not a host") as wrong:
            UrlGuard(allowed, denied)
        assert repr(entry) in str(wrong.value)


async def test_a_client_s_own_host_is_judged_as_the_url_s() -> None:
    """`locate` is for a client that has parsed the URL: an IPv6 address has no brackets there."""
    assert (await guard().locate("2606:4700::1111", 8443)).addresses == ("2606:4700::1111",)
    assert (await guard().locate("EXAMPLE.com.", 443)) == Destination("example.com", 443, (PUBLIC,))
    for inside in ("127.0.0.1", "::1", "fe80::1%eth0", "0x7f.1", "localhost", "a%62.com"):
        with pytest.raises(UrlRefused):
            await guard().locate(inside, 443)


def test_public_is_said_without_python_s_tables() -> None:
    """Gaps of `is_global` (3.11): the addresses are global there, and refused here."""
    gaps = [
        "224.0.0.1",
        "192.88.99.1",
        "192.0.0.192",
        "::10.0.0.1",
        "64:ff9b:1::1",
        "2002:a00:1::",
        "fec0::1",
        "5f00::1",
    ]
    assert not any(is_public(ip_address(gap)) for gap in gaps)
