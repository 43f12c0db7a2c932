"""From the strings of a request to a Query. Everything is checked here, before anything is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from gateway.domain.errors import BadRequest
from gateway.domain.exchange import USD, check_currency
from gateway.domain.periods import BUCKETS, SLOT_US, buckets, slot_of, window
from gateway.domain.zones import EPOCH, check_timezone, first_instant, zone
from gateway.reports.base import Query, Report
from gateway.reports.parquet import is_installed
from gateway.reports.rendering import RENDERINGS

__all__ = ["GROUPS", "MOST_ROWS_PER_PAGE", "parse"]

GROUPS: Final = ("account", "key", "model", "provider", "meter", "end_user")
TAG: Final = "tag:"
# These go to a file, so that without a limit they hold everything.
FILES: Final = ("csv", "parquet")
ROWS_PER_PAGE: Final = 100
MOST_ROWS_PER_PAGE: Final = 10_000
MOST_GROUPS: Final = 8
# As wide as the widest name that is stored.
MOST_CHARACTERS: Final = 1_000
# No gateway served a call before this, and the calendar is not in doubt until then.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200

_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_MICROSECOND: Final = timedelta(microseconds=1)


def parse(report: Report, pairs: Iterable[tuple[str, str]], now_us: int) -> Query:
    """The question that the parameters ask of `report`; BadRequest names the one that is wrong, and the fix.

    The default period is this month so far, in the zone asked for (UTC); with an `end` alone, the month up
    to it. Without `bucket` the whole period is one bucket.
    """
    given = _collect(report, pairs)
    timezone = given.get("timezone", "UTC")
    check_timezone(timezone)
    start_us, end_us = _period(given, timezone, now_us)
    page_format = _format(given.get("format", "json"))
    return Query(
        now_us=now_us,
        start_us=start_us,
        end_us=end_us,
        edges_us=_edges(given.get("bucket"), start_us, end_us, timezone),
        timezone=timezone,
        group_by=_groups(given.get("group_by", "")),
        filters={name: value for name, value in given.items() if name in GROUPS or name.startswith(TAG)},
        currency=_currency(given.get("currency", USD)),
        format=page_format,
        limit=_limit(report, given.get("limit"), page_format),
        after=given.get("after"),
    )


def _collect(report: Report, pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        known = f"{TAG}NAME" if name.startswith(TAG) and name != TAG else name
        if known != "format" and known not in report.parameters:
            raise BadRequest(
                "unsupported_field",
                f"The report {report.name} has no parameter {name[:64]!r}.",
                hint=f"It takes {', '.join(sorted({*report.parameters, 'format'}))}.",
                param=name[:64],
            )
        if name in given:
            raise _invalid(name, f"{name} is given twice", "Give it once; group_by takes a list with commas.")
        if len(value) > MOST_CHARACTERS or "\0" in value or "\0" in name:
            raise _invalid(
                name[:64],
                f"{name[:64]!r} is longer than {MOST_CHARACTERS} characters or contains a NUL",
                "Give a shorter, printable text.",
            )
        given[name] = value
    return given


def _period(given: Mapping[str, str], timezone: str, now_us: int) -> tuple[int, int]:
    end_text, start_text = given.get("end"), given.get("start")
    # Everything up to now lies before the end of the running quarter hour, where the sums have their bounds.
    end_us = slot_of(now_us) + SLOT_US if end_text is None else _instant("end", end_text, timezone)
    if start_text is None:
        start_us = window("month", end_us - 1, timezone).start_us
    else:
        start_us = _instant("start", start_text, timezone)
    if start_us >= end_us:
        until = f"end, {end_text}" if end_text is not None else "now, which is where a report ends by default"
        raise _invalid(
            "end" if end_text is not None else "start",
            f"start, {start_text}, is not before {until}",
            "The end is exclusive: a single day ends on the day after.",
        )
    return start_us, end_us


def _instant(param: str, text: str, timezone: str) -> int:
    """Microseconds of an RFC 3339 instant, or of a date's first instant in the zone."""
    try:
        if _DATE.fullmatch(text):
            _check_year(param, text)
            days = date.fromisoformat(text) - EPOCH.date()
            return first_instant(zone(timezone), days // _MICROSECOND)
        if _INSTANT.fullmatch(text):
            _check_year(param, text)
            return (datetime.fromisoformat(text.upper()) - EPOCH) // _MICROSECOND
    except ValueError as error:
        raise _invalid(param, f"{text!r} does not exist: {error}", "Look at the calendar.") from None
    raise _invalid(
        param,
        f"{text[:64]!r} is neither a date nor an instant",
        "Give a date such as 2026-11-01, or RFC 3339 such as 2026-11-01T00:00:00Z; "
        "in a URL the + of an offset is written %2B.",
    )


def _check_year(param: str, text: str) -> None:
    if not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise _invalid(
            param, f"The year {text[:4]} is out of reach", f"Give a year from {FIRST_YEAR} to {LAST_YEAR}."
        )


def _edges(bucket: str | None, start_us: int, end_us: int, timezone: str) -> tuple[int, ...]:
    if bucket is None:
        return start_us, end_us
    _one_of("bucket", bucket, BUCKETS)
    windows = buckets(bucket, start_us, end_us, timezone).windows
    last_us = windows[-1].end_us
    assert last_us is not None, "a bucket ends"
    return (*(each.start_us for each in windows), last_us)


def _groups(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    for name in names:
        if name not in GROUPS and not (name.startswith(TAG) and name != TAG):
            raise _invalid(
                "group_by",
                f"{name[:64]!r} is no group",
                f"Use {', '.join(GROUPS)} or tag:NAME, such as tag:env.",
            )
    if len(set(names)) < len(names) or len(names) > MOST_GROUPS:
        raise _invalid(
            "group_by", f"{text!r} repeats a group or has more than {MOST_GROUPS}", "Name each group once."
        )
    return names


def _currency(text: str) -> str:
    check_currency(text)
    return text


def _limit(report: Report, text: str | None, page_format: str) -> int | None:
    """Rows of a page; None is everything."""
    if report.cursor is None or (text is None and page_format in FILES):
        return None
    if text is None:
        return ROWS_PER_PAGE
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= MOST_ROWS_PER_PAGE:
        raise _invalid(
            "limit", f"{text[:16]!r} is no number of rows", f"Give 1 to {MOST_ROWS_PER_PAGE} rows to a page."
        )
    return int(text)


def _format(text: str) -> str:
    _one_of("format", text, tuple(RENDERINGS))
    if text == "parquet" and not is_installed():
        raise _invalid(
            "format",
            "This gateway writes no Parquet: pyarrow is not installed",
            "Install tollgate-gateway[parquet], or ask for CSV.",
        )
    return text


def _one_of(param: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise _invalid(param, f"{value[:64]!r} is no {param}", f"Use one of {', '.join(known)}.")
    return value


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)
