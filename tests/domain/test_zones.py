"""Local time, held against a brute-force reading of every change of the clock in the zones that are odd."""

from __future__ import annotations

import functools
import zoneinfo
from dataclasses import dataclass

import pytest

from gateway.domain.errors import BadRequest
from gateway.domain.periods import DAY_US, HOUR_US, SLOT_US
from gateway.domain.zones import check_timezone, first_instant, offset_change, offset_us, zone
from tests.domain.instants import instant

ODD_ZONES = (
    "America/Havana",  # changes at midnight: the day begins at 01:00
    "America/Sao_Paulo",  # went back at midnight into the day before
    "America/St_Johns",  # until 2011 changed at 00:01, so that midnight came twice
    "Antarctica/Troll",  # two hours
    "Asia/Kathmandu",
    "Asia/Manila",
    "Australia/Lord_Howe",  # half an hour
    "Europe/Berlin",
    "Europe/Dublin",  # winter time is the negative saving
    "Pacific/Apia",  # skipped 2011-12-30
    "Pacific/Kwajalein",  # skipped 1993-08-21
    "UTC",
)
# From the summer time of the wars to past the last change that is written down one by one.
FIRST, LAST = instant("1940-01-01T00:00:00Z"), instant("2040-01-01T00:00:00Z")


@dataclass(frozen=True)
class Stretch:
    """A time during which one offset holds."""

    start_us: int
    end_us: int
    ahead_us: int


@functools.lru_cache
def stretches(name: str) -> tuple[Stretch, ...]:
    """All stretches of a zone between FIRST and LAST, found by looking at every day."""
    place = zone(name)
    changes = [FIRST]
    for at in range(FIRST, LAST, DAY_US):
        if offset_us(place, at) != offset_us(place, at + DAY_US):
            changes.append(offset_change(place, at, at + DAY_US))
    return tuple(
        Stretch(start, end, offset_us(place, start))
        for start, end in zip(changes, [*changes[1:], LAST], strict=True)
    )


@pytest.mark.parametrize("name", ODD_ZONES)
def test_a_change_is_found_to_the_microsecond(name: str) -> None:
    place = zone(name)
    for before, after in zip(stretches(name), stretches(name)[1:], strict=False):
        assert offset_us(place, after.start_us - 1) == before.ahead_us
        assert offset_us(place, after.start_us) == after.ahead_us


@pytest.mark.parametrize("name", ODD_ZONES)
def test_the_first_instant_of_a_reading_is_the_earliest_there_is(name: str) -> None:
    """Around every change: the midnights of the days near it, and half hours that are skipped or repeated."""
    place = zone(name)
    for before, after in zip(stretches(name), stretches(name)[1:], strict=False):
        reads_us = after.start_us + before.ahead_us
        midnights = [(reads_us // DAY_US + days) * DAY_US for days in (-1, 0, 1, 2)]
        for wall_us in (*midnights, reads_us, reads_us - HOUR_US // 2, reads_us + HOUR_US // 2):
            assert first_instant(place, wall_us) == _earliest(name, wall_us), (name, wall_us)


def _earliest(name: str, wall_us: int) -> int:
    for stretch in stretches(name):
        at = max(stretch.start_us, wall_us - stretch.ahead_us)
        if at < stretch.end_us:
            return at
    raise AssertionError("beyond the stretches")


@pytest.mark.parametrize(
    ("name", "wall", "first"),
    [
        # Samoa went from Thursday night straight to Saturday: both days begin at the jump.
        ("Pacific/Apia", "2011-12-30T00:00:00Z", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-31T00:00:00Z", "2011-12-30T10:00:00Z"),
        # Cuba skips from 00:00 to 01:00.
        ("America/Havana", "2024-03-10T00:00:00Z", "2024-03-10T05:00:00Z"),
        # Newfoundland read 00:00 at 02:30 UTC, and again an hour later.
        ("America/St_Johns", "2010-11-07T00:00:00Z", "2010-11-07T02:30:00Z"),
        ("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2025-12-31T18:15:00Z"),
    ],
)
def test_known_midnights(name: str, wall: str, first: str) -> None:
    assert first_instant(zone(name), instant(wall)) == instant(first)


def test_offsets_are_whole_slots_since_1980() -> None:
    """What the quarter-hour sums stand on."""
    changes = instant("1980-01-01T00:00:00Z")
    for name in zoneinfo.available_timezones():
        for year in range(0, 60, 3):
            at = changes + year * 365 * DAY_US
            assert offset_us(zone(name), at) % SLOT_US == 0, name
            assert offset_us(zone(name), at + 182 * DAY_US) % SLOT_US == 0, name


@pytest.mark.parametrize("name", [*ODD_ZONES, "Etc/GMT+5", "America/Argentina/Buenos_Aires"])
def test_names_in_the_database_are_zones(name: str) -> None:
    check_timezone(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "'Europe/Berlin'"),
        ("europe/berlin", "'Europe/Berlin'"),
        ("utc", "'UTC'"),
        ("Kathmandu", "'Asia/Kathmandu'"),
        ("", "IANA"),
        ("+05:45", "IANA"),
        ("Europe", "Europe"),
        ("../../etc/passwd", ""),
        ("/etc/localtime", ""),
        ("localtime", ""),
        ("posixrules", ""),
        ("right/UTC", ""),
        ("posix/UTC", ""),
        ("UTC\0", "'UTC'"),
        ("x" * 100_000, "IANA"),
        ("\ud800", "IANA"),
    ],
)
def test_anything_else_is_refused_with_what_may_have_been_meant(name: str, hint: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_timezone(name, param="tz")
    assert refusal.value.param == "tz"
    assert hint in refusal.value.hint
    assert len(refusal.value.message) < 200
    assert refusal.value.message.isprintable()
