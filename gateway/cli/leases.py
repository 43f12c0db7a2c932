"""`tollgate leases`: the headroom that workers have taken, and the release of a lost one's."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.session import session_of
from gateway.cli.tables import moment, show_table, status

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Leases: headroom that workers have taken.")


@COMMANDS.command("list")
def list_leases(context: typer.Context, as_json: AsJson = False) -> None:
    """List leases, with the worker and the window of each."""
    session = session_of(context)
    found = list(session.client().items("/admin/leases"))
    if as_json:
        session.show_json(found)
        return
    columns = ("LEASE", "WORKER", "SEEN", "STATUS", "BUDGET", "WINDOW", "AMOUNT", "HELD", "UNIT")
    show_table(session.data, columns, [_row(each) for each in found], right=("AMOUNT", "HELD"))


@COMMANDS.command()
def release(
    context: typer.Context,
    lease: Annotated[str, typer.Argument(help="Its id, from the list.")],
    force: Annotated[bool, typer.Option("--force", help="Even if its worker was heard of lately.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back the headroom of a worker that is lost with its disk."""
    session = session_of(context)
    released = session.client().delete(f"/admin/leases/{lease}", force=force)
    if as_json:
        session.show_json(released)
    else:
        session.say(
            f"Released; {released['budget_name']} shows it as such, and what its worker still spends."
        )


def _row(lease: Any) -> list[Any]:
    window = f"{moment(lease['start'])} {lease['subject']}".strip() if lease["end"] else "lifetime"
    state = "stranded" if lease["stranded"] else "closed" if lease["closed"] else "active"
    return [
        lease["id"],
        lease["host"],
        moment(lease["seen_at"]),
        status(state),
        lease["budget_name"],
        window,
        lease["amount"],
        lease["held"],
        lease["unit"],
    ]
