"""What an adopter finds: a database restored to an earlier state, a disk restored to one, old leftovers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing as closed
from pathlib import Path

import pytest

from gateway.ledger.files import DONE, kept_journals, list_journals, prune, segments
from gateway.store.engine import Database
from tests.ledger.workbench import Faulty, Workbench, closing, tick


class Restorable(Workbench):
    """A workbench on a SQLite file that can be set back."""

    def __init__(self, path: Path, folder: Path) -> None:
        super().__init__(f"sqlite:///{path}", folder)
        self.path = path

    def copy(self) -> bytes:
        """The database as it is now."""
        target = self.path.with_suffix(".copy")
        with closed(sqlite3.connect(self.path)) as source, closed(sqlite3.connect(target)) as copy:
            source.backup(copy)
        return target.read_bytes()

    async def restore(self, copy: bytes) -> None:
        """Set the database back to the copy."""
        await self.database.stop()
        for leftover in self.path.parent.glob(f"{self.path.name}-*"):
            leftover.unlink()
        self.path.write_bytes(copy)
        self.database = Database(f"sqlite:///{self.path}")


@pytest.fixture
async def bench(tmp_path: Path, sqlite_template: bytes) -> AsyncIterator[Restorable]:
    path = tmp_path / "tollgate.db"
    path.write_bytes(sqlite_template)
    made = Restorable(path, tmp_path / "data")
    await made.open()
    yield made
    await made.stop()


async def test_29_a_restored_database_posts_finished_journals_again(bench: Restorable) -> None:
    """Charges lost with a commit are not gone with the file: kept segments post themselves again."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    await bench.settle(ledger)
    before = bench.copy()
    ledger.close(await bench.hold(ledger, (budget, 70)), closing(70))
    await ledger.stop()
    later = await bench.worker()
    later.close(await bench.hold(later, (budget, 9)), closing(9))
    await later.stop()
    await bench.restore(before)
    assert await bench.scalar("SELECT spent FROM windows") == 50
    await (await bench.worker()).stop()
    assert await bench.rows("SELECT charge FROM ledger ORDER BY charge") == [(9,), (50,), (70,)]
    assert await bench.rows("SELECT spent, leased FROM windows") == [(129, 0)]
    assert await bench.rows("SELECT DISTINCT state FROM journals") == [("finished",)]
    await bench.audit()
    await (await bench.worker()).stop()
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 3


async def test_29_a_living_worker_sees_the_restore_and_is_adopted_whole(
    bench: Restorable,
) -> None:
    """`posted` went backwards: it must not go on; segments it had set aside already are read again."""
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty, max_journal_bytes=512 * 1024)
    before = bench.copy()
    for _ in range(30):
        ledger.close(await bench.hold(ledger), closing(1, raw_usage=b"x" * 6_000))
        if len(ledger.journal.segments) > 1:
            break
        await bench.settle(ledger)
    await bench.settle(ledger)
    await ledger.journal.sync()
    count = await bench.scalar("SELECT COUNT(*) FROM ledger")
    assert list((bench.folder / "journals" / DONE / ledger.journal_id).glob("*.seg"))
    await bench.restore(before)
    faulty.database = bench.database
    ledger.close(await bench.hold(ledger), closing(1))
    await bench.settle(ledger)
    assert ledger.health.is_finished
    await ledger.abandon()
    await (await bench.worker()).stop()
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == count + 1
    await bench.audit()


async def test_a_restored_disk_does_not_book_a_call_twice(bench: Restorable) -> None:
    """The journal was set back to where a call was open; the database has its end."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50), charge_nano=3)
    await tick()
    await ledger.journal.sync()
    file = segments(ledger.journal.folder)[0]
    before = file.read_bytes()
    ledger.close(hold, closing(50))
    await bench.settle(ledger)
    await ledger.abandon()
    file.write_bytes(before)
    other = await bench.worker()
    assert await bench.rows("SELECT charge, outcome FROM ledger") == [(50, "done")]
    assert await bench.rows("SELECT * FROM quarantine") == []
    assert await bench.rows("SELECT spent, leased FROM windows") == [(50, 0)]
    assert list_journals(bench.folder / "journals") == [other.journal_id]
    await bench.audit()


async def test_a_journal_that_sql_never_heard_of_is_finished(bench: Restorable) -> None:
    """It died between its folder and its first transaction."""
    dead = await bench.worker()
    await dead.abandon()
    await bench.execute("DELETE FROM journals")
    other = await bench.worker()
    assert list_journals(bench.folder / "journals") == [other.journal_id]
    assert await bench.scalar("SELECT state FROM journals WHERE id = ?", dead.journal_id) == "finished"


async def test_what_is_left_of_a_death_while_deleting_goes(bench: Restorable) -> None:
    """The segments are gone, the lock is not."""
    dead = await bench.worker()
    await dead.abandon()
    for file in segments(dead.journal.folder):
        file.unlink()
    other = await bench.worker()
    assert list_journals(bench.folder / "journals") == [other.journal_id]


async def test_posted_segments_are_kept_for_a_while(bench: Restorable) -> None:
    parent = bench.folder / "journals"
    names = []
    for age in (30, 20, 10):
        ledger = await bench.worker()
        ledger.close(await bench.hold(ledger), closing(1))
        await ledger.stop()
        names.append(ledger.journal_id)
        for path in (parent / DONE / ledger.journal_id).iterdir():
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
        os.utime(parent / DONE / ledger.journal_id, (1_000_000 - age, 1_000_000 - age))
    prune(parent, 1_000_000 - 25, 1 << 30)
    assert sorted(kept_journals(parent)) == sorted(names[1:])
    prune(parent, 0, segments(parent / DONE / names[2])[0].stat().st_size)
    assert list(kept_journals(parent)) == [names[2]]
    await (await bench.worker()).stop()
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 3, "what was forgotten is not missed"
