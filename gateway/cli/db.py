"""`tollgate db`: the database itself, without a running gateway."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.client import FOUND_A_PROBLEM
from gateway.cli.session import session_of

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="The database itself, without a running gateway.")

Config = Annotated[str | None, typer.Option(help="The gateway's configuration file.")]

# Loaded when one of these runs: SQL takes longer to load than the rest of the command line together.
_TASKS: Final = {
    "upgrade": "gateway.cli.db_tasks:upgrade_now",
    "check": "gateway.cli.db_tasks:check_version",
    "backup": "gateway.cli.db_tasks:backup_to",
    "restore": "gateway.cli.db_tasks:restore_from",
}


@COMMANDS.command()
def upgrade(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Bring the tables up to date. `tollgate serve` does it by itself."""
    session = session_of(context)
    before = _task("upgrade")(session, config)
    if as_json:
        session.show_json({"before": before.current, "now": max(before.head, before.current or "")})
    elif before.is_behind:
        session.show_text(f"upgraded from {before.current or 'nothing'} to {before.head}")
    else:
        session.show_text(f"up to date at {before.current}")


@COMMANDS.command()
def check(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Say whether the tables are up to date; exit status 1 when they are not."""
    session = session_of(context)
    version = _task("check")(session, config)
    if as_json:
        session.show_json({"current": version.current, "head": version.head, "behind": version.is_behind})
    elif version.is_behind:
        session.show_text(f"behind: at {version.current or 'nothing'}, this release brings {version.head}")
    else:
        session.show_text(f"up to date at {version.current}")
    if version.is_behind:
        raise typer.Exit(FOUND_A_PROBLEM)


@COMMANDS.command()
def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database while the gateway serves (PostgreSQL: by pg_dump)."""
    session = session_of(context)
    _task("backup")(session, config, target)
    if as_json:
        session.show_json({"file": str(target), "bytes": target.stat().st_size})
    else:
        session.say(f"Copied the database ({target.stat().st_size:,} bytes).")
        session.show_text(str(target))


@COMMANDS.command()
def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A file that `db backup` wrote.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put a copy in the database's place. Stop every gateway that uses it first."""
    session = session_of(context)
    kept = _task("restore")(session, config, source)
    if as_json:
        session.show_json({"kept": None if kept is None else str(kept)})
        return
    session.say("Restored. Calls posted since the copy was made are posted again from the kept journals.")
    if kept is not None:
        session.say(f"What was there is {kept} now.")


def _task(name: str) -> Any:
    return pkgutil.resolve_name(_TASKS[name])
