"""A server that alerts are delivered to, and what it takes to believe them: no library, a dozen lines."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["AlertTarget", "Heard", "alert_target", "is_genuine", "wait_for"]

TOLERANCE_S = 300


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it came; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """`{"type", "timestamp", "data"}`."""
        return json.loads(self.body)


@dataclass(slots=True)
class AlertTarget:
    """A running server and what it heard so far, by the message's id: a second copy changes nothing."""

    port: int = 0
    heard: dict[str, Heard] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where alerts are to go."""
        return f"http://127.0.0.1:{self.port}/alerts"


def is_genuine(secret: str, heard: Heard, now_s: float) -> bool:
    """Whether the gateway with this secret sent it, just now (Standard Webhooks 1.0.0)."""
    sent_at = heard.headers["webhook-timestamp"]
    signed = f"{heard.headers['webhook-id']}.{sent_at}.".encode() + heard.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = heard.headers["webhook-signature"].split()
    is_recent = abs(now_s - int(sent_at)) < TOLERANCE_S
    return is_recent and any(hmac.compare_digest(each, wanted) for each in given)


def wait_for(target: AlertTarget, count: int, limit_s: float) -> None:
    """Return once so many messages have come, or the limit is over."""
    deadline = time.monotonic() + limit_s
    while len(target.heard) < count and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def alert_target() -> Iterator[AlertTarget]:
    """Serve on a free port."""
    made = AlertTarget()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep the message, and say that it was taken."""
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.heard[headers["webhook-id"]] = Heard(headers, body)
            self.send_response(204)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """The demo has its own way of telling."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()
