"""Which addresses a webhook may go to: the public internet, and private networks that are allowed by name.

An address inside another (IPv4-mapped, 6to4, NAT64, Teredo) is judged as what it leads to. Sources: the IANA
special-purpose registries as `ipaddress` has them, RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["Network", "inside", "parse_networks", "why_forbidden"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Tunnels: what is at the other end is anybody's guess.
_TUNNELS: Final = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
# Public by number, but a cloud's own service to its machines (Azure's wire server).
_SERVICES: Final = (ipaddress.IPv4Network("168.63.129.16/32"),)
# Special, though not every release of Python says so: protocol assignments, addresses around IPv4 ones that
# nobody routes any more, and NAT64 inside somebody's network (RFC 8215).
_SPECIAL: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv6Network("::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks such as `10.0.0.0/8` or single addresses; ValueError for what is neither."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def inside(address: str, networks: Sequence[Network]) -> bool:
    """Whether the address, or the IPv4 address it is written around, lies in one of the networks."""
    known = ipaddress.ip_address(address.partition("%")[0])
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    meant = mapped or known
    return any(meant in network for network in networks)


def why_forbidden(address: str) -> str | None:
    """What the address is, if it is not plainly on the public internet."""
    known = ipaddress.ip_address(address.partition("%")[0])
    return next((why for each in _leads_to(known) if (why := _why(each)) is not None), None)


def _leads_to(address: Address) -> Iterator[Address]:
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        elif address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _why(address: Address) -> str | None:
    kinds = (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local, where clouds keep their metadata", address.is_link_local),
        ("multicast", address.is_multicast),
        ("a tunnel", any(address in network for network in _TUNNELS)),
        (
            "a cloud's own service",
            any(address in each for each in _SERVICES),
        ),
        ("private or reserved", _is_special(address)),
    )
    return next((name for name, applies in kinds if applies), None)


def _is_special(address: Address) -> bool:
    if any(address in network for network in _SPECIAL):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        # An address around an IPv4 one is judged by that.
        is_around = address.ipv4_mapped is not None or address in _NAT64
        return not is_around and (not address.is_global or address.is_site_local)
    return not address.is_global or address.is_reserved
