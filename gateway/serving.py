"""From a command to a listening gateway: prepare the database once, then run one or more workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.alerts.alerts import Outlets
from gateway.api.socket_wire import GatewaySockets
from gateway.api.wire import GatewayProtocol
from gateway.clock import SystemClock
from gateway.domain.errors import GatewayError
from gateway.domain.keys import mint_admin
from gateway.sealing import encryption_key, write_secret
from gateway.settings import Settings, SettingsError, load
from gateway.store.admin_keys import any_admin_key, ensure_first_admin_key
from gateway.store.migrate import transaction, upgrade
from gateway.store.prices import fill

__all__ = ["prepare", "serve"]

ADMIN_KEY_FILE = "admin-key"
# Of a socket: the largest frame, and how often a peer has to show that it is there.
FRAME_BYTES = 10 * 1024 * 1024
PING_S = 20.0


def serve(environ: Mapping[str, str], config_path: str | None, workers: int) -> int:
    """Serve until a signal; the exit status. Words go to stderr.

    `TOLLGATE_CONFIG` names the configuration file to worker processes, which read it for themselves.
    """
    if config_path:
        os.environ["TOLLGATE_CONFIG"] = config_path
    try:
        settings = load(environ, config_path or environ.get("TOLLGATE_CONFIG"))
        for sentence in prepare(settings):
            say(sentence)
    except (SettingsError, GatewayError) as error:
        say(str(error))
        return 2
    config = uvicorn.Config(
        "gateway.app:create",
        factory=True,
        host=settings.server.host,
        port=settings.server.port,
        workers=workers,
        http=GatewayProtocol,
        ws=GatewaySockets,
        ws_max_size=FRAME_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # tokens are too small to gain by it, and a bomb needs it
        loop="uvloop",
        lifespan="on",
        access_log=False,  # it would print `?key=`; the gateway writes a line of its own for each call
        log_level="warning",
        server_header=False,
        date_header=False,
        backlog=4096,
        timeout_graceful_shutdown=settings.server.drain_s,
    )
    server = QuietServer(config)
    bound = config.bind_socket()
    say(f"listening on http://{address(settings.server.host)}:{bound.getsockname()[1]}")
    if workers > 1:
        Multiprocess(config, sockets=[bound]).run()
        return 0
    server.run(sockets=[bound])
    return 0 if server.started else 1


class QuietServer(uvicorn.Server):
    """Stops on the first signal and then ends with status 0: uvicorn would raise the signal once more."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second Ctrl-C does not wait for calls in flight."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def prepare(settings: Settings) -> list[str]:
    """Bring the database up to date, fill prices and make the first owner's key; what there is to say.

    Done once, before any worker starts; several machines may do it at once.
    """
    said: list[str] = []
    given = settings.webhooks
    Outlets.parse(given.allow_private, given.smtp_url, given.smtp_sender)  # a mistake there stops the start
    folder = Path(settings.server.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    encryption_key(settings.encryption_key, folder)  # made before there are workers to race for it
    upgrade(settings.database_url)
    now_us = SystemClock().now_us()
    with transaction(settings.database_url) as conn:
        filled = fill(conn, now_us)
        if filled is not None:
            said.append(f"filled the price table: {filled.added} prices")
        if settings.admin_key:
            ensure_first_admin_key(conn, settings.admin_key, now_us)
        elif not any_admin_key(conn):
            text = mint_admin(os.urandom(32))
            ensure_first_admin_key(conn, text, now_us)
            said.append(f"made the first owner's key: {write_secret(folder / ADMIN_KEY_FILE, text)}")
    on = [name for name, provider in settings.providers.items() if provider.credential]
    off = [name for name in settings.providers if name not in on]
    said.append(
        f"providers on: {', '.join(on) or 'none'}; off, without a credential: {', '.join(off) or 'none'}"
    )
    return said


def address(host: str) -> str:
    """As a URL has it."""
    return f"[{host}]" if ":" in host else host


def say(sentence: str) -> None:
    """A line for whoever started the gateway."""
    sys.stderr.write(f"tollgate: {sentence}\n")
