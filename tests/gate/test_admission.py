"""Admission: names, caps, clamping by headroom, what is held; every refusal that needs no ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest, Forbidden, GatewayError, NotFound, PriceMissing, Unauthenticated
from gateway.domain.prices import PriceRow, RateCard
from gateway.domain.quotes import quote
from gateway.gate.admission import Limits, Offer, check_caller
from gateway.gate.plans import Unpriced
from tests.gate.making import (
    NOON_US,
    Lefts,
    account,
    budget,
    caller,
    catalogue,
    desk,
    inbound,
    offer,
    upstream,
)

OUT_NANO = 8_000  # gpt-4.1, a token


def refusal(error: type[GatewayError], call: Any) -> GatewayError:
    with pytest.raises(error) as raised:
        call()
    return raised.value


# Who may call.


def test_a_revoked_key_is_unauthenticated() -> None:
    error = refusal(Unauthenticated, lambda: check_caller(caller(status="revoked"), NOON_US))
    assert "revoked" in error.message


def test_a_key_expires_at_its_very_instant() -> None:
    who = caller(expires_at_us=NOON_US)
    check_caller(who, NOON_US - 1)
    assert "expired" in refusal(Unauthenticated, lambda: check_caller(who, NOON_US)).message


def test_a_block_anywhere_above_stops_the_key() -> None:
    chain = [account("a", "b"), account("b", "c", status="blocked"), account("c")]
    error = refusal(Forbidden, lambda: check_caller(caller(accounts=chain), NOON_US))
    assert (error.code, "account b is blocked" in error.message) == ("blocked", True)
    deleted = [account("a", deleted_at_us=1)]
    assert "deleted" in refusal(Forbidden, lambda: check_caller(caller(accounts=deleted), NOON_US)).message


def test_a_key_has_only_the_models_its_patterns_name() -> None:
    who = caller(models=("gpt-4o*",))
    assert desk().offer(who, inbound(model="gpt-4o-mini"), NOON_US).plan.model == "gpt-4o-mini"
    error = refusal(Forbidden, lambda: desk().offer(who, inbound(), NOON_US))
    assert (error.code, error.param) == ("model_not_allowed", "model")
    # An alias does not get around the list: the resolved name counts.
    tricky = desk(aliases={"gpt-4o-alias": "gpt-4.1"})
    refusal(Forbidden, lambda: tricky.offer(who, inbound(model="gpt-4o-alias"), NOON_US))


def test_a_provider_that_does_not_speak_the_format() -> None:
    silent = replace(upstream().provider, paths={})
    mute = desk(upstreams=[upstream(provider=silent)])
    assert refusal(NotFound, lambda: mute.offer(caller(), inbound(), NOON_US)).code == "unsupported_endpoint"


# Caps.


@pytest.mark.parametrize(
    ("asked", "of_key", "model", "cap", "is_clamped"),
    [
        (None, None, "gpt-4.1", 32_768, False),
        (100, None, "gpt-4.1", 100, False),
        (100, 50, "gpt-4.1", 50, True),
        (40, 50, "gpt-4.1", 40, False),
        (None, 50, "gpt-4.1", 50, True),
        (10**9, None, "gpt-4.1", 32_768, True),
        (None, None, "mystery", 16_384, True),
        (20_000, None, "mystery", 20_000, False),
        (None, 20_000, "mystery", 16_384, True),
        (None, 10**9, "gpt-4.1", 32_768, False),
        (0, None, "gpt-4.1", 0, False),
    ],
)
def test_the_smallest_cap_wins(
    asked: int | None, of_key: int | None, model: str, cap: int, is_clamped: bool
) -> None:
    asking = inbound(model=model, max_tokens=asked)
    made = desk().offer(caller(max_output_tokens=of_key), asking, NOON_US)
    assert (made.output_cap, made.is_clamped) == (cap, is_clamped)


def test_a_key_may_refuse_what_is_over_its_cap() -> None:
    who = caller(max_output_tokens=50, on_over_cap="refuse")
    error = refusal(BadRequest, lambda: desk().offer(who, inbound(max_tokens=51), NOON_US))
    assert (error.code, error.fields) == ("max_tokens_exceeded", {"max_output_tokens": 50})
    assert desk().offer(who, inbound(max_tokens=50), NOON_US).output_cap == 50
    assert desk().offer(who, inbound(), NOON_US).output_cap == 50


def test_a_stream_is_cut_a_little_above_its_cap_and_later_where_the_count_is_rough() -> None:
    exact = offer(max_tokens=3_200, n=2)
    assert 6_400 < exact.cut_above < 6_400 * 1.05
    rough = desk().offer(caller(), inbound(model="deepseek-v3.2", max_tokens=3_200), NOON_US)
    assert rough.cut_above >= 2 * 3_200


# Clamping by headroom.


def test_a_call_without_a_cap_gets_a_share_of_what_is_left() -> None:
    made = offer(budget(10**12), left=Lefts(bud_1=800_000_000))
    assert made.is_clamped
    assert made.quote.cost_nano <= 100_000_000 < made.quote.cost_nano + 2 * OUT_NANO


def test_a_call_with_a_cap_is_never_clamped_by_headroom() -> None:
    assert offer(budget(10**12), left=Lefts(bud_1=0), max_tokens=500).output_cap == 500


def test_the_tightest_budget_decides() -> None:
    loose, tight = budget(10**12), budget(10**12, id="bud_2")
    lefts = Lefts(bud_1=8 * 10**9, bud_2=800_000_000)
    alone = offer(tight, left=lefts).output_cap
    assert offer(loose, tight, left=lefts).output_cap == alone
    assert offer(tight, loose, left=lefts).output_cap == alone


@pytest.mark.parametrize("left", [0, 1, 1_000_000, 8_000_000, 60_000_000, -5])
def test_a_clamp_is_never_below_the_useful_minimum(left: int) -> None:
    # Whether there is enough for it is then the ledger's to say, with the budget's figures.
    assert offer(budget(10**12), left=Lefts(bud_1=left)).output_cap == 1_024


def test_the_minimum_is_no_more_than_the_cap_itself() -> None:
    made = desk(Lefts(bud_1=0)).offer(caller(budget(10**12), max_output_tokens=10), inbound(), NOON_US)
    assert made.output_cap == 10


def test_the_minimum_is_configured() -> None:
    small = desk(Lefts(bud_1=0), limits=Limits(16_384, 64))
    assert small.offer(caller(budget(10**12)), inbound(), NOON_US).output_cap == 64


@pytest.mark.parametrize(
    "fields",
    [
        {"enforcement": "soft"},
        {"unit": "tokens", "period": "minute"},
        {"unit": "tokens", "period": "hour"},
        {"unit": "requests"},
        {"unit": "concurrent"},
    ],
)
def test_other_budgets_do_not_clamp(fields: dict[str, Any]) -> None:
    assert offer(budget(10, **fields), left=Lefts(bud_1=10)).output_cap == 32_768


def test_money_by_the_hour_clamps_as_money_does() -> None:
    assert offer(budget(10**12, period="hour"), left=Lefts(bud_1=800_000_000)).is_clamped


def test_a_quota_of_tokens_clamps_what_the_prompt_leaves_of_it() -> None:
    made = offer(budget(10**6, unit="tokens"), left=Lefts(bud_1=80_000), n=2)
    assert made.needs[0].amount == made.quote.tokens <= 10_000
    assert made.quote.tokens > 10_000 - 2


def test_what_is_not_known_does_not_clamp_yet() -> None:
    made = offer(budget(10**12))
    assert (made.output_cap, made.is_clamped) == (32_768, False)
    assert [each.id for each, _ in desk().unknown(made)] == ["bud_1"]
    # Judged again once it is known, it is clamped; with a cap of its own there is nothing to know.
    assert desk(Lefts(bud_1=800_000_000)).again(made).is_clamped
    assert desk().unknown(offer(budget(10**12), max_tokens=5)) == []


@given(left=st.integers(0, 10**10), choices=st.integers(1, 8), prompt=st.integers(0, 3_000))
def test_a_clamped_quote_fits_its_share_or_is_the_minimum(left: int, choices: int, prompt: int) -> None:
    messages = [{"role": "user", "content": "x" * prompt}]
    made = offer(budget(10**12), left=Lefts(bud_1=left), n=choices, messages=messages)
    share = left // 8
    assert made.quote.cost_nano <= share or made.output_cap == 1_024
    if 1_024 < made.output_cap < 32_768:
        plan = made.plan
        larger = quote(plan.card, made.intent, made.output_cap + 1, plan.context_window, NOON_US)
        assert larger.cost_nano > share, "the largest that fits"


# What is held.


def test_every_unit_holds_its_own_amount() -> None:
    budgets = [
        budget(10**12, id="bud_usd"),
        budget(10**6, id="bud_tokens", unit="tokens"),
        budget(100, id="bud_requests", unit="requests"),
        budget(5, id="bud_concurrent", unit="concurrent"),
        budget(10**6, id="bud_rate", unit="tokens", period="minute"),
    ]
    made = offer(*budgets, max_tokens=5_000)
    held = {need.budget.id: need.amount for need in made.needs}
    assert held["bud_usd"] == made.quote.cost_nano
    assert held["bud_tokens"] == made.quote.input_tokens + 5_000
    assert held["bud_requests"] == held["bud_concurrent"] == 1
    # A rate holds a likely prompt and at most 1,024 tokens of output, and settles after.
    assert 1_024 < held["bud_rate"] < 1_024 + made.quote.input_tokens


def test_each_end_user_has_a_window() -> None:
    per_user = budget(10**12, each="end_user")
    made = desk().offer(caller(per_user), inbound(user="ada"), NOON_US)
    assert [need.subject for need in made.needs] == ["ada"]
    nameless = desk().offer(caller(per_user), inbound(), NOON_US)
    assert [need.subject for need in nameless.needs] == [""]


def test_a_counted_prompt_needs_less() -> None:
    made = offer(budget(10**12), max_tokens=100, messages=[{"role": "user", "content": "word " * 1_000}])
    counted = desk().again(made, 1_003)
    assert counted.quote.input_tokens == 1_003 + made.intent.allowance < made.quote.input_tokens
    assert counted.needs[0].amount < made.needs[0].amount
    # A count above the bound proves nothing.
    assert desk().again(made, 10**6).quote == made.quote


def test_fits_looks_at_every_hard_budget_that_is_known() -> None:
    made = offer(budget(10**12), budget(1, id="bud_soft", enforcement="soft"), max_tokens=100)
    need = made.needs[0].amount
    assert desk(Lefts(bud_1=need, bud_soft=0)).fits(made)
    assert not desk(Lefts(bud_1=need - 1)).fits(made)
    assert desk(Lefts()).fits(made)


# Names.


def test_a_key_may_require_an_end_user() -> None:
    who = caller(require_end_user=True)
    error = refusal(BadRequest, lambda: desk().offer(who, inbound(), NOON_US))
    assert (error.code, error.param) == ("invalid_value", "user")
    assert desk().offer(who, inbound(user="ada"), NOON_US).scope.end_user == "ada"


def end_user_of(*headers: tuple[bytes, bytes], **fields: Any) -> str | None:
    return desk().offer(caller(), inbound(None, *headers, **fields), NOON_US).scope.end_user


def test_the_header_names_the_end_user_before_the_body() -> None:
    assert end_user_of((b"x-tollgate-end-user", b"ada"), user="bob") == "ada"
    assert end_user_of((b"x-tollgate-end-user", b""), user="bob") == "bob"
    assert end_user_of(user="bob", safety_identifier="cy") == "cy"
    assert end_user_of() is None


def test_a_keys_own_tags_win_over_the_callers() -> None:
    who = caller(tags={"env": "prod"})
    made = desk().offer(who, inbound(None, (b"x-tollgate-tags", b"env=dev,team=search")), NOON_US)
    assert made.scope.tags == {"env": "prod", "team": "search"}


def test_new_names_beyond_the_bound_share_one() -> None:
    full = desk(names_per_hour=1)
    users = [
        full.offer(caller(), inbound(user=name), NOON_US).scope.end_user for name in ("ada", "bob", "ada")
    ]
    assert users == ["ada", "other", "ada"]


# Prices.


def test_a_meter_without_a_price_refuses_the_call() -> None:
    searching = inbound(web_search_options={})
    error = refusal(PriceMissing, lambda: desk().offer(caller(), searching, NOON_US))
    assert "web_search" in error.message
    lenient = desk(unpriced=Unpriced(False, RateCard.flat("unpriced", 0)))
    assert "unpriced:web_search" in lenient.offer(caller(), searching, NOON_US).quote.flags


def test_an_account_pays_its_own_price() -> None:
    own = PriceRow("", "openai", "gpt-4.1", "output", 1_000_000, account="acct_team")
    made = desk(known=catalogue(own)).offer(caller(), inbound(max_tokens=1_000), NOON_US)
    listed = offer(max_tokens=1_000)
    assert listed.quote.cost_nano - made.quote.cost_nano == 7 * 1_000 * 1_000


def test_what_a_model_means_is_remembered_within_bounds() -> None:
    who = caller()
    lenient = desk(unpriced=Unpriced(False, RateCard.flat("unpriced", 0)))
    first = lenient.offer(who, inbound(), NOON_US).plan
    assert lenient.offer(who, inbound(), NOON_US).plan is first
    for number in range(5_000):
        lenient.offer(who, inbound(model=f"openai/made-up-{number}"), NOON_US)
    assert len(who._plans) <= 4_096


def test_a_fallback_is_quoted_as_the_other_model() -> None:
    made = offer(budget(10**12), max_tokens=100)
    cheaper: Offer = desk().instead(made, "gpt-4o-mini")
    assert (cheaper.plan.model, "fallback" in cheaper.plan.flags) == ("gpt-4o-mini", True)
    assert cheaper.needs[0].amount < made.needs[0].amount
