"""The bytes that frame an answer."""

from __future__ import annotations

import http

from gateway.gate.inbound import Headers

__all__ = ["CONTINUE", "LAST_CHUNK", "STATUS_LINES", "VERSIONS", "header_lines"]

VERSIONS = ("1.1", "1.0")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


# Whatever three digits an upstream sends are sent on.
STATUS_LINES = {status: _status_line(status) for status in range(100, 1000)}


def header_lines(headers: Headers) -> bytes:
    """The lines of these headers."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
