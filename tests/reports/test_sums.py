"""Every way to group, cut and filter a report gives the integers of a plain recomputation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.periods import SLOT_US
from gateway.reports.rollups import Run
from gateway.reports.sums import runs
from gateway.reports.usage import METER_COLUMNS
from tests.reports.asking import ask_json, nano, us
from tests.reports.book import EPOCH, Entry, Meter, Sums, bucket_start, instant, sums_of
from tests.reports.conftest import Book

ZONES = ("UTC", "Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "America/St_Johns")
BUCKETS = (None, "hour", "day", "week", "month")
GROUPINGS = (
    "",
    "account",
    "key",
    "model",
    "provider",
    "meter",
    "end_user",
    "tag:env",
    "tag:nobody",
    "meter,account",
    "account,key,model,provider,meter",
    "end_user,account",
    "model,tag:team,key",
    "tag:env,tag:team",
    "end_user,tag:env,meter",
)
PERIOD = ("2026-10-19T00:00:00Z", "2026-11-09T00:00:00Z")


def spend_measures(entry: Entry, name: str, meter: Meter) -> tuple[int, ...]:
    return entry.calls * (name == "requests"), meter.cost, meter.list_cost


def usage_measures(entry: Entry, name: str, meter: Meter) -> tuple[int, ...]:
    return tuple(meter.quantity * (name == column) for column in ("requests", *METER_COLUMNS))


def quantity_measures(entry: Entry, name: str, meter: Meter) -> tuple[int, ...]:
    return (meter.quantity,)


def keys(
    groups: tuple[str, ...], bucket: str | None, timezone: str, start_us: int
) -> Callable[[Entry, str], tuple[object, ...]]:
    def key(entry: Entry, meter: str) -> tuple[object, ...]:
        at = bucket_start(bucket, entry.at_us, timezone, start_us)
        return at, *(meter if group == "meter" else entry.dimension(group) for group in groups)

    return key


def spent(answer: object, groups: tuple[str, ...]) -> Sums:
    """The rows of a spend report, by bucket and groups."""
    return {
        (us(row["bucket_start"]), *(row[group] for group in groups)): [
            row["calls"],
            nano(row["cost"]),
            nano(row["list_cost"]),
        ]
        for row in answer["rows"]  # type: ignore[index]
    }


def used(answer: object, groups: tuple[str, ...]) -> Sums:
    """The rows of a usage report, by bucket and groups."""
    measures = ("quantity",) if "meter" in groups else ("calls", *METER_COLUMNS)
    return {
        (us(row["bucket_start"]), *(row[group] for group in groups)): [row[measure] for measure in measures]
        for row in answer["rows"]  # type: ignore[index]
    }


def check(
    book: Book,
    groups: tuple[str, ...],
    bucket: str | None,
    timezone: str,
    period: tuple[str, str],
    filters: Mapping[str, str],
    matches: Callable[[Entry], bool],
) -> None:
    """Ask for spend and usage, and compare rows, order, uniqueness and total."""
    start_us, end_us = instant(period[0]), instant(period[1])
    entries = [each for each in book.entries if start_us <= each.at_us < end_us and matches(each)]
    parameters = {"start": period[0], "end": period[1], "timezone": timezone, **filters}
    if bucket is not None:
        parameters["bucket"] = bucket
    if groups:
        parameters["group_by"] = ",".join(groups)
    by = keys(groups, bucket, timezone, start_us)

    spend = ask_json(book.engine, "spend", parameters)
    expected = sums_of(entries, by, spend_measures)
    found = spent(spend, groups)
    assert found == expected
    assert len(spend["rows"]) == len(expected)
    assert list(found) == sorted(found)
    total = [spend["total"]["calls"], nano(spend["total"]["cost"]), nano(spend["total"]["list_cost"])]
    assert total == [
        sum(each.calls for each in entries),
        sum(each.cost for each in entries),
        sum(each.list_cost for each in entries),
    ]

    usage = ask_json(book.engine, "usage", parameters)
    wanted = quantity_measures if "meter" in groups else usage_measures
    assert used(usage, groups) == sums_of(entries, by, wanted)


def anything(entry: Entry) -> bool:
    return True


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_every_grouping(book: Book, grouping: str) -> None:
    groups = tuple(grouping.split(",")) if grouping else ()
    check(book, groups, "day", "Europe/Berlin", PERIOD, {}, anything)


@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_bucket_in_every_zone(book: Book, bucket: str | None, timezone: str) -> None:
    check(book, ("model",), bucket, timezone, PERIOD, {}, anything)


FILTERS: Mapping[str, tuple[Mapping[str, str], Callable[[Entry], bool]]] = {
    "an account by id": ({"account": "acct_search"}, lambda e: e.account in ("acct_search", "acct_rank")),
    "an account by path, its deleted namesake too": (
        {"account": "acme/search"},
        lambda e: e.account in ("acct_search", "acct_rank", "acct_old"),
    ),
    "the root": ({"account": "acme"}, lambda e: e.account != "acct_other"),
    "a key": ({"key": "key_c"}, lambda e: e.key == "key_c"),
    "a key elsewhere": ({"key": "key_c", "account": "other"}, lambda e: False),
    "a model": ({"model": "gpt-4.1"}, lambda e: e.model == "gpt-4.1"),
    "a provider": ({"provider": "anthropic"}, lambda e: e.provider == "anthropic"),
    "an end user": ({"end_user": "émile"}, lambda e: e.end_user == "émile"),
    "nobody": ({"end_user": ""}, lambda e: e.end_user is None),
    "a tag": ({"tag:env": "dev"}, lambda e: e.tags.get("env") == "dev"),
    "no such tag": ({"tag:env": ""}, lambda e: "env" not in e.tags),
    "two tags": (
        {"tag:env": "dev", "tag:team": "a"},
        lambda e: e.tags.get("env") == "dev" and e.tags.get("team") == "a",
    ),
    "a tag and nobody": (
        {"tag:env": "prod", "end_user": ""},
        lambda e: e.tags.get("env") == "prod" and e.end_user is None,
    ),
    "SQL": ({"model": "gpt-4.1' OR '1'='1", "key": '"; DROP TABLE ledger; --'}, lambda e: False),
}


@pytest.mark.parametrize("case", FILTERS)
@pytest.mark.parametrize("grouping", ["", "account,meter", "end_user", "tag:env"])
def test_every_filter(book: Book, case: str, grouping: str) -> None:
    filters, matches = FILTERS[case]
    groups = tuple(grouping.split(",")) if grouping else ()
    check(book, groups, None, "UTC", PERIOD, filters, matches)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(
        st.sampled_from(("account", "key", "model", "provider", "meter", "end_user", "tag:env", "tag:team")),
        unique=True,
        max_size=4,
    ),
    bucket=st.sampled_from(BUCKETS),
    timezone=st.sampled_from(ZONES),
    bounds=st.lists(
        st.integers(0, 21 * 86_400_000_000),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    case=st.sampled_from([None, *FILTERS]),
)
def test_any_question(
    book: Book,
    groups: list[str],
    bucket: str | None,
    timezone: str,
    bounds: list[int],
    case: str | None,
) -> None:
    """Bounds at any microsecond: what they cut off a quarter hour comes from the ledger itself."""
    low, high = (instant(PERIOD[0]) + bound for bound in sorted(bounds))
    period = (_text(low), _text(high))
    filters, matches = FILTERS[case] if case else ({}, anything)
    check(book, tuple(groups), bucket, timezone, period, filters, matches)


def _text(at_us: int) -> str:
    return (EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("bucket", [None, "day"])
@pytest.mark.parametrize("grouping", ["", "account", "tag:env"])
def test_what_the_bounds_cut_off_is_exact(book: Book, bucket: str | None, grouping: str) -> None:
    """From one call to just before another, each in the middle of a quarter hour with calls around it."""
    middle = [entry.at_us for entry in sorted(book.entries, key=lambda each: each.at_us)]
    middle = [at for at in middle if SLOT_US // 3 < at % SLOT_US < 2 * SLOT_US // 3]
    period = (_text(middle[10]), _text(middle[-10]))
    kept = [at for at in middle if instant(period[0]) <= at < instant(period[1])]
    assert kept[0] // SLOT_US == middle[10] // SLOT_US
    check(book, (grouping,) if grouping else (), bucket, "UTC", period, {}, anything)


def test_a_period_within_one_quarter_hour(book: Book) -> None:
    period = ("2026-10-25T00:01:00Z", "2026-10-25T00:13:30Z")
    check(book, ("account",), "hour", "Asia/Kathmandu", period, {}, anything)


def test_berlin_and_tokyo_months_differ_by_the_hours_between_them(book: Book) -> None:
    """October ends eight hours earlier in Tokyo than in Berlin, whose clock went back on the 25th."""
    october = {"start": "2026-10-01", "end": "2026-11-01"}
    tokyo = ask_json(book.engine, "spend", {**october, "timezone": "Asia/Tokyo"})
    berlin = ask_json(book.engine, "spend", {**october, "timezone": "Europe/Berlin"})
    hours = {"start": "2026-10-31T15:00:00Z", "end": "2026-10-31T23:00:00Z"}
    between = ask_json(book.engine, "spend", hours)
    costs = [nano(each["total"]["cost"]) for each in (tokyo, berlin, between)]
    assert costs[2] > 0
    assert costs[1] - costs[0] == costs[2]


def test_a_day_of_25_hours_has_25_hours(book: Book) -> None:
    day = {"start": "2026-10-25", "end": "2026-10-26", "timezone": "Europe/Berlin", "bucket": "hour"}
    starts = [row["bucket_start"] for row in ask_json(book.engine, "spend", day)["rows"]]
    assert len(starts) == 25
    assert starts[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


def test_runs_are_as_few_as_the_clock_allows() -> None:
    hour = 3_600_000_000
    edges = (0, 24 * hour, 48 * hour, 73 * hour, 97 * hour)
    assert list(runs(edges, 0, edges[-1])) == [
        Run(0, 0, 24 * hour, 0, 48 * hour),
        Run(2, 48 * hour, 25 * hour, 48 * hour, 73 * hour),
        Run(3, 73 * hour, 24 * hour, 73 * hour, 97 * hour),
    ]


@given(
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
)
def test_runs_tile_the_period(widths: list[int], cut: tuple[int, int]) -> None:
    edges = [0]
    for width in widths:
        edges.append(edges[-1] + width * SLOT_US)
    start_us, end_us = cut[0] * SLOT_US, edges[-1] - cut[1] * SLOT_US
    found = [
        (slot, run.first + (slot - run.origin_us) // run.width_us)
        for run in runs(tuple(edges), start_us, end_us)
        for slot in range(run.start_us, run.end_us, SLOT_US)
    ]
    expected = [
        (slot, max(index for index, edge in enumerate(edges) if edge <= slot))
        for slot in range(start_us, end_us, SLOT_US)
    ]
    assert found == expected
