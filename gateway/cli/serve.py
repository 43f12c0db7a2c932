"""`tollgate serve` and `tollgate demo`: what only a gateway itself can do is handed in by name."""

from __future__ import annotations

import pkgutil
from typing import Annotated, Any

import typer

from gateway.cli.session import Session, session_of

__all__ = ["demo", "serve"]


def serve(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Option(help="A configuration file; everything has a default.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port and the budgets.")] = 1,
) -> None:
    """Run the gateway until Ctrl-C or SIGTERM."""
    session = session_of(context)
    raise typer.Exit(_starter(session, "serve")(session.environ, config, workers))


def demo(
    context: typer.Context,
    leave: Annotated[bool, typer.Option("--exit", help="End by itself after the last scene.")] = False,
) -> None:
    """Show the main job on simulated providers: no key, no network, nothing to configure."""
    raise typer.Exit(_starter(session_of(context), "demo")(stay=not leave))


def _starter(session: Session, name: str) -> Any:
    """What the entry point says this starts; loaded now, because it is the whole gateway."""
    return pkgutil.resolve_name(session.starters[name])
