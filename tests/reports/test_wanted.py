"""From a query to what is to be summed up."""

from __future__ import annotations

from gateway.reports.base import Visible
from gateway.reports.parameters import parse
from gateway.reports.wanted import Wanted, selection_of
from tests.reports.asking import NOW_US, REPORTS


def wanted(*pairs: tuple[str, str], by_meter: bool = False) -> Wanted:
    return Wanted.of(parse(REPORTS["spend"], pairs, NOW_US), Visible(), ("cost",), by_meter=by_meter)


def test_end_users_and_tags_are_named_once() -> None:
    found = wanted(("group_by", "tag:env,model,end_user"), ("tag:env", "prod"), ("tag:team", ""))
    assert found.named == ("end_user", "tag:env", "tag:team")
    assert found.names == {"tag:env": "prod", "tag:team": ""}
    assert wanted(("group_by", "model"), ("model", "x")).named == ()


def test_the_meter_is_a_column_once() -> None:
    assert wanted(("group_by", "meter,model")).columns == ("meter", "model")
    assert wanted(("group_by", "model"), by_meter=True).columns == ("model", "meter")
    assert wanted(("group_by", "model")).columns == ("model",)


def test_a_reader_is_kept_to_what_it_may_see() -> None:
    query = parse(REPORTS["spend"], [("key", "key_b"), ("provider", "openai")], NOW_US)
    found = selection_of(query, Visible(roots=("acct_1",), key="key_a"))
    assert found.keys == ("key_a", "key_b")
    assert found.roots == ("acct_1",)
    assert found.equal == {"provider": "openai"}
