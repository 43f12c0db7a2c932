"""`tollgate budgets`: caps on what accounts, keys, models, end users and tags may use."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from gateway.cli.arguments import AsJson, account_id, given, pairs
from gateway.cli.client import USAGE, Client, CommandFailed
from gateway.cli.session import Session, session_of
from gateway.cli.tables import bar, moment, show_fields, show_table, status

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Budgets: caps, quotas and rate limits.")

Id = Annotated[str, typer.Argument(metavar="BUDGET", help="Its id (bud_...) or its name.")]
# What makes a budget the one it is: another of these is another budget.
_IDENTITY: Final = ("account", "key", "models", "provider", "end_user", "tags", "each", "unit", "period")


@COMMANDS.command("set")
def set_budget(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name; a budget of that name gets the new cap.")],
    cap: Annotated[str, typer.Argument(help="USD such as 25.00, or a whole number of the unit.")],
    period: Annotated[
        str, typer.Option(help="minute, hour, day, week, month, quarter, year or lifetime.")
    ] = "month",
    unit: Annotated[str, typer.Option(help="usd, tokens, requests or concurrent.")] = "usd",
    account: Annotated[
        str | None, typer.Option(help="An account and everything below it: path or id.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="One virtual key, by id.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model pattern, as often as needed.")] = None,
    provider: Annotated[str | None, typer.Option(help="One provider.")] = None,
    end_user: Annotated[str | None, typer.Option(help="One end user.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    each: Annotated[str | None, typer.Option(help="end_user, key or tag:NAME: a cap for each.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; default: UTC.")] = None,
    anchor_day: Annotated[int | None, typer.Option(help="Day on which a period begins.")] = None,
    anchor_month: Annotated[int | None, typer.Option(help="Month in which a year begins.")] = None,
    soft: Annotated[bool, typer.Option("--soft", help="Only count and alert.")] = False,
    alert_at: Annotated[list[int] | None, typer.Option(help="A percentage, as often as needed.")] = None,
    fallback: Annotated[str | None, typer.Option(help="The model to use once it is spent.")] = None,
    from_now: Annotated[bool, typer.Option("--from-now", help="Do not count the spend so far.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a budget, or give the one of that name a new cap."""
    session = session_of(context)
    client = session.client()
    changeable = given(
        cap=cap,
        alert_at=alert_at or None,
        on_exhausted=None if fallback is None else {"fallback": fallback},
    )
    wanted = {
        "name": name,
        **changeable,
        **given(timezone=timezone, anchor_day=anchor_day, anchor_month=anchor_month),
        "account": None if account is None else account_id(client, account),
        "key": key,
        "models": model or [],
        "provider": provider,
        "end_user": end_user,
        "tags": pairs(tag or []),
        "each": each,
        "unit": unit,
        "period": period,
        "enforcement": "soft" if soft else "hard",
        "count_from": "now" if from_now else "window",
    }
    there = _named(client, name)
    if there is None:
        done, what = client.post("/admin/budgets", wanted), "Created"
    else:
        _refuse_other(there, wanted)
        changes = {**changeable, "enforcement": wanted["enforcement"]}
        done, what = client.patch(f"/admin/budgets/{there['id']}", changes), "Changed"
    if as_json:
        session.show_json(done)
    else:
        session.say(f"{what} budget {done['name']}: {_amount(done['cap'], done)} a {done['period']}.")
        session.show_text(done["id"])


