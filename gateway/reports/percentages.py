"""Shares of a whole as text: exact to a hundredth of a percent, and never rounded up."""

from __future__ import annotations

__all__ = ["percentage"]


def percentage(part: int, whole: int) -> str | None:
    """How much of `whole` `part` is, in hundredths of a percent towards zero; None of nothing.

    So 100 is never reached early.
    """
    if whole == 0:
        return None
    hundredths = abs(part) * 10_000 // abs(whole)
    sign = "-" if hundredths and (part < 0) != (whole < 0) else ""
    return f"{sign}{hundredths // 100}.{hundredths % 100:02d}"
