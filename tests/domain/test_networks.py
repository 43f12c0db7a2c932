"""Which addresses are plainly on the public internet."""

from __future__ import annotations

import pytest

from gateway.domain.networks import inside, parse_networks, why_forbidden

FORBIDDEN = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)
PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_not_public_has_a_reason(address: str) -> None:
    assert why_forbidden(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_has_none(address: str) -> None:
    assert why_forbidden(address) is None


def test_a_network_is_allowed_by_name() -> None:
    networks = parse_networks(["127.0.0.0/8", "10.1.2.3", "fd00::/8"])
    assert all(inside(each, networks) for each in ("127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd12::1"))
    assert not any(inside(each, networks) for each in ("10.1.2.4", "::1", "8.8.8.8", "fe80::1%lo"))
    with pytest.raises(ValueError, match="host bits"):
        parse_networks(["10.0.0.1/8"])
