"""The demo's processes: simulated providers in a thread, the gateway as the real program beside them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.demo.http import Api
from gateway.simulators.server import SimulatedProviders

__all__ = ["ADMIN_KEY", "Stage", "staged"]

ADMIN_KEY = "demo-owner-key-0001"
PREFERRED_PORT = 8080
START_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running."""

    url: str
    port: int
    providers: SimulatedProviders
    folder: Path
    ready_after_s: float

    def api(self, key: str = ADMIN_KEY) -> Api:
        """A client with this key."""
        return Api(self.port, key)


@contextmanager
def staged() -> Iterator[Stage]:
    """Start providers and gateway, wait until calls are taken, and end both whatever happens."""
    with tempfile.TemporaryDirectory(prefix="tollgate-demo-") as folder, SimulatedProviders() as providers:
        port = free_port()
        log = Path(folder, "gateway.log")
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve"],
                env=environment(port, folder, providers),
                stderr=stderr,
                start_new_session=True,  # Ctrl-C reaches the demo, which stops the gateway in good order
            )
        try:
            waited = wait_until_ready(port, process, log)
            yield Stage(f"http://127.0.0.1:{port}", port, providers, Path(folder), waited)
        finally:
            process.terminate()
            process.wait(30)


def environment(port: int, folder: str, providers: SimulatedProviders) -> dict[str, str]:
    """The gateway's settings, as anybody would set them."""
    ours = {
        "TOLLGATE_ADMIN_KEY": ADMIN_KEY,
        "TOLLGATE_SERVER__PORT": str(port),
        "TOLLGATE_SERVER__DATA_DIR": str(Path(folder, "data")),
        # Alerts go to a server on this machine, which has to be allowed by name.
        "TOLLGATE_WEBHOOKS__ALLOW_PRIVATE": "127.0.0.1",
    }
    for name in ("openai", "deepseek"):
        ours[f"TOLLGATE_PROVIDERS__{name.upper()}__BASE_URL"] = providers.url(name)
        ours[f"TOLLGATE_PROVIDERS__{name.upper()}__CREDENTIAL"] = "sk-simulated"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    return {**inherited, **ours}


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> float:
    """Seconds until `/readyz` said yes; raise RuntimeError with the gateway's own words when it does not."""
    began = time.monotonic()
    while time.monotonic() - began < START_LIMIT_S:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway did not start: {log.read_text()}")
        try:
            if Api(port, "").get("/readyz").status == 200:
                return time.monotonic() - began
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the gateway is not ready after {START_LIMIT_S} s: {log.read_text()}")


def free_port() -> int:
    """The gateway's usual port, or any other while something listens there."""
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise RuntimeError("no port is free")
