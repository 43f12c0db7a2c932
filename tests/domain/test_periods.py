"""Windows: each instant is in exactly one, and they follow the calendar people have on the wall."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.periods import (
    BUCKETS,
    DAY_US,
    EARLIEST_US,
    HOUR_US,
    LATEST_US,
    MINUTE_US,
    PERIODS,
    SLOT_US,
    Window,
    buckets,
    next_window,
    slot_of,
    validate,
    window,
)
from tests.domain.instants import instant, instants, text_of
from tests.domain.test_zones import ODD_ZONES, stretches

ZONES = sorted(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})
ENDING = [name for name in PERIODS if name != "lifetime"]

zones = st.one_of(st.sampled_from(ODD_ZONES), st.sampled_from(ZONES))


@st.composite
def rules(draw: st.DrawFn) -> tuple[str, str, int, int]:
    """A period that ends, a zone, and anchors that are valid for it."""
    period = draw(st.sampled_from(ENDING))
    anchor_day = draw(st.integers(1, PERIODS[period].anchor_days))
    anchor_month = draw(st.integers(1, 12)) if PERIODS[period].takes_month else 1
    return period, draw(zones), anchor_day, anchor_month


def wall(at_us: int, timezone: str) -> datetime:
    """What the zone's clock reads."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(ZoneInfo(timezone))


def ends(of: Window) -> int:
    """The end of a window that has one."""
    assert of.end_us is not None
    return of.end_us


@settings(deadline=None, max_examples=400)
@given(rule=rules(), at=instants())
@example(rule=("day", "Pacific/Apia", 1, 1), at=instant("2011-12-30T10:00:00Z"))
@example(rule=("week", "Pacific/Apia", 5, 1), at=instant("2011-12-30T10:00:00Z"))
@example(rule=("day", "America/St_Johns", 1, 1), at=instant("2010-11-07T03:00:00Z"))
@example(rule=("hour", "Australia/Lord_Howe", 1, 1), at=instant("2026-04-04T15:10:00Z"))
def test_windows_tile(rule: tuple[str, str, int, int], at: int) -> None:
    """An instant is in its window; the neighbours begin and end where it does; all its instants agree."""
    period, timezone, day, month = rule
    found = window(period, at, timezone, day, month)
    assert found.contains(at)
    for inside in (found.start_us, ends(found) - 1, (found.start_us + ends(found)) // 2):
        assert window(period, inside, timezone, day, month) == found
    after = next_window(period, found, timezone, day, month)
    assert after is not None
    assert after.start_us == found.end_us
    assert window(period, found.start_us - 1, timezone, day, month).end_us == found.start_us


@settings(deadline=None, max_examples=300)
@given(rule=rules(), at=instants())
def test_a_window_begins_where_the_calendar_says(rule: tuple[str, str, int, int], at: int) -> None:
    """The first reading of a window is the anchor itself, unless the clock skipped it."""
    period, timezone, day, month = rule
    if PERIODS[period].days is None:
        return
    start_us = window(period, at, timezone, day, month).start_us
    first = wall(start_us, timezone)
    if (first.hour, first.minute, first.second) != (0, 0, 0):
        assert wall(start_us - 1, timezone).utcoffset() != first.utcoffset(), "only a jump moves a beginning"
        return
    if wall(start_us - 1, timezone).date() < first.date() - timedelta(days=1):
        return  # a skipped day
    if period == "week":
        assert first.isoweekday() == day
    if PERIODS[period].anchor_days == 28:
        assert first.day == day
    if period == "quarter":
        assert (first.month - month) % 3 == 0
    if period == "year":
        assert first.month == month


LENGTHS_DAYS = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "quarter": (89, 92), "year": (365, 366)}


