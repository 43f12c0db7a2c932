"""Explanations: each rate of a card once, and the rule that decided it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.explanations import explain
from gateway.domain.prices import GENAI, MANUAL, SEED, Hours, PriceRow, RateCard, with_id

NOW = 1_764_000_000_000_000


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", "p", "m", meter, pico, **fields))


def test_every_rate_is_told_once_and_tiers_tell_what_is_their_own() -> None:
    card = RateCard(
        "p",
        "m",
        [
            row("input", 2),
            row("output", 8),
            row("input", 4, context_over=100),
            row("output", 4, service_tier="flex"),
            row("web_search", 9),
            row("output", 1, effective_from_us=NOW + 1),
        ],
    )
    told = [
        (rate.meter, rate.service_tier, rate.context_over, rate.row.price_pico) for rate in explain(card, NOW)
    ]
    assert told == [
        ("input", "", 0, 2),
        ("cache_read", "", 0, 2),
        ("cache_write_5m", "", 0, 2),
        ("cache_write_1h", "", 0, 2),
        ("output", "", 0, 8),
        ("reasoning", "", 0, 8),
        ("web_search", "", 0, 9),
        ("input", "", 100, 4),
        ("output", "flex", 0, 4),
    ]


@pytest.mark.parametrize(
    ("rows", "inherited", "accounts", "rule"),
    [
        ([row("output", 1)], [], [], "no other row is in force"),
        ([row("output", 1), row("output", 2, effective_from_us=-5)], [], [], "the later price"),
        ([row("output", 1, rank=SEED), row("output", 2, rank=GENAI)], [], [], "posted by hand"),
        ([row("output", 1, rank=MANUAL), row("output", 2, rank=SEED)], [], [], "posted by hand"),
        ([row("output", 1, hours=Hours(0, 1440, "UTC")), row("output", 2)], [], [], "for these hours"),
        ([row("output", 1)], [row("output", 2)], [], "one it inherits"),
        ([row("output", 1, account="acct_a"), row("output", 2)], [], ["acct_a"], "an account's own"),
    ],
)
def test_the_rule_that_decided_is_named(
    rows: list[PriceRow], inherited: list[PriceRow], accounts: list[str], rule: str
) -> None:
    card = RateCard("p", "m", rows, inherited=inherited).for_accounts(accounts)
    rate = next(rate for rate in explain(card, NOW) if rate.meter == "output")
    assert rate.row.price_pico == 1
    assert rule in rate.why
    assert [each.price_pico for each in rate.overruled] == [2] * (len(rows) + len(inherited) - 1)


def test_a_borrowed_price_says_whose_it_is() -> None:
    rates = {rate.meter: rate.why for rate in explain(RateCard("p", "m", [row("output", 8)]), NOW)}
    assert rates["reasoning"] == "reasoning has no price of its own and pays that of output"
