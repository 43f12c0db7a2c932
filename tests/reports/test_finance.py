"""Fourteen months in three currencies: every report by every grouping is the sum of plain integers."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyarrow import parquet
from sqlalchemy import Engine, create_engine

from tests.databases import BACKENDS, Postgres
from tests.reports.asking import ask, ask_csv, ask_json, nano, us
from tests.reports.book import EPOCH, Entry, bucket_start, instant
from tests.reports.years import CALLS, FIRST, LAST, calls, center_of, path_of, post_all, rate_on

PERIOD = {"start": FIRST, "end": LAST, "bucket": "month"}
GROUPINGS = (
    "",
    "account",
    "key",
    "model",
    "provider",
    "meter",
    "end_user",
    "tag:env",
    "account,model",
    "model,tag:env",
)


@dataclass(frozen=True, repr=False)
class Years:
    """The database and the plain values."""

    engine: Engine
    entries: list[Entry]


@pytest.fixture(scope="module", params=BACKENDS)
def years(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> Iterator[Years]:
    """Posted once, only read."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("years") / "tollgate.db"
        path.write_bytes(sqlite_template)
        yield from _filled(f"sqlite:///{path}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.take()
        yield from _filled(url)
        server.give_back(url)


def _filled(url: str) -> Iterator[Years]:
    engine = create_engine(url)
    entries = calls(CALLS)
    with engine.begin() as conn:
        post_all(conn, entries)
    yield Years(engine, entries)
    engine.dispose()


def number_of(entry: Entry) -> int:
    return int(entry.account.removeprefix("acct_"))


def dimension(entry: Entry, name: str, meter: str) -> str:
    if name == "meter":
        return meter
    if name == "account":
        return path_of(number_of(entry))
    if name == "cost_center":
        return center_of(number_of(entry))
    return entry.dimension(name)


Sums = dict[tuple[Any, ...], list[int]]


def recomputed(entries: list[Entry], groups: tuple[str, ...], timezone: str, start_us: int) -> Sums:
    """Calls, cost and list cost by month and groups, by nothing but the calendar and addition."""
    found: Sums = defaultdict(lambda: [0, 0, 0])
    months: dict[int, int] = {}
    for entry in entries:
        hour = entry.at_us // 3_600_000_000
        month = months.get(hour)
        if month is None:
            month = months[hour] = bucket_start("month", entry.at_us, timezone, start_us)
        for meter, amounts in entry.by_meter().items():
            key = (month, *(dimension(entry, name, meter) for name in groups))
            total = found[key]
            total[0] += entry.calls if meter == "requests" else 0
            total[1] += amounts.cost
            total[2] += amounts.list_cost
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def printed(answer: Any, groups: tuple[str, ...]) -> Sums:
    found = {
        (us(row["bucket_start"]), *(row[name] for name in groups)): [
            row["calls"], nano(row["cost"]), nano(row["list_cost"])
        ]
        for row in answer["rows"]
    }  # fmt: skip
    assert len(found) == len(answer["rows"])
    total = answer["total"]
    sums = [sum(amounts[index] for amounts in found.values()) for index in range(3)]
    assert [total["calls"], nano(total["cost"]), nano(total["list_cost"])] == sums
    return found


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_every_report_by_every_grouping(years: Years, grouping: str) -> None:
    groups = tuple(grouping.split(",")) if grouping else ()
    asked = {**PERIOD, "timezone": "Europe/Berlin", **({"group_by": grouping} if grouping else {})}
    start_us = instant(FIRST)
    expected = recomputed(years.entries, groups, "Europe/Berlin", start_us)
    assert printed(ask_json(years.engine, "spend", asked), groups) == expected
    centers = ("cost_center", *groups)
    charged = recomputed(years.entries, centers, "Europe/Berlin", start_us)
    assert printed(ask_json(years.engine, "chargeback", asked), centers) == charged
    shown = groups or ("provider", "model")
    saved = ask_json(years.engine, "savings", asked)
    by_default = expected if groups else recomputed(years.entries, shown, "Europe/Berlin", start_us)
    assert printed(saved, shown) == by_default
    assert all(nano(row["savings"]) == nano(row["list_cost"]) - nano(row["cost"]) for row in saved["rows"])


def in_currency(amount: int, rate: int) -> int:
    """The long way round: a Decimal, rounded half away from zero."""
    return int((Decimal(amount) * rate / 10**9).quantize(Decimal(1), rounding="ROUND_HALF_UP"))


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
@pytest.mark.parametrize("grouping", ["", "account", "model,tag:env"])
@pytest.mark.parametrize("name", ["spend", "chargeback", "savings"])
def test_the_total_is_the_sum_of_the_printed_rows_in_every_currency(
    years: Years, currency: str, grouping: str, name: str
) -> None:
    asked = {**PERIOD, "timezone": "Asia/Tokyo", **({"group_by": grouping} if grouping else {})}
    dollars = ask_json(years.engine, name, asked)
    found = ask_json(years.engine, name, {**asked, "currency": currency})
    assert len(found["rows"]) == len(dollars["rows"]) > 10
    for row, plain in zip(found["rows"], dollars["rows"], strict=True):
        last = _last_day(plain["bucket_start"])
        rate, day = rate_on(currency, last)
        assert (row["fx_date"], row["currency"]) == (day, currency)
        assert nano(row["fx_rate"]) == rate
        for column in ("cost", "list_cost"):
            assert nano(row[column]) == in_currency(nano(plain[column]), rate)
        if name == "savings":
            assert nano(row["savings"]) == nano(row["list_cost"]) - nano(row["cost"])
    for column in ("cost", "list_cost"):
        assert nano(found["total"][column]) == sum(nano(row[column]) for row in found["rows"])
    assert found["total"]["currency"] == currency


def _last_day(bucket: str) -> date:
    """The last day of a month in Tokyo that the period reaches: its own end is at 9 o'clock of the first."""
    first = datetime.fromisoformat(bucket)
    following = (first + timedelta(days=32)).replace(day=1)
    end = min(following.timestamp(), instant(LAST) / 1e6)
    return (EPOCH + timedelta(seconds=end - 1)).astimezone(ZoneInfo("Asia/Tokyo")).date()


@pytest.mark.parametrize("name", ["spend", "usage", "chargeback", "savings", "forecast"])
@pytest.mark.parametrize("currency", ["USD", "EUR"])
def test_csv_json_and_parquet_agree(years: Years, name: str, currency: str) -> None:
    period = {} if name == "forecast" else {**PERIOD, "group_by": "account"}
    asked = {**period, "currency": currency}
    answer = ask_json(years.engine, name, asked)
    as_csv = ask_csv(years.engine, name, asked)
    table = parquet.read_table(io.BytesIO(ask(years.engine, name, {**asked, "format": "parquet"})))
    as_parquet = table.to_pylist()
    assert len(answer["rows"]) == len(as_csv) == len(as_parquet) > 0
    assert table.column_names == answer["columns"]
    for row, line, record in zip(answer["rows"], as_csv, as_parquet, strict=True):
        for column, value in row.items():
            assert line[column] == _as_text(value)
            _check(record[column], value)


def _as_text(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith("=") else text


def _check(found: Any, value: Any) -> None:
    if isinstance(found, Decimal):
        assert found == Decimal(value)
    elif isinstance(found, datetime):
        assert found == datetime.fromisoformat(value)
    else:
        assert found == value


def test_berlin_and_tokyo_differ_by_the_hours_between_them(years: Years) -> None:
    """March in Berlin begins eight hours later than in Tokyo, and ends seven hours later: DST began."""
    march = {"start": "2026-03-01", "end": "2026-04-01"}
    berlin = ask_json(years.engine, "chargeback", {**march, "timezone": "Europe/Berlin"})
    tokyo = ask_json(years.engine, "chargeback", {**march, "timezone": "Asia/Tokyo"})

    def between(start: str, end: str) -> int:
        return sum(e.cost for e in years.entries if instant(start) <= e.at_us < instant(end))

    gained = between("2026-03-31T15:00:00Z", "2026-03-31T22:00:00Z")
    lost = between("2026-02-28T15:00:00Z", "2026-02-28T23:00:00Z")
    assert gained > 0
    assert lost > 0
    assert nano(berlin["total"]["cost"]) - nano(tokyo["total"]["cost"]) == gained - lost
