"""Events about keys, prices, upstreams and closed periods, for the transactions that bring them about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from gateway.domain.money import format_price
from gateway.domain.prices import PriceRow
from gateway.domain.tenancy import VirtualKey
from gateway.store.events import Event, write_events

__all__ = [
    "key_event",
    "note_key",
    "note_missing_prices",
    "note_period_closed",
    "note_price_changes",
    "note_upstream_unhealthy",
]

_DAY_US: Final = 86_400_000_000


def key_event(key: VirtualKey, event: str, when: int) -> Event:
    """An event of a virtual key; `when` tells it from the same event at another time."""
    data = {
        "key": key.id,
        "name": key.name,
        "account": key.account,
        "hint": key.hint,
        "expires_at": key.expires_at_us,
    }
    return Event(event, f"{key.id}:{event}:{when}", key.account, key.id, data)


def note_key(conn: Connection, key: VirtualKey, event: str, now_us: int) -> None:
    """Write `key.created` or `key.revoked`. An old text of a rotated key is no key of its own."""
    if key.rotated_to is None:
        write_events(conn, [key_event(key, event, now_us)], now_us)


def note_missing_prices(conn: Connection, models: Iterable[tuple[str, str]], now_us: int) -> None:
    """Write `price.missing` for (provider, model) pairs that calls named, once a day for each."""
    day = now_us // _DAY_US
    events = [
        Event(
            "price.missing",
            f"{provider}/{model[:200]}:missing:{day}",
            None,
            f"{provider}/{model}",
            {"provider": provider, "model": model},
        )
        for provider, model in models
    ]
    write_events(conn, events, now_us)


def note_price_changes(conn: Connection, changes: Sequence[tuple[PriceRow, PriceRow]], now_us: int) -> None:
    """Write `price.changed` for pairs of a price and the one that follows it at another figure."""
    events = [
        Event(
            "price.changed",
            f"{after.id}:changed",
            after.account,
            f"{after.provider}/{after.model}",
            {
                "provider": after.provider,
                "model": after.model,
                "meter": after.meter,
                "account": after.account,
                "service_tier": after.service_tier,
                "context_over": after.context_over,
                "price": after.id,
                "effective_from": after.effective_from_us,
                "usd_per_million": format_price(after.price_pico),
                "was_usd_per_million": format_price(before.price_pico),
            },
        )
        for before, after in changes
    ]
    write_events(conn, events, now_us)


def note_upstream_unhealthy(conn: Connection, upstream: str, reason: str, now_us: int) -> None:
    """Write `upstream.unhealthy`: an upstream failed, for `reason`, and is avoided. Once a minute at most."""
    minute = now_us // 60_000_000
    data = {"upstream": upstream, "reason": reason}
    event = Event("upstream.unhealthy", f"{upstream}:unhealthy:{minute}", None, upstream, data)
    write_events(conn, [event], now_us)


def note_period_closed(conn: Connection, period: str, digest: str, now_us: int) -> None:
    """Write `period.closed`: a month such as `2026-11` was closed with figures of this `digest`."""
    data = {"period": period, "digest": digest, "closed_at": now_us}
    write_events(conn, [Event("period.closed", f"{period}:closed:{now_us}", None, period, data)], now_us)
