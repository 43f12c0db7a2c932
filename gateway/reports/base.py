"""What a report is, and the question it is asked. A report yields plain values; `rendering` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from sqlalchemy import Connection

__all__ = ["FILTERS", "PAGE", "PERIOD", "SLICES", "Column", "Query", "Report", "Row", "Value", "Visible"]

# What a cell holds, and so how it is written: `integer` a count; `money` nano-USD; `decimal` a number that
# is text already, because its unit differs by row; `instant` microseconds, shown in the report's zone;
# `json` encoded JSON; `currency` the report's own, the same in every row and in the total.
Kind = Literal["text", "integer", "money", "decimal", "instant", "flag", "json", "currency"]
Value = str | int | bool | None
Row = tuple[Value, ...]

# Names of parameters, by what they are for. Every report takes `format` besides.
PERIOD: Final = frozenset({"start", "end", "timezone", "currency"})
SLICES: Final = frozenset({"bucket", "group_by"})
FILTERS: Final = frozenset({"account", "key", "model", "provider", "end_user", "tag:NAME"})
PAGE: Final = frozenset({"limit", "after"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `is_summed`: the total has it, as the sum of the printed rows.

    `remainder_of` names two columns of money whose difference this one is, in every currency.
    """

    name: str
    kind: Kind
    is_summed: bool = False
    remainder_of: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A valid question: what a request asked for, with every default filled in.

    `[start_us, end_us)` are instants of admission; `edges_us` are the bounds of its buckets, in order, the
    first at or before the start and the last at or after the end. `group_by` holds dimensions: account, key,
    model, provider, meter, end_user or `tag:NAME`. `filters` maps dimensions to the one value asked for;
    an account is named by id or path, and "" is an end user or tag that a call does not have. `limit` None
    is everything.
    """

    now_us: int
    start_us: int
    end_us: int
    edges_us: tuple[int, ...]
    timezone: str
    group_by: tuple[str, ...]
    filters: Mapping[str, str]
    currency: str
    format: str
    limit: int | None
    after: str | None

    def by(self, groups: tuple[str, ...]) -> Query:
        """The same question by other groups."""
        return replace(self, group_by=groups)


@dataclass(frozen=True, slots=True)
class Visible:
    """The part of the book a query looks at: what the reader may see, narrowed by the account asked for.

    `roots` are accounts, each with everything below it; None is all there is. `key` is the only key a
    virtual key may see, its own, unless it may see its account.
    """

    roots: tuple[str, ...] | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `parameters` are those it takes; any other is refused by name.

    `rows` reads inside one transaction and yields a value for each of `columns`. `cursor` names the column
    by which a paged report continues (`after`); such a report yields at most `query.limit` rows, newest
    first. `admin_only`: it tells of the gateway itself, not of anybody's spend. `dated_by` names the column
    whose instant decides at which rate a row is shown in another currency; None is the end of the period.
    """

    name: str
    title: str
    sentence: str
    parameters: frozenset[str]
    columns: Callable[[Query], tuple[Column, ...]]
    rows: Callable[[Connection, Query, Visible], Iterator[Row]]
    cursor: str | None = None
    admin_only: bool = False
    dated_by: str | None = None
