"""The gateway's own API, asked from inside the process.

The dashboard can do what an admin key can do by HTTP, and nothing else: the same roles, the same checks, the
same audit log, the same figures. It asks without a socket; everything else is a request like any other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.types import ASGIApp, Message, Scope

__all__ = ["Answer", "Inside", "Refused"]

JSON: Final = b"application/json"


class Refused(Exception):
    """What the API said no to, in its own words."""

    def __init__(self, status: int, message: str, hint: str, param: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.param = param


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, decoded; None where there is none."""
        return json.loads(self.body) if self.body else None


class Inside:
    """A client of the API with one admin key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def get(self, path: str, **query: str | int | None) -> Any:
        """What is at `path`; raise Refused."""
        return (await self.ask("GET", path, query=query)).json

    async def all(self, path: str, **query: str | int | None) -> list[Any]:
        """A whole list, page by page."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page = await self.get(path, limit=1000, after=after, **query)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["next"]

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask for anything; raise Refused for a problem. Ids in `path` are not yet quoted."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        content = b"" if body is None else json.dumps(body).encode()
        sent = [(b"authorization", f"Bearer {self._key}".encode()), (b"content-type", JSON)]
        sent += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        sent.append((b"content-length", str(len(content)).encode()))
        answer = await _call(self._app, method, path, urlencode(given), sent, content)
        if answer.status >= 400:
            raise _refusal(answer)
        return answer


async def _call(
    app: ASGIApp, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]], content: bytes
) -> Answer:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "client": None,
        "server": ("inside", None),
        "state": {},
    }
    requests = _request(content)
    answer = Answer(500, {}, b"")
    parts: list[bytes] = []

    async def receive() -> Message:
        return await anext(requests)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    answer.body = b"".join(parts)
    return answer


async def _request(content: bytes) -> AsyncIterator[Message]:
    yield {"type": "http.request", "body": content, "more_body": False}
    while True:
        yield {"type": "http.disconnect"}


def _refusal(answer: Answer) -> Refused:
    try:
        problem = answer.json
        return Refused(answer.status, problem["detail"], problem.get("hint", ""), problem.get("param"))
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status, f"The gateway answered {answer.status}.", "", None)
