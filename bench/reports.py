"""What finance waits for: a month's reports over ten million calls, and the memory of a FOCUS export.

    python -m bench.reports [--calls 10000000] [--entries 200000]

The month's sums are written as posting leaves them (5,000 rows a day); the ledger's entries, whose number the
FOCUS export goes by, are written for themselves. Everything is in a SQLite file of its own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import Process
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, insert

from gateway.domain.months import month_named
from gateway.domain.periods import DAY_US, SLOT_US
from gateway.domain.tenancy import AdminKey
from gateway.reports import chargeback, delivery, savings, spend, usage
from gateway.reports.base import Report
from gateway.reports.focus import export, wanted
from gateway.reports.parameters import parse
from gateway.store import migrate
from gateway.store.posting import LEDGER_COLUMNS
from gateway.store.sql import insert_all, many
from gateway.store.tables import accounts

MONTH: Final = month_named("2026-10")
DAYS: Final = 31
ROWS_PER_DAY: Final = 5_000
ACCOUNTS: Final = 40
METERS: Final = ("requests", "input", "output", "cache_read", "reasoning")
ADMIN: Final = AdminKey("akey_1", "bench", "viewer", b"", "", 0, None, 1)
AT_ONCE: Final = 20_000


def main() -> None:
    """Fill a database, ask, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--entries", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        # In a process of its own, so that its memory is not taken for the export's.
        filling = Process(target=_fill, args=(url, given.calls, given.entries))
        filling.start()
        filling.join()
        engine = create_engine(url)
        with engine.connect() as conn:
            for report in (spend.REPORT, usage.REPORT, chargeback.REPORT, savings.REPORT):
                took_ms, used_ms = _asked(conn, report)
                print(
                    f"{report.name} of a month by day over {given.calls:,} calls:"
                    f" {took_ms:.0f} ms ({used_ms:.0f} ms of the processor)"
                )
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.perf_counter()
            file, length = export(conn, wanted({"period": MONTH.name, "format": "csv"}))
            took_s = time.perf_counter() - began
            file.close()
            more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(
                f"FOCUS of {given.entries:,} entries: {took_s:.1f} s, {length / 1e6:.1f} MB written,"
                f" {more / 1024:.1f} MB more memory at the peak"
            )
        engine.dispose()


def _fill(url: str, calls: int, entries: int) -> None:
    migrate.upgrade(url)
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(insert(accounts), [_account(number) for number in range(ACCOUNTS)])
        many(conn, f"INSERT INTO rollups VALUES ({', '.join('?' * 9)})", list(_sums(calls)))
        for start in range(0, entries, AT_ONCE):
            part = range(start, min(start + AT_ONCE, entries))
            insert_all(conn, "ledger", LEDGER_COLUMNS, [_entry(number, entries) for number in part])
    engine.dispose()


def _asked(conn: Any, report: Report) -> tuple[float, float]:
    """The medians of five, in milliseconds: by the clock, and of the processor."""
    pairs = [("start", "2026-10-01"), ("end", "2026-11-01"), ("bucket", "day")]
    took, used = [], []
    for _ in range(5):
        began, used_before = time.perf_counter(), time.process_time()
        query = parse(report, pairs, MONTH.end_us)
        delivery.write(conn, report, query, ADMIN, lambda conn: 0).file.close()
        took.append(1000 * (time.perf_counter() - began))
        used.append(1000 * (time.process_time() - used_before))
    return sorted(took)[2], sorted(used)[2]


def _sums(calls: int) -> Iterator[tuple[Any, ...]]:
    per_row = calls // (DAYS * ROWS_PER_DAY // len(METERS))
    for day in range(DAYS):
        for number in range(ROWS_PER_DAY // len(METERS)):
            slot = MONTH.start_us + day * DAY_US + number % 96 * SLOT_US
            account = f"acct_{number % ACCOUNTS:02d}"
            for meter in METERS:
                amount = 0 if meter == "requests" else per_row * 1_000
                quantity = per_row if meter == "requests" else amount
                names = (account, f"key_{number:04d}", "openai", f"m{number % 7}", meter)
                yield slot, *names, quantity, amount, amount


def _entry(number: int, entries: int) -> tuple[Any, ...]:
    at_us = MONTH.start_us + number * (MONTH.end_us - MONTH.start_us) // entries
    lines = (
        '[["input",1000,"price_1",2000000,2000000,2000000],["output",100,"price_2",8000000,800000,800000]]'
    )
    known = {
        "id": f"att_{number:09d}", "kind": "call", "attempt": f"att_{number:09d}",
        "call": f"call_{number:09d}",
        "journal": "jrnl_1", "seq": number, "admitted_at": at_us, "closed_at": at_us,
        "account": f"acct_{number % ACCOUNTS:02d}", "key": f"key_{number % 80:04d}", "tags": "{}",
        "provider": "openai", "upstream": "openai", "model": f"m{number % 7}", "format": "openai_chat",
        "streamed": True, "status": 200, "outcome": "done", "usage": '{"input":1000,"output":100}',
        "usage_source": "provider", "lines": lines, "flags": "[]", "hold": 0, "charge": 2_800_000,
        "list_charge": 2_800_000, "overrun": 0, "windows": "[]",
    }  # fmt: skip
    return tuple([known.get(name) for name in LEDGER_COLUMNS])


def _account(number: int) -> dict[str, Any]:
    return {
        "id": f"acct_{number:02d}", "parent": None, "name": f"a{number}", "path": f"a{number}",
        "kind": "team", "cost_center": str(4700 + number % 5), "timezone": "UTC", "metadata": {},
        "status": "active",
        "created_at": 0, "deleted_at": None, "revision": 1,
    }  # fmt: skip


if __name__ == "__main__":
    main()
