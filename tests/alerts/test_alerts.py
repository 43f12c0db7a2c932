"""By what alerts may leave is said by settings, which are judged before anything starts."""

from __future__ import annotations

import pytest

from gateway.alerts.alerts import Outlets
from gateway.domain.errors import BadRequest


def test_settings_become_networks_and_a_server() -> None:
    plain = Outlets.parse((), "", "")
    assert (plain.allowed, plain.mail_server) == ((), None)
    full = Outlets.parse(("127.0.0.0/8", "fd00::/8"), "smtps://mail.example.com", "a@example.com")
    assert [str(each) for each in full.allowed] == ["127.0.0.0/8", "fd00::/8"]
    assert full.mail_server is not None


@pytest.mark.parametrize(
    ("networks", "url", "sender", "named"),
    [
        (("127.0.0.1/8",), "", "", "webhooks.allow_private"),
        (("everything",), "", "", "webhooks.allow_private"),
        ((), "https://u:secret@host", "a@example.com", "webhooks.smtp_url"),
        ((), "smtp://u:secret@host", "", "webhooks.smtp_url"),
    ],
)
def test_what_cannot_be_is_named_and_no_password_is_repeated(
    networks: tuple[str, ...], url: str, sender: str, named: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        Outlets.parse(networks, url, sender)
    assert refused.value.param == named
    assert "secret" not in refused.value.message
