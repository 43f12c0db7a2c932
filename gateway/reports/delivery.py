"""From a question to an answer: read inside one transaction, written to a file that memory does not bound.

A report is written out before its first byte is sent. So the transaction lasts as long as the reading, not
as long as the client takes; an error is an answer, not a torn download; and a big result lies on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Final, NamedTuple

from sqlalchemy import Connection

from gateway.domain.errors import NotFound
from gateway.reports.base import Query, Report, Row
from gateway.reports.rendering import rendering
from gateway.reports.visibility import Principal, visible

__all__ = ["MEMORY_BYTES", "CompleteUntil", "Page", "Written", "find", "page", "write"]

# What is kept in memory before it goes to disk.
MEMORY_BYTES: Final = 4 * 1024 * 1024

CompleteUntil = Callable[[Connection], int]
"""The instant up to which everything that happened is in SQL, as of the transaction that asks first."""


class Written(NamedTuple):
    """A whole answer: a file to be read from its beginning and closed, its length, and its `as_of`."""

    file: IO[bytes]
    bytes_: int
    as_of_us: int


class Page(NamedTuple):
    """Rows of a paged report; `next_after` continues it, None after the last."""

    rows: list[Row]
    next_after: str | None
    as_of_us: int


def find(reports: dict[str, Report], name: str) -> Report:
    """The report of this name; NotFound lists those there are."""
    report = reports.get(name)
    if report is None:
        raise NotFound(
            "not_found",
            f"There is no report {name[:64]!r}.",
            hint=f"The reports are {', '.join(sorted(reports))}.",
            param="name",
        )
    return report


def write(
    conn: Connection, report: Report, query: Query, principal: Principal, complete_until: CompleteUntil
) -> Written:
    """The whole answer, or the one page that the query's limit asks for."""
    # First of all, before the transaction has read anything: what it reads later is at least as complete.
    as_of_us = complete_until(conn)
    mine = visible(conn, report, query, principal)
    writing = rendering(report, query)
    rows = report.rows(conn, query, mine)
    file = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - whoever sends it closes it
    try:
        file.write(writing.begin())
        # Not `writelines`: it looks whether the file has outgrown memory only once it has written everything.
        for piece in writing.rows(rows if query.limit is None else islice(rows, query.limit)):
            file.write(piece)
        has_more = query.limit is not None and next(rows, None) is not None
        file.write(writing.end(as_of_us, has_more=has_more))
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Written(file, length, as_of_us)


def page(
    conn: Connection, report: Report, query: Query, principal: Principal, complete_until: CompleteUntil
) -> Page:
    """One page of a paged report, for an answer too long to be read in one transaction."""
    assert query.limit is not None
    assert report.cursor is not None
    as_of_us = complete_until(conn)
    rows = list(report.rows(conn, query, visible(conn, report, query, principal)))
    if len(rows) <= query.limit:
        return Page(rows, None, as_of_us)
    rows = rows[: query.limit]
    at = [column.name for column in report.columns(query)].index(report.cursor)
    return Page(rows, str(rows[-1][at]), as_of_us)
