"""A client no cleverer than curl: what the demo shows can be typed by hand."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Api"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: Any


class Api:
    """Calls one gateway with one key. Every call opens a connection of its own, so threads may share it."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def get(self, path: str) -> Answer:
        """GET."""
        return self._whole("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """POST JSON."""
        return self._whole("POST", path, body)

    def stream(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Stream a chat completion: its chunks, or one `{"error": ...}` when it is refused."""
        connection, answer = self._send("POST", "/v1/chat/completions", {**body, "stream": True})
        try:
            if answer.status != 200:
                yield json.loads(answer.read())
                return
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            connection.close()

    def events(self, call: str) -> Iterator[dict[str, Any]]:
        """The chunks of a call that was made over a WebSocket, from the first on."""
        connection, answer = self._send("GET", f"/v1/calls/{call}/events", None)
        try:
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            connection.close()

    def _whole(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        connection, answer = self._send(method, path, body)
        try:
            text = answer.read()
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, json.loads(text) if text else None)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {**self._headers, "x-tollgate-cost": "body"})
        return connection, connection.getresponse()
