"""Changing accounts: a tree of any depth whose nodes know their path.

Each change first takes the next number of its topic, which lets one change of accounts happen at a time:
two moves that together would close a circle cannot pass each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.domain.tenancy import Account
from gateway.store.notices import note_key
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import accounts, budgets, virtual_keys
from gateway.store.tenancy import account_by_id, account_of_row, key_of_row

__all__ = [
    "NewAccount",
    "account_chain",
    "account_chains",
    "change_account",
    "create_account",
    "delete_account",
    "list_accounts",
    "living_account",
    "move_account",
    "subtree_of",
]


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an administrator says of an account to be; names are checked before they come here."""

    name: str
    parent: str | None
    kind: str
    cost_center: str | None
    timezone: str
    metadata: Mapping[str, Any]


def living_account(conn: Connection, account: str, *, param: str | None = None) -> Account:
    """The account; NotFound when there is none or it is deleted. `param` names the field that asked."""
    found = account_by_id(conn, account)
    if found is None or found.deleted_at_us is not None:
        raise NotFound(
            "not_found",
            f"There is no account {account}.",
            hint="GET /admin/accounts lists the accounts there are.",
            param=param,
        )
    return found


def account_chain(conn: Connection, account: str) -> tuple[str, ...]:
    """The ids from the account up to its root; NotFound when there is no such account."""
    chain, node = [], living_account(conn, account, param="account")
    while node.parent is not None:
        chain.append(node.id)
        above = account_by_id(conn, node.parent)
        assert above is not None, "a parent is a row"
        node = above
    return (*chain, node.id)


def account_chains(conn: Connection) -> dict[str, tuple[str, ...]]:
    """Every account, deleted ones too, with those above it, itself first."""
    parents = {row.id: row.parent for row in conn.execute(select(accounts.c.id, accounts.c.parent))}
    chains: dict[str, tuple[str, ...]] = {}
    for account in parents:
        chain: list[str] = []
        node: str | None = account
        while node is not None:
            chain.append(node)
            node = parents.get(node)
        chains[account] = tuple(chain)
    return chains


def subtree_of(conn: Connection, account: str) -> list[str]:
    """The account and all below it, deleted ones too; NotFound when there never was such an account."""
    found = [row.id for row in _subtree(conn, account)]
    if not found:
        living_account(conn, account, param="account")
    return found


def create_account(conn: Connection, new: NewAccount, *, account_id: str, now_us: int) -> Account:
    """Add the account under its parent; Conflict when the path is taken."""
    revision = next_number(conn, "accounts")
    path = _path_below(conn, new.parent, new.name)
    _refuse_taken(conn, path)
    conn.execute(
        insert(accounts).values(
            id=account_id,
            parent=new.parent,
            name=new.name,
            path=path,
            kind=new.kind,
            cost_center=new.cost_center,
            timezone=new.timezone,
            metadata=new.metadata,
            status="active",
            created_at=now_us,
            deleted_at=None,
            revision=revision,
        )
    )
    return living_account(conn, account_id)


def change_account(conn: Connection, account: Account, changes: Mapping[str, Any]) -> Account:
    """Set columns that concern this account alone: kind, cost_center, timezone, metadata, status."""
    revision = next_number(conn, "accounts")
    changed = update(accounts).where(accounts.c.id == account.id).values(**changes, revision=revision)
    conn.execute(changed)
    return living_account(conn, account.id)


def move_account(conn: Connection, account: Account, *, parent: str | None, name: str) -> Account:
    """Give the account another parent, another name or both; its subtree's paths follow.

    Conflict when the new parent lies in that subtree, or the path is taken.
    """
    revision = next_number(conn, "accounts")
    subtree = _subtree(conn, account.id)
    if parent is not None and parent in {row.id for row in subtree}:
        raise Conflict(
            "conflict",
            f"{parent} is {account.path} or lies below it: no account is its own ancestor.",
            hint="Move the inner account out first.",
            param="parent",
        )
    path = _path_below(conn, parent, name)
    if path != account.path:
        _refuse_taken(conn, path)
    conn.execute(update(accounts).where(accounts.c.id == account.id).values(parent=parent, name=name))
    moved = [{"node": row.id, "to": path + row.path.removeprefix(account.path)} for row in subtree]
    repath = update(accounts).where(accounts.c.id == bindparam("node"))
    conn.execute(repath.values(path=bindparam("to"), revision=revision), moved)
    return living_account(conn, account.id)


def delete_account(conn: Connection, account: Account, now_us: int) -> None:
    """End the account, its keys and its budgets; all of them keep their history.

    Conflict while living accounts are below it.
    """
    revision = next_number(conn, "accounts")
    below = select(func.count()).where(accounts.c.parent == account.id, accounts.c.deleted_at.is_(None))
    if count := conn.execute(below).scalar_one():
        raise Conflict(
            "conflict",
            f"{account.path} has {count} accounts below it.",
            hint="Delete or move them first.",
        )
    ended = update(accounts).where(accounts.c.id == account.id)
    conn.execute(ended.values(deleted_at=now_us, revision=revision))
    _end_keys_of(conn, account.id, now_us)
    _end_budgets_of(conn, account.id, now_us)


def _end_keys_of(conn: Connection, account: str, now_us: int) -> None:
    alive = (virtual_keys.c.account == account) & (virtual_keys.c.status != "revoked")
    revision = next_number(conn, "keys")
    for row in conn.execute(select(virtual_keys).where(alive).order_by(virtual_keys.c.id)):
        note_key(conn, key_of_row(row), "key.revoked", now_us)
    ended = update(virtual_keys).where(alive)
    conn.execute(ended.values(status="revoked", revoked_at=now_us, revision=revision))


def _end_budgets_of(conn: Connection, account: str, now_us: int) -> None:
    alive = (budgets.c.account == account) & budgets.c.deleted_at.is_(None)
    revision = next_number(conn, "budgets")
    conn.execute(update(budgets).where(alive).values(deleted_at=now_us, revision=revision))


def list_accounts(
    conn: Connection,
    *,
    after: str | None,
    limit: int,
    parent: str | None,
    path: str | None,
    with_deleted: bool,
) -> list[Account]:
    """Accounts from the oldest on, those after the id `after`; of one parent or path when it is given."""
    query = select(accounts)
    if path is not None:
        query = query.where(accounts.c.path == path)
    if parent is not None:
        query = query.where(accounts.c.parent == parent)
    if not with_deleted:
        query = query.where(accounts.c.deleted_at.is_(None))
    rows = conn.execute(page(conn, query, accounts, after=after, limit=limit))
    return [account_of_row(row) for row in rows]


def _path_below(conn: Connection, parent: str | None, name: str) -> str:
    if parent is None:
        return name
    return f"{living_account(conn, parent, param='parent').path}/{name}"


def _refuse_taken(conn: Connection, path: str) -> None:
    taken = select(accounts.c.id).where(accounts.c.path == path, accounts.c.deleted_at.is_(None))
    if (holder := conn.execute(taken).scalar()) is not None:
        raise Conflict(
            "conflict",
            f"There is already an account {path}: {holder}.",
            hint="Choose another name or another parent.",
            param="name",
        )


def _subtree(conn: Connection, account: str) -> Sequence[Row[Any]]:
    """The account and everything below it, deleted accounts too: their history moves along."""
    tree = select(accounts.c.id, accounts.c.path).where(accounts.c.id == account).cte("tree", recursive=True)
    children = select(accounts.c.id, accounts.c.path).join(tree, accounts.c.parent == tree.c.id)
    return conn.execute(select(tree.union_all(children))).all()
