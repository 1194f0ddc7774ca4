"""Decides which IP addresses are public, and which lead into a private network.

The tables are our own, from IANA's registries of special-purpose addresses. `ipaddress.is_global` (3.11) isn't used
because it accepts multicast, 192.88.99.0/24, parts of 192.0.0.0/24, site-local addresses, and most IPv6 addresses
that embed an IPv4 address.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
"""The IPv4 networks that aren't public. All others are."""

PUBLIC_V6 = IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
"""The networks within `PUBLIC_V6` that aren't public: special purposes with Teredo, examples, 6to4, documentation."""

COMPATIBLE, NAT64, NAT64_LOCAL = IPv6Network("::/96"), IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48")

METADATA = {
    ip_address(address)
    for address in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
}
"""Addresses at which clouds hand out credentials to their machines. The last one, Azure's, looks public."""


def is_public(address: Address) -> bool:
    """Return whether an address is public.

    Of the IPv6 addresses that embed an IPv4 one, only those that `translated` knows can be, if their IPv4 address is.
    """
    match translated(address):
        case IPv4Address() as v4:
            return not any(v4 in network for network in NOT_PUBLIC_V4)
        case v6:
            return v6 in PUBLIC_V6 and not _is_isatap(v6) and not any(v6 in network for network in NOT_PUBLIC_V6)


def embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses to which some gateway could translate an IPv6 address."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if address.ipv4_mapped or _is_isatap(address) or any(address in n for n in (COMPATIBLE, NAT64, NAT64_LOCAL)):
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in NAT64_LOCAL:
        yield IPv4Address((number >> 48 & 0xFFFF0000) | (number >> 40 & 0xFFFF))  # RFC 6052 skips bits 64 to 71
    if address.sixtofour:
        yield address.sixtofour
    yield from address.teredo or ()


def translated(address: Address) -> Address:
    """Return the IPv4 address behind a mapped or NAT64 address, the only kinds that a machine without IPv4 can have."""
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFCFFFFFF == 0x00005EFE