@settings(deadline=None, max_examples=300)
@given(rule=rules(), at=instants("1980-01-01T00:00:00Z"))
def test_a_window_is_as_long_as_its_name_says(rule: tuple[str, str, int, int], at: int) -> None:
    """To within what the clock was moved inside it; a date-line zone may have lost a whole day."""
    period, timezone, day, month = rule
    found = window(period, at, timezone, day, month)
    length = ends(found) - found.start_us
    if period not in LENGTHS_DAYS:
        assert length in (MINUTE_US, HOUR_US, 90 * MINUTE_US, 61 * MINUTE_US, 119 * MINUTE_US)
        return
    least, most = LENGTHS_DAYS[period]
    moved = _offset(ends(found), timezone) - _offset(found.start_us, timezone)
    assert (least - 1) * DAY_US <= length <= most * DAY_US + 3 * HOUR_US
    if abs(moved) <= 3 * HOUR_US:
        assert least * DAY_US - 3 * HOUR_US <= length


def _offset(at_us: int, timezone: str) -> int:
    offset = wall(at_us, timezone).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


@pytest.mark.parametrize("step", ["minute", "hour"])
@pytest.mark.parametrize("timezone", ODD_ZONES)
def test_clock_windows_begin_at_every_whole_reading_and_nowhere_else(timezone: str, step: str) -> None:
    """Around each change of the clock, held against the list of all whole readings."""
    step_us = {"minute": MINUTE_US, "hour": HOUR_US}[step]
    for before, after in itertools.pairwise(stretches(timezone)):
        around = (after.start_us - 4 * step_us, after.start_us + 4 * step_us)
        whole = [
            at
            for stretch in (before, after)
            for at in _whole_readings(
                max(stretch.start_us, around[0]), min(stretch.end_us, around[1]), stretch.ahead_us, step_us
            )
        ]
        if after.end_us < around[1] or before.start_us > around[0]:
            continue  # a third stretch is near: beyond this simple list
        at = whole[0]
        for expected in whole[1:]:
            found = window(step, at, timezone)
            assert (text_of(found.start_us), text_of(ends(found))) == (text_of(at), text_of(expected))
            assert window(step, expected - 1, timezone) == found
            at = expected


def _whole_readings(start_us: int, end_us: int, ahead_us: int, step_us: int) -> range:
    return range(start_us + -(start_us + ahead_us) % step_us, end_us, step_us)


