"""Who may do what, in one table: the roles of each operation. An operation that is not here cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ROLES"]

_ANYBODY: Final = ("owner", "operator", "finance", "viewer")
_OPERATORS: Final = ("owner", "operator")
_AUDITORS: Final = ("owner", "operator", "finance")
_FINANCE: Final = ("owner", "finance")
_OWNERS: Final = ("owner",)

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "accounts.create": _OPERATORS,
    "accounts.list": _ANYBODY,
    "accounts.get": _ANYBODY,
    "accounts.update": _OPERATORS,
    "accounts.delete": _OPERATORS,
    "keys.create": _OPERATORS,
    "keys.list": _ANYBODY,
    "keys.get": _ANYBODY,
    "keys.update": _OPERATORS,
    "keys.rotate": _OPERATORS,
    "keys.delete": _OPERATORS,
    "budgets.create": _OPERATORS,
    "budgets.list": _ANYBODY,
    "budgets.get": _ANYBODY,
    "budgets.update": _OPERATORS,
    "budgets.delete": _OPERATORS,
    "budgets.windows": _ANYBODY,
    "budgets.increase": _OPERATORS,
    "budgets.increases": _ANYBODY,
    "grants.create": _OPERATORS,
    "grants.list": _ANYBODY,
    "grants.get": _ANYBODY,
    "prices.create": _OPERATORS,
    "prices.list": _ANYBODY,
    "prices.get": _ANYBODY,
    "prices.import": _OPERATORS,
    "prices.differences": _ANYBODY,
    "prices.explain": _ANYBODY,
    "rerate": _OPERATORS,
    "webhooks.create": _OPERATORS,
    "webhooks.list": _ANYBODY,
    "webhooks.get": _ANYBODY,
    "webhooks.update": _OPERATORS,
    "webhooks.delete": _OPERATORS,
    "webhooks.test": _OPERATORS,
    "webhooks.rotate": _OPERATORS,
    "webhooks.deliveries": _ANYBODY,
    "deliveries.get": _ANYBODY,
    "deliveries.replay": _OPERATORS,
    # Admin keys decide who is who, so only an owner touches them.
    "admin_keys.create": _OWNERS,
    "admin_keys.list": _OPERATORS,
    "admin_keys.get": _OPERATORS,
    "admin_keys.update": _OWNERS,
    "admin_keys.delete": _OWNERS,
    "leases.list": _ANYBODY,
    "leases.release": _OPERATORS,
    "audit.list": _AUDITORS,
    "audit.verify": _AUDITORS,
    "rate_cards.create": _OPERATORS,
    "rate_cards.list": _ANYBODY,
    "rate_cards.get": _ANYBODY,
    "rate_cards.end": _OPERATORS,
    "periods.list": _ANYBODY,
    "periods.close": _FINANCE,
    "periods.verify": _ANYBODY,
    "fx.create": _FINANCE,
    "fx.import": _FINANCE,
    "fx.list": _ANYBODY,
}
