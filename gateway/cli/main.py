"""The command line as a whole: which commands there are, and how a run of one ends.

Every command prints data on stdout and words on stderr. Exit status: 0 all is well, 1 it looked and found a
problem, 2 it was used wrongly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import (
    accounts,
    audit,
    budgets,
    db,
    export,
    fx,
    grants,
    keys,
    leases,
    period,
    prices,
    webhooks,
)
from gateway.cli.client import FOUND_A_PROBLEM, CommandFailed
from gateway.cli.doctor import doctor
from gateway.cli.report import report
from gateway.cli.rerate import rerate
from gateway.cli.serve import demo, serve
from gateway.cli.session import Session

__all__ = ["main"]

_GROUPS = {
    "accounts": accounts.COMMANDS,
    "keys": keys.COMMANDS,
    "budgets": budgets.COMMANDS,
    "grants": grants.COMMANDS,
    "fx": fx.COMMANDS,
    "export": export.COMMANDS,
    "prices": prices.COMMANDS,
    "period": period.COMMANDS,
    "leases": leases.COMMANDS,
    "webhooks": webhooks.COMMANDS,
    "audit": audit.COMMANDS,
    "db": db.COMMANDS,
}


def main(arguments: Sequence[str], environ: Mapping[str, str], starters: Mapping[str, str]) -> int:
    """Run one command; the exit status. `starters` says what `serve` and `demo` start: `module:function`."""
    session = Session(environ, starters)
    try:
        _application()(args=list(arguments), prog_name="tollgate", obj=session)
    except CommandFailed as failure:
        session.words.print(f"[bold red]tollgate:[/] {escape(failure.message)}")
        if failure.hint:
            session.words.print(f"  [dim]{escape(failure.hint)}[/]")
        return failure.exit_status
    except BrokenPipeError:
        # Whoever reads our output has seen enough; nothing may be written on the way out either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND_A_PROBLEM
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FOUND_A_PROBLEM
    return 0


def _application() -> typer.Typer:
    application = typer.Typer(
        name="tollgate",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=_about,
    )
    application.command()(serve)
    application.command()(demo)
    application.command()(report)
    application.command()(rerate)
    application.command()(doctor)
    for name, commands in _GROUPS.items():
        application.add_typer(commands, name=name)
    return application


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"tollgate {version('tollgate-gateway')}")
        except PackageNotFoundError:
            typer.echo("tollgate, from a checkout")
        raise typer.Exit


def _about(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A gateway for LLM traffic: budgets that hold, usage that is not lost.

    Commands speak to the gateway at TOLLGATE_URL (default http://127.0.0.1:8080) with TOLLGATE_ADMIN_KEY;
    serve, demo, db and doctor need none.
    """
