"""Pages of buckets as the providers' own usage reports ask for them: by hour or day of UTC, with a cursor.

OpenAI's and Anthropic's reports differ in the names of parameters and in what a result looks like
(`reports.openai_usage`, `reports.anthropic_usage`); what they ask is one thing, and is asked of the same sums
as every other report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from sqlalchemy import Connection

from gateway.domain.errors import BadRequest
from gateway.domain.exchange import USD
from gateway.domain.periods import DAY_US, HOUR_US
from gateway.reports.base import Query, Visible
from gateway.reports.sums import Sum, sums

__all__ = ["Asked", "Page", "Vendor", "asked", "found_page", "merged"]

_WIDTHS: Final[Mapping[str, int]] = {"1h": HOUR_US, "1d": DAY_US}
_PAGE: Final = re.compile(r"page_(\d{1,17})", re.ASCII)
_MEASURES: Final = ("calls", "quantity", "cost")


@dataclass(frozen=True, slots=True)
class Vendor:
    """How one of a provider's reports names things.

    `groups` maps its groups to ours, None for one that no figure here is told apart by: it is answered as
    null. `filters` maps list parameters to our dimensions. `limits` has, by width, the default and the most.
    `instant` reads its instants, in microseconds.
    """

    start: str
    end: str
    groups: Mapping[str, str | None]
    filters: Mapping[str, str]
    limits: Mapping[str, tuple[int, int]]
    instant: Callable[[str, str], int]
    ignored: frozenset[str] = frozenset()


class Asked(NamedTuple):
    """A page of buckets: the question, the groups by the vendor's names, and what rows must match."""

    query: Query
    groups: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    next_us: int | None


class Page(NamedTuple):
    """Buckets `(start, end, sums by our groups and meter)`, and the cursor of the page behind them."""

    buckets: Sequence[tuple[int, int, Sequence[Sum]]]
    next_page: str | None


def asked(vendor: Vendor, pairs: Iterable[tuple[str, str]], now_us: int) -> Asked:
    """The page that the parameters of a request ask for; BadRequest names the one that is wrong."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name.removesuffix("[]"), []).append(value)
    known = {vendor.start, vendor.end, "bucket_width", "group_by", "limit", "page", *vendor.filters}
    for name in given:
        if name not in known and name not in vendor.ignored:
            raise BadRequest(
                "unsupported_field",
                f"There is no parameter {name[:64]!a}.",
                hint=f"It takes {', '.join(sorted(known))}.",
                param=name[:64],
            )
    width = _one(given, "bucket_width", "1d")
    if width not in vendor.limits:
        hint = f"Use {' or '.join(vendor.limits)}."
        raise _invalid("bucket_width", f"{width[:16]!a} is no width here", hint)
    groups = tuple(dict.fromkeys(given.get("group_by", ())))
    for group in groups:
        if group not in vendor.groups:
            raise _invalid("group_by", f"{group[:64]!a} is no group", f"Use {', '.join(vendor.groups)}.")
    edges, next_us = _edges(vendor, given, width, now_us)
    filters = {vendor.filters[name]: frozenset(given[name]) for name in vendor.filters if name in given}
    ours = [vendor.groups[group] for group in groups]
    by = tuple(dict.fromkeys(name for name in (*ours, *filters) if name is not None))
    return Asked(_query(edges, by, now_us), groups, filters, next_us)


def _edges(
    vendor: Vendor, given: Mapping[str, list[str]], width: str, now_us: int
) -> tuple[tuple[int, ...], int | None]:
    """The bounds of the page's buckets, and where the next page begins."""
    if vendor.start not in given:
        raise _invalid(vendor.start, f"{vendor.start} is missing", "Say from when.")
    start_us = vendor.instant(vendor.start, _one(given, vendor.start, ""))
    end_us = vendor.instant(vendor.end, _one(given, vendor.end, "")) if vendor.end in given else now_us
    if start_us >= end_us:
        raise _invalid(vendor.end, f"{vendor.end} is not after {vendor.start}", "The end is exclusive.")
    step_us = _WIDTHS[width]
    first_us = start_us - start_us % step_us
    if "page" in given:
        page = _PAGE.fullmatch(_one(given, "page", ""))
        if page is None or int(page[1]) % step_us or not first_us <= int(page[1]) < end_us:
            raise _invalid("page", "That is no page of this question", "Give the `next_page` before.")
        first_us = int(page[1])
    default, most = vendor.limits[width]
    text = _one(given, "limit", str(default))
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise _invalid("limit", f"{text[:16]!a} is no number of buckets", f"Give 1 to {most}.")
    last_us = min(first_us + int(text) * step_us, -(-end_us // step_us) * step_us)
    edges = tuple(range(first_us, last_us + 1, step_us))
    return edges, last_us if last_us < end_us else None


def _query(edges: tuple[int, ...], groups: tuple[str, ...], now_us: int) -> Query:
    return Query(
        now_us=now_us,
        start_us=edges[0],
        end_us=edges[-1],
        edges_us=edges,
        timezone="UTC",
        group_by=groups,
        filters={},
        currency=USD,
        format="json",
        limit=None,
        after=None,
    )


def found_page(conn: Connection, page: Asked, visible: Visible) -> Page:
    """Read the page. Every bucket is in it, also one in which nothing happened."""
    rows = sums(conn, page.query, visible, _MEASURES, by_meter=True, by_id=True)
    matching = (row for row in rows if _matches(row, page))
    by_start = {start: list(found) for start, found in groupby(matching, key=lambda row: row.bucket_start_us)}
    edges = page.query.edges_us
    buckets = [(start, end, by_start.get(start, [])) for start, end in pairwise(edges)]
    return Page(buckets, None if page.next_us is None else f"page_{page.next_us}")


def _matches(row: Sum, page: Asked) -> bool:
    names = dict(zip(page.query.group_by, row.group, strict=True))
    return all(names[name] in values for name, values in page.filters.items())


def merged(
    rows: Sequence[Sum], page: Asked, vendor: Vendor
) -> Iterator[tuple[dict[str, str | None], Mapping[str, list[int]]]]:
    """Rows of one bucket by the vendor's groups: each group's values by its names, None where it is not
    grouped by, and `[calls, quantity, cost]` by meter."""
    found: dict[tuple[str | None, ...], dict[str, list[int]]] = {}
    for row in rows:
        names = dict(zip(page.query.group_by, row.group, strict=True))
        key = tuple(_value(vendor, group, names) for group in page.groups)
        meters = found.setdefault(key, {})
        for meter, amounts in row.by_meter.items():
            known = meters.setdefault(meter, [0] * len(_MEASURES))
            for index, amount in enumerate(amounts):
                known[index] += amount
    for key, meters in found.items():
        yield dict(zip(page.groups, key, strict=True)), meters


def _value(vendor: Vendor, group: str, names: Mapping[str, str]) -> str | None:
    ours = vendor.groups[group]
    return None if ours is None else names[ours] or None


def _one(given: Mapping[str, list[str]], name: str, default: str) -> str:
    values = given.get(name, [default])
    if len(values) > 1:
        raise _invalid(name, f"{name} is given twice", "Give it once.")
    return values[0]


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)
