"""The admin API as the commands use it: one request, one answer, and failures as words and an exit status."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["FOUND_A_PROBLEM", "USAGE", "Client", "CommandFailed"]

FOUND_A_PROBLEM: Final = 1
USAGE: Final = 2

# An import of thousands of prices takes seconds.
TIMEOUT_S: Final = 120.0
PAGE: Final = 1000
PIECE_BYTES: Final = 256 * 1024


class CommandFailed(Exception):
    """What a command cannot do: `message` says why, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "", exit_status: int = FOUND_A_PROBLEM) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_status = exit_status


class Client:
    """A gateway at an address, asked with an admin key."""

    def __init__(self, url: str, key: str) -> None:
        """Raises CommandFailed for an address that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandFailed(
                f"{url!r} is no address of a gateway.",
                "Set TOLLGATE_URL to something like http://127.0.0.1:8080.",
                USAGE,
            )
        self._parts = parts
        self._url = url
        self._key = key

    def get(self, path: str, /, **query: str | int | bool | None) -> Any:
        """Read something."""
        return self._json("GET", path, query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make something."""
        return self._json("POST", path, {}, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something."""
        return self._json("PATCH", path, {}, body)

    def delete(self, path: str, /, **query: str | int | bool | None) -> Any:
        """End something."""
        return self._json("DELETE", path, query)

    def items(
        self, path: str, /, *, most: int | None = None, **query: str | int | bool | None
    ) -> Iterator[Any]:
        """Everything in a list, page by page; at most `most`."""
        after: str | None = None
        while True:
            limit = PAGE if most is None else min(most, PAGE)
            page = self.get(path, limit=limit, after=after, **query)
            yield from page["data"]
            if most is not None:
                most -= len(page["data"])
            if not page["has_more"] or most == 0:
                return
            after = page["next"]

    def text(self, path: str, /, **query: str | int | bool | None) -> str:
        """An answer as it is, such as CSV."""
        return self._request("GET", path, query, None).decode()

    def pieces(self, path: str, /, **query: str | int | bool | None) -> Iterator[bytes]:
        """A long answer as it comes."""
        connection, response = self._asked("GET", path, query, None)
        try:
            while piece := response.read1(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | bool | None],
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        answer = self._request(method, path, query, body)
        return json.loads(answer) if answer else None

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | bool | None],
        body: Mapping[str, Any] | None,
    ) -> bytes:
        connection, response = self._asked(method, path, query, body)
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | bool | None],
        body: Mapping[str, Any] | None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A request that was sent and not refused; whoever reads the answer closes the connection."""
        sent = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()
        }
        asked = urlencode({name: value for name, value in sent.items() if value is not None}, safe=",:/")
        target = f"{self._parts.path.rstrip('/')}{quote(path, safe='/.:')}{'?' if asked else ''}{asked}"
        headers = {"authorization": f"Bearer {self._key}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        connection = self._connect()
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            refusal = response.read() if response.status >= 400 else None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None
        if refusal is not None:
            connection.close()
            raise _refusal(response.status, refusal)
        return connection, response

    def _connect(self) -> http.client.HTTPConnection:
        host = self._parts.hostname
        assert host is not None, "checked when it was made"
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, self._parts.port, timeout=TIMEOUT_S)
        return http.client.HTTPConnection(host, self._parts.port, timeout=TIMEOUT_S)

    def _unreachable(self, error: Exception) -> CommandFailed:
        is_refused = isinstance(error, ConnectionRefusedError | socket.gaierror)
        return CommandFailed(
            f"The gateway at {self._url} does not answer: {error}.",
            "Start it with `tollgate serve`, or set TOLLGATE_URL."
            if is_refused
            else "Look at its log, and at what stands between.",
        )


def _refusal(status: int, answer: bytes) -> CommandFailed:
    """What a problem document says, for a human; its exit status is 2 where the command was used wrongly."""
    try:
        problem = json.loads(answer)
        message, hint = str(problem["detail"]), str(problem.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        message, hint = f"The gateway answered {status}.", answer[:200].decode("utf-8", "replace")
    return CommandFailed(message, hint, USAGE if status in (400, 415, 422) else FOUND_A_PROBLEM)
