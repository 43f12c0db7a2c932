"""JSON as bytes, compact or readable. A lone surrogate, which UTF-8 cannot hold, stays a JSON escape."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["compact", "readable"]


def compact(value: Any, colon: str = ":") -> bytes:
    """JSON on one line, without blanks but in the colon if that has one."""
    text = json.dumps(value, separators=(",", colon), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def readable(value: Any) -> bytes:
    """JSON with an indent of two."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
