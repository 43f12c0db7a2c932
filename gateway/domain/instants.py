"""Instants as text: RFC 3339 in UTC out (RFC 5322 in mail), RFC 3339 with any offset in.

Inside, they are microseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

__all__ = ["mail_date", "parse_rfc3339", "rfc3339"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at_us: int) -> str:
    """`2026-11-25T04:05:06Z`, with a fraction only where there is one."""
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat().replace("+00:00", "Z")


def mail_date(at_us: int) -> str:
    """`Wed, 25 Nov 2026 04:05:06 +0000`, as a mail's Date has it (RFC 5322 3.3)."""
    return format_datetime(_EPOCH + timedelta(seconds=at_us // 1_000_000))


def parse_rfc3339(text: str) -> int | None:
    """The instant of a full date-time with an offset; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or len(text) < len("2026-11-25T04:05Z"):
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1)
