"""Principals: whose key a request off the hot path carries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from starlette.requests import Request

from gateway.api.principals import Principals
from gateway.clock import DrivenClock
from gateway.domain.errors import Forbidden, Unauthenticated, Unavailable
from gateway.domain.keys import mint
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.store.admin_keys import ensure_first_admin_key
from gateway.store.engine import Database
from gateway.store.virtual_keys import change_key, living_key
from tests.gate.making import NOON_US
from tests.gate.test_directory import TEXT, Office, at

ADMIN = "owner-key-of-the-tests"


@pytest.fixture
async def office(migrated_database: str) -> AsyncIterator[Office]:
    opened = Office(migrated_database)
    await opened.add_account("acct_team")
    await opened.add_key()
    await opened.change(ensure_first_admin_key, ADMIN, NOON_US)
    yield opened
    await opened.database.stop()


def principals(office: Office) -> Principals:
    return Principals(office.here, office.database, DrivenClock(NOON_US))


def bearing(text: str | None) -> Request:
    headers = [] if text is None else [(b"authorization", f"Bearer {text}".encode())]
    return Request({"type": "http", "headers": headers})


async def test_a_virtual_key_is_known_or_found(office: Office) -> None:
    caller = await principals(office).caller(bearing(TEXT))
    assert caller.key.id == "key_1"
    assert (await principals(office).caller(bearing(TEXT))) is caller


@pytest.mark.parametrize("text", [None, "garbage", ADMIN, mint(bytes(31) + b"\7")])
async def test_what_is_no_virtual_key(office: Office, text: str | None) -> None:
    with pytest.raises(Unauthenticated):
        await principals(office).caller(bearing(text))


async def test_a_blocked_key_may_ask_nothing(office: Office) -> None:
    await office.change(at, change_key, living_key, "key_1", {"status": "blocked"})
    with pytest.raises(Forbidden):
        await principals(office).caller(bearing(TEXT))


async def test_an_admin_key(office: Office) -> None:
    assert (await principals(office).admin(bearing(ADMIN))).role == "owner"
    for text in (None, "garbage", TEXT):
        with pytest.raises(Unauthenticated):
            await principals(office).admin(bearing(text))


class Away:
    """A database that cannot be reached."""

    async def read(self, *_: object) -> None:
        raise Unavailable("ledger_unavailable", "Away.")


async def test_while_the_database_is_away_administrators_are_known_as_they_were(office: Office) -> None:
    desk = principals(office)
    await desk.admin(bearing(ADMIN))
    desk._database = cast(Database, Away())
    assert (await desk.admin_as_known(bearing(ADMIN))).role == "owner"
    for text in ("another-owner-key", TEXT):
        with pytest.raises(Unavailable):
            await desk.admin_as_known(bearing(text))
    with pytest.raises(Unavailable):
        await desk.admin(bearing(ADMIN))


@pytest.mark.parametrize(("text", "kind"), [(TEXT, VirtualKey), (ADMIN, AdminKey)])
async def test_either_kind(office: Office, text: str, kind: Any) -> None:
    assert isinstance(await principals(office).anyone(bearing(text)), kind)