@COMMANDS.command("list")
def list_budgets(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only those on this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List budgets with how much of each is used."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    found = list(client.items("/admin/budgets", account=only))
    if as_json:
        session.show_json(found)
        return
    paths = {each["id"]: each["path"] for each in client.items("/admin/accounts", deleted=True)}
    columns = ("ID", "NAME", "APPLIES TO", "PERIOD", "CAP", "SPENT", "HELD", "LEFT", "USED")
    rows = [_row(each, paths) for each in found]
    show_table(session.data, columns, rows, right=("CAP", "SPENT", "HELD", "LEFT"))
    if not found:
        session.say("There is no budget yet: `tollgate budgets set NAME CAP --account ACCOUNT`.")


@COMMANDS.command("status")
def show_status(
    context: typer.Context,
    budget: Id,
    subject: Annotated[str | None, typer.Option(help="Whose window, for a budget with `each`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one budget, its running window and those before it."""
    session = session_of(context)
    client = session.client()
    found = client.get(f"/admin/budgets/{_id(client, budget)}", subject=subject)
    windows = list(client.items(f"/admin/budgets/{found['id']}/windows", most=12, subject=subject))
    if as_json:
        session.show_json({**found, "windows": windows})
        return
    _show_budget(session, client, found)
    columns = ("WINDOW", "UNTIL", "SUBJECT", "CAP", "SPENT", "HELD", "STRANDED", "OVERRUN", "USED")
    show_table(
        session.data,
        columns,
        [_window_row(window, found) for window in windows],
        right=("CAP", "SPENT", "HELD", "STRANDED", "OVERRUN"),
    )


@COMMANDS.command()
def increase(
    context: typer.Context,
    budget: Id,
    amount: Annotated[str, typer.Argument(help="By how much.")],
    reason: Annotated[str, typer.Argument(help="Why; it is kept.")],
    subject: Annotated[str | None, typer.Option(help="Whose window, for a budget with `each`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Raise the cap of the running window alone."""
    session = session_of(context)
    client = session.client()
    body = {"amount": amount, "reason": reason, **given(subject=subject)}
    made = client.post(f"/admin/budgets/{_id(client, budget)}/increases", body)
    if as_json:
        session.show_json(made)
    else:
        session.say(f"Raised by {made['amount']} until the window ends.")


def _named(client: Client, name: str) -> Any | None:
    found = [each for each in client.items("/admin/budgets") if each["name"] == name]
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise CommandFailed(f"{len(found)} budgets are named {name}.", f"Name one by its id: {ids}.", USAGE)
    return found[0] if found else None


def _id(client: Client, budget: str) -> str:
    if budget.startswith("bud_"):
        return budget
    found = _named(client, budget)
    if found is None:
        raise CommandFailed(
            f"There is no budget {budget}.", "`tollgate budgets list` shows the budgets there are."
        )
    return str(found["id"])


def _refuse_other(there: Any, wanted: Any) -> None:
    other = [name for name in _IDENTITY if there[name] != wanted[name]]
    if other:
        raise CommandFailed(
            f"There is a budget {there['name']} with another {other[0]}: {there[other[0]]!r}.",
            f"Give this one another name, or change {there['id']} with the same {', '.join(other)}.",
            USAGE,
        )


def _show_budget(session: Session, client: Client, budget: Any) -> None:
    account = budget["account"]
    path = client.get(f"/admin/accounts/{account}")["path"] if account else ""
    fields: list[tuple[str, str | Text]] = [
        ("budget", f"{budget['name']}  ({budget['id']})"),
        ("applies to", _scope(budget, {account: path})),
        ("cap", f"{_amount(budget['cap'], budget)} a {budget['period']}, {budget['timezone']}"),
        ("enforcement", status(budget["enforcement"])),
        ("alerts at", ", ".join(f"{percent}%" for percent in budget["alert_at"])),
        ("when spent", f"use {budget['on_exhausted']['fallback']}" if budget["on_exhausted"] else ""),
    ]
    window = budget["window"]
    if window is not None:
        fields += [
            ("used", _bar(window)),
            ("left", f"{_amount(window['remaining'], budget)} until {moment(window['end']) or 'for ever'}"),
        ]
    show_fields(session.data, fields)
    session.data.print()


def _row(budget: Any, paths: dict[str, str]) -> list[Any]:
    window = budget["window"]
    figures = ["", "", "", status(f"for each {budget['each']}")]
    if window is not None:
        figures = [window["spent"], window["held"], window["remaining"], _bar(window)]
    return [
        budget["id"],
        budget["name"],
        _scope(budget, paths),
        budget["period"],
        _amount(budget["cap"], budget),
        *figures,
    ]


def _window_row(window: Any, budget: Any) -> list[Any]:
    return [
        moment(window["start"]) if budget["period"] != "lifetime" else "lifetime",
        moment(window["end"]),
        window["subject"],
        window["cap"],
        window["spent"],
        window["held"],
        window["stranded"],
        window["overrun"],
        _bar(window),
    ]


def _bar(window: Any) -> Text:
    return bar(float(window["spent"]), float(window["held"]), float(window["cap"]))


def _scope(budget: Any, paths: dict[str, str]) -> str:
    """What it applies to, in words."""
    account = budget["account"]
    parts = [
        paths.get(account, account) if account else "",
        budget["key"] or "",
        ", ".join(budget["models"]),
        budget["provider"] or "",
        f"user {budget['end_user']}" if budget["end_user"] else "",
        *(f"{name}={value}" for name, value in budget["tags"].items()),
    ]
    return " · ".join(part for part in parts if part) or "everything"


def _amount(amount: str, budget: Any) -> str:
    return f"{amount} USD" if budget["unit"] == "usd" else f"{int(amount):,} {budget['unit']}"
