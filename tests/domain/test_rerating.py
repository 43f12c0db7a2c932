"""What a booked call would be charged by later price rows."""

from __future__ import annotations

from typing import Any

from gateway.domain.catalogue import Catalogue, ModelRecord
from gateway.domain.costing import cost
from gateway.domain.prices import PriceRow, with_id
from gateway.domain.rerating import Rated, rerated

NOON_US = 1_795_608_000_000_000
USAGE = {"input": 1_000, "output": 500}


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    named = {"provider": "anthropic", "model": "claude", **fields}
    return with_id(PriceRow("", meter=meter, price_pico=pico, **named))


def catalogue(*rows: PriceRow) -> Catalogue:
    names = dict.fromkeys((each.provider, each.model) for each in rows)
    return Catalogue([ModelRecord(*name, {"equals": name[1]}, 0, None, "test") for name in names], rows)


BEFORE = (row("input", 3_000_000), row("output", 15_000_000), row("input", 1_000_000, model="advisor"))


def rated(*lines: tuple[str, str, int], **fields: Any) -> Rated:
    given: dict[str, Any] = {
        "provider": "anthropic",
        "model": "claude",
        "served_model": None,
        "service_tier": "",
        "accounts": ("acct_1",),
        "admitted_at_us": NOON_US,
        "usage": USAGE,
    }
    return Rated(**{**given, **fields}, lines=lines)


def test_the_same_prices_are_the_same_charge() -> None:
    known = catalogue(*BEFORE)
    entry = known.resolve("anthropic", "claude")
    assert entry is not None
    charge = cost(USAGE, entry.card, NOON_US)
    lines = [(line.meter, line.price_id, line.quantity) for line in charge.lines]
    assert rerated(rated(*lines), known) == charge


def test_a_row_that_came_later_counts_from_its_date() -> None:
    dearer = row("output", 20_000_000, effective_from_us=NOON_US)
    known = catalogue(*BEFORE, dearer)
    for at_us, expected in ((NOON_US, 3_000_000 + 10_000_000), (NOON_US - 1, 3_000_000 + 7_500_000)):
        charge = rerated(rated(admitted_at_us=at_us), known)
        assert charge is not None
        assert charge.total_nano == expected


def test_the_tier_and_the_account_are_those_of_the_call() -> None:
    known = catalogue(
        *BEFORE, row("output", 1_000_000, account="acct_1"), row("input", 9_000_000, service_tier="priority")
    )
    charge = rerated(rated(service_tier="priority"), known)
    assert charge is not None
    assert (charge.total_nano, charge.list_nano) == (9_000_000 + 500_000, 9_000_000 + 7_500_000)


def test_what_another_model_did_is_priced_as_its_own() -> None:
    advice = BEFORE[2]
    usage = {"input": 1_400, "output": 500}
    lines = (("input", BEFORE[0].id, 1_000), ("output", BEFORE[1].id, 500), ("input", advice.id, 400))
    charge = rerated(rated(*lines, usage=usage), catalogue(*BEFORE))
    assert charge is not None
    assert charge.total_nano == 3_000_000 + 7_500_000 + 400_000
    later = row("input", 2_000_000, model="advisor", effective_from_us=1)
    charge = rerated(rated(*lines, usage=usage), catalogue(*BEFORE, later))
    assert charge is not None
    assert charge.total_nano == 3_000_000 + 7_500_000 + 800_000


def test_another_model_is_known_by_its_price_under_a_rate_card() -> None:
    lines = (("input", BEFORE[0].id, 1_000), ("input", f"{BEFORE[2].id}.card_1", 400))
    charge = rerated(rated(*lines, usage={"input": 1_400}), catalogue(*BEFORE))
    assert charge is not None
    assert charge.total_nano == 3_000_000 + 400_000


def test_what_was_priced_by_nobody_is_once_somebody_does() -> None:
    """Refused, or charged a ceiling whose rows are in no list."""
    ceiling = (("input", "price_of_a_ceiling", 1_000), ("output", "price_of_a_ceiling", 500))
    unknown = rated(*ceiling, model="new")
    assert rerated(unknown, catalogue(*BEFORE)) is None
    charge = rerated(unknown, catalogue(*BEFORE, row("input", 10_000, model="new")))
    assert charge is not None
    assert (charge.total_nano, charge.flags) == (10_000, ("unpriced:output",))
