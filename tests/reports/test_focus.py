"""FOCUS: the rules of its mandatory columns, the four costs, credit, late entries, and both formats."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pyarrow import parquet
from sqlalchemy import Engine, insert

from gateway.domain.errors import BadRequest
from gateway.domain.months import month_named
from gateway.ledger.entries import Postable, digest
from gateway.reports.focus import export, wanted
from gateway.reports.focus_rows import VERSIONS, columns
from gateway.store.grants import NewGrant, add_grant
from gateway.store.periods import close, complete_until
from gateway.store.posting import post
from gateway.store.tables import prices
from gateway.store.tenancy import accounts_since
from tests.reports.book import Entry, Meter, frame_of, generate, instant, lay_out

Rows = list[dict[str, str]]
OCTOBER = month_named("2026-10")
NOW_US = instant("2026-11-05T00:00:00Z")
# Mandatory in both versions (21 columns, two of them renamed), and never null but where it is said.
MANDATORY = (
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "BillingAccountId", "BillingCurrency",
    "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory",
    "InvoiceIssuerName", "ServiceCategory", "ServiceName",
)  # fmt: skip
MAY_BE_NULL = ("BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit")
SELLERS = {"1.2": ("ProviderName", "PublisherName"), "1.4": ("ServiceProviderName", "HostProviderName")}
DECIMALS = tuple(name for name, kind in columns("1.2") if kind == "number")


def exported(engine: Engine, period: str = "2026-10", version: str = "1.2", form: str = "csv") -> bytes:
    with engine.connect() as conn:
        file, length = export(conn, wanted({"period": period, "version": version, "format": form}))
    with file:
        data = file.read()
    assert len(data) == length
    return data


def rows_of(data: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)


def total(rows: Rows, column: str, category: str | None = None) -> Decimal:
    return sum(
        (Decimal(row[column]) for row in rows if category in (None, row["ChargeCategory"])), Decimal(0)
    )


@pytest.fixture
def entries() -> list[Entry]:
    return generate(600, seed=5, start_us=OCTOBER.start_us, end_us=OCTOBER.end_us)


@pytest.fixture
def engine(migrated_engine: Engine, entries: list[Entry]) -> Engine:
    """A generated October, posted."""
    with migrated_engine.begin() as conn:
        lay_out(conn)
        conn.execute(insert(prices), [price_row("price_list", 8_000_000)])
    book(migrated_engine, entries, OCTOBER.end_us - 1)
    return migrated_engine


def price_row(name: str, pico: int) -> dict[str, Any]:
    return {
        "id": name, "provider": "openai", "model": "gpt-4.1", "meter": "output", "service_tier": "",
        "context_over": 0, "hours": None, "price_pico": pico, "effective_from": 0, "effective_to": None,
        "account": None, "source": "test", "source_text": "8", "rank": 30, "created_at": 0, "revision": 1,
    }  # fmt: skip


def book(engine: Engine, entries: list[Entry], now_us: int, **more: Any) -> None:
    for start in range(0, len(entries), 500):
        part = entries[start : start + 500]
        postables = [Postable(seq, frame_of(seq, each, **more)) for seq, each in enumerate(part, start=1)]
        with engine.begin() as conn:
            post(conn, "jrnl_test", digest("jrnl_test", postables, {}), {}, now_us)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rules_of_the_mandatory_columns(engine: Engine, version: str) -> None:
    rows = rows_of(exported(engine, version=version))
    assert rows
    for row in rows:
        names = list(row)
        assert set(names) >= {*MANDATORY, *MAY_BE_NULL, *SELLERS[version]}
        assert not set(names) & {name for other in VERSIONS if other != version for name in SELLERS[other]}
        assert names == sorted(names, key=lambda name: name.startswith("x_"))
        assert all(row[name] for name in (*MANDATORY, *SELLERS[version]))
        assert row["BillingCurrency"] == "USD"
        assert row["ServiceCategory"] == "AI and Machine Learning"
        assert row["ChargeCategory"] in ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
        assert row["ChargeClass"] in ("", "Correction")
        period = [datetime.strptime(row[name], "%Y-%m-%dT%H:%M:%SZ") for name in names if "Period" in name]  # noqa: DTZ007
        assert len(period) == 4
        assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == (
            "2026-10-01T00:00:00Z",
            "2026-11-01T00:00:00Z",
        )
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        for name in DECIMALS:
            assert row[name] == "" or ("." in row[name] and not row[name].startswith("+"))
        msgspec.json.decode(row["Tags"], type=dict[str, str])


def test_unit_prices_times_quantities_are_the_costs(engine: Engine) -> None:
    for row in rows_of(exported(engine)):
        if row["ChargeCategory"] != "Usage":
            assert row["PricingQuantity"] == row["SkuPriceId"] == ""
            continue
        quantity = Decimal(row["PricingQuantity"])
        assert Decimal(row["ContractedCost"]) == Decimal(row["ContractedUnitPrice"]) * quantity
        if row["ListUnitPrice"]:
            listed = Decimal(row["ListUnitPrice"]) * quantity
            assert Decimal(row["ListCost"]) == listed
        tokens = row["PricingUnit"] == "1000000 Tokens"
        assert Decimal(row["ConsumedQuantity"]) == quantity * (10**6 if tokens else 1)
        assert row["ConsumedUnit"] == ("Tokens" if tokens else row["PricingUnit"])
        details = msgspec.json.decode(row["SkuPriceDetails"])
        assert all(name.startswith("x_") for name in details)


def test_what_is_billed_is_what_was_charged(engine: Engine, entries: list[Entry]) -> None:
    rows = rows_of(exported(engine))
    charged = usd(sum(each.cost for each in entries))
    assert total(rows, "BilledCost") == total(rows, "EffectiveCost") == charged
    consumed: dict[str, int] = {}
    for each in entries:
        for name, meter in each.meters.items():
            consumed[name] = consumed.get(name, 0) + meter.quantity
    for name, quantity in consumed.items():
        mine = [row for row in rows if row["SkuId"].endswith(f"/{name}")]
        assert total(mine, "ConsumedQuantity") == quantity


def test_a_meter_is_a_row_and_ids_name_no_price_and_no_account(engine: Engine) -> None:
    rows = rows_of(exported(engine))
    parents: dict[str, set[str]] = {}
    for row in rows:
        if row["SkuPriceId"]:
            parents.setdefault(row["SkuPriceId"], set()).add(row["SkuId"])
    assert all(len(skus) == 1 for skus in parents.values())
    assert "openai/gpt-4.1/cache_read/standard" in parents


def test_csv_and_parquet_agree(engine: Engine) -> None:
    rows = rows_of(exported(engine, version="1.4"))
    table = parquet.read_table(io.BytesIO(exported(engine, version="1.4", form="parquet")))
    records = table.to_pylist()
    assert table.column_names == [name for name, _ in columns("1.4")]
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        for name, value in record.items():
            shown = row[name]
            assert shown == ("" if value is None else value) if name not in DECIMALS else _same(shown, value)


def _same(shown: str, value: Decimal | None) -> bool:
    return shown == "" if value is None else Decimal(shown) == value


def test_a_negotiated_price_stands_beside_the_list_price(engine: Engine) -> None:
    entry = Entry(
        id="att_card", at_us=OCTOBER.start_us + 5, account="acct_ads", key="key_card", provider="openai",
        model="gpt-4.1", end_user=None, tags={"env": "prod"},
        meters={"output": Meter(1_000, 7_000_000, 8_000_000)},
    )  # fmt: skip
    book(engine, [entry], OCTOBER.end_us - 1, price="price_list.card_1", price_pico=7_000_000)
    [row] = [row for row in rows_of(exported(engine)) if row["x_KeyId"] == "key_card"]
    shown = [row[name] for name in ("ListCost", "ContractedCost", "BilledCost", "EffectiveCost")]
    assert shown == ["0.008", "0.007", "0.007", "0.007"]
    assert (row["ListUnitPrice"], row["ContractedUnitPrice"], row["PricingQuantity"]) == (
        "8.0",
        "7.0",
        "0.001",
    )
    assert (row["SkuPriceId"], row["SkuMeter"]) == ("openai/gpt-4.1/output/standard", "Output Tokens")


def test_credit_is_billed_when_it_is_given_and_effective_as_it_is_used(engine: Engine) -> None:
    with engine.begin() as conn:
        account = next(each for each in accounts_since(conn, 0) if each.id == "acct_other")
        new = NewGrant("usd", 50 * 10**9, None, 0, "prepaid")
        grant = add_grant(
            conn, account, new, grant_id="gr_1", pool_id="bud_1", now_us=OCTOBER.start_us + 10**6
        )
        window = conn.exec_driver_sql("SELECT win FROM grants").scalar_one()
    entry = Entry(
        id="att_pool", at_us=OCTOBER.start_us + 5, account="acct_other", key="key_pool", provider="openai",
        model="gpt-4.1", end_user=None, tags={}, meters={"output": Meter(1_000, 8_000_000, 8_000_000)},
    )  # fmt: skip
    book(engine, [entry], OCTOBER.end_us - 1, parts=[(window, 8_000_000, 8_000_000)])
    rows = rows_of(exported(engine))
    [bought] = [row for row in rows if row["ChargeCategory"] == "Purchase"]
    assert (bought["BilledCost"], bought["EffectiveCost"], bought["ListCost"]) == ("50.0", "0.0", "50.0")
    [used] = [row for row in rows if row["x_KeyId"] == "key_pool"]
    assert (used["BilledCost"], used["EffectiveCost"]) == ("0.0", "0.008")
    assert (used["PricingCategory"], used["CommitmentDiscountStatus"]) == ("Committed", "Used")
    assert used["CommitmentDiscountId"] == bought["CommitmentDiscountId"] == grant.budget


def test_what_comes_late_is_a_correction_in_the_next_open_month(engine: Engine) -> None:
    before = exported(engine)
    with engine.begin() as conn:
        complete_until(conn, "jrnl_test", NOW_US)
        close(conn, OCTOBER, "akey_1", NOW_US, ())
    entry = Entry(
        id="att_late", at_us=instant("2026-10-15T10:00:00Z"), account="acct_ads", key="key_d",
        provider="openai", model="gpt-4.1", end_user=None, tags={}, meters={"output": Meter(-5, -40, -40)},
    )  # fmt: skip
    book(engine, [entry], NOW_US)
    assert exported(engine) == before
    [row] = rows_of(exported(engine, "2026-11"))
    assert (row["ChargeClass"], row["BillingPeriodStart"]) == ("Correction", "2026-11-01T00:00:00Z")
    assert (row["ChargePeriodStart"], row["BilledCost"]) == ("2026-10-15T00:00:00Z", "-0.00000004")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "period"),
        ({"period": "2026-10-01"}, "period"),
        ({"period": "2026-10", "version": "1.0"}, "version"),
        ({"period": "2026-10", "format": "xls"}, "format"),
        ({"period": "2026-10", "account": "x"}, "account"),
    ],
)
def test_a_bad_question_is_refused_by_name(given: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        wanted(given)
    assert refusal.value.param == param
