"""The bytes of an upstream request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gateway.domain.errors import BadRequest

__all__ = ["build_head", "build_request", "head_prefix"]

# RFC 9112 3.2.1 and RFC 9110 5.6.2, narrowed to what a request line cannot be split with.
_PATH: Final = re.compile(r"/[\x21-\x7e]*")
_METHOD: Final = re.compile(r"[A-Z]{3,16}")
_AUTHORITY: Final = re.compile(r"[\x21-\x7e]+")
_OWN_LINES: Final = 4
_BAD_LINE: Final = re.compile(rb"\r\n[^:\r\n]*[^!#$%&'*+.^_`|~0-9A-Za-z:\r\n-]|\r\n:|\x00|\r(?!\n)|(?<!\r)\n")


def head_prefix(method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Everything of a request's head but its length: the same for many calls, so worth keeping.

    We always ask for `accept-encoding: identity`: usage is read beside the bytes, and compressing a
    stream delays its events. The user agent is ours, because some front doors turn away requests without
    one. Raises BadRequest for anything that would change where a line ends.
    """
    if not (_METHOD.fullmatch(method) and _PATH.fullmatch(path) and _AUTHORITY.fullmatch(host)):
        raise BadRequest(
            "invalid_value",
            "The upstream address holds a character that an HTTP request line cannot carry.",
            hint="Percent-encode blanks and non-ASCII characters in model names and paths.",
        )
    own = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: tollgate\r\naccept-encoding: identity\r\n"
    fields = [b"%b: %b\r\n" % header for header in headers]
    head = b"".join([own.encode(), *fields])
    # One scan of the joined head: as many line ends as lines, and each line begins with a name.
    if head.count(b"\n") != len(fields) + _OWN_LINES or _BAD_LINE.search(head, 0, len(head) - 2):
        raise BadRequest(
            "invalid_value",
            "A header holds a character that HTTP does not allow.",
            hint="Remove line breaks and control characters from header values.",
        )
    return head


def build_head(
    method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], body_length: int
) -> bytes:
    """A whole request head; send it as `[head, body]` to spare a large body the copy."""
    return b"%bcontent-length: %d\r\n\r\n" % (head_prefix(method, path, host, headers), body_length)


def build_request(
    method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """A whole HTTP/1.1 request. `path` includes the query; `host` is `Target.authority`."""
    return build_head(method, path, host, headers, len(body)) + body
