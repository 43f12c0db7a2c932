"""Accounts with everything below them, and how they are named."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, literal, select

from gateway.store.reading import Selection, accounts_named, path_of, stream, subtree, with_path
from gateway.store.tables import virtual_keys
from tests.databases import backend, migrated_database, migrated_engine, postgres, sqlite_template
from tests.reports.book import ACCOUNTS, KEYS, lay_out

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        (("acct_search",), {"acct_search", "acct_rank"}),
        (("acct_root",), {account for account, *_ in ACCOUNTS} - {"acct_other"}),
        (("acct_rank", "acct_other"), {"acct_rank", "acct_other"}),
        (("acct_nobody",), set()),
        ((), set()),
    ],
)
def test_a_subtree_is_everything_below(
    migrated_engine: Engine, roots: tuple[str, ...], expected: set[str]
) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
        assert set(conn.execute(subtree(roots)).scalars()) == expected


@pytest.mark.parametrize(
    ("name", "within", "expected"),
    [
        ("acct_search", None, ("acct_search",)),
        ("acme/search", None, ("acct_old", "acct_search")),
        ("acme/search", "acct_search", ("acct_search",)),
        ("acme", "acct_search", ()),
        ("nobody", None, ()),
    ],
)
def test_accounts_are_named_by_id_or_path(
    migrated_engine: Engine, name: str, within: str | None, expected: tuple[str, ...]
) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
        assert accounts_named(conn, name, within) == expected


def test_an_account_in_no_table_is_shown_by_its_id(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
        source = (
            select(literal("acct_gone").label("account")).union_all(select(literal("acct_rank"))).subquery()
        )
        shown = select(path_of(source.c.account)).select_from(with_path(source, source.c.account))
        assert set(conn.execute(shown).scalars()) == {"acct_gone", "acme/search/ranking"}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), set(KEYS)),
        (Selection(roots=("acct_search",)), {"key_b", "key_c"}),
        (Selection(roots=()), set()),
        (Selection(keys=("key_a",), roots=("acct_root",)), {"key_a"}),
        (Selection(keys=("key_a", "key_b")), set()),
        (Selection(equal={"name": "key_d"}), {"key_d"}),
    ],
)
def test_whatever_is_set_must_match(
    migrated_engine: Engine, selection: Selection, expected: set[str]
) -> None:
    with migrated_engine.begin() as conn:
        lay_out(conn)
        keys = select(virtual_keys.c.id.label("key"), virtual_keys.c.account, virtual_keys.c.name).subquery()
        assert {row.key for row in stream(conn, select(keys).where(selection.condition(keys.c)))} == expected
