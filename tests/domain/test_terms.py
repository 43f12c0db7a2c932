"""Terms: which one decides, what it makes of a price, and that quote, charge and list cost go by it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.costing import cost
from gateway.domain.prices import PriceRow, RateCard, with_id
from gateway.domain.terms import Kind, Term

CHAIN = ("acct_team", "acct_org", "acct_root")


def row(meter: str, pico: int, **fields: Any) -> PriceRow:
    return with_id(PriceRow("", "openai", "gpt-4.1", meter, pico, **fields))


def term(name: str, kind: Kind, amount: int, account: str = "acct_org", **fields: Any) -> Term:
    known = {"provider": None, "model": None, "meter": None, "text": kind, "effective_from_us": 0}
    return Term(
        id=name, account=account, kind=kind, amount=amount,
        **{"effective_to_us": None, "recorded_at_us": 0, **known, **fields},
    )  # fmt: skip


def paid(terms: list[Term], meter: str = "output", at_us: int = 10, *rows: PriceRow) -> int:
    listed = RateCard(
        "openai", "gpt-4.1", rows or (row("output", 8_000_000), row("input", 2_000_000)), terms=terms
    )
    return listed.for_accounts(CHAIN).rates(at_us).rows[meter].price_pico


@pytest.mark.parametrize(
    ("kind", "amount", "expected"),
    [
        ("discount", 125_000, 7_000_000),
        ("discount", 1_000_000, 0),
        ("markup", 100_000, 8_800_000),
        ("flat", 5_000_000, 5_000_000),
    ],
)
def test_what_a_term_makes_of_a_price(kind: Kind, amount: int, expected: int) -> None:
    assert paid([term("card_1", kind, amount)]) == expected


@given(pico=st.integers(0, 10**12), ppm=st.integers(0, 10**6))
def test_a_contracted_price_is_rounded_once(pico: int, ppm: int) -> None:
    exact = Fraction(pico * (10**6 - ppm), 10**6)
    found = term("card_1", "discount", ppm).price_pico(pico)
    assert abs(found - exact) <= Fraction(1, 2)
    assert 0 <= found <= pico


def test_the_list_price_stays_for_everybody_else() -> None:
    card = RateCard("openai", "gpt-4.1", [row("output", 8)], terms=[term("card_1", "discount", 500_000)])
    assert card.rates(0).rows["output"].price_pico == 8
    assert card.for_accounts(("acct_other",)) is card
    assert card.for_accounts(("acct_org",)).rates(0).rows["output"].price_pico == 4


def test_dates_bound_a_term() -> None:
    terms = [term("card_1", "discount", 500_000, effective_from_us=10, effective_to_us=20)]
    assert [paid(terms, at_us=at) for at in (9, 10, 19, 20)] == [8_000_000, 4_000_000, 4_000_000, 8_000_000]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"account": "acct_team"}, {"account": "acct_org", "meter": "output", "effective_from_us": 9}),
        ({"meter": "output"}, {"model": "gpt-4.1", "provider": "openai", "effective_from_us": 9}),
        ({"model": "gpt-*"}, {"provider": "openai", "effective_from_us": 9}),
        ({"provider": "openai"}, {"effective_from_us": 9}),
        ({"effective_from_us": 9}, {"recorded_at_us": 99}),
        ({"recorded_at_us": 99}, {}),
    ],
)
def test_the_better_term_decides_in_any_order(better: dict[str, Any], worse: dict[str, Any]) -> None:
    first, second = term("card_1", "flat", 1, **better), term("card_2", "flat", 2, **worse)
    assert paid([first, second]) == paid([second, first]) == 1


def test_a_posted_price_goes_before_a_term_of_the_same_account_and_after_one_below() -> None:
    rows = (row("output", 8_000_000), row("output", 6_000_000, account="acct_org"))
    assert paid([term("card_1", "discount", 500_000)], "output", 10, *rows) == 6_000_000
    below = term("card_1", "discount", 500_000, account="acct_team")
    assert paid([below], "output", 10, *rows) == 3_000_000


def test_a_meter_that_pays_anothers_price_goes_by_its_terms() -> None:
    assert paid([term("card_1", "discount", 500_000, meter="output")], "reasoning") == 4_000_000
    assert paid([term("card_1", "discount", 500_000, meter="output")], "input") == 2_000_000


def test_a_charge_names_price_and_term_and_keeps_the_list_cost() -> None:
    listed = RateCard(
        "openai", "gpt-4.1", [row("output", 8_000_000), row("input", 2_000_000)],
        terms=[term("card_1", "discount", 100_000)],
    )  # fmt: skip
    charge = cost({"input": 1_000, "output": 10}, listed.for_accounts(CHAIN), 0)
    assert (charge.total_nano, charge.list_nano) == (1_800_000 + 72_000, 2_000_000 + 80_000)
    assert [line.price_id for line in charge.lines] == [
        f"{listed.rates(0).rows[meter].id}.card_1" for meter in ("input", "output")
    ]


def test_what_a_term_covers() -> None:
    some = term("card_1", "discount", 1, provider="openai", model="gpt-4.1*")
    assert some.covers("openai", "gpt-4.1-mini")
    assert not some.covers("azure_openai", "gpt-4.1")
    assert not some.covers("openai", "o3")
    assert term("card_1", "discount", 1).covers("anything", "at all")
