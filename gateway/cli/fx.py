"""`tollgate fx`: dated exchange rates for reports in other currencies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.arguments import AsJson, file_text
from gateway.cli.client import FOUND_A_PROBLEM
from gateway.cli.session import session_of
from gateway.cli.tables import show_table

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Exchange rates: dated, never overwritten.")


@COMMANDS.command("import")
def import_rates(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV: date, currency, rate (units for one USD).")],
    as_json: AsJson = False,
) -> None:
    """Import rates from a CSV file. A day that has a rate keeps it; exit status 1 when one differs."""
    session = session_of(context)
    result = session.client().post("/admin/fx/import", {"file": file_text(file), "name": file.name})
    if as_json:
        session.show_json(result)
    else:
        session.say(f"Added {result['added']} rates; {result['unchanged']} were there already.")
        for line in result["conflicts"]:
            session.show_text(line)
    if result["conflicts"]:
        raise typer.Exit(FOUND_A_PROBLEM)


@COMMANDS.command("list")
def list_rates(
    context: typer.Context,
    currency: Annotated[str | None, typer.Option(help="Only of this currency.")] = None,
    as_json: AsJson = False,
) -> None:
    """List rates, the latest first."""
    session = session_of(context)
    found = list(session.client().items("/admin/fx", currency=currency))
    if as_json:
        session.show_json(found)
        return
    rows = [[each["date"], each["currency"], each["rate"], each["source"]] for each in found]
    show_table(session.data, ("DATE", "CURRENCY", "RATE", "SOURCE"), rows, right=("RATE",))
