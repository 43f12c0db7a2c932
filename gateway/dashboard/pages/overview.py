"""What a month has cost so far, and what needs a look."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.charts import meter, share, stacked
from gateway.dashboard.view import Page, View

__all__ = ["PAGES"]

LONGEST_LIST: Final = 6


async def show(view: View) -> Response:
    """The month so far by day and model, who spent most, and which budgets are nearly used."""
    zone = view.timezone
    daily = await view.api.get("/reports/spend", timezone=zone, bucket="day", group_by="model")
    budgets = (await view.api.get("/reports/budgets"))["rows"]
    unpriced = await view.api.get("/reports/unpriced", timezone=zone)
    keys = {key["id"]: key["name"] for key in await view.api.all("/admin/keys")}
    days = list(dict.fromkeys(row["bucket_start"] for row in daily["rows"]))
    figures = {(row["bucket_start"][:10], row["model"]): Decimal(row["cost"]) for row in daily["rows"]}
    return view.render(
        "overview.html",
        spend=daily,
        chart=stacked(figures, [day[:10] for day in days]),
        days=_by_day(daily["rows"]),
        tops=[(name, await _top(view, name, keys)) for name in ("account", "model", "key")],
        budgets=_fullest(budgets),
        forecast=await _forecast(view),
        unpriced=unpriced["total"]["calls"],
        budgets_near=sum(1 for row in budgets if _share(row) >= 80),
    )


async def _forecast(view: View) -> dict[str, Decimal] | None:
    """What the month will have cost by its end: the sums over the accounts that have none above them."""
    rows = (await view.api.get("/reports/forecast", timezone=view.timezone))["rows"]
    roots = [row for row in rows if row["budget"] is None and "/" not in row["account"] and row["forecast"]]
    if not roots:
        return None
    return {
        name: sum((Decimal(row[name]) for row in roots), Decimal(0)) for name in ("low", "forecast", "high")
    }


def _by_day(rows: list[dict[str, Any]]) -> list[tuple[str, int, Decimal]]:
    days: dict[str, tuple[int, Decimal]] = {}
    for row in rows:
        calls, cost = days.get(row["bucket_start"], (0, Decimal(0)))
        days[row["bucket_start"]] = calls + row["calls"], cost + Decimal(row["cost"])
    return [(day[:10], *figures) for day, figures in days.items()]


async def _top(view: View, dimension: str, names: dict[str, str]) -> list[dict[str, Any]]:
    report = await view.api.get("/reports/spend", timezone=view.timezone, group_by=dimension)
    rows = sorted(report["rows"], key=lambda row: Decimal(row["cost"]), reverse=True)
    most = max([Decimal(row["cost"]) for row in rows[:1]], default=Decimal(0))
    return [
        {
            "name": row[dimension],
            "label": names.get(row[dimension], row[dimension]),
            "cost": row["cost"],
            "meter": share(Decimal(row["cost"]), most),
        }
        for row in rows[:LONGEST_LIST]
    ]


def _fullest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    longer = [row for row in rows if row["period"] not in ("minute", "hour") and row["unit"] != "concurrent"]
    fullest = sorted(longer, key=_share, reverse=True)[:LONGEST_LIST]
    return [
        {**row, "meter": meter(Decimal(row["spent"]), Decimal(row["held"]), Decimal(row["cap"]))}
        for row in fullest
    ]


def _share(row: dict[str, Any]) -> Decimal:
    return Decimal(row["percentage"] or 0)


PAGES: Final = (Page("/", show),)
