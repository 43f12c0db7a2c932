"""Plans: what a name means, where it goes, and which field caps it."""

from __future__ import annotations

import pytest

from gateway.domain.errors import NotFound, PriceMissing
from gateway.domain.prices import PriceRow, RateCard
from gateway.gate.plans import Router, Unpriced, Upstream
from tests.gate.making import NOON_US, catalogue, upstream

REFUSE = Unpriced(True, RateCard.flat("unpriced", 0))
CEILING = Unpriced(False, RateCard.flat("unpriced", 100_000_000))


def router(
    *upstreams: Upstream, aliases: dict[str, str] | None = None, unpriced: Unpriced = REFUSE
) -> Router:
    return Router(upstreams or (upstream(), upstream("deepseek")), aliases or {}, unpriced)


def test_a_bare_name_goes_to_the_first_provider_that_prices_it() -> None:
    first, second = upstream("first", prices_of="openai"), upstream("openai")
    assert router(first, second).plan(catalogue(), "gpt-4.1", NOON_US).provider == "first"
    assert router(second, first).plan(catalogue(), "gpt-4.1", NOON_US).provider == "openai"
    plan = router().plan(catalogue(), "deepseek-v3.2", NOON_US)
    assert (plan.provider, plan.model, plan.upstream_model) == ("deepseek", "deepseek-v3.2", "deepseek-v3.2")


def test_a_provider_in_front_of_the_name_decides() -> None:
    other = upstream("other", prices_of="openai")
    plan = router(upstream(), other).plan(catalogue(), "other/gpt-4.1", NOON_US)
    assert (plan.provider, plan.model, plan.upstream_model) == ("other", "gpt-4.1", "gpt-4.1")


def test_an_alias_of_the_configuration_goes_before_all() -> None:
    made = router(aliases={"gpt-4.1": "openai/gpt-4o-mini", "short": "gpt-5"})
    assert made.plan(catalogue(), "gpt-4.1", NOON_US).model == "gpt-4o-mini"
    assert made.plan(catalogue(), "short", NOON_US).model == "gpt-5"


def test_an_alias_of_the_catalogue_is_one_while_its_provider_is_on() -> None:
    known = catalogue(aliases={"seek": "deepseek/deepseek-v3.2", "gpt-5": "azure_openai/gpt-5"})
    assert router().plan(known, "seek", NOON_US).provider == "deepseek"
    # Azure is off: the name may still be a model's own elsewhere.
    assert router().plan(known, "gpt-5", NOON_US).provider == "openai"


@pytest.mark.parametrize(
    "name", ["nobody-knows", "anthropic/claude", "openai/", "/gpt-4.1", "openai", "x" * 256]
)
def test_a_name_that_nobody_serves(name: str) -> None:
    with pytest.raises((NotFound, PriceMissing)) as raised:
        router().plan(catalogue(), name, NOON_US)
    assert raised.value.param == "model"
    assert len(raised.value.message) < 400


def test_a_provider_model_without_a_price_is_refused_or_goes_by_policy() -> None:
    with pytest.raises(PriceMissing):
        router().plan(catalogue(), "openai/new", NOON_US)
    plan = router(unpriced=CEILING).plan(catalogue(), "openai/new", NOON_US)
    assert (plan.model, plan.flags, plan.card) == ("new", ("unpriced",), CEILING.card)
    # A bare name that nobody prices is not known at all, whatever the policy.
    with pytest.raises(NotFound):
        router(unpriced=CEILING).plan(catalogue(), "new", NOON_US)


def test_posting_a_price_makes_a_model_known() -> None:
    known = catalogue(PriceRow("", "openai", "new", "input", 1), PriceRow("", "openai", "new", "output", 1))
    assert router().plan(known, "new", NOON_US).model == "new"


@pytest.mark.parametrize(
    ("name", "prices_of", "model", "field"),
    [
        ("openai", "openai", "gpt-4.1", "max_completion_tokens"),
        ("openai", "openai", "mystery", "max_completion_tokens"),
        ("azure_openai", "openai", "gpt-4.1", "max_tokens"),
        ("azure_openai", "openai", "mystery", "max_completion_tokens"),
        ("deepseek", "deepseek", "deepseek-v3.2", "max_tokens"),
        ("local", "openai", "mystery", "max_tokens"),
    ],
)
def test_the_field_that_caps(name: str, prices_of: str, model: str, field: str) -> None:
    plan = router(upstream(name, prices_of=prices_of)).plan(catalogue(), f"{name}/{model}", NOON_US)
    assert plan.cap_field == field


def test_a_plan_knows_its_models_limits() -> None:
    plan = router().plan(catalogue(), "gpt-4.1", NOON_US)
    assert (plan.max_output, plan.context_window, plan.counts_exactly) == (32_768, 1_000_000, True)
    assert not router().plan(catalogue(), "deepseek-v3.2", NOON_US).counts_exactly
    assert router().plan(catalogue(), "mystery", NOON_US).max_output is None
