"""The ledger call by call, and each call's receipt."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View

__all__ = ["PAGES"]

FILTERS: Final = ("account", "key", "model", "end_user", "start", "end", "timezone", "after")
PAGE_ROWS: Final = 50


async def show(view: View) -> Response:
    """The newest calls, by the filters in the address."""
    asked = {name: view.query[name] for name in FILTERS if view.query.get(name)}
    report = await view.api.get("/reports/calls", limit=PAGE_ROWS, **asked)
    return view.render("calls.html", report=report, asked=asked)


async def receipt(view: View) -> Response:
    """One call: every charge line with the price it names, its budgets, its attempts."""
    call = await view.api.get(f"/v1/calls/{view.request.path_params['call']}")
    prices = {line["price_id"] for line in call["lines"] if line["price_id"]}
    rows = {price: await view.api.get(f"/admin/prices/{price}") for price in sorted(prices)}
    return view.render("receipt.html", call=call, prices=rows)


PAGES: Final = (Page("/calls", show), Page("/calls/{call}", receipt))
