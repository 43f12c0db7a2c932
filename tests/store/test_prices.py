"""Prices in SQL, on both databases: filled once, only added to, read whole."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from genai_prices.data import providers
from sqlalchemy import Connection, Engine, event, insert

from gateway.domain.catalogue import MODELS_OF_OTHERS, POSTED, Catalogue
from gateway.domain.costing import cost
from gateway.domain.errors import BadRequest, Conflict, NotFound
from gateway.domain.prices import GENAI, MANUAL, Hours, PriceRow, with_id
from gateway.store import prices
from gateway.store.price_files import seed_free, seed_prices
from gateway.store.price_sources import PROVIDER_NAMES, genai_prices
from gateway.store.revisions import numbers
from gateway.store.tables import accounts
from tests.databases import backend, migrated_database, migrated_engine, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "migrated_engine", "postgres", "sqlite_template"]

NOW = 1_764_000_000_000_000


@pytest.fixture
def conn(migrated_engine: Engine) -> Iterator[Connection]:
    with migrated_engine.begin() as opened:
        yield opened


def row(pico: int, meter: str = "output", **fields: Any) -> PriceRow:
    named = {"provider": "openai", "model": "gpt-4.1", "source": "manual", "source_text": "?", **fields}
    return with_id(PriceRow("", meter=meter, price_pico=pico, **named))


def account(conn: Connection, name: str) -> None:
    conn.execute(
        insert(accounts).values(
            id=name,
            parent=None,
            name=name,
            path=name,
            kind="team",
            cost_center=None,
            timezone="UTC",
            metadata={},
            status="active",
            created_at=0,
            deleted_at=None,
            revision=0,
        )
    )


def nano(conn: Connection, provider: str, name: str, usage: dict[str, int], at_us: int = NOW) -> int:
    entry = prices.load_catalogue(conn).resolve(provider, name)
    assert entry is not None
    return cost(usage, entry.card, at_us).total_nano


# The first start.


def test_an_empty_table_is_filled_once(conn: Connection) -> None:
    result = prices.fill(conn, NOW)
    assert result is not None
    shipped = genai_prices()
    seed = [*seed_prices(), *seed_free(shipped.models)]
    assert result.added == len(shipped.rows) + len(seed)
    assert (result.unchanged, result.conflicts) == (0, ())
    assert prices.fill(conn, NOW + 1) is None
    assert numbers(conn)["prices"] == 1


def test_two_processes_that_start_at_once_fill_it_once(migrated_engine: Engine) -> None:
    if migrated_engine.dialect.name == "sqlite":

        @event.listens_for(migrated_engine, "connect")
        def begin_by_hand(connection: Any, _: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA busy_timeout = 30000")

        @event.listens_for(migrated_engine, "begin")
        def begin(opened: Connection) -> None:
            opened.exec_driver_sql("BEGIN IMMEDIATE")

    def start(_: int) -> bool:
        with migrated_engine.begin() as opened:
            return prices.fill(opened, NOW) is not None

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(start, range(3))) == [False, False, True]


def test_what_a_provider_bills_nothing_for_has_a_price_of_nothing(conn: Connection) -> None:
    """Unpriced, every call that fetched a page would be flagged."""
    prices.fill(conn, NOW)
    entry = prices.load_catalogue(conn).resolve("anthropic", "claude-sonnet-4-5")
    assert entry is not None
    charge = cost({"input": 10, "web_fetch": 3}, entry.card, NOW)
    assert charge.flags == ()
    assert [(line.meter, line.quantity, line.cost_nano) for line in charge.lines][1] == ("web_fetch", 3, 0)


def test_the_seed_beats_the_import(conn: Connection) -> None:
    prices.fill(conn, NOW)
    million = {"output": 1_000_000}
    assert nano(conn, "openai", "gpt-4.1", million) == 8_000_000_000
    assert nano(conn, "anthropic", "claude-sonnet-4-5-20250929", million) == 15_000_000_000
    assert nano(conn, "gemini", "gemini-2.5-flash", million) == 2_500_000_000
    assert nano(conn, "deepseek", "deepseek-v3.2", million) == 420_000_000
    assert nano(conn, "deepseek", "deepseek-v3.2", {"input": 1_000_000}) == 280_000_000


def test_every_name_means_at_our_catalogue_what_it_means_to_genai_prices(conn: Connection) -> None:
    prices.fill(conn, NOW)
    catalogue = prices.load_catalogue(conn)
    differing = []
    for provider in providers:
        ours = PROVIDER_NAMES.get(provider.id, provider.id)
        names = [model.id for model in provider.models]
        names += [
            "gpt-4.1-2025-04-14",
            "gpt-5.2-20251211",
            "claude-opus-4-8@20260101",
            "DeepSeek-Chat",
            "nonsense",
        ]
        for name in names:
            theirs = provider.find_model(name, all_providers=providers)
            entry = catalogue.resolve(ours, name)
            if (entry and entry.model) != (theirs and theirs.id):
                differing.append((provider.id, name, entry and entry.model, theirs and theirs.id))
    # An id is its model here, even one that its own expression does not accept.
    assert [each for each in differing if each[1] != each[2] or each[3] is not None] == []


def test_the_providers_that_serve_others_models_are_those_of_genai_prices() -> None:
    theirs = {
        PROVIDER_NAMES.get(each.id, each.id): tuple(each.fallback_model_providers)
        for each in providers
        if each.fallback_model_providers
    }
    assert theirs == MODELS_OF_OTHERS


# Importing again.


def test_importing_again_adds_nothing(conn: Connection) -> None:
    first = prices.fill(conn, NOW)
    assert first is not None
    again = prices.import_shipped(conn, NOW + 5)
    assert again == prices.ImportResult(0, first.added, ())


def test_a_price_that_changed_since_counts_from_the_import(conn: Connection) -> None:
    prices.fill(conn, NOW)
    # As if an older release had been imported, in which this price was another.
    conn.exec_driver_sql(
        "UPDATE prices SET price_pico = 9000000, id = 'price_older'"
        " WHERE provider = 'openai' AND model = 'gpt-4.1'"
        f" AND meter = 'input' AND service_tier = '' AND rank = {GENAI}"
    )
    result = prices.import_shipped(conn, NOW + 1000)
    assert (result.added, result.conflicts) == (1, ())
    assert [nano(conn, "openai", "gpt-4.1", {"input": 1}, at) for at in (NOW + 999, NOW + 1000)] == [
        9_000,
        2_000,
    ]
    assert prices.import_shipped(conn, NOW + 2000).added == 0


def test_a_posted_price_outlives_an_import(conn: Connection) -> None:
    prices.fill(conn, NOW)
    prices.add_price(conn, row(5_000_000, effective_from_us=NOW), NOW)
    prices.import_shipped(conn, NOW + 1000)
    assert nano(conn, "openai", "gpt-4.1", {"output": 1}, NOW + 2000) == 5_000


def test_a_model_that_is_described_anew_is_brought_up_to_date(conn: Connection) -> None:
    prices.fill(conn, NOW)
    conn.exec_driver_sql(
        "UPDATE models SET match = '{\"equals\":\"x\"}', source = 'old' WHERE model = 'gpt-4.1'"
    )
    prices.import_shipped(conn, NOW + 1000)
    entry = prices.load_catalogue(conn).resolve("openai", "gpt-4.1-2025-04-14")
    assert entry is not None
    assert entry.model == "gpt-4.1"


# Posting.


def test_a_posted_price_makes_a_model_known(conn: Connection) -> None:
    posted, is_new = prices.add_price(conn, row(7_000_000, provider="vllm", model="house-7b"), NOW)
    assert is_new
    assert posted.recorded_at_us == NOW
    catalogue = prices.load_catalogue(conn)
    assert catalogue.providers_of("house-7b") == ("vllm",)
    [entry] = catalogue.entries("vllm")
    assert entry.card.rows == (posted,)


def test_an_identical_price_is_the_row_there_is(conn: Connection) -> None:
    first, _ = prices.add_price(conn, row(7), NOW)
    before = numbers(conn)["prices"]
    assert prices.add_price(conn, row(7, source="elsewhere"), NOW + 9) == (first, False)
    assert numbers(conn)["prices"] == before


def test_another_price_of_the_same_slot_and_date_is_a_conflict(conn: Connection) -> None:
    first, _ = prices.add_price(conn, row(7_000_000), NOW)
    with pytest.raises(Conflict) as refused:
        prices.add_price(conn, row(8_000_000), NOW)
    assert refused.value.fields == {"price": first.id, "usd_per_million": "7"}
    for other in (
        {"effective_from_us": 1},
        {"service_tier": "flex"},
        {"context_over": 5},
        {"meter": "input"},
    ):
        assert prices.add_price(conn, row(8_000_000, **other), NOW)[1]


def test_a_price_for_an_account(conn: Connection) -> None:
    account(conn, "acct_a")
    prices.add_price(conn, row(8), NOW)
    prices.add_price(conn, row(6, account="acct_a"), NOW)
    entry = prices.load_catalogue(conn).resolve("openai", "gpt-4.1")
    assert entry is not None
    assert entry.card.for_accounts(["acct_a"]).rates(NOW).rows["output"].price_pico == 6
    with pytest.raises(NotFound) as refused:
        prices.add_price(conn, row(6, account="acct_b"), NOW)
    assert refused.value.param == "account"


def test_a_price_is_posted_under_the_id_the_catalogue_knows(conn: Connection) -> None:
    prices.fill(conn, NOW)
    for model in ("Claude-Sonnet-4-5", "claude-sonnet-4.5"):
        posted, _ = prices.add_price(
            conn, row(9, provider="anthropic", model=model, effective_from_us=NOW), NOW
        )
        assert posted.model == "claude-sonnet-4-5"
    snapshot, _ = prices.add_price(conn, row(9, model="gpt-4.1-2025-04-14"), NOW)
    assert snapshot.model == "gpt-4.1-2025-04-14"


def test_a_file_is_added_but_for_what_contradicts(conn: Connection) -> None:
    there, _ = prices.add_price(conn, row(7_000_000), NOW)
    rows = [row(7_000_000), row(2_000_000, "input"), row(8_000_000, source_text="8"), row(2_000_000, "input")]
    result = prices.import_rows(conn, rows, NOW)
    assert (result.added, result.unchanged) == (1, 2)
    assert result.conflicts == (
        f"openai/gpt-4.1: output from 1970-01-01T00:00:00Z is 7 USD per million by {there.id}, not 8",
    )
    assert prices.import_rows(conn, rows[:2], NOW + 1) == prices.ImportResult(0, 2)


def test_a_file_with_an_account_that_there_is_not_adds_nothing(conn: Connection) -> None:
    with pytest.raises(NotFound):
        prices.import_rows(conn, [row(7), row(6, account="acct_b")], NOW)
    assert prices.list_prices(conn, equal={}) == []


# Reading.


def test_a_row_comes_back_as_it_went(conn: Connection) -> None:
    night = Hours(1380, 60, "Asia/Shanghai")
    whole = row(
        2**62,
        hours=night,
        service_tier="flex",
        context_over=200_000,
        effective_from_us=5,
        effective_to_us=NOW,
        source="ein Vertrag, §7",
        source_text="0.42",
        rank=MANUAL,
    )
    stored, _ = prices.add_price(conn, whole, NOW)
    assert prices.price_by_id(conn, whole.id) == stored == whole._replace(recorded_at_us=NOW)
    assert prices.price_by_id(conn, "price_none") is None


def test_a_list_is_filtered_and_paged(conn: Connection) -> None:
    for number in range(5):
        prices.add_price(conn, row(number, effective_from_us=number), NOW + number)
    prices.add_price(conn, row(9, "input"), NOW)
    equal = {"provider": "openai", "meter": "output"}
    first = prices.list_prices(conn, equal=equal, limit=2)
    rest = prices.list_prices(conn, equal=equal, after=first[-1].id)
    assert [each.price_pico for each in (*first, *rest)] == [0, 1, 2, 3, 4]
    assert prices.list_prices(conn, equal={"model": "none"}) == []
    with pytest.raises(BadRequest):
        prices.list_prices(conn, equal={}, after="price_none")


def test_sources_that_disagree_are_told(conn: Connection) -> None:
    prices.fill(conn, NOW)
    found = [
        (
            each.counts.model,
            each.counts.meter,
            each.counts.price_pico,
            [other.price_pico for other in each.overruled],
        )
        for each in prices.differences(conn, NOW)
    ]
    assert found == [
        ("deepseek-v3.2", "input", 280_000, [228_800]),
        ("deepseek-v3.2", "output", 420_000, [343_200]),
    ]
    prices.add_price(conn, row(9_000_000, effective_from_us=NOW + 5), NOW)
    assert len(prices.differences(conn, NOW + 4)) == 2
    [newest] = [each for each in prices.differences(conn, NOW + 5) if each.counts.model == "gpt-4.1"]
    assert newest.counts.price_pico == 9_000_000
    assert [other.price_pico for other in newest.overruled] == [8_000_000, 8_000_000]


def test_the_catalogue_has_the_seeds_aliases_and_those_it_is_given(conn: Connection) -> None:
    prices.fill(conn, NOW)
    catalogue = prices.load_catalogue(conn, {"cheap": "deepseek/deepseek-v4-flash"})
    for alias in ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2", "cheap"):
        named = catalogue.alias_of(alias)
        assert named is not None
        entry = catalogue.resolve(*named)
        assert entry is not None
        assert entry.card.is_priced
        assert entry.limits_at(NOW) is not None


@pytest.mark.parametrize(
    ("provider", "name", "meaning"),
    [
        ("azure_openai", "gpt-4.1-2025-04-14", "azure_openai/gpt-4.1"),
        ("azure_openai", "gpt-5.2-20251211", "azure_openai/gpt-5.2"),
        ("openai", "gpt-4o-2024-11-20", "openai/gpt-4o"),
        ("anthropic", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
        ("gemini", "gemini-2.5-flash-preview-09-2025", "gemini/gemini-2.5-flash"),
        ("groq", "llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile"),
        ("mistral", "mistral-large-latest", None),
    ],
)
def test_names_as_providers_report_them(
    conn: Connection, provider: str, name: str, meaning: str | None
) -> None:
    prices.fill(conn, NOW)
    entry = prices.load_catalogue(conn).resolve(provider, name)
    assert entry is not None
    assert meaning is None or entry.name == meaning
    assert entry.card.is_priced


def test_an_empty_database_is_an_empty_catalogue(conn: Connection) -> None:
    catalogue = prices.load_catalogue(conn)
    assert isinstance(catalogue, Catalogue)
    assert catalogue.providers == ()
    assert catalogue.resolve("openai", "gpt-4.1") is None


def test_a_posted_model_is_marked_as_such(conn: Connection) -> None:
    prices.add_price(conn, row(1, provider="vllm", model="house-7b"), NOW)
    [source] = conn.exec_driver_sql("SELECT source FROM models").scalars()
    assert source == POSTED
