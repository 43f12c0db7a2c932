"""A PostgreSQL of one test's own, that can be killed and begun again under the same address."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.databases import get_server
from tests.running import eventually

__all__ = ["Killable", "killable"]


class Killable:
    """A running server with one database."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri(database="postgres")

    def kill(self) -> None:
        """kill -9 of the postmaster; returns once its backends are gone too, as the next start needs."""
        pid = self._server.get_pid()
        assert pid is not None
        backends = _children(pid)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(_is_alive(each) for each in (pid, *backends)), "the server is dead", 30)

    def start(self) -> None:
        """The same data, the same socket."""
        self._server.ensure_postgres_running()
        assert self._server.get_uri(database="postgres") == self.url

    def stop(self) -> None:
        """Stop it and delete its files."""
        self._server.cleanup()


@contextmanager
def killable() -> Iterator[Killable]:
    """A server, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="tollgate-killed-", ignore_cleanup_errors=True) as folder:
        server = Killable(Path(folder) / "data")
        try:
            yield server
        finally:
            server.stop()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
