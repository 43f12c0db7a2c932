"""Calls in flight, with tokens and cost as they come."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View

__all__ = ["PAGES"]


async def show(view: View) -> Response:
    """The page, which fetches its table again each second."""
    return view.render("live.html", calls=await view.api.get("/admin/calls/running"))


async def table(view: View) -> Response:
    """The table alone."""
    return view.render("live_table.html", calls=await view.api.get("/admin/calls/running"))


PAGES: Final = (Page("/live", show), Page("/live/table", table))
