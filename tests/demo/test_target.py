"""The demo's target believes what is signed, and nothing else."""

from __future__ import annotations

from gateway.alerts.signing import secret_text, signed_headers
from gateway.demo.target import Heard, is_genuine

SECRET = secret_text(bytes(range(32)))
BODY = b'{"type":"budget.exceeded"}'


def heard(secret: str = SECRET, body: bytes = BODY, at_s: int = 1_000) -> Heard:
    headers = signed_headers([secret], "evt_1", at_s, BODY)
    return Heard({name.decode(): value.decode() for name, value in headers}, body)


def test_only_the_secret_makes_a_signature() -> None:
    assert is_genuine(SECRET, heard(), 1_100)
    assert not is_genuine(SECRET, heard(secret_text(bytes(32))), 1_100)
    assert not is_genuine(SECRET, heard(body=BODY + b" "), 1_100)
    assert not is_genuine(SECRET, heard(), 1_400)
