"""Who may call and who may administer: accounts (a tree), virtual keys, admin keys.

Values as the tables hold them, frozen: the gate keeps them in memory and swaps a changed one whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ON_OVER_CAP", "ROLES", "Account", "AdminKey", "VirtualKey"]

ON_OVER_CAP: Final[tuple[str, ...]] = ("clamp", "refuse")
ROLES: Final[tuple[str, ...]] = ("owner", "operator", "finance", "viewer")


@dataclass(frozen=True, slots=True)
class Account:
    """A node of the tree: an organization, a team, a project ... in the customer's own words (`kind`).

    `path` is the names from the root down, joined by "/"; it names one living account. `status` is
    `active` or `blocked`. A deleted account stays, for its history, with `deleted_at_us` set.
    """

    id: str
    name: str
    path: str
    parent: str | None
    kind: str
    cost_center: str | None
    timezone: str
    metadata: Mapping[str, Any]
    status: str
    created_at_us: int
    deleted_at_us: int | None
    revision: int

    @property
    def is_active(self) -> bool:
        """Neither blocked nor deleted; whether its ancestors are is a question for the tree."""
        return self.status == "active" and self.deleted_at_us is None


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key that we issue to callers of one account.

    `fingerprint` is the SHA-256 of the key, whose text is stored nowhere. `models` are glob patterns on
    catalogue names; None allows every model. `max_output_tokens` caps each call's output; a call that
    asks for more is clamped or refused (`on_over_cap`). `tags` win over those a request brings.
    `status` is `active`, `blocked` or `revoked`.

    Rotating gives a key a new text under the same id, so its budgets and its history go on. While the old
    text is still accepted it is a row of its own, with another id, an expiry, and `rotated_to` naming the
    key it belongs to; its calls count as that key's (`charged_to`).
    """

    id: str
    account: str
    name: str
    fingerprint: bytes
    hint: str
    models: tuple[str, ...] | None
    max_output_tokens: int | None
    on_over_cap: str
    require_end_user: bool
    sees_account: bool
    tags: Mapping[str, str]
    metadata: Mapping[str, Any]
    status: str
    expires_at_us: int | None
    created_at_us: int
    revoked_at_us: int | None
    rotated_to: str | None
    revision: int

    @property
    def charged_to(self) -> str:
        """The key id that budgets, the ledger and reports know this key's calls by."""
        return self.rotated_to or self.id

    def is_expired(self, now_us: int) -> bool:
        """Whether its time is over; the instant of expiry itself is already too late."""
        return self.expires_at_us is not None and self.expires_at_us <= now_us


@dataclass(frozen=True, slots=True)
class AdminKey:
    """A key to the admin plane, with one role; revoked once `revoked_at_us` is set."""

    id: str
    name: str
    role: str
    fingerprint: bytes
    hint: str
    created_at_us: int
    revoked_at_us: int | None
    revision: int
