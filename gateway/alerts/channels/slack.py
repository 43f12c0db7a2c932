"""Slack's incoming webhooks: a text and blocks (docs.slack.dev, "Sending messages using incoming webhooks").

The URL is the secret; nothing is signed.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.alerts.channels.base import Channel, Message, read_url
from gateway.alerts.channels.words import facts, headline

__all__ = ["CHANNEL"]

HEADER_MAX_CHARACTERS: Final = 150
FIELD_MAX_CHARACTERS: Final = 500


def render(message: Message, target: str) -> bytes:
    """`{"text", "blocks"}`: the sentence, the facts in two columns, and the event's id."""
    text = headline(message)
    fields = [
        {"type": "mrkdwn", "text": f"*{_escaped(name)}*\n{_escaped(value[:FIELD_MAX_CHARACTERS])}"}
        for name, value in facts(message)
    ]
    context = {"type": "mrkdwn", "text": f"{message.at}  {message.id}"}
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": text[:HEADER_MAX_CHARACTERS]}},
        {"type": "section", "fields": fields},
        {"type": "context", "elements": [context]},
    ]
    return msgspec.json.encode({"text": _escaped(text), "blocks": blocks})


def shown(text: str) -> str:
    """The host: the rest is the secret."""
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc}/..."


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


CHANNEL: Final = Channel("slack", read_url, shown, render)
