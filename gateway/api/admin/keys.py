"""Virtual keys: create, list, read, change, rotate, revoke."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, UnsetType
from sqlalchemy import Connection

from gateway.api.admin.key_bodies import (
    ChangeKey,
    CreateKey,
    KeyAnswer,
    NewKeyAnswer,
    RotateKey,
    shown_key,
    shown_once,
)
from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import given, microseconds
from gateway.domain.errors import BadRequest, NotFound
from gateway.domain.keys import fingerprint, hint, mint
from gateway.domain.names import check_tags
from gateway.domain.patterns import check_patterns
from gateway.domain.tenancy_checks import check_instant, check_label, check_metadata
from gateway.store.accounts import living_account
from gateway.store.tenancy import key_by_id
from gateway.store.virtual_keys import (
    KeyText,
    NewKey,
    change_key,
    create_key,
    list_keys,
    living_key,
    revoke_key,
    rotate_key,
)

__all__ = ["OPERATIONS"]

_RANDOM_BYTES: Final = 32


class KeyQuery(PageQuery, kw_only=True):
    """Which keys."""

    account: Annotated[str, Meta(max_length=40, description="Only this account's own.")] | None = None
    revoked: Annotated[bool, Meta(description="Revoked ones too.")] = False


def _create(conn: Connection, call: Call[CreateKey, None]) -> Done:
    body = call.body
    account = living_account(conn, body.account, param="account")
    _check(name=body.name, models=body.models, tags=body.tags, metadata=body.metadata)
    new = NewKey(
        account=account.id,
        name=body.name,
        models=None if body.models is None else tuple(body.models),
        max_output_tokens=body.max_output_tokens,
        on_over_cap=body.on_over_cap,
        require_end_user=body.require_end_user,
        sees_account=body.sees_account,
        expires_at_us=_end(body.expires_at, call.now_us),
        tags=body.tags,
        metadata=body.metadata,
    )
    text = mint(call.deps.entropy(_RANDOM_BYTES))
    key = create_key(conn, new, _kept_of(text), key_id=call.new_id("key"), now_us=call.now_us)
    return Done(shown_once(key, text), Change("key.create", key.id, None, shown_key(key)), key.revision)


def _list(conn: Connection, call: Call[None, KeyQuery]) -> Done:
    query = call.query
    rows = list_keys(
        conn,
        after=query.after,
        limit=query.limit + 1,
        account=query.account,
        with_revoked=query.revoked,
    )
    return page_of(rows, query.limit, shown_key)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    key = key_by_id(conn, call.path["id"])
    if key is None:
        raise NotFound(
            "not_found",
            f"There is no key {call.path['id']}.",
            hint="GET /admin/keys lists the keys there are; a key's id begins with key_.",
        )
    return Done(shown_key(key), revision=key.revision)


def _update(conn: Connection, call: Call[ChangeKey, None]) -> Done:
    before = living_key(conn, call.path["id"])
    call.expect(before.revision)
    body = call.body
    changes = given(
        name=body.name,
        models=body.models,
        max_output_tokens=body.max_output_tokens,
        on_over_cap=body.on_over_cap,
        require_end_user=body.require_end_user,
        sees_account=body.sees_account,
        tags=body.tags,
        metadata=body.metadata,
        status=body.status,
    )
    _check(**changes)
    if not isinstance(body.expires_at, UnsetType):
        changes["expires_at"] = _end(body.expires_at, call.now_us)
    key = change_key(conn, before, changes)
    return Done(shown_key(key), Change("key.update", key.id, shown_key(before), shown_key(key)), key.revision)


def _rotate(conn: Connection, call: Call[RotateKey, None]) -> Done:
    before = living_key(conn, call.path["id"])
    if before.rotated_to is not None:
        raise BadRequest(
            "invalid_value",
            f"{before.id} is an old text of {before.rotated_to}.",
            hint=f"Rotate {before.rotated_to}.",
        )
    text = mint(call.deps.entropy(_RANDOM_BYTES))
    grace_s = call.body.grace_s
    key = rotate_key(
        conn,
        before,
        _kept_of(text),
        old_id=call.new_id("key"),
        grace_until_us=call.now_us + grace_s * 1_000_000 if grace_s else None,
        now_us=call.now_us,
    )
    return Done(
        shown_once(key, text), Change("key.rotate", key.id, shown_key(before), shown_key(key)), key.revision
    )


def _delete(conn: Connection, call: Call[None, None]) -> Done:
    key = living_key(conn, call.path["id"])
    revoke_key(conn, key, call.now_us)
    return Done(None, Change("key.revoke", key.id, shown_key(key), None))


def _kept_of(text: str) -> KeyText:
    return KeyText(fingerprint(text), hint(text))


def _end(at: datetime | None, now_us: int) -> int | None:
    if at is None:
        return None
    at_us = microseconds(at, param="expires_at")
    check_instant(at_us, now_us, param="expires_at")
    return at_us


def _check(**values: Any) -> None:
    if "name" in values:
        check_label(values["name"], param="name")
    if values.get("models") is not None:
        check_patterns(values["models"], param="models")
        if not values["models"]:
            raise BadRequest(
                "invalid_value", "models allows nothing.", hint="Give patterns, or null.", param="models"
            )
    check_tags(values.get("tags", {}))
    check_metadata(values.get("metadata", {}))


OPERATIONS = (
    Operation(
        name="keys.create",
        method="POST",
        path="/admin/keys",
        summary="Create a virtual key; its text is shown this once",
        run=_create,
        body=CreateKey,
        answer=NewKeyAnswer,
        status=201,
        topics=("keys",),
        problems=(404,),
    ),
    Operation(
        name="keys.list",
        method="GET",
        path="/admin/keys",
        summary="List virtual keys, oldest first",
        run=_list,
        query=KeyQuery,
        answer=Page[KeyAnswer],
    ),
    Operation(
        name="keys.get",
        method="GET",
        path="/admin/keys/{id}",
        summary="Read a virtual key, revoked ones too",
        run=_get,
        answer=KeyAnswer,
        problems=(404,),
    ),
    Operation(
        name="keys.update",
        method="PATCH",
        path="/admin/keys/{id}",
        summary="Change or block a virtual key",
        run=_update,
        body=ChangeKey,
        answer=KeyAnswer,
        topics=("keys",),
        problems=(404, 409, 412),
    ),
    Operation(
        name="keys.rotate",
        method="POST",
        path="/admin/keys/{id}/rotate",
        summary="Give a virtual key a new text under the same id",
        run=_rotate,
        body=RotateKey,
        may_be_empty=True,
        answer=NewKeyAnswer,
        topics=("keys",),
        problems=(404, 409),
    ),
    Operation(
        name="keys.delete",
        method="DELETE",
        path="/admin/keys/{id}",
        summary="Revoke a virtual key for good; its history stays",
        run=_delete,
        answer=None,
        status=204,
        topics=("keys",),
        problems=(404, 409),
    ),
)
