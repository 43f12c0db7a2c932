"""`tollgate audit`: who changed what, and whether the log is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.client import FOUND_A_PROBLEM, USAGE, CommandFailed
from gateway.cli.session import session_of
from gateway.cli.tables import show_table

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="The audit log: who changed what.")


@COMMANDS.command("list")
def list_changes(
    context: typer.Context,
    last: Annotated[int, typer.Option(help="How many.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List changes, newest first."""
    session = session_of(context)
    found = list(session.client().items("/admin/audit", most=last))
    if as_json:
        session.show_json(found)
        return
    columns = ("AT", "ACTOR", "ACTION", "OBJECT", "CHANGED")
    show_table(session.data, columns, [_row(each) for each in found])


@COMMANDS.command()
def export(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(help="The file to write: a line of JSON for each change.")],
) -> None:
    """Write the whole log to a file, newest first, each change with its hash."""
    session = session_of(context)
    count = 0
    try:
        with session.working("Reading the audit log ..."), output.open("w", encoding="utf-8") as file:
            for entry in session.client().items("/admin/audit"):
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                count += 1
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error}.", "Give another place.", USAGE) from None
    session.say(f"Wrote {count:,} changes to {output}.")


@COMMANDS.command()
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Read the whole log and compare its hashes; exit status 1 when a row was changed, removed or cut off."""
    session = session_of(context)
    with session.working("Reading the audit log ..."):
        verdict = session.client().get("/admin/audit/verification")
    if as_json:
        session.show_json(verdict)
    elif verdict["intact"]:
        session.show_text(f"intact: {verdict['rows']} rows, each hash fits the one before")
    elif verdict["cut_off"]:
        session.show_text(f"cut off: the newest rows are missing after {verdict['rows']}")
    else:
        session.show_text(
            f"broken at row {verdict['broken_at']}: it or the row before was changed or removed"
        )
    if not verdict["intact"]:
        raise typer.Exit(FOUND_A_PROBLEM)


def _row(entry: Any) -> list[str]:
    at = entry["at"][:19].replace("T", " ")
    return [at, entry["actor"], entry["action"], entry["object"], _changed(entry["before"], entry["after"])]


def _changed(before: Any, after: Any) -> str:
    """The fields that differ, in a line; of what began or ended, its name. Spending is no change."""
    if before is None or after is None:
        return str((after or before or {}).get("name", ""))
    names = [name for name in after if name not in ("window", "spent") and before.get(name) != after[name]]
    return ", ".join(f"{name}: {_short(before.get(name))} → {_short(after[name])}" for name in names)


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
