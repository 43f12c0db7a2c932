"""Long answers into files: piece by piece, with progress on a terminal, and whole or not at all."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.cli.client import USAGE, Client, CommandFailed
from gateway.cli.session import Session

__all__ = ["save"]


def save(session: Session, client: Client, path: str, output: Path, **query: str | int | bool | None) -> None:
    """Write an answer to `output`; what is cut off leaves no file that looks whole."""
    unfinished = output.with_name(f"{output.name}.part")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with (
            Progress(*columns, console=session.words, disable=not session.words.is_terminal) as progress,
            unfinished.open("wb") as file,
        ):
            task = progress.add_task(output.name, total=None)
            for piece in client.pieces(path, **query):
                file.write(piece)
                progress.advance(task, len(piece))
        unfinished.replace(output)
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error}.", "Give another place.", USAGE) from None
    finally:
        unfinished.unlink(missing_ok=True)
    session.say(f"Wrote {output} ({output.stat().st_size:,} bytes).")
