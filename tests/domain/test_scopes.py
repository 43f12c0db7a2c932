"""Which budgets cover a call, held against each narrowing written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.budgets import Budget
from gateway.domain.errors import BadRequest
from gateway.domain.scopes import (
    DIMENSIONS,
    Scope,
    allowed_model,
    applies,
    budgets_for,
    check_each,
    names_in,
    subject,
)

ANY = Budget(id="bud_1", name="any", unit="usd", cap=10, period="month")
CALL = Scope(
    key="key_1",
    accounts=("acct_team", "acct_org"),
    provider="openai",
    model="gpt-4.1-mini",
    end_user="alice",
    tags={"env": "prod", "feature": "search"},
)

few = st.sampled_from(["a", "b", "c"])
tags = st.dictionaries(few, few, max_size=3)
scopes = st.builds(
    Scope,
    key=few,
    accounts=st.lists(few, min_size=1, max_size=3, unique=True).map(tuple),
    provider=few,
    model=few,
    end_user=st.none() | few,
    tags=tags,
)
budgets = st.builds(
    replace,
    st.just(ANY),
    key=st.none() | few,
    account=st.none() | few,
    provider=st.none() | few,
    end_user=st.none() | few,
    tags=tags,
    models=st.lists(st.sampled_from(["a", "b", "?", "a/*", "b/c"]), max_size=2).map(tuple),
    each=st.sampled_from([None, "key", "end_user", "tag:a", "tag:b"]),
)


def covers(budget: Budget, scope: Scope) -> bool:
    """Every narrowing, one by one."""
    if budget.key is not None and budget.key != scope.key:
        return False
    if budget.account is not None and budget.account not in scope.accounts:
        return False
    if budget.provider is not None and budget.provider != scope.provider:
        return False
    if budget.end_user is not None and budget.end_user != scope.end_user:
        return False
    if not set(budget.tags.items()) <= set(scope.tags.items()):
        return False
    meant = {"a": ["a"], "b": ["b"], "?": ["a", "b", "c"]}
    whole = {"a/*": ("a", "abc"), "b/c": ("b", "c")}
    return not budget.models or any(
        scope.model in meant[pattern]
        if pattern in meant
        else scope.provider == whole[pattern][0] and scope.model in whole[pattern][1]
        for pattern in budget.models
    )


@given(budget=budgets, scope=scopes)
def test_a_budget_applies_when_everything_it_narrows_matches(budget: Budget, scope: Scope) -> None:
    assert applies(budget, scope) == covers(budget, scope)


@given(rules=st.lists(budgets, max_size=6), scope=scopes)
def test_all_budgets_that_apply_are_found_in_order(rules: list[Budget], scope: Scope) -> None:
    assert budgets_for(rules, scope) == tuple(
        (budget, subject(budget, scope)) for budget in rules if covers(budget, scope)
    )


@given(budget=budgets, scope=scopes)
def test_one_subject_is_one_value(budget: Budget, scope: Scope) -> None:
    """Whatever else differs, calls share a window exactly when they share the value of `each`."""
    values = {
        None: None,
        "key": scope.key,
        "end_user": scope.end_user,
        "tag:a": scope.tags.get("a"),
        "tag:b": scope.tags.get("b"),
    }
    assert subject(budget, scope) == (values[budget.each] or "")


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({}, True),
        ({"account": "acct_team"}, True),
        ({"account": "acct_org"}, True),
        ({"account": "acct_other"}, False),
        ({"key": "key_1", "account": "acct_org"}, True),
        ({"models": ("gpt-4.1*",)}, True),
        ({"models": ("openai/gpt-*",)}, True),
        ({"models": ("claude-*", "gpt-*")}, True),
        ({"models": ("claude-*",)}, False),
        ({"provider": "openai"}, True),
        ({"provider": "anthropic"}, False),
        ({"end_user": "alice"}, True),
        ({"end_user": "Alice"}, False),
        ({"tags": {"env": "prod"}}, True),
        ({"tags": {"env": "prod", "feature": "search"}}, True),
        ({"tags": {"env": "prod", "team": "search"}}, False),
        ({"tags": {"env": "test"}}, False),
    ],
)
def test_known_budgets(narrowed: dict[str, str], expected: bool) -> None:
    assert applies(replace(ANY, **narrowed), CALL) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("each", "expected"),
    [(None, ""), ("end_user", "alice"), ("key", "key_1"), ("tag:feature", "search"), ("tag:team", "")],
)
def test_known_subjects(each: str | None, expected: str) -> None:
    assert subject(replace(ANY, each=each), CALL) == expected


def test_calls_without_the_value_share_one_window() -> None:
    """Leaving the end user out must not be a way round a budget for each end user."""
    rule = replace(ANY, each="end_user")
    nameless = [CALL._replace(end_user=None, key=key) for key in ("key_1", "key_2")]
    assert all(applies(rule, scope) for scope in nameless)
    assert {subject(rule, scope) for scope in nameless} == {""}


@pytest.mark.parametrize("each", [None, "key", "end_user", "tag:feature", "tag:a:b"])
def test_each_that_passes(each: str | None) -> None:
    check_each(each)


@pytest.mark.parametrize(
    "each", ["", "account", "tag", "tag:", "key:", "key:x", "end_user:x", "tag:a,b", "x" * 999]
)
def test_each_that_is_refused(each: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_each(each)
    assert refusal.value.param == "each"
    assert "key, end_user, tag:NAME" in refusal.value.hint
    assert len(refusal.value.message) < 100


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, True),
        ((), True),
        ([], True),
        (["gpt-*"], True),
        (["openai/gpt-4.1-mini"], True),
        (["o3"], False),
    ],
)
def test_a_keys_list_of_models(patterns: list[str] | None, expected: bool) -> None:
    assert allowed_model(patterns, "openai", "gpt-4.1-mini") is expected


def test_names_that_budgets_name() -> None:
    rules = [
        ANY,
        replace(ANY, end_user="alice", tags={"team": "search", "env": "prod"}),
        replace(ANY, key="key_1"),
    ]
    assert set(names_in(rules)) == {("end_user", "alice"), ("tag:team", "search"), ("tag:env", "prod")}


def test_every_scope_field_of_a_budget_is_in_the_table() -> None:
    """A budget narrowed in any field must be able to not apply: a field nobody matches would be a bypass."""
    elsewhere = Scope(key="", accounts=(), provider="", model="", end_user=None, tags={})
    fields = {
        "key": "k",
        "account": "a",
        "provider": "p",
        "end_user": "e",
        "tags": {"t": "v"},
        "models": ("m",),
    }
    for name, value in fields.items():
        narrowed = replace(ANY, **{name: value})  # type: ignore[arg-type]
        refusing = [dimension for dimension in DIMENSIONS if not dimension.covers(narrowed, elsewhere)]
        assert len(refusing) == 1, name
    assert len(DIMENSIONS) == len(fields)