@pytest.mark.parametrize(
    ("rule", "at", "start", "end"),
    [
        # 23 and 25 hours.
        (
            ("day", "Europe/Berlin"),
            "2026-03-29T12:00+02:00",
            "2026-03-29T00:00+01:00",
            "2026-03-30T00:00+02:00",
        ),
        (
            ("day", "Europe/Berlin"),
            "2026-10-25T12:00+01:00",
            "2026-10-25T00:00+02:00",
            "2026-10-26T00:00+01:00",
        ),
        # Both times of a repeated hour are hours of their own.
        (
            ("hour", "Europe/Berlin"),
            "2026-10-25T02:30+02:00",
            "2026-10-25T02:00+02:00",
            "2026-10-25T02:00+01:00",
        ),
        (
            ("hour", "Europe/Berlin"),
            "2026-10-25T02:30+01:00",
            "2026-10-25T02:00+01:00",
            "2026-10-25T03:00+01:00",
        ),
        # An hour whose second half comes again, and one whose first half never comes.
        (
            ("hour", "Australia/Lord_Howe"),
            "2026-04-05T01:45+11:00",
            "2026-04-05T01:00+11:00",
            "2026-04-05T02:00+10:30",
        ),
        (
            ("hour", "Australia/Lord_Howe"),
            "2026-10-04T02:45+11:00",
            "2026-10-04T01:00+10:30",
            "2026-10-04T03:00+11:00",
        ),
        (
            ("hour", "Asia/Kathmandu"),
            "2026-01-01T00:10+05:45",
            "2026-01-01T00:00+05:45",
            "2026-01-01T01:00+05:45",
        ),
        # Samoa had no 30 December.
        (
            ("day", "Pacific/Apia"),
            "2011-12-29T23:59-10:00",
            "2011-12-29T00:00-10:00",
            "2011-12-31T00:00+14:00",
        ),
        (
            ("day", "Pacific/Apia"),
            "2011-12-31T00:00+14:00",
            "2011-12-31T00:00+14:00",
            "2012-01-01T00:00+14:00",
        ),
        (
            ("month", "Pacific/Apia"),
            "2011-12-31T00:00+14:00",
            "2011-12-01T00:00-10:00",
            "2012-01-01T00:00+14:00",
        ),
        # A midnight that came twice: the quarter hour between belongs to the new day already.
        (
            ("day", "America/St_Johns"),
            "2010-11-06T23:15-03:30",
            "2010-11-07T00:00-02:30",
            "2010-11-08T00:00-03:30",
        ),
        # A midnight that never came.
        (
            ("day", "America/Havana"),
            "2024-03-10T12:00-04:00",
            "2024-03-10T01:00-04:00",
            "2024-03-11T00:00-04:00",
        ),
        # Weeks from Monday, and from Sunday.
        (("week", "UTC"), "2026-11-25T00:00Z", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (("week", "UTC", 7), "2026-11-25T00:00Z", "2026-11-22T00:00Z", "2026-11-29T00:00Z"),
        (("week", "UTC"), "2026-11-23T00:00Z", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        # Leap days.
        (("month", "UTC"), "2028-02-29T12:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
        (("month", "UTC"), "2100-02-28T12:00Z", "2100-02-01T00:00Z", "2100-03-01T00:00Z"),
        (("month", "UTC", 28), "2028-02-29T12:00Z", "2028-02-28T00:00Z", "2028-03-28T00:00Z"),
        (("month", "UTC", 15), "2026-01-14T23:59Z", "2025-12-15T00:00Z", "2026-01-15T00:00Z"),
        # Fiscal years.
        (
            ("year", "Asia/Tokyo", 1, 4),
            "2026-03-31T23:59+09:00",
            "2025-04-01T00:00+09:00",
            "2026-04-01T00:00+09:00",
        ),
        (("year", "UTC", 1, 10), "2026-10-01T00:00Z", "2026-10-01T00:00Z", "2027-10-01T00:00Z"),
        (
            ("year", "Europe/London", 6, 4),
            "2026-04-05T12:00+01:00",
            "2025-04-06T00:00+01:00",
            "2026-04-06T00:00+01:00",
        ),
        (("quarter", "UTC"), "2026-11-25T00:00Z", "2026-10-01T00:00Z", "2027-01-01T00:00Z"),
        (("quarter", "UTC", 1, 2), "2026-01-15T00:00Z", "2025-11-01T00:00Z", "2026-02-01T00:00Z"),
        (("quarter", "UTC", 15, 12), "2026-12-14T00:00Z", "2026-09-15T00:00Z", "2026-12-15T00:00Z"),
        # Liberia was 44 minutes and a half behind until 1972.
        (("day", "Africa/Monrovia"), "1960-01-01T12:00Z", "1960-01-01T00:44:30Z", "1960-01-02T00:44:30Z"),
    ],
)
def test_known_windows(
    rule: tuple[str, str] | tuple[str, str, int, int], at: str, start: str, end: str
) -> None:
    period, timezone, *anchors = rule
    assert window(period, instant(at), timezone, *anchors) == Window(instant(start), instant(end))


def test_a_lifetime_has_no_end() -> None:
    found = window("lifetime", instant("2026-01-01T00:00Z"), "Asia/Kathmandu")
    assert found == Window(0, None)
    assert found.contains(instant("2199-01-01T00:00Z"))
    assert next_window("lifetime", found, "UTC") is None


@pytest.mark.parametrize("at", [EARLIEST_US, LATEST_US - 1])
@pytest.mark.parametrize("period", ENDING)
@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Apia", "Pacific/Niue"])
def test_the_ends_of_the_calendar_have_windows(period: str, at: int, timezone: str) -> None:
    assert window(period, at, timezone).contains(at)


@settings(deadline=None)
@given(rule=rules(), at=instants(), steps=st.lists(st.integers(-(10**14), 10**14), max_size=20))
def test_keeping_the_window_is_the_same_as_asking_again(
    rule: tuple[str, str, int, int], at: int, steps: list[int]
) -> None:
    """The caller's fast path, with a clock that also steps back."""
    period, timezone, day, month = rule
    kept = window(period, at, timezone, day, month)
    for step in steps:
        at += step
        if not kept.contains(at):
            kept = window(period, at, timezone, day, month)
        assert kept == window(period, at, timezone, day, month)


@settings(deadline=None)
@given(rule=rules())
def test_valid_rules_pass(rule: tuple[str, str, int, int]) -> None:
    validate(*rule)


@pytest.mark.parametrize(
    ("rule", "param", "hint"),
    [
        (("fortnight", "UTC"), "period", "minute, hour, day, week, month, quarter, year, lifetime"),
        (("month", "Mars/Base"), "timezone", "IANA"),
        (("month", "UTC", 29), "anchor_day", "1-28"),
        (("month", "UTC", 0), "anchor_day", "1-28"),
        (("week", "UTC", 8), "anchor_day", "Monday"),
        (("day", "UTC", 2), "anchor_day", "Leave it at 1"),
        (("lifetime", "UTC", 5), "anchor_day", "Leave it at 1"),
        (("year", "UTC", 1, 13), "anchor_month", "1-12"),
        (("quarter", "UTC", 1, 0), "anchor_month", "1-12"),
        (("month", "UTC", 1, 4), "anchor_month", "Leave it at 1"),
    ],
)
def test_a_bad_rule_is_refused_by_the_field_that_is_wrong(
    rule: tuple[str, str], param: str, hint: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        validate(*rule)
    assert refusal.value.code == "invalid_value"
    assert refusal.value.param == param
    assert hint in refusal.value.hint


@settings(deadline=None, max_examples=150)
@given(
    bucket=st.sampled_from(BUCKETS),
    timezone=zones,
    start=instants("1980-01-01T00:00:00Z"),
    hours=st.integers(0, 9_000),
    part=st.integers(0, 10**6),
)
def test_every_slot_of_a_report_has_one_bucket(
    bucket: str, timezone: str, start: int, hours: int, part: int
) -> None:
    """Buckets cover the report, and the bucket of a slot is the window of each of its instants."""
    end = start + hours * HOUR_US
    found = buckets(bucket, start, end, timezone)
    for left, right in itertools.pairwise(found.windows):
        assert left.end_us == right.start_us
    if start == end:
        assert found.windows == ()
        return
    assert found.windows[0].contains(start)
    assert found.windows[-1].contains(end - 1)
    at = max(start, slot_of(start + (end - 1 - start) * part // 10**6))
    assert found.start_of(at) == window(bucket, at, timezone).start_us
    assert found.start_of(at) == window(bucket, slot_of(at) + SLOT_US - 1, timezone).start_us


def test_a_day_in_kathmandu_is_96_slots_that_begin_at_a_quarter_past() -> None:
    start, end = instant("2026-03-01T00:00+05:45"), instant("2026-03-03T00:00+05:45")
    found = buckets("day", start, end, "Asia/Kathmandu")
    starts = [found.start_of(slot) for slot in range(start, end, SLOT_US)]
    assert starts == [start] * 96 + [start + DAY_US] * 96
    assert text_of(start) == "2026-02-28T18:15:00+00:00"


def test_buckets_are_whole_though_the_report_is_not() -> None:
    found = buckets("month", instant("2026-01-15T00:00Z"), instant("2026-02-01T00:00:00.000001Z"), "UTC")
    assert [text_of(each.start_us)[:10] for each in found.windows] == ["2026-01-01", "2026-02-01"]


@pytest.mark.parametrize(
    ("bucket", "end", "timezone", "param"),
    [
        ("quarter", "2026-01-02T00:00Z", "UTC", "bucket"),
        ("minute", "2026-01-02T00:00Z", "UTC", "bucket"),
        ("hour", "2028-01-01T00:00Z", "UTC", "bucket"),
        ("day", "2026-01-02T00:00Z", "Nowhere", "timezone"),
        ("month", "9999-12-31T23:59Z", "UTC", "start"),
    ],
)
def test_a_report_that_cannot_be_bucketed_is_refused(
    bucket: str, end: str, timezone: str, param: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        buckets(bucket, instant("2026-01-01T00:00Z"), instant(end), timezone)
    assert refusal.value.param == param
    assert refusal.value.hint


@given(at=instants())
def test_a_slot_is_the_quarter_hour_around(at: int) -> None:
    assert slot_of(at) <= at < slot_of(at) + SLOT_US
    assert slot_of(at) % SLOT_US == 0
