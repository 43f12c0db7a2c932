"""`tollgate export focus`: a month for FinOps tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.client import USAGE, CommandFailed
from gateway.cli.saving import save
from gateway.cli.session import session_of

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Exports for other tools.")


@COMMANDS.callback()
def about() -> None:
    """Exports for other tools."""


@COMMANDS.command()
def focus(
    context: typer.Context,
    month: Annotated[str, typer.Argument(help="Such as 2026-11, in UTC.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file, .csv or .parquet; default: CSV on stdout.")
    ] = None,
    version: Annotated[str, typer.Option(help="Of the specification: 1.2 or 1.4.")] = "1.2",
) -> None:
    """Export the costs of a month in the FOCUS format."""
    session = session_of(context)
    client = session.client()
    if output is None:
        for piece in client.pieces("/reports/focus", period=month, version=version, format="csv"):
            session.data.file.write(piece.decode())
        return
    if output.suffix not in (".csv", ".parquet"):
        raise CommandFailed(
            f"{output} does not say what to write.", "End its name in .csv or .parquet.", USAGE
        )
    form = output.suffix.removeprefix(".")
    save(session, client, "/reports/focus", output, period=month, version=version, format=form)
