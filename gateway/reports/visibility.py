"""Who asks, and so which part of the book a query looks at."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.domain.errors import Forbidden, NotFound
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.reports.base import Query, Report, Visible
from gateway.store.reading import accounts_named

__all__ = ["Principal", "visible"]

Principal = AdminKey | VirtualKey
"""Who asks: an admin key of any role, or a virtual key."""


def visible(conn: Connection, report: Report, query: Query, principal: Principal) -> Visible:
    """What `principal` may see of the book, narrowed to the account it asks for.

    An admin key sees everything; a virtual key its own calls, or those of its account and below when it
    `sees_account`. Somebody else's account is NotFound, like one that never was.
    """
    if isinstance(principal, AdminKey):
        return Visible(roots=_asked_for(conn, query, within=None))
    if report.admin_only:
        raise Forbidden(
            "role_not_allowed",
            f"The report {report.name} tells of the gateway, not of a key's spend.",
            hint="Ask with an admin key; any role may read it.",
        )
    asked = _asked_for(conn, query, within=principal.account)
    if principal.sees_account:
        return Visible(roots=asked or (principal.account,))
    if asked is not None and principal.account not in asked:
        raise _no_account(query.filters["account"])
    return Visible(key=principal.id)


def _asked_for(conn: Connection, query: Query, within: str | None) -> tuple[str, ...] | None:
    name = query.filters.get("account")
    if name is None:
        return None
    found = accounts_named(conn, name, within)
    if not found:
        raise _no_account(name)
    return found


def _no_account(name: str) -> NotFound:
    return NotFound(
        "not_found",
        f"There is no account {name!r}.",
        hint="Name an account by its id (acct_...) or its path, such as acme/search.",
        param="account",
    )
