"""Virtual keys: making, rotating, blocking and revoking them. A key is shown once, when it is made."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from gateway.dashboard.view import Page, View, go

__all__ = ["PAGES"]


async def show(view: View) -> Response:
    """All keys, newest first."""
    accounts = await view.api.all("/admin/accounts")
    paths = {account["id"]: account["path"] for account in accounts}
    keys = [{**key, "path": paths.get(key["account"], "")} for key in await view.api.all("/admin/keys")]
    keys.sort(key=lambda key: key["created_at"], reverse=True)
    return view.render("keys.html", keys=keys, accounts=accounts)


async def change(view: View) -> Response:
    """A new key, or the end of one; a secret that was made is shown at once and never again."""
    form = await view.form()
    key, wish = form.get("key"), form.get("do")
    if key is None:
        view.values["made"] = (await view.api.ask("POST", "/admin/keys", body=_wanted(form))).json
    elif wish == "rotate":
        view.values["made"] = (await view.api.ask("POST", f"/admin/keys/{key}/rotate", body={})).json
    elif wish == "revoke":
        await view.api.ask("DELETE", f"/admin/keys/{key}")
        return go("/dashboard/keys", "revoked")
    else:
        status = "active" if wish == "unblock" else "blocked"
        await view.api.ask("PATCH", f"/admin/keys/{key}", body={"status": status})
        return go("/dashboard/keys", status)
    return await show(view)


def _wanted(form: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"account": form.get("account", ""), "name": form.get("name", "")}
    models = [each.strip() for each in form.get("models", "").split(",") if each.strip()]
    if models:
        body["models"] = models
    if form.get("max_output_tokens", "").isdecimal():
        body["max_output_tokens"] = int(form["max_output_tokens"])
    return body


PAGES: Final = (Page("/keys", show, change),)
