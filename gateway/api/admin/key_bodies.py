"""What a virtual key looks like in requests and answers. Its text is in the answer that makes it alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.api.admin.values import Id, Instant, Label, Metadata, Tags, instant, known_instant
from gateway.domain.tenancy import VirtualKey

__all__ = ["ChangeKey", "CreateKey", "KeyAnswer", "NewKeyAnswer", "RotateKey", "shown_key", "shown_once"]

MAX_OUTPUT_TOKENS: Final = 2**31 - 1
MAX_GRACE_S: Final = 90 * 86_400

Models = Annotated[
    list[str], Meta(description="Patterns such as gpt-4.1* or openai/*; null allows every model.")
]
OutputCap = Annotated[int, Meta(ge=1, le=MAX_OUTPUT_TOKENS, description="Output tokens of one call at most.")]
OnOverCap = Annotated[
    Literal["clamp", "refuse"], Meta(description="What to do with a call that asks for more.")
]


class CreateKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A key to be. `tags` win over those a request brings."""

    account: Id
    name: Label
    models: Models | None = None
    max_output_tokens: OutputCap | None = None
    on_over_cap: OnOverCap = "clamp"
    require_end_user: bool = False
    sees_account: Annotated[bool, Meta(description="May read the spend of its whole account.")] = False
    expires_at: Instant | None = None
    tags: Tags = {}
    metadata: Metadata = {}


class ChangeKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; absent fields stay."""

    name: Label | UnsetType = UNSET
    models: Models | UnsetType | None = UNSET
    max_output_tokens: OutputCap | UnsetType | None = UNSET
    on_over_cap: OnOverCap | UnsetType = UNSET
    require_end_user: bool | UnsetType = UNSET
    sees_account: bool | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    status: Literal["active", "blocked"] | UnsetType = UNSET


class RotateKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to rotate."""

    grace_s: Annotated[
        int, Meta(ge=0, le=MAX_GRACE_S, description="Seconds the old text still works; 0 ends it now.")
    ] = 0


class KeyAnswer(msgspec.Struct, kw_only=True):
    """A key, without its text. `rotated_to` is set on a row that keeps an old text of that key."""

    id: str
    account: str
    name: str
    hint: str
    models: list[str] | None
    max_output_tokens: int | None
    on_over_cap: Literal["clamp", "refuse"]
    require_end_user: bool
    sees_account: bool
    expires_at: datetime | None
    tags: Tags
    metadata: Metadata
    status: Literal["active", "blocked", "revoked"]
    created_at: datetime
    revoked_at: datetime | None
    rotated_to: str | None


class NewKeyAnswer(KeyAnswer, kw_only=True):
    """A key with its text, which is shown this once."""

    key: str


def shown_key(key: VirtualKey) -> KeyAnswer:
    """A key as an administrator sees it."""
    return KeyAnswer(**_fields(key))


def shown_once(key: VirtualKey, text: str) -> NewKeyAnswer:
    """A key with the text it was just given."""
    return NewKeyAnswer(**_fields(key), key=text)


def _fields(key: VirtualKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "hint": key.hint,
        "models": None if key.models is None else list(key.models),
        "max_output_tokens": key.max_output_tokens,
        "on_over_cap": key.on_over_cap,
        "require_end_user": key.require_end_user,
        "sees_account": key.sees_account,
        "expires_at": instant(key.expires_at_us),
        "tags": dict(key.tags),
        "metadata": dict(key.metadata),
        "status": key.status,
        "created_at": known_instant(key.created_at_us),
        "revoked_at": instant(key.revoked_at_us),
        "rotated_to": key.rotated_to,
    }
