"""Processes pinned to a core, started and ended by pid, and the rig built from its C sources."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["GATEWAY_CORE", "LOAD_CORE", "Process", "build", "free_port", "running", "tree"]

HERE = Path(__file__).parent
OUT = HERE / "out"
GATEWAY_CORE = 0
LOAD_CORE = 1


def build() -> Path:
    """Compile the mock upstream and the load generator; where they are."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("bench: no C compiler (cc); the load generator and the mock upstream are C")
    OUT.mkdir(exist_ok=True)
    for name in ("mock", "load"):
        source, target = HERE / "rig" / f"{name}.c", OUT / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([compiler, "-O2", "-w", "-o", str(target), str(source)], check=True)
    return OUT


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One program on one core."""

    def __init__(
        self, command: Sequence[str], core: int, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self._name = Path(command[0]).name
        log = (OUT / f"{self._name}.log").open("ab")
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    @property
    def pid(self) -> int:
        """Of the program itself: taskset becomes it."""
        return self._process.pid

    def wait_for_port(self, port: int, seconds: float = 60) -> None:
        """Return once the port accepts."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise SystemExit(f"bench: {self._name} ended with {self._process.returncode}; see {OUT}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"bench: nothing listens on port {port}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL, to its own process group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
                self._process.wait(10)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def running(process: Process) -> Iterator[Process]:
    """Ends the process whatever happens."""
    try:
        yield process
    finally:
        process.stop()


def tree(pid: int) -> list[int]:
    """A process and all its descendants, so that their CPU time is charged together."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    except OSError:
        pass
    return found
