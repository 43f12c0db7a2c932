"""The standard channel: JSON, signed as Standard Webhooks 1.0.0 says; see `docs/alerts.schema.json`."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.alerts.channels.base import Channel, Message, read_url, shown_url

__all__ = ["CHANNEL"]


def render(message: Message, target: str) -> bytes:
    """`{"type", "timestamp", "data"}`, the members in this order."""
    return msgspec.json.encode({"type": message.event, "timestamp": message.at, "data": message.data})


CHANNEL: Final = Channel("standard", read_url, shown_url, render, is_signed=True)
