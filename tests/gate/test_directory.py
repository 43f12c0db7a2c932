"""The directory: a change anywhere reaches every worker by one look, and no look undoes another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.domain.budgets import Budget
from gateway.domain.errors import Forbidden, Unauthenticated
from gateway.domain.keys import fingerprint, mint, parse
from gateway.domain.names import NameGate
from gateway.domain.prices import PriceRow, with_id
from gateway.gate.admission import check_caller
from gateway.gate.directory import Caller, Directory
from gateway.store.accounts import NewAccount, change_account, create_account, delete_account, living_account
from gateway.store.budget_changes import change_budget, create_budget, delete_budget, living_budget
from gateway.store.engine import Database
from gateway.store.prices import add_price
from gateway.store.virtual_keys import NewKey, change_key, create_key, living_key, revoke_key, rotate_key
from tests.gate.making import NOON_US, budget

TEXT = mint(bytes(32))


class Office:
    """Two workers' directories over one database, and an administrator who changes things."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.touched: list[str] = []
        self.names = NameGate(10)
        self.here = Directory(self.database, self.touched.extend, self.names)
        self.there = Directory(self.database, lambda budgets: None, NameGate(10))

    async def change(self, act: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.database.write(act, *args, **kwargs)

    async def look(self) -> None:
        """Both workers look once, as they do four times a second."""
        await self.here.refresh()
        await self.there.refresh()

    async def add_account(self, account: str, parent: str | None = None) -> None:
        new = NewAccount(account, parent, "team", None, "UTC", {})
        await self.change(create_account, new, account_id=account, now_us=NOON_US)

    async def add_key(self, key: str = "key_1", text: str = TEXT, **fields: Any) -> None:
        values: dict[str, Any] = {
            "account": "acct_team",
            "name": key,
            "models": None,
            "max_output_tokens": None,
            "on_over_cap": "clamp",
            "require_end_user": False,
            "sees_account": False,
            "expires_at_us": None,
            "tags": {},
            "metadata": {},
            **fields,
        }
        parsed = parse(text)
        assert parsed is not None
        await self.change(create_key, NewKey(**values), parsed, key_id=key, now_us=NOON_US)

    async def add_budget(self, cap: int, **fields: Any) -> Budget:
        made = budget(cap, **fields)
        await self.change(create_budget, made)
        return made


@pytest.fixture
async def office(migrated_database: str) -> AsyncIterator[Office]:
    opened = Office(migrated_database)
    await opened.add_account("acct_top")
    await opened.add_account("acct_team", "acct_top")
    yield opened
    await opened.database.stop()


def known(directory: Directory, text: str = TEXT) -> Caller:
    caller = directory.caller(fingerprint(text))
    assert caller is not None
    return caller


def at(conn: Connection, change: Any, read: Any, id_: str, *args: Any) -> Any:
    """Change a thing as it is now."""
    return change(conn, read(conn, id_), *args)


async def test_a_key_is_known_after_one_look(office: Office) -> None:
    await office.add_key()
    assert office.there.caller(fingerprint(TEXT)) is None
    await office.look()
    for directory in (office.here, office.there):
        caller = known(directory)
        assert [account.id for account in caller.accounts] == ["acct_team", "acct_top"]
        check_caller(caller, NOON_US)


async def test_a_key_made_a_moment_ago_is_found_before_the_next_look(office: Office) -> None:
    await office.add_budget(10)
    await office.add_key()
    caller = await office.there.find(fingerprint(TEXT))
    assert caller is not None
    assert [each.id for each in caller.candidates] == ["bud_1"], "with everything that applies to it"
    assert await office.there.find(fingerprint("nobody's")) is None


async def test_nothing_new_is_one_read_and_no_change(office: Office) -> None:
    await office.add_key()
    assert await office.here.refresh() is True
    before = known(office.here)
    assert await office.here.refresh() is False
    assert known(office.here) is before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda conn: at(conn, change_key, living_key, "key_1", {"status": "blocked"}), Forbidden),
        (lambda conn: at(conn, revoke_key, living_key, "key_1", NOON_US), Unauthenticated),
        (lambda conn: at(conn, change_key, living_key, "key_1", {"expires_at": NOON_US}), Unauthenticated),
        (
            lambda conn: at(conn, change_account, living_account, "acct_team", {"status": "blocked"}),
            Forbidden,
        ),
        (lambda conn: at(conn, change_account, living_account, "acct_top", {"status": "blocked"}), Forbidden),
        (lambda conn: at(conn, delete_account, living_account, "acct_team", NOON_US), Unauthenticated),
    ],
    ids=["key blocked", "key revoked", "key expired", "account blocked", "parent blocked", "account deleted"],
)
async def test_what_stops_a_key_stops_it_everywhere(office: Office, change: Any, error: Any) -> None:
    await office.add_key()
    await office.look()
    await office.change(change)
    await office.look()
    for directory in (office.here, office.there):
        with pytest.raises(error):
            check_caller(known(directory), NOON_US)


