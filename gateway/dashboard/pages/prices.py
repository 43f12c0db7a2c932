"""Prices: what a model costs and why, its history, and where the sources disagree."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View

__all__ = ["PAGES"]


async def show(view: View) -> Response:
    """The rows that a model's calls would use, all its rows, and the disagreements of all models."""
    model = view.query.get("model", "").strip()
    explained, history = None, []
    if model:
        explained = await view.api.get("/admin/prices/explanation", model=model)
        history = await view.api.all("/admin/prices", model=explained["model"])
    differences = (await view.api.get("/admin/prices/differences"))["data"]
    return view.render(
        "prices.html", model=model, explained=explained, history=history, differences=differences
    )


PAGES: Final = (Page("/prices", show),)
