"""SQL over the quarter-hour sums: one statement for a run of equal buckets.

Sums are kept by slot, account, key, provider, model and meter; two side tables add the end user, or one
tag. A side table has no row for a call without an end user or without the tag: those calls are the sums
less what the side table has, taken in one statement, so that both halves are of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Label,
    Select,
    Subquery,
    Table,
    and_,
    case,
    cast,
    collate,
    func,
    literal,
    select,
    union_all,
)

from gateway.reports.wanted import CALLS, TAG, SumRow, Wanted
from gateway.store.reading import path_of, stream, with_path
from gateway.store.tables import end_user_rollups, rollups, tag_rollups

__all__ = ["Run", "read"]

# The dimensions of every table of sums, in the order of its primary key.
KEY_ORDER: Final = ("account", "key", "provider", "model")


class Run(NamedTuple):
    """Slots of `[start_us, end_us)`, in buckets of one width; bucket number `first` begins at `origin_us`."""

    first: int
    origin_us: int
    width_us: int
    start_us: int
    end_us: int


def read(conn: Connection, wanted: Wanted, run: Run) -> Iterator[SumRow]:
    """Sums in the order of bucket, group and meter; texts by code point, as Python orders them."""
    last = 1 + len(wanted.groups)
    for row in stream(conn, _statement(conn, wanted, run)):
        yield SumRow(row[0], tuple(row[1:last]), row[last], tuple(row[last + 1 :]))


def _statement(conn: Connection, wanted: Wanted, run: Run) -> Select[Any]:
    summed = _source(wanted, run).subquery()
    if "account" in wanted.groups and not wanted.by_id:
        summed = _by_path(summed, wanted).subquery()
    meter = summed.c.meter if wanted.by_meter else literal("")
    groups = [summed.c[name] for name in wanted.groups]
    measures = [summed.c[name] for name in wanted.measures]
    order = [_by_code_point(conn, summed.c[name]) for name in wanted.columns]
    return select(summed.c.bucket, *groups, meter, *measures).order_by(summed.c.bucket, *order)


def _by_path(summed: Subquery, wanted: Wanted) -> Select[Any]:
    """Paths for account ids: an account that was made again under its old path is one row with it."""
    path = path_of(summed.c.account).label("account")
    shown = [path if each.name == "account" else each for each in summed.c]
    joined = select(*shown).select_from(with_path(summed, summed.c.account)).subquery()
    return _sum(joined, ("bucket", *wanted.columns), wanted.measures)


def _by_code_point(conn: Connection, text: ColumnElement[Any]) -> ColumnElement[Any]:
    # SQLite compares bytes by itself; PostgreSQL goes by the language of its database unless told.
    return collate(text, "C") if conn.dialect.name == "postgresql" else text


def _source(wanted: Wanted, run: Run) -> Select[Any]:
    """Sums by bucket and the wanted columns, accounts by their ids."""
    if not wanted.named:
        return _summed(rollups, wanted, run)
    (named,) = wanted.named
    value = wanted.names.get(named)
    with_name = _side(named, wanted, run, value)
    if value:
        return with_name
    # Read twice, so worked out once: both databases keep a common table expression that is used twice.
    side = with_name.cte("with_name")
    everything = _summed(rollups, wanted, run).subquery()
    columns = ("bucket", *wanted.columns)
    nobody = literal("").label(named)
    unnamed = [nobody if name == named else everything.c[name] for name in columns]
    taken_off = [nobody if name == named else side.c[name] for name in columns]
    branches = [
        select(*unnamed, *(everything.c[name] for name in wanted.measures)),
        select(*taken_off, *((-side.c[name]).label(name) for name in wanted.measures)),
    ]
    if value is None:
        branches.append(select(*(side.c[name] for name in (*columns, *wanted.measures))))
    return _sum(union_all(*branches).subquery(), columns, wanted.measures)


def _side(named: str, wanted: Wanted, run: Run, value: str | None) -> Select[Any]:
    """Sums of the calls that have an end user, or the tag; with `value`, only of those that have that one."""
    if named == "end_user":
        table, name, tests = end_user_rollups, end_user_rollups.c.end_user, []
    else:
        table, name = tag_rollups, tag_rollups.c.value
        tests = [tag_rollups.c.tag == named.removeprefix(TAG)]
    tests.append(name == value if value else name != "")
    return _summed(table, wanted, run, name.label(named), *tests)


def _summed(
    table: Table, wanted: Wanted, run: Run, name: Label[str] | None = None, *tests: ColumnElement[bool]
) -> Select[Any]:
    """Sums of a table by bucket and those of the wanted columns that it has.

    `name` is the column of end users or of a tag's values, in a side table.
    """
    columns = table.c
    dimensions: list[ColumnElement[Any]] = [columns[each] for each in KEY_ORDER]
    if name is not None:
        dimensions.append(name)
    present = [each for each in (*dimensions, columns.meter) if each.name in wanted.columns]
    where = and_(columns.slot >= run.start_us, columns.slot < run.end_us, *tests)
    measures = [_measure(columns, measure).label(measure) for measure in wanted.measures]
    if wanted.by_meter:
        rows = select(columns.slot, *present, *measures)
    else:
        # Rows lie in the order of their key, so these sums need no sorting, and leave less to be sorted.
        kept = dimensions[: 1 + max((dimensions.index(each) for each in present), default=-1)]
        sums = [func.sum(measure).label(measure.name) for measure in measures]
        rows = select(columns.slot, *kept, *sums).group_by(columns.slot, *kept)
    source = rows.where(where, wanted.selection.condition(columns)).subquery()
    bucket = literal(run.first, BigInteger) + (source.c.slot - run.origin_us) // run.width_us
    shown = [source.c[each.name] for each in present]
    amounts = [source.c[measure] for measure in wanted.measures]
    placed = select(bucket.label("bucket"), *shown, *amounts).subquery()
    return _sum(placed, ["bucket", *(each.name for each in present)], wanted.measures)


def _measure(columns: Any, measure: str) -> ColumnElement[int]:
    """Calls are the quantity of their meter; the other measures are columns."""
    if measure == "calls":
        return case((columns.meter == CALLS, columns.quantity), else_=0)
    found: ColumnElement[int] = columns[measure]
    return found


def _sum(source: FromClause, columns: Sequence[str], measures: Sequence[str]) -> Select[Any]:
    keys = [source.c[name] for name in columns]
    # PostgreSQL sums BIGINT into NUMERIC, which would come back as Decimal.
    sums = [cast(func.sum(source.c[name]), BigInteger).label(name) for name in measures]
    return select(*keys, *sums).group_by(*keys)
