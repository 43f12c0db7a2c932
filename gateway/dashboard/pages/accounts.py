"""The tree of accounts: what each spent this month, and making and blocking them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View, go

__all__ = ["PAGES"]

FIELDS: Final = ("name", "parent", "kind", "cost_center", "timezone")


async def show(view: View) -> Response:
    """All accounts, children under their parents, each with its own spend and that of everything below."""
    accounts = sorted(await view.api.all("/admin/accounts"), key=lambda each: each["path"].split("/"))
    report = await view.api.get("/reports/spend", timezone=view.timezone, group_by="account")
    own = {row["account"]: Decimal(row["cost"]) for row in report["rows"]}
    rows = [
        {
            **account,
            "depth": account["path"].count("/"),
            "own": own.get(account["path"], Decimal(0)),
            "whole": _below(account["path"], own),
        }
        for account in accounts
    ]
    return view.render("accounts.html", rows=rows)


def _below(path: str, own: dict[str, Decimal]) -> Decimal:
    mine = (cost for each, cost in own.items() if each == path or each.startswith(f"{path}/"))
    return sum(mine, Decimal(0))


async def change(view: View) -> Response:
    """A new account, or another status of one."""
    form = await view.form()
    account = form.get("account")
    if account is None:
        body: dict[str, Any] = {name: form[name] for name in FIELDS if name in form}
        await view.api.ask("POST", "/admin/accounts", body=body)
        return go("/dashboard/accounts", "account")
    status = form.get("status", "blocked")
    await view.api.ask("PATCH", f"/admin/accounts/{account}", body={"status": status})
    return go("/dashboard/accounts", "blocked" if status == "blocked" else "active")


PAGES: Final = (Page("/accounts", show, change),)
