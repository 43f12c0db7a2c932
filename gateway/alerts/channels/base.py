"""What a channel is: it reads a target's text and renders messages for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.domain.errors import BadRequest
from gateway.relay.calls import Target

__all__ = ["Channel", "Mailbox", "Message", "Place", "Url", "invalid_target", "read_url", "shown_url"]

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._:")
TARGET_MAX_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it leaves: `id` is the same at every attempt, `data` has texts and numbers only."""

    id: str
    event: str
    at: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Url:
    """Where a message is posted: whom to connect to, and the path with its query."""

    target: Target
    path: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Whom a message is mailed to."""

    address: str


Place = Url | Mailbox


@dataclass(frozen=True, slots=True)
class Channel:
    """One format of targets.

    `read` says where a target's text leads, and raises BadRequest for one that leads nowhere; `shown` is what
    may be shown of it, since some are secrets. `render` gives the bytes to send to the target of this text.
    """

    name: str
    read: Callable[[str], Place]
    shown: Callable[[str], str]
    render: Callable[[Message, str], bytes]
    is_signed: bool = False


def read_url(text: str) -> Url:
    """An http(s) URL, query included. Refused: users, passwords, fragments, blanks, backslashes."""
    if len(text) > TARGET_MAX_CHARACTERS or not text.isascii() or not text.isprintable():
        raise invalid_target("The target is too long, or not plain ASCII.")
    if any(each in text for each in ' \\"<>^`{|}'):
        raise invalid_target("The target holds a character that a URL may not have.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise invalid_target("The target is no URL.") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host or not _HOST.issuperset(host) or "%" in parts.netloc:
        raise invalid_target("The target needs https:// and the name of a host.")
    if "@" in parts.netloc or "#" in text:
        raise invalid_target("The target holds a user, a password or a fragment.")
    if port == 0:
        raise invalid_target("There is no port 0.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(Target(parts.scheme, host, port or _PORTS[parts.scheme]), path)


def shown_url(text: str) -> str:
    """A URL without its query, which may hold a token."""
    return text if "?" not in text else f"{text.partition('?')[0]}?..."


def invalid_target(problem: str) -> BadRequest:
    """The refusal of a target's text."""
    return BadRequest(
        "invalid_value",
        problem,
        hint="Give an address such as https://example.com/hooks/tollgate, without user or fragment.",
        param="target",
    )
