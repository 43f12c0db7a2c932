"""Admin keys: who may use this plane. Made, renamed and revoked by owners."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Label, instant, known_instant, unless_absent
from gateway.domain.keys import mint_admin
from gateway.domain.tenancy import AdminKey
from gateway.domain.tenancy_checks import check_label
from gateway.store.admin_keys import (
    admin_by_id,
    change_admin_key,
    create_admin_key,
    list_admin_keys,
    revoke_admin_key,
)

__all__ = ["OPERATIONS"]

Role = Literal["owner", "operator", "finance", "viewer"]
_RANDOM_BYTES: Final = 32


class CreateAdminKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An admin key to be."""

    name: Label
    role: Role


class ChangeAdminKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; absent fields stay."""

    name: Label | UnsetType = UNSET
    role: Role | UnsetType = UNSET


class AdminKeyAnswer(msgspec.Struct, kw_only=True):
    """An admin key, without its text."""

    id: str
    name: str
    role: Role
    hint: str
    created_at: datetime
    revoked_at: datetime | None


class NewAdminKeyAnswer(AdminKeyAnswer, kw_only=True):
    """An admin key with its text, which is shown this once."""

    key: str


def _shown(key: AdminKey) -> AdminKeyAnswer:
    return AdminKeyAnswer(**_fields(key))


def _fields(key: AdminKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "hint": key.hint,
        "created_at": known_instant(key.created_at_us),
        "revoked_at": instant(key.revoked_at_us),
    }


def _create(conn: Connection, call: Call[CreateAdminKey, None]) -> Done:
    body = call.body
    check_label(body.name, param="name")
    text = mint_admin(call.deps.entropy(_RANDOM_BYTES))
    key = create_admin_key(
        conn, key_id=call.new_id("akey"), name=body.name, role=body.role, text=text, now_us=call.now_us
    )
    answer = NewAdminKeyAnswer(**_fields(key), key=text)
    return Done(answer, Change("admin_key.create", key.id, None, _shown(key)), key.revision)


def _list(conn: Connection, call: Call[None, PageQuery]) -> Done:
    query = call.query
    return page_of(list_admin_keys(conn, after=query.after, limit=query.limit + 1), query.limit, _shown)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    key = admin_by_id(conn, call.path["id"])
    return Done(_shown(key), revision=key.revision)


def _update(conn: Connection, call: Call[ChangeAdminKey, None]) -> Done:
    before = admin_by_id(conn, call.path["id"])
    call.expect(before.revision)
    name = unless_absent(call.body.name, before.name)
    check_label(name, param="name")
    key = change_admin_key(conn, before, name=name, role=unless_absent(call.body.role, before.role))
    return Done(_shown(key), Change("admin_key.update", key.id, _shown(before), _shown(key)), key.revision)


def _delete(conn: Connection, call: Call[None, None]) -> Done:
    key = admin_by_id(conn, call.path["id"])
    revoke_admin_key(conn, key, call.now_us)
    return Done(None, Change("admin_key.revoke", key.id, _shown(key), None))


OPERATIONS = (
    Operation(
        name="admin_keys.create",
        method="POST",
        path="/admin/admin-keys",
        summary="Create an admin key with one role; its text is shown this once",
        run=_create,
        body=CreateAdminKey,
        answer=NewAdminKeyAnswer,
        status=201,
        topics=("admin_keys",),
    ),
    Operation(
        name="admin_keys.list",
        method="GET",
        path="/admin/admin-keys",
        summary="List admin keys, oldest first, revoked ones too",
        run=_list,
        query=PageQuery,
        answer=Page[AdminKeyAnswer],
    ),
    Operation(
        name="admin_keys.get",
        method="GET",
        path="/admin/admin-keys/{id}",
        summary="Read an admin key",
        run=_get,
        answer=AdminKeyAnswer,
        problems=(404,),
    ),
    Operation(
        name="admin_keys.update",
        method="PATCH",
        path="/admin/admin-keys/{id}",
        summary="Rename an admin key, or give it another role",
        run=_update,
        body=ChangeAdminKey,
        answer=AdminKeyAnswer,
        topics=("admin_keys",),
        problems=(404, 409, 412),
    ),
    Operation(
        name="admin_keys.delete",
        method="DELETE",
        path="/admin/admin-keys/{id}",
        summary="Revoke an admin key for good",
        run=_delete,
        answer=None,
        status=204,
        topics=("admin_keys",),
        problems=(404, 409),
    ),
)
