"""Budgets: how much of each is used, and setting them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.charts import Chart, burn_down, meter
from gateway.dashboard.view import Page, View, go
from gateway.domain.periods import PERIODS

__all__ = ["PAGES"]

UNITS: Final = ("usd", "tokens", "requests", "concurrent")
OPTIONAL: Final = ("account", "key", "provider", "end_user", "each", "timezone", "enforcement", "unit")
LONG_PERIODS: Final = ("week", "month", "quarter", "year")
DAY_S: Final = 86_400


async def show(view: View) -> Response:
    """Every budget in its running window, the fullest first."""
    rows = (await view.api.get("/reports/budgets"))["rows"]
    rows.sort(key=lambda row: Decimal(row["percentage"] or 0), reverse=True)
    shown = [
        {**row, "meter": meter(Decimal(row["spent"]), Decimal(row["held"]), Decimal(row["cap"]))}
        for row in rows
    ]
    accounts = await view.api.all("/admin/accounts")
    return view.render("budgets.html", rows=shown, accounts=accounts, units=UNITS, periods=list(PERIODS))


async def create(view: View) -> Response:
    """A budget from the form."""
    form = await view.form()
    body: dict[str, Any] = {name: form[name] for name in OPTIONAL if name in form}
    body |= {"name": form.get("name", ""), "cap": form.get("cap", ""), "period": form.get("period", "month")}
    body["models"] = _list(form.get("models"))
    body["alert_at"] = [int(each) for each in _list(form.get("alert_at")) if each.isdecimal()]
    made = (await view.api.ask("POST", "/admin/budgets", body=body)).json
    return go(f"/dashboard/budgets/{made['id']}", "budget")


def _list(text: str | None) -> list[str]:
    return [each.strip() for each in (text or "").split(",") if each.strip()]


async def one(view: View) -> Response:
    """One budget: its window, its burn-down, its earlier windows."""
    path = f"/admin/budgets/{view.request.path_params['budget']}"
    answer = await view.api.ask("GET", path)
    budget = answer.json
    windows = (await view.api.get(f"{path}/windows", limit=24))["data"]
    window = budget["window"]
    used = None
    if window is not None:
        used = meter(Decimal(window["spent"]), Decimal(window["held"]), Decimal(window["cap"]))
    owner = budget["account"] and await view.api.get(f"/admin/accounts/{budget['account']}")
    return view.render(
        "budget.html",
        budget=budget,
        owner=owner,
        etag=answer.headers.get("etag", ""),
        windows=windows,
        meter=used,
        chart=await _burn_down(view, budget),
        increases=(await view.api.get(f"{path}/increases"))["data"],
    )


async def _burn_down(view: View, budget: dict[str, Any]) -> Chart | None:
    """Only where the report can be asked for just what the budget counts."""
    window = budget["window"]
    is_plain = not (budget["models"] or budget["tags"] or budget["end_user"])
    if window is None or budget["unit"] != "usd" or budget["period"] not in LONG_PERIODS or not is_plain:
        return None
    asked = {
        "account": budget["account"],
        "key": budget["key"],
        "provider": budget["provider"],
        "timezone": budget["timezone"],
        "start": window["start"],
        "bucket": "day",
    }
    report = await view.api.get("/reports/spend", **asked)
    start, end = datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])
    days = [(row["bucket_start"][:10], Decimal(row["cost"])) for row in report["rows"]]
    return burn_down(days, Decimal(window["cap"]), round((end - start).total_seconds() / DAY_S))


async def change(view: View) -> Response:
    """Another cap, more for this window, or the budget's end."""
    form = await view.form()
    path = f"/admin/budgets/{view.request.path_params['budget']}"
    page = f"/dashboard/budgets/{view.request.path_params['budget']}"
    match form.get("do"):
        case "cap":
            seen = {"if-match": form["etag"]} if "etag" in form else {}
            await view.api.ask("PATCH", path, body={"cap": form.get("cap", "")}, headers=seen)
            return go(page, "cap")
        case "increase":
            body = {"amount": form.get("amount", ""), "reason": form.get("reason", "")}
            await view.api.ask("POST", f"{path}/increases", body=body)
            return go(page, "increase")
        case _:
            await view.api.ask("DELETE", path)
            return go("/dashboard/budgets", "removed")


PAGES: Final = (Page("/budgets", show, create), Page("/budgets/{budget}", one, change))
