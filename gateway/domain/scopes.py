"""Scopes: whom a cost belongs to, and which budgets apply to it. One table, one engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything a budget may ask about a call.

    `accounts` runs from the key's own account up to the root. `provider` and `model` are the resolved
    catalogue names. `tags` are the key's own tags over the request's.
    """

    key: str
    accounts: tuple[str, ...]
    provider: str
    model: str
    end_user: str | None
    tags: Mapping[str, str]
