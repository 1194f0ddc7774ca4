"""Checks the addresses that count as public against stored copies of IANA's special-purpose registries."""

import csv
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

import pytest

from services.outbound.public_addresses import Address, is_public

FIXTURES = Path(__file__).parents[1] / "fixtures"
Network = IPv4Network | IPv6Network


class Block(NamedTuple):
    """An address block of a registry. A block marked `N/A`, or not marked, counts as unreachable."""

    network: Network
    name: str
    is_reachable: bool


def blocks() -> Iterator[Block]:
    for version in (4, 6):
        with (FIXTURES / f"iana-ipv{version}-special-registry-1.csv").open(newline="", encoding="utf-8") as registry:
            for row in csv.DictReader(registry):
                for network in row["Address Block"].split(","):
                    plain = ip_network(network.split("[")[0].strip())  # without the mark of a footnote
                    yield Block(plain, row["Name"], row["Globally Reachable"].startswith("True"))


BLOCKS = list(blocks())
UNREACHABLE = [block for block in BLOCKS if not block.is_reachable]
REACHABLE = [block for block in BLOCKS if block.is_reachable]
REFUSED_WITH_THEIR_BLOCK = {
    *("192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:3::/32"),
    *("2001:4:112::/48", "2001:20::/28", "2001:30::/28"),
}
"""Reachable parts of 192.0.0.0/24 and 2001::/23, which are refused whole. No web server is at them: they are anycast
addresses of other protocols, and identifiers.
"""
JUDGED_AS_IPV4 = {"64:ff9b::/96", "::ffff:0:0/96"}
NOT_GIVEN_OUT = [ip_network(network) for network in ("224.0.0.0/4", "::/3", "4000::/2", "8000::/1")]
"""Multicast and what IANA has given to nobody: both are in other registries."""


def some_of(network: Network) -> set[Address]:
    """The first and the last address of a block, and a few between them."""
    last = network.num_addresses - 1
    return {network[index] for index in (0, min(1, last), last // 3, last // 2, last - last // 5, last)}


def beside(network: Network) -> set[Address]:
    """The addresses right before and after a block."""
    numbers = int(network[0]) - 1, int(network[-1]) + 1
    kind = type(network[0])
    return {kind(number) for number in numbers if 0 <= number < 2**network.max_prefixlen}


def test_the_registries_are_whole() -> None:
    """Both have as many blocks as at the date of the copies, so that a truncated file is noticed."""
    assert [sum(block.network.version == version for block in BLOCKS) for version in (4, 6)] == [26, 25]


@pytest.mark.parametrize("block", UNREACHABLE, ids=lambda block: f"{block.network}")
def test_a_block_that_is_not_globally_reachable_is_refused(block: Block) -> None:
    """No address of it is public, except other forms of an IPv4 address, which are judged as that address."""
    addresses = {address for address in some_of(block.network) if is_public(address)}
    assert addresses == set() or str(block.network) in JUDGED_AS_IPV4


@pytest.mark.parametrize("block", REACHABLE, ids=lambda block: f"{block.network}")
def test_a_block_that_is_globally_reachable_is_allowed(block: Block) -> None:
    """Every address of it is public, unless it belongs to a block that is refused as a whole."""
    allowed = {address for address in some_of(block.network) if is_public(address)}
    if str(block.network) in REFUSED_WITH_THEIR_BLOCK:
        assert allowed == set()
    elif str(block.network) not in JUDGED_AS_IPV4:
        assert allowed == some_of(block.network)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.network}")
def test_what_is_beside_a_block_is_allowed(block: Block) -> None:
    """No refused network is larger than the registries require."""
    special = [each.network for each in UNREACHABLE] + NOT_GIVEN_OUT
    outside = {
        address
        for address in beside(block.network)
        if not any(address.version == network.version and address in network for network in special)
    }
    assert {address for address in outside if not is_public(address)} == set()


@pytest.mark.parametrize("form", sorted(JUDGED_AS_IPV4))
@pytest.mark.parametrize("block", [each for each in BLOCKS if each.network.version == 4], ids=lambda each: each.name)
def test_a_form_of_an_ipv4_address_is_judged_as_that(block: Block, form: str) -> None:
    """A mapped or translated address is as public as the IPv4 address within it."""
    for address in some_of(block.network):
        embedded = ip_address(int(ip_network(form)[0]) | int(address))
        assert is_public(embedded) == is_public(address), embedded
