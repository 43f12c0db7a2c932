"""Types that bodies and answers share, and the change between wire and stored forms.

Times travel as RFC 3339 in UTC and are microseconds inside. Amounts travel as strings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from gateway.domain.errors import BadRequest
from gateway.domain.periods import EARLIEST_US, LATEST_US
from gateway.domain.tenancy_checks import NAME_MAX_CHARACTERS

__all__ = [
    "Id",
    "Instant",
    "Label",
    "Metadata",
    "Tags",
    "given",
    "instant",
    "known_instant",
    "microseconds",
    "unless_absent",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, Meta(min_length=1, max_length=40)]
Label = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_CHARACTERS)]
Instant = Annotated[datetime, Meta(tz=True)]
Tags = dict[str, str]
Metadata = dict[str, Any]


def microseconds(at: datetime, *, param: str) -> int:
    """The instant inside; BadRequest for a year that no calendar here reaches."""
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    if not EARLIEST_US <= at_us < LATEST_US:
        raise BadRequest(
            "invalid_value",
            f"{param}: the year {at.year} is out of range.",
            hint="Give a nearer time.",
            param=param,
        )
    return at_us


def known_instant(at_us: int) -> datetime:
    """The instant on the wire."""
    return _EPOCH + timedelta(microseconds=at_us)


def instant(at_us: int | None) -> datetime | None:
    """The instant on the wire, if there is one."""
    return None if at_us is None else known_instant(at_us)


def given(**values: Any) -> dict[str, Any]:
    """The fields that a PATCH has; an absent one stays as it is, null clears."""
    return {name: value for name, value in values.items() if value is not UNSET}


def unless_absent(value: Any | UnsetType, otherwise: Any) -> Any:
    """The value that a PATCH gives, or what it was."""
    return otherwise if value is UNSET else value
