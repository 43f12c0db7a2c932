"""`tollgate period`: closing months, and whether closed ones are what they were."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.client import FOUND_A_PROBLEM
from gateway.cli.session import session_of
from gateway.cli.tables import moment, show_table

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Months: closed once, verified at any time.")


@COMMANDS.command("close")
def close_period(
    context: typer.Context,
    month: Annotated[str, typer.Argument(help="Such as 2026-10, in UTC.")],
    without: Annotated[
        list[str] | None, typer.Option(help="A worker's journal that is lost with its disk.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Close a month for ever. Refused while calls of it are in flight or not posted."""
    session = session_of(context)
    with session.working(f"Closing {month} ..."):
        made = session.client().post("/admin/periods", {"period": month, "without": without or []})
    if as_json:
        session.show_json(made)
    else:
        session.say(f"Closed {made['id']}: {made['entries']} entries, {made['cost']} USD.")
        session.show_text(made["hash"])


@COMMANDS.command("list")
def list_periods(context: typer.Context, as_json: AsJson = False) -> None:
    """List the months that are closed, the latest first."""
    session = session_of(context)
    found = session.client().get("/admin/periods")["data"]
    if as_json:
        session.show_json(found)
        return
    columns = ("MONTH", "CLOSED", "BY", "ENTRIES", "COST", "LIST COST", "HASH")
    rows = [
        [
            each["id"],
            moment(each["closed_at"]),
            each["closed_by"],
            f"{each['entries']:,}",
            each["cost"],
            each["list_cost"],
            each["hash"][:16],
        ]
        for each in found
    ]
    show_table(session.data, columns, rows, right=("ENTRIES", "COST", "LIST COST"))


@COMMANDS.command()
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Compare closed months with what they were closed with; exit status 1 when one differs."""
    session = session_of(context)
    with session.working("Adding up closed months ..."):
        verdicts = session.client().get("/admin/periods/verification")["data"]
    if as_json:
        session.show_json(verdicts)
    for each in [] if as_json else verdicts:
        session.show_text(f"{each['period']} {'intact' if each['intact'] else each['problem']}")
    if not all(each["intact"] for each in verdicts):
        raise typer.Exit(FOUND_A_PROBLEM)
