"""The bytes of an upstream request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.domain.errors import BadRequest

__all__ = ["build_request", "complete", "head_prefix"]

# What a header's name is made of: RFC 9110 5.6.2.
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OWN_LINES: Final = 4


def head_prefix(method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Everything of a request's head but its length: the same for many calls, so worth keeping.

    We always ask for `accept-encoding: identity`: usage is read beside the bytes, and compressing a
    stream delays its events. The user agent is ours, because some front doors turn away requests without
    one. Raises BadRequest for anything that would change where a line ends.
    """
    if not (_is_visible(method) and _is_visible(path) and _is_visible(host) and path[0] == "/"):
        raise BadRequest(
            "invalid_value",
            "The upstream address holds a character that an HTTP request line cannot carry.",
            hint="Percent-encode blanks and non-ASCII characters in model names and paths.",
        )
    own = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: tollgate\r\naccept-encoding: identity\r\n"
    pairs = list(headers)
    head = b"".join([own.encode(), *[b"%b: %b\r\n" % pair for pair in pairs]])
    names = [name for name, _ in pairs]
    # A few scans of all lines at once, since this is on the path of every call: the only line ends are the
    # ones written here, and the names hold nothing that could end a name.
    lines = _OWN_LINES + len(pairs)
    is_whole = head.count(b"\n") == lines and head.count(b"\r") == lines and b"\0" not in head
    if not is_whole or b"" in names or b"".join(names).translate(None, _TOKEN):
        raise BadRequest(
            "invalid_value",
            "A header holds a character that HTTP does not allow.",
            hint="Remove line breaks and control characters from header values.",
        )
    return head


def complete(prefix: bytes, body: bytes) -> bytes:
    """A whole request from a `head_prefix` and a body."""
    return b"%bcontent-length: %d\r\n\r\n%b" % (prefix, len(body), body)


def build_request(
    method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """A whole HTTP/1.1 request. `path` includes the query; `host` is `Target.authority`."""
    return complete(head_prefix(method, path, host, headers), body)


def _is_visible(text: str) -> bool:
    """Nothing but printable ASCII without blanks: what a part of the request line may hold (RFC 9112 3)."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""
