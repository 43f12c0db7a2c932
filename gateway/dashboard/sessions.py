"""Who is logged in: an admin key, sealed in a cookie that scripts cannot read and other sites cannot send.

Nothing of a session is kept here. The cookie is the admin key, encrypted with a key of this gateway and
stamped with the time; every page asks the API with it, so that a revoked key is out at once. A form carries
a token that only a page of this session can know.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["COOKIE", "Door", "Seal", "Session", "is_ours", "is_same_site"]

COOKIE: Final = "tollgate-session"
PATH: Final = "/dashboard"
LASTS_S: Final = 12 * 3600
# Wrong keys a minute, from everybody together; a right one is not slowed down by them before that.
MOST_WRONG: Final = 20
MINUTE_S: Final = 60.0


class Seal(Protocol):
    """Encrypts a text so that nobody else can read it or make another."""

    def seal(self, text: str) -> str:
        """The text, sealed, with the time in it."""

    def unseal(self, sealed: str, lasts_s: int) -> str | None:
        """The text, when it was sealed here no longer ago than that."""


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in administrator: the admin key, and the token of this session's forms."""

    key: str
    token: str


class Door:
    """Lets administrators in and out. `monotonic` is a clock in seconds."""

    def __init__(self, seal: Seal, monotonic: Callable[[], float]) -> None:
        self._seal = seal
        self._monotonic = monotonic
        self._wrong: deque[float] = deque()

    def session(self, request: Request) -> Session | None:
        """Whose request it is; None for whoever has to log in."""
        cookie = request.cookies.get(COOKIE)
        key = self._seal.unseal(cookie, LASTS_S) if cookie else None
        return None if key is None or cookie is None else Session(key, _token(cookie))

    def let_in(self, response: Response, request: Request, key: str) -> None:
        """Set the cookie of a new session."""
        response.set_cookie(
            COOKIE,
            self._seal.seal(key),
            max_age=LASTS_S,
            path=PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    @staticmethod
    def let_out(response: Response) -> None:
        """End the session."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")

    @property
    def is_besieged(self) -> bool:
        """Whether so many wrong keys were tried in the last minute that no more are looked at."""
        now = self._monotonic()
        while self._wrong and now - self._wrong[0] > MINUTE_S:
            self._wrong.popleft()
        return len(self._wrong) >= MOST_WRONG

    def was_wrong(self) -> None:
        """A key was refused."""
        self._wrong.append(self._monotonic())


def is_ours(request: Request, session: Session, token: str) -> bool:
    """Whether a form was sent by a page of this session and from this site."""
    return is_same_site(request) and hmac.compare_digest(token.encode(), session.token.encode())


def is_same_site(request: Request) -> bool:
    """Whether the browser says, if it says anything, that a page of this site sent it."""
    origin = request.headers.get("origin")
    return origin in (None, "null") or urlsplit(origin or "").netloc == request.headers.get("host")


def _token(cookie: str) -> str:
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()
