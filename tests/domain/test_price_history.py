"""Following a source: rows are only added, from now on, and following it again adds nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.price_history import follow
from gateway.domain.prices import GENAI, Hours, PriceRow, RateCard, with_id

NOW = 1000


def row(pico: int, start: int = 0, end: int | None = None, **fields: Any) -> PriceRow:
    fields = {"model": "m", "meter": "output", "rank": GENAI, "source": "genai-prices 1", **fields}
    return with_id(PriceRow("", "p", price_pico=pico, effective_from_us=start, effective_to_us=end, **fields))


def spans(rows: list[PriceRow]) -> list[tuple[int, int, int | None]]:
    return [(each.price_pico, each.effective_from_us, each.effective_to_us) for each in rows]


def test_a_new_model_is_taken_as_it_is() -> None:
    wanted = [row(1, 0, 500), row(2, 500), row(3, 2000)]
    assert follow([], wanted, NOW) == (wanted, 0, [])


def test_what_is_there_is_not_added_again() -> None:
    wanted = [row(1, 0, 500), row(2, 500)]
    assert follow(wanted, wanted, NOW) == ([], 2, [])


def test_a_changed_price_counts_from_the_import() -> None:
    merge = follow([row(1)], [row(2, source="genai-prices 2")], NOW)
    assert spans(merge.added) == [(2, NOW, None)]
    [added] = merge.added
    assert (added.source, added.recorded_at_us) == ("genai-prices 2", NOW)
    assert added.id != row(2).id
    assert follow([row(1), added], [row(2)], NOW + 5) == ([], 0, [])


def test_a_change_that_the_source_dates_counts_from_that_date() -> None:
    merge = follow([row(1)], [row(1, 0, 900), row(2, 900)], NOW)
    assert spans(merge.added) == [(2, 900, None)]
    assert merge.unchanged == 1


def test_a_change_announced_for_later_is_added_for_then() -> None:
    assert spans(follow([row(1)], [row(1, 0, 3000), row(2, 3000)], NOW).added) == [(2, 3000, None)]


def test_a_change_that_was_called_off_is_undone_at_its_date() -> None:
    stored = [row(1, 0, 3000), row(2, 3000)]
    added = follow(stored, [row(1, 0, 4000), row(2, 4000)], NOW).added
    assert spans(added) == [(1, 3000, 4000)]
    card = RateCard("p", "m", [*stored, *added])
    assert [card.rates(at).rows["output"].price_pico for at in (2999, 3000, 3999, 4000)] == [1, 1, 1, 2]


def test_a_change_called_off_and_announced_again_is_a_row_of_its_own() -> None:
    stored = [row(1, 0, 3000), row(2, 3000)]
    for now, wanted in ((NOW, [row(1)]), (NOW + 1, [row(1, 0, 3000), row(2, 3000)])):
        stored += follow(stored, wanted, now).added
    assert [pico for pico, start, _ in spans(stored) if start == 3000] == [2, 1, 2]
    assert len({each.id for each in stored}) == 4
    assert RateCard("p", "m", stored).rates(3000).rows["output"].price_pico == 2


def test_a_meter_that_is_new_to_a_known_model_counts_from_the_import() -> None:
    merge = follow([row(1)], [row(1), row(5, meter="cache_read")], NOW)
    assert spans(merge.added) == [(5, NOW, None)]


def test_the_past_is_left_alone() -> None:
    stored = [row(1, 0, 500), row(2, 500)]
    assert follow(stored, [row(9, 0, 500), row(2, 500)], NOW).added == []


def test_a_price_that_the_source_dropped_stays_and_is_reported() -> None:
    stored = [row(1), row(5, meter="cache_read"), row(7, service_tier="flex")]
    merge = follow(stored, [row(1)], NOW)
    assert merge.added == []
    assert len(merge.conflicts) == 2
    assert merge.conflicts[0].startswith("p/m: genai-prices 1 has no price for cache_read any more")
    assert "output at tier flex" in merge.conflicts[1]


def test_a_price_that_the_source_ends_stays_and_is_reported() -> None:
    merge = follow([row(1)], [row(1, 0, 2000), row(1, 0, 2000, meter="input")], NOW)
    assert spans(merge.added) == [(1, NOW, 2000)]
    assert merge.unchanged == 1


def test_slots_by_hours_are_followed_apart() -> None:
    night = Hours(0, 60, "UTC")
    merge = follow([row(1), row(3, hours=night)], [row(1), row(4, hours=night)], NOW)
    assert [(each.price_pico, each.hours) for each in merge.added] == [(4, night)]


timelines = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(1, 4)), min_size=1, max_size=5, unique_by=lambda each: each[0]
)


def timeline(changes: list[tuple[int, int]]) -> list[PriceRow]:
    """One slot's rows, each until the next, the first from the beginning."""
    changes = sorted(changes)
    changes[0] = (0, changes[0][1])
    ends = [start for start, _ in changes[1:]]
    return [row(pico, start, end) for (start, pico), end in zip(changes, [*ends, None], strict=True)]


@given(timelines, st.lists(st.tuples(timelines, st.integers(1, 500)), max_size=4))
def test_after_every_import_the_rows_say_what_the_source_says_from_then_on(
    first: list[tuple[int, int]], releases: list[tuple[list[tuple[int, int]], int]]
) -> None:
    stored = timeline(first)
    now = 0
    for changes, later in releases:
        now += later
        wanted = timeline(changes)
        before = RateCard("p", "m", stored)
        merge = follow(stored, wanted, now)
        stored = [*stored, *merge.added]
        after, source = RateCard("p", "m", stored), RateCard("p", "m", wanted)
        for at_us in range(now, 2200, 97):
            assert (
                after.rates(at_us).rows["output"].price_pico == source.rates(at_us).rows["output"].price_pico
            )
        # No row is ever changed, and what counted before the first date it names is what counted then.
        earliest = min((each.effective_from_us for each in merge.added), default=now)
        for at_us in range(0, min(now, earliest), 97):
            assert after.rates(at_us).rows["output"] == before.rates(at_us).rows["output"]
        assert follow(stored, wanted, now).added == []
        assert len({each.id for each in stored}) == len(stored)
