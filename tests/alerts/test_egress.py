"""No target leads inside: whatever form its address has, when it is made and whenever it is connected to."""

from __future__ import annotations

import socket

import pytest

import gateway.alerts.channels
from gateway.alerts.channels.base import Message, read_url
from gateway.alerts.egress import Egress
from gateway.alerts.sending import Sender
from gateway.alerts.signing import secret_text
from gateway.alerts.targets import Opened, Targets
from gateway.domain.errors import BadRequest
from gateway.domain.networks import parse_networks
from gateway.registry import scan
from gateway.relay.calls import Limits, Target
from gateway.relay.client import Client
from gateway.relay.dialing import Address, look_up
from tests.alerts.office import SEAL
from tests.alerts.receiving import Receiver, receiver
from tests.relay.certificates import Certificates

MESSAGE = Message("evt_1", "key.created", "2026-11-25T12:00:00Z", {})
REFUSED = (
    "https://127.0.0.1/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://192.168.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://100.100.100.200/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://224.0.0.1/",
    "http://8.8.8.8/",
    "https://8.8.8.8:22/",
    "https://8.8.8.8:25/",
    "https://8.8.8.8:6379/",
    "https://8.8.8.8:0/",
    "https://8.8.8.8:99999/",
    "https://8.8.8.8@127.0.0.1/",
    "https://user:password@8.8.8.8/",
    "https://8.8.8.8#@127.0.0.1/",
    "https://127.0.0.1\\@8.8.8.8/",
    "https://127.0.0.1%00.example.com/",
    "https://127.0.0.1%2f@8.8.8.8/",
    "https://[fe80::1%25eth0]/",
    "https://ⓛocalhost/",
    "https://127。0。0。1/",
    "https:///path",
    "https://",
    "//8.8.8.8/",
    "8.8.8.8",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
    "https://8.8.8.8/ path",
    "https://8.8.8.8/\r\nx: y",
    "https://a-name-that-nobody-has.invalid/",
    "https://8.8.8.8/" + "x" * 3_000,
)


def targets(*networks: str) -> Targets:
    egress = Egress(parse_networks(networks), look_up)
    return Targets(scan(gateway.alerts.channels, "CHANNEL"), SEAL, egress, bytes, mails=False)


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
async def test_a_target_that_leads_inside_or_nowhere_is_refused_when_it_is_made(url: str) -> None:
    for name in ("standard", "slack"):
        with pytest.raises(BadRequest) as refused:
            await targets().check(name, url)
        assert refused.value.param == "target"


@pytest.mark.parametrize("url", ["https://8.8.8.8/", "https://8.8.8.8:8443/x?y=z", "https://[2606:4700::1]/"])
async def test_a_public_target_is_taken(url: str) -> None:
    await targets().check("standard", url)


async def test_an_allowed_network_may_have_any_port_and_no_tls() -> None:
    await targets("127.0.0.0/8").check("standard", "http://127.0.0.1:4711/")
    with pytest.raises(BadRequest):
        await targets("127.0.0.0/8").check("standard", "http://10.0.0.1:4711/")


class Names:
    """A resolver that answers as it is told, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def look_up(self, target: Target) -> list[Address]:
        self.asked += 1
        found = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [Address(family[":" in each], (each, target.port)) for each in found]


async def attempt(egress: Egress, url: str, ca_file: str | None = None) -> tuple[int | None, str | None]:
    client = Client(Limits(), ca_file, look_up=egress.addresses)
    channel = scan(gateway.alerts.channels, "CHANNEL")["standard"]
    opened = Opened(channel, read_url(url), url, (secret_text(bytes(32)),))
    result = await Sender(client, None).send(opened, MESSAGE, 0)
    await client.aclose()
    return result.status, result.error


async def test_a_name_that_moves_inside_after_it_was_made_is_not_connected_to(target: Receiver) -> None:
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    egress = Egress((), names.look_up)
    url = f"https://rebinding.example:{8443}/"
    await egress.check(read_url(url).target)
    status, error = await attempt(egress, url)
    assert status is None
    assert "loopback" in str(error)
    assert target.got == []


async def test_one_bad_address_among_good_ones_spoils_the_name() -> None:
    names = Names(["8.8.8.8", "::ffff:169.254.169.254"])
    with pytest.raises(BadRequest, match="link-local"):
        await Egress((), names.look_up).check(Target("https", "mixed.example", 443))


async def test_what_was_judged_is_what_is_connected_to(target: Receiver) -> None:
    """The name is asked for once: a second answer would have led elsewhere."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    egress = Egress(parse_networks(["127.0.0.1"]), names.look_up)
    status, _ = await attempt(egress, f"http://some.name.example:{target.port}/")
    assert (status, names.asked) == (204, 1)
    assert target.got[0].headers["host"] == f"some.name.example:{target.port}"


async def test_a_certificate_has_to_be_the_names_whatever_the_address(certificates: Certificates) -> None:
    with receiver(certificates.server_file) as target:
        names = Names(["127.0.0.1"])
        egress = Egress(parse_networks(["127.0.0.0/8"]), names.look_up)
        ca_file = str(certificates.ca_file)
        good, _ = await attempt(egress, f"https://localhost:{target.port}/", ca_file)
        bad, error = await attempt(egress, f"https://other.example:{target.port}/", ca_file)
        assert (good, bad) == (204, None)
        assert "trusted" in str(error)
        assert len(target.got) == 1
