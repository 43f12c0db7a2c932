"""Where alerts go, and what became of them."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View, go

__all__ = ["PAGES"]

FORMATS: Final = ("standard", "slack", "pagerduty", "email")
DELIVERIES: Final = 20


async def show(view: View) -> Response:
    """All webhooks, each with its latest deliveries."""
    webhooks = await view.api.all("/admin/webhooks")
    for webhook in webhooks:
        page = await view.api.get(f"/admin/webhooks/{webhook['id']}/deliveries", limit=DELIVERIES)
        webhook["deliveries"] = page["data"]
    accounts = await view.api.all("/admin/accounts")
    return view.render("alerts.html", webhooks=webhooks, accounts=accounts, formats=FORMATS)


async def change(view: View) -> Response:
    """A new webhook, a test, another status, its end, or a delivery sent again."""
    form = await view.form()
    webhook = f"/admin/webhooks/{form.get('webhook', '')}"
    match form.get("do"):
        case "test":
            await view.api.ask("POST", f"{webhook}/test")
            return go("/dashboard/alerts", "tested")
        case "replay":
            await view.api.ask("POST", f"/admin/deliveries/{form.get('delivery', '')}/replay")
            return go("/dashboard/alerts", "replayed")
        case "disable" | "enable" as wish:
            status = "disabled" if wish == "disable" else "active"
            await view.api.ask("PATCH", webhook, body={"status": status})
            return go("/dashboard/alerts", status)
        case "remove":
            await view.api.ask("DELETE", webhook)
            return go("/dashboard/alerts", "removed")
        case _:
            made = (await view.api.ask("POST", "/admin/webhooks", body=_wanted(form))).json
            view.values["made"] = made
            return await show(view)


def _wanted(form: dict[str, str]) -> dict[str, Any]:
    events = [each.strip() for each in form.get("events", "budget.*").split(",") if each.strip()]
    body: dict[str, Any] = {"target": form.get("target", ""), "events": events}
    body |= {name: form[name] for name in ("format", "account") if name in form}
    return body


PAGES: Final = (Page("/alerts", show, change),)
