"""`tollgate budgets`, `prices` and `report` against a running plane."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.api.admin.conftest import START_US, Plane
from tests.cli.conftest import Tollgate

CSV = (
    "provider,model,meter,usd_per_million,effective_from\n"
    "openai,gpt-4.1,input,2,2026-01-01\n"
    "openai,gpt-4.1,output,8,2026-01-01\n"
)


def test_setting_a_budget_twice_changes_its_cap(tollgate: Tollgate) -> None:
    tollgate("accounts", "create", "acme")
    made = tollgate(
        "budgets", "set", "search", "25.00", "--account", "acme", "--alert-at", "80", "--alert-at", "100"
    )
    assert made.out.startswith("bud_")
    again = tollgate("budgets", "set", "search", "30", "--account", "acme", "--soft", "--json").json
    assert (again["id"], again["cap"], again["enforcement"]) == (made.out.strip(), "30", "soft")
    assert again["alert_at"] == [80, 100]
    other = tollgate("budgets", "set", "search", "30", "--period", "day", "--account", "acme", status=2)
    assert "another period" in other.err
    assert len(tollgate("budgets", "list", "--json").json) == 1


def test_a_budget_is_shown_with_its_windows(tollgate: Tollgate, plane: Plane) -> None:
    tollgate("accounts", "create", "acme")
    tollgate(
        "budgets",
        "set",
        "search",
        "20",
        "--account",
        "acme",
        "--model",
        "gpt-4.1*",
        "--timezone",
        "Europe/Berlin",
    )
    with plane.engine.begin() as conn:
        conn.execute(text("UPDATE windows SET spent = 15000000000"))
    listed = tollgate("budgets", "list").out
    assert "acme · gpt-4.1*" in listed
    assert "75%" in listed
    shown = tollgate("budgets", "status", "search").out
    assert "5 USD until 2026-11-30 23:00" in shown
    assert "2026-10-31 23:00" in shown
    assert "Raised by 5" in tollgate("budgets", "increase", "search", "5", "launch").err
    found = tollgate("budgets", "status", "search", "--json").json
    assert (found["cap"], found["window"]["cap"], len(found["windows"])) == ("20", "25", 1)
    assert tollgate("budgets", "status", "nothing", status=1).out == ""
    each = tollgate(
        "budgets", "set", "per user", "10", "--unit", "requests", "--each", "end_user", "--period", "day"
    )
    assert "10 requests a day" in each.err
    tollgate("budgets", "increase", "per user", "5", "vip", "--subject", "u1")
    assert (
        tollgate("budgets", "status", "per user", "--subject", "u1", "--json").json["window"]["cap"] == "15"
    )
    assert "for each end_user" in tollgate("budgets", "list").out


def test_prices_are_imported_set_listed_and_explained(tollgate: Tollgate, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(CSV)
    assert "Added 2 prices" in tollgate("prices", "import", str(file)).err
    assert tollgate("prices", "import", str(file), "--json").json["unchanged"] == 2
    file.write_text(CSV.replace(",8,", ",9,"))
    assert "gpt-4.1: output" in tollgate("prices", "import", str(file), status=1).out
    posted = tollgate(
        "prices", "set", "openai/gpt-4.1", "output", "7.00", "--from", "2026-06-01", "--source", "deal"
    )
    assert posted.out.startswith("price_")
    assert "costs 7 USD" in posted.err
    table = tollgate("prices", "list", "--model", "gpt-4.1", "--meter", "output").out
    assert "deal" in table
    assert "file prices.csv" in table
    explained = tollgate("prices", "explain", "gpt-4.1").out
    assert "openai/gpt-4.1" in explained
    assert "the later price goes before the earlier" in explained
    earlier = tollgate("prices", "explain", "gpt-4.1", "--at", "2026-03-01", "--json").json
    assert {rate["price"]["usd_per_million"] for rate in earlier["rates"] if rate["meter"] == "output"} == {
        "8"
    }
    assert "Nobody prices" in tollgate("prices", "explain", "gpt-9", status=1).err
    assert tollgate("prices", "diff", "--json").json == []


@pytest.mark.slow
def test_the_installed_prices_disagree_somewhere(tollgate: Tollgate) -> None:
    assert "Added" in tollgate("prices", "import").err
    assert "deepseek" in tollgate("prices", "diff", status=1).out


def test_a_report_is_a_table_csv_or_json(tollgate: Tollgate, plane: Plane) -> None:
    account = plane.post("/admin/accounts", {"name": "acme"})["id"]
    with plane.engine.begin() as conn:
        for meter, quantity, cost in (("requests", 1234, 0), ("output", 5, 3_200_000_000)):
            conn.execute(
                text(
                    "INSERT INTO rollups"
                    " (slot, account, key, provider, model, meter, quantity, cost, list_cost)"
                    " VALUES (:slot, :account, 'key_1', 'openai', 'gpt-4.1', :meter, :quantity, :cost, :cost)"
                ),
                {"slot": START_US, "account": account, "meter": meter, "quantity": quantity, "cost": cost},
            )
    table = tollgate(
        "report", "spend", "--group-by", "account,model", "--start", "2026-11-01", "--end", "2026-12-01"
    )
    assert "acme" in table.out
    assert "1,234" in table.out
    assert "complete up to" in table.err
    csv = tollgate("report", "spend", "--group-by", "model", "--csv").out
    assert csv.splitlines()[0].startswith("bucket_start,model,calls,cost")
    found = tollgate("report", "spend", "--group-by", "account", "--where", "model=gpt-4.1", "--json").json
    assert found["total"]["cost"] == "3.2"
    assert "no parameter" in tollgate("report", "spend", "--where", "colour=red", status=2).err
    assert "There is no report" in tollgate("report", "weather", status=1).err


def test_rates_are_imported_and_reports_follow(tollgate: Tollgate, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-01,EUR,0.9\n")
    assert "Added 1 rates" in tollgate("fx", "import", str(rates)).err
    assert "0.9" in tollgate("fx", "list").out
    rates.write_text("date,currency,rate\n2026-01-01,EUR,0.8\n")
    assert "not 0.8" in tollgate("fx", "import", str(rates), status=1).out
    shown = tollgate("report", "spend", "--currency", "EUR", "--json").json
    assert shown["total"]["currency"] == "EUR"


def test_a_report_is_written_to_a_file(tollgate: Tollgate, tmp_path: Path) -> None:
    for suffix, beginning in ((".csv", b"bucket_start,"), (".json", b'{"report"'), (".parquet", b"PAR1")):
        path = tmp_path / f"spend{suffix}"
        assert "Wrote" in tollgate("report", "spend", "-o", str(path)).err
        assert path.read_bytes().startswith(beginning)
    assert list(tmp_path.glob("*.part")) == []
    assert ".parquet" in tollgate("report", "spend", "-o", "spend.xls", status=2).err


def test_a_month_is_closed_and_verified(tollgate: Tollgate) -> None:
    closed = tollgate("period", "close", "2026-01")
    assert "Closed 2026-01: 0 entries" in closed.err
    assert len(closed.out.strip()) == 64
    assert "2026-01" in tollgate("period", "list").out
    assert tollgate("period", "verify").out == "2026-01 intact\n"
    assert "closed already" in tollgate("period", "close", "2026-01", status=1).err
    assert tollgate("period", "close", "soon", status=2).out == ""


def test_a_month_is_exported_for_finops_tools(tollgate: Tollgate, tmp_path: Path) -> None:
    assert tollgate("export", "focus", "2026-10").out.startswith("BilledCost,")
    for suffix, beginning in ((".csv", b"BilledCost,"), (".parquet", b"PAR1")):
        path = tmp_path / f"october{suffix}"
        tollgate("export", "focus", "2026-10", "--version", "1.4", "-o", str(path))
        assert path.read_bytes().startswith(beginning)
    assert "2026-10" in tollgate("export", "focus", "October", status=2).err
    assert "1.2 or 1.4" in tollgate("export", "focus", "2026-10", "--version", "9", status=2).err
