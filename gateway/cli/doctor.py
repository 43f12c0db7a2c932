"""`tollgate doctor`: looks at everything a gateway needs, and says what to do about what is not well."""

from __future__ import annotations

import pkgutil
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from gateway.cli.arguments import AsJson
from gateway.cli.client import FOUND_A_PROBLEM
from gateway.cli.session import session_of
from gateway.cli.tables import show_table

__all__ = ["doctor"]

# Loaded when the command runs: it needs SQL.
_EXAMINE: Final = "gateway.cli.examination:examine"
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    context: typer.Context,
    config: Annotated[str | None, typer.Option(help="The gateway's configuration file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check configuration, disk, database, prices, clock, journals, providers; exit 1 on a problem."""
    session = session_of(context)
    with session.working("Looking ..."):
        findings: list[Any] = pkgutil.resolve_name(_EXAMINE)(session, config)
    if as_json:
        session.show_json([finding._asdict() for finding in findings])
    else:
        rows = [
            (finding.check, Text(finding.state, style=_STYLES[finding.state]), finding.found, finding.cure)
            for finding in findings
        ]
        show_table(session.data, ("check", "state", "found", "what to do"), rows)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(FOUND_A_PROBLEM)
