"""Instants for tests, written the way people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

__all__ = ["instant", "instants", "text_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 text with its offset."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def text_of(at_us: int) -> str:
    """The instant in UTC."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat()


def instants(
    first: str = "1900-01-01T00:00:00Z", last: str = "2199-12-31T00:00:00Z"
) -> st.SearchStrategy[int]:
    """Any microsecond between the two."""
    return st.integers(instant(first), instant(last))