async def test_a_budgets_change_reaches_every_worker_and_the_ledger(office: Office) -> None:
    await office.add_key()
    await office.add_budget(10, end_user="ada")
    await office.look()
    assert office.touched == ["bud_1"]
    assert [each.cap for each in known(office.there).candidates] == [10]
    # Its end user never becomes `other`, or her calls would escape it.
    for number in range(20):
        office.names.admit("acct_team", "end_user", f"user {number}", NOON_US)
    assert office.names.admit("acct_team", "end_user", "ada", NOON_US) == "ada"
    await office.change(at, change_budget, living_budget, "bud_1", {"cap": 20}, NOON_US)
    await office.look()
    assert office.touched == ["bud_1", "bud_1"]
    assert [each.cap for each in known(office.there).candidates] == [20]
    found = office.there.budget("bud_1")
    assert found is not None
    assert found.cap == 20
    await office.change(delete_budget, "bud_1", NOON_US)
    await office.look()
    assert (known(office.there).candidates, office.there.budget("bud_1")) == ((), None)
    assert office.touched == ["bud_1"] * 3


async def test_a_key_has_the_budgets_of_its_account_those_above_and_its_own(office: Office) -> None:
    await office.add_account("acct_other")
    await office.add_key()
    await office.add_key("key_2", mint(bytes(31) + b"\1"))
    narrowed: dict[str, dict[str, str | None]] = {
        "bud_team": {},
        "bud_top": {"account": "acct_top"},
        "bud_all": {"account": None},
        "bud_key": {"account": None, "key": "key_1"},
        "bud_key_2": {"account": None, "key": "key_2"},
        "bud_other": {"account": "acct_other"},
    }
    for id_, fields in narrowed.items():
        await office.add_budget(10, id=id_, **fields)
    await office.look()
    found = {each.id for each in known(office.here).candidates}
    assert found == {"bud_team", "bud_top", "bud_all", "bud_key"}
    caller = known(office.here)
    assert {id_ for id_ in found if caller.sees(id_)} == {"bud_team", "bud_key"}


async def test_prices_are_read_again_when_they_change(office: Office) -> None:
    await office.look()
    first = office.there.catalogue
    await office.add_key()
    await office.look()
    assert office.there.catalogue is first
    for meter in ("input", "output"):
        row = with_id(PriceRow("", "openai", "new", meter, 1_000_000))
        await office.change(add_price, row, NOON_US)
    await office.look()
    entry = office.there.catalogue.resolve("openai", "new")
    assert entry is not None
    assert entry.card.is_priced


@pytest.mark.parametrize("old_id", ["key_0", "key_9"])  # before and after the key's own in the order of ids
@pytest.mark.parametrize("grace_until_us", [NOON_US + 1, None])
async def test_a_rotated_key_is_known_by_its_new_text_and_by_its_old_one_for_a_while(
    office: Office, old_id: str, grace_until_us: int | None
) -> None:
    await office.add_key()
    await office.add_budget(10, account=None, key="key_1")
    await office.look()
    new = mint(bytes(31) + b"\1")
    parsed: Any = parse(new)

    def rotate(conn: Connection) -> None:
        key = living_key(conn, "key_1")
        rotate_key(conn, key, parsed, old_id=old_id, grace_until_us=grace_until_us, now_us=NOON_US)

    await office.change(rotate)
    await office.look()
    for directory in (office.here, office.there):
        old, renewed = known(directory), known(directory, new)
        assert old.key.charged_to == renewed.key.charged_to == "key_1"
        assert [each.id for each in old.candidates] == [each.id for each in renewed.candidates] == ["bud_1"]
        check_caller(renewed, NOON_US)
        if grace_until_us is None:
            with pytest.raises(Unauthenticated):
                check_caller(old, NOON_US)
        else:
            check_caller(old, NOON_US)


async def test_a_change_of_ones_own_is_read_at_once(office: Office) -> None:
    await office.add_key()
    office.here.changed("keys")
    await asyncio.gather(*office.here._tasks)
    check_caller(known(office.here), NOON_US)


async def test_looks_that_overlap_do_not_undo_each_other(office: Office) -> None:
    await office.add_key()
    work: list[Awaitable[Any]] = []
    for status in ("blocked", "active", "blocked"):
        change = office.change(at, change_key, living_key, "key_1", {"status": status})
        work += [change, *(office.here.refresh() for _ in range(5))]
    await asyncio.gather(*work)
    await office.here.refresh()
    assert known(office.here).blocked_by is not None


async def test_the_directory_tells_how_much_it_knows(office: Office) -> None:
    await office.add_key()
    await office.look()
    assert office.here.size == {"accounts": 2, "keys": 1, "budgets": 0}
    found = office.here.account("acct_team")
    assert found is not None
    assert found.path == "acct_top/acct_team"
