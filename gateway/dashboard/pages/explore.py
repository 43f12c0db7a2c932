"""Any measure by any group over any time; the question is in the address, so that it can be shared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.charts import Chart, stacked
from gateway.dashboard.inside import Refused
from gateway.dashboard.view import HEADERS, Page, View

__all__ = ["PAGES"]

REPORTS: Final = ("spend", "usage")
GROUPS: Final = ("account", "key", "model", "provider", "meter", "end_user")
BUCKETS: Final = ("", "hour", "day", "week", "month")
ASKED: Final = ("start", "end", "timezone", "bucket", "account", "key", "model", "currency")
MOST_ROWS: Final = 500
PASSED_ON: Final[tuple[str, ...]] = ("content-type", "content-disposition")


def question(view: View) -> tuple[str, dict[str, str]]:
    """Which report, and its parameters, from the address."""
    report = view.query.get("report", "spend")
    given = {name: view.query[name] for name in ASKED if view.query.get(name)}
    groups = view.request.query_params.getlist("group_by")
    tags = [f"tag:{name}" for name in view.query.get("tag", "").split(",") if name.strip()]
    chosen = [*(groups or ["model"]), *tags]
    return report if report in REPORTS else "spend", {**given, "group_by": ",".join(chosen)}


async def show(view: View) -> Response:
    """The form, the chart where there are buckets, and the table."""
    name, asked = question(view)
    report, error = None, None
    try:
        report = await view.api.get(f"/reports/{name}", **asked)
    except Refused as refused:
        if refused.status in (401, 403):
            raise
        error = refused
    view.error = error
    return view.render(
        "explore.html",
        name=name,
        asked=asked,
        groups=asked["group_by"].split(","),
        all_groups=GROUPS,
        all_buckets=BUCKETS,
        all_reports=REPORTS,
        report=report,
        rows=report["rows"][:MOST_ROWS] if report else [],
        chart=_chart(report, name, asked) if report else None,
    )


def _chart(report: dict[str, Any], name: str, asked: dict[str, str]) -> Chart | None:
    if "bucket" not in asked:
        return None
    measure = "cost" if name == "spend" else "calls"
    if measure not in report["columns"]:
        measure = "quantity"
    groups = [each for each in asked["group_by"].split(",") if each in report["columns"]]
    figures: dict[tuple[str, str], Decimal] = {}
    for row in report["rows"]:
        series = " · ".join(str(row[each] if row[each] is not None else "none") for each in groups)
        place = _short(row["bucket_start"]), series
        figures[place] = figures.get(place, Decimal(0)) + Decimal(row[measure])
    return stacked(figures, list(dict.fromkeys(bucket for bucket, _ in figures)))


def _short(start: str) -> str:
    """A bucket's start, without a time of day that says nothing."""
    return start[:10] if start[11:16] in ("00:00", "") else start[5:16].replace("T", " ")


async def download(view: View) -> Response:
    """The same question's answer as CSV."""
    name, asked = question(view)
    answer = await view.api.ask("GET", f"/reports/{name}", query={**asked, "format": "csv"})
    kept = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
    return Response(answer.body, headers={**HEADERS, **kept})


PAGES: Final = (Page("/explore", show), Page("/explore.csv", download))
