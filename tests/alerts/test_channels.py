"""How each channel words events."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import gateway.alerts.channels
from gateway.alerts.channels.base import Channel, Mailbox, Message
from gateway.alerts.channels.words import headline
from gateway.domain.errors import BadRequest
from gateway.registry import scan
from tests.alerts.channels_made import MESSAGES, message

CHANNELS: dict[str, Channel] = scan(gateway.alerts.channels, "CHANNEL")
KEY = "R0123456789abcdefghijklmnopqrstu"
SCHEMA = json.loads(Path(__file__, "../../../docs/alerts.schema.json").resolve().read_text())

every_message = pytest.mark.parametrize("made", MESSAGES, ids=lambda each: each.event)


def rendered(name: str, made: Message, target: str = "https://example.com/") -> Any:
    return json.loads(CHANNELS[name].render(made, target))


def test_there_are_these() -> None:
    assert set(CHANNELS) == {"email", "pagerduty", "slack", "standard"}


@every_message
def test_standard_fits_its_schema(made: Message) -> None:
    body = rendered("standard", made)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(body)
    for broken in ({**body, "type": "budget.other"}, {**body, "data": {}}, {**body, "more": 1}):
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(broken)


@every_message
def test_every_event_is_a_sentence(made: Message) -> None:
    assert headline(made) != made.event
    assert "_us" not in headline(made)
    assert "None" not in headline(made)


def test_a_name_cannot_break_a_line() -> None:
    made = message("budget.exceeded", name="a\r\nBcc: everybody\u2028x")
    assert headline(made) == "a Bcc: everybody x refuses calls: $20 of $25 spent"


@every_message
def test_slack_gets_blocks_within_its_limits(made: Message) -> None:
    body = rendered("slack", made)
    header, section, context = body["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert 1 <= len(section["fields"]) <= 10
    assert made.id in context["elements"][0]["text"]
    assert "<november>" not in json.dumps([body["text"], section])


@every_message
def test_pagerduty_gets_an_event_of_its_api(made: Message) -> None:
    body = rendered("pagerduty", made, KEY)
    assert body["routing_key"] == KEY
    assert len(body["dedup_key"]) <= 255
    if made.event == "budget.reset":
        assert body["event_action"] == "resolve"
    else:
        assert body["event_action"] == "trigger"
        assert body["payload"]["severity"] in ("critical", "error", "warning", "info")
        assert body["payload"]["summary"]
        assert body["payload"]["source"]


def test_a_reset_resolves_what_its_window_triggered_and_nothing_else() -> None:
    reached, exceeded, reset = (
        rendered("pagerduty", message(f"budget.{event}"), KEY)["dedup_key"]
        for event in ("threshold_reached", "exceeded", "reset")
    )
    assert reached == exceeded == reset
    others = [
        message("budget.exceeded", subject="alice"),
        message("budget.exceeded", window={"start": 0, "end": 1}),
        message("budget.exceeded", budget="bud_2"),
        message("key.revoked"),
    ]
    keys = {rendered("pagerduty", each, KEY)["dedup_key"] for each in others}
    assert len(keys) == 4
    assert reached not in keys


def test_a_pagerduty_target_is_a_key_or_a_key_behind_a_url() -> None:
    read = CHANNELS["pagerduty"].read
    plain, other = read(KEY), read(f"https://events.eu.pagerduty.com/v2/enqueue#{KEY}")
    assert not isinstance(plain, Mailbox)
    assert not isinstance(other, Mailbox)
    assert (plain.target.host, plain.path) == ("events.pagerduty.com", "/v2/enqueue")
    assert other.target.host == "events.eu.pagerduty.com"
    for wrong in (
        "",
        "short",
        f"{KEY}x",
        f"http://u:p@host/#{KEY}",
        "https://events.pagerduty.com/v2/enqueue",
    ):
        with pytest.raises(BadRequest):
            read(wrong)


@every_message
def test_mail_is_a_plain_message(made: Message) -> None:
    mail = message_from_bytes(CHANNELS["email"].render(made, "mailto:a@example.com"), policy=default)
    assert mail["To"] == "a@example.com"
    assert mail["Message-ID"] == f"<{made.id}@tollgate>"
    assert mail["Date"] == "Wed, 25 Nov 2026 12:00:00 +0000"
    assert mail["Subject"].startswith("[Tollgate] ")
    assert made.id in mail.get_content()


@pytest.mark.parametrize(
    "address", ["a@b@c", "nobody", "a@example.com\r\nBcc: x@y", "a b@example.com", "@x", ""]
)
def test_no_address_is_no_target(address: str) -> None:
    with pytest.raises(BadRequest):
        CHANNELS["email"].read(address)
