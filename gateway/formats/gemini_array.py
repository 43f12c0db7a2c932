"""Takes a JSON array apart as it arrives: what Gemini streams without `alt=sse`.

The stream is one array of responses, `[{...}\\n,\\r\\n{...}\\n]`, pretty-printed, with nothing between the
elements that a search could rely on. So brackets are counted, outside of strings, and each byte is looked
at once, however the array is cut into reads.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.domain.errors import UpstreamFailed

__all__ = ["ArrayFramer"]

# All that stands before the next bracket outside of a string, or before a string whose end has not come.
_RUN: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
# All that stands before the end of a string, or before a backslash whose second half has not come.
_STRING: Final = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_OPENING: Final = b"[{"
_BACKSLASH: Final = ord("\\")


class ArrayFramer:
    """Finds the ends of an array's elements in bytes that arrive in any pieces.

    `feed` returns the elements now complete, each with what stands before it (the opening bracket, a
    comma, blanks); `rest` returns what is left. The pieces, concatenated, are the input. Only objects and
    arrays count as elements: anything else goes with the next one. `closed` says that the array has ended.
    """

    def __init__(self, element_bytes_max: int) -> None:
        self._element_bytes_max = element_bytes_max
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.closed = False

    def feed(self, data: bytes) -> list[bytes]:
        """Raise UpstreamFailed when a single element grows beyond the bound."""
        found: list[bytes] = []
        at = 0
        for end in self._ends(data) if data else ():
            found.append(b"".join((*self._pending, data[at:end])))
            self._pending, self._pending_bytes = [], 0
            at = end
        self._keep(data[at:])
        return found

    def rest(self) -> bytes:
        """What follows the last element: the end of the array, or half an element."""
        rest = b"".join(self._pending)
        self._pending, self._pending_bytes = [], 0
        return rest

    def _keep(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        if self._pending_bytes > self._element_bytes_max:
            raise UpstreamFailed(
                "upstream_unavailable",
                f"The upstream sent an element of more than {self._element_bytes_max} bytes.",
                hint="The reply was ended here; what had been relayed until then is charged.",
            )
        self._pending.append(data)

    def _ends(self, data: bytes) -> list[int]:
        """Where elements end in this read."""
        ends: list[int] = []
        at = self._after_string(data, 0) if self._in_string else 0
        while not self.closed and not self._in_string and at < len(data):
            run = _RUN.match(data, at)
            at = len(data) if run is None else run.end()
            if at == len(data):
                break
            byte = data[at]
            at += 1
            if byte == ord('"'):
                self._in_string = True
                at = self._after_string(data, at)
            elif byte in _OPENING:
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 1:
                    ends.append(at)
                self.closed = self._depth < 1
        return ends

    def _after_string(self, data: bytes, at: int) -> int:
        """Where the string ends that is open at `at`; the end of the read where it goes on."""
        at += int(self._is_escaped)
        self._is_escaped = False
        text = _STRING.match(data, at)
        at = len(data) if text is None else text.end()
        if at < len(data):
            self._is_escaped = data[at] == _BACKSLASH
            self._in_string = self._is_escaped
            at += 1
        return at
