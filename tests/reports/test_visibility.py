"""An admin key sees everything; a virtual key its own spend, or its account's."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import Forbidden, NotFound
from gateway.domain.tenancy import ROLES, AdminKey
from gateway.reports.visibility import Principal
from tests.reports.asking import REPORTS, ask_json, nano, virtual_key
from tests.reports.book import Entry, is_below
from tests.reports.conftest import Book

EVERYTHING = {"start": "2026-10-19", "end": "2026-11-09"}
OWN = virtual_key("key_b", "acct_search")
WHOLE = virtual_key("key_b", "acct_search", sees_account=True)


def spend(book: Book, principal: Principal, **parameters: str) -> Any:
    return ask_json(book.engine, "spend", {**EVERYTHING, **parameters}, principal=principal)


def cost(entries: list[Entry]) -> int:
    return sum(entry.cost for entry in entries)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_sees_everything(book: Book, role: str) -> None:
    admin = AdminKey("akey_1", role, role, b"", "", 0, None, 1)
    assert nano(spend(book, admin)["total"]["cost"]) == cost(book.entries)


def test_a_key_sees_its_own_spend(book: Book) -> None:
    mine = [entry for entry in book.entries if entry.key == "key_b"]
    answer = spend(book, OWN, group_by="key")
    assert [row["key"] for row in answer["rows"]] == ["key_b"]
    assert nano(answer["total"]["cost"]) == cost(mine)
    for account in ("acct_search", "acme/search"):
        assert nano(spend(book, OWN, account=account)["total"]["cost"]) == cost(mine)


def test_a_key_that_sees_its_account_sees_what_is_below(book: Book) -> None:
    mine = [entry for entry in book.entries if is_below(entry.account, "acct_search")]
    assert nano(spend(book, WHOLE)["total"]["cost"]) == cost(mine)
    below = [entry for entry in mine if entry.account == "acct_rank"]
    assert nano(spend(book, WHOLE, account="acme/search/ranking")["total"]["cost"]) == cost(below)
    # A deleted account of the same path is not below it, so the path means the living one alone.
    assert nano(spend(book, WHOLE, account="acme/search")["total"]["cost"]) == cost(mine)


@pytest.mark.parametrize(
    "account", ["acct_root", "acme", "acct_other", "acct_old", "no such", "", "' OR 1=1"]
)
@pytest.mark.parametrize("principal", [OWN, WHOLE], ids=["own", "account"])
def test_a_foreign_account_is_like_none(book: Book, principal: Principal, account: str) -> None:
    with pytest.raises(NotFound) as refusal:
        spend(book, principal, account=account)
    assert refusal.value.param == "account"
    assert account in refusal.value.message


def test_an_account_below_is_not_a_single_keys_business(book: Book) -> None:
    with pytest.raises(NotFound):
        spend(book, OWN, account="acct_rank")


def test_an_admin_is_told_of_an_unknown_account(book: Book) -> None:
    with pytest.raises(NotFound):
        ask_json(book.engine, "spend", {"account": "acme/nobody"})


@pytest.mark.parametrize("principal", [OWN, WHOLE], ids=["own", "account"])
def test_a_foreign_key_matches_nothing(book: Book, principal: Principal) -> None:
    answer = spend(book, principal, key="key_e")
    assert answer["rows"] == []
    assert answer["total"] == {"calls": 0, "cost": "0", "list_cost": "0", "currency": "USD"}


@pytest.mark.parametrize("name", sorted(name for name, each in REPORTS.items() if not each.admin_only))
@pytest.mark.parametrize("principal", [OWN, WHOLE], ids=["own", "account"])
def test_no_report_shows_a_key_what_is_not_its_own(book: Book, name: str, principal: Principal) -> None:
    takes = REPORTS[name].parameters
    offered = {**EVERYTHING, "group_by": "account,key", "limit": "10000"}
    asked = {parameter: value for parameter, value in offered.items() if parameter in takes}
    answer = ask_json(book.engine, name, asked, principal=principal)
    keys = {"key_b", "key_c"} if principal is WHOLE else {"key_b"}
    assert {row["key"] for row in answer["rows"] if "key" in row} <= keys
    if name in ("spend", "usage", "calls"):
        assert {row["key"] for row in answer["rows"]} == keys


def test_what_concerns_the_gateway_is_for_admin_keys(book: Book) -> None:
    with pytest.raises(Forbidden) as refusal:
        ask_json(book.engine, "open_holds", {}, principal=WHOLE)
    assert refusal.value.code == "role_not_allowed"
