"""One structured line a call on stderr: no prompt, no secret, no query string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import msgspec

__all__ = ["CallLine", "CallLog", "RefusalsLine"]


class CallLine(msgspec.Struct, omit_defaults=True):
    """What a line says of a call. Money in nano-USD, times in microseconds."""

    event: str
    call: str
    key: str
    account: str
    provider: str
    model: str
    status: int | None
    outcome: str
    admitted_at_us: int
    took_us: int
    charge_nano: int
    usage: Mapping[str, int]
    usage_source: str
    flags: Sequence[str] = []


class RefusalsLine(msgspec.Struct):
    """How many calls were refused since the line before, by code: one line, however many there were."""

    event: str
    at_us: int
    refused: dict[str, int]


class CallLog:
    """Collects lines and writes them together; the owner says when."""

    def __init__(self, stream: BinaryIO | None) -> None:
        """None keeps nothing: the lines are not wanted."""
        self._stream = stream
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []

    def add(self, line: CallLine | RefusalsLine) -> None:
        """Keep a line until the next flush."""
        if self._stream is not None:
            self._lines.append(self._encoder.encode(line))

    def flush(self) -> None:
        """Write what was kept. A reader that went away or a full disk must not take the gateway with it."""
        if not self._lines or self._stream is None:
            return
        lines, self._lines = self._lines, []
        try:
            self._stream.write(b"\n".join(lines) + b"\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass
