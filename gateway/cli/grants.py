"""`tollgate grants`: credit given to accounts."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson, account_id, given, instant
from gateway.cli.session import session_of
from gateway.cli.tables import moment, show_table

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Grants: credit given to accounts.")


@COMMANDS.command()
def add(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="The account's path or id.")],
    amount: Annotated[str, typer.Argument(help="How much, such as 100000 or 5.00.")],
    unit: Annotated[str, typer.Option(help="usd, tokens or requests.")] = "usd",
    expires: Annotated[str | None, typer.Option(help="A date, a time, or a duration such as 90d.")] = None,
    priority: Annotated[int, typer.Option(help="Lower burns first, then earlier expiry.")] = 0,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    as_json: AsJson = False,
) -> None:
    """Give an account credit; prints the grant's id."""
    session = session_of(context)
    client = session.client()
    body = {
        "account": account_id(client, account),
        "amount": amount,
        "unit": unit,
        "priority": priority,
        "reason": reason,
        **given(expires_at=instant(expires)),
    }
    made = client.post("/admin/grants", body)
    if as_json:
        session.show_json(made)
    else:
        session.say(f"Granted {made['amount']} {made['unit']}; the account's pool is {made['budget']}.")
        session.show_text(made["id"])


@COMMANDS.command("list")
def list_grants(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List grants: what was given, burnt, expired, and what remains."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    found = list(client.items("/admin/grants", account=only))
    if as_json:
        session.show_json(found)
        return
    paths = {each["id"]: each["path"] for each in client.items("/admin/accounts", deleted=True)}
    columns = (
        "ID", "ACCOUNT", "UNIT", "AMOUNT", "BURNT", "EXPIRED", "LEFT", "PRIORITY", "EXPIRES", "REASON"
    )  # fmt: skip
    figures = ("AMOUNT", "BURNT", "EXPIRED", "LEFT", "PRIORITY")
    show_table(session.data, columns, [_row(each, paths) for each in found], right=figures)


def _row(grant: Any, paths: dict[str, str]) -> list[Any]:
    return [
        grant["id"],
        paths.get(grant["account"], grant["account"]),
        grant["unit"],
        grant["amount"],
        grant["burnt"],
        grant["expired"],
        grant["remaining"],
        str(grant["priority"]),
        moment(grant["expires_at"]),
        grant["reason"],
    ]
