"""Who is dead, who adopts, and what may be deleted: one test for each story.

Numbers are those of the protocol's list; each test fails without the rule its docstring names.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.ledger.files import create_folder, list_journals, segments, try_lock
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import HEADER, Header, encode
from gateway.store.sql import run
from tests.ledger.workbench import Faulty, Workbench, closing, tick

HOUR_S = 3600.0  # driven time runs on while the database works: no limit may be reached by that
HEADER_FRAME = encode(1, HEADER, Header("j", "d", "db", "boot", 1))


async def test_01_a_slow_worker_is_not_a_dead_one(bench: Workbench) -> None:
    """The lock is the proof of life: adopted by a timeout, its call is closed twice."""
    budget = await bench.budget(100)
    slow, other = await bench.worker(), await bench.worker()
    hold = await bench.hold(slow, (budget, 50))
    await bench.settle(slow)
    bench.clock.advance(30 * 86_400)
    await other.adopter.adopt_all()
    assert await bench.rows("SELECT * FROM ledger") == []
    assert slow.close(hold, closing(50))
    await bench.settle(slow)
    assert await bench.rows("SELECT outcome FROM ledger") == [("done",)]
    await bench.audit()


async def test_02_two_adopters_close_a_call_once(bench: Workbench) -> None:
    """One lock, one adopter: both would close the same open call."""
    budget = await bench.budget(100)
    dead, one, two = await bench.worker(), await bench.worker(), await bench.worker()
    hold = await bench.hold(dead, (budget, 50))
    dead.check(hold, {"input": 1, "output": 20}, 21, 21)
    await tick()
    await dead.abandon()
    await asyncio.gather(one.adopter.adopt_all(), two.adopter.adopt_all())
    assert await bench.rows("SELECT outcome, charge FROM ledger") == [("interrupted", 21)]
    assert one.health.adopted + two.health.adopted == 1
    await bench.audit()


async def test_02_what_a_worker_wrote_last_is_read(bench: Workbench) -> None:
    """The file is read under the lock: read before, an open record written after is lost."""
    budget = await bench.budget(100)
    dying, other = await bench.worker(), await bench.worker()
    await bench.hold(dying, (budget, 10))
    await bench.settle(dying)
    await other.adopter.adopt_all()
    await bench.hold(dying, (budget, 20))
    await tick()
    await dying.abandon()
    await other.adopter.adopt_all()
    assert await bench.rows("SELECT hold FROM ledger ORDER BY hold") == [(10,), (20,)]
    await bench.audit()


def test_03_a_newborn_journal_is_never_seen_unlocked(tmp_path: Path) -> None:
    """The lock is taken before the folder has its name: seen without it, a sibling would delete it."""
    unlocked: list[str] = []
    is_over = threading.Event()

    def sibling() -> None:
        while not is_over.is_set():
            for journal in list_journals(tmp_path):
                lock = try_lock(tmp_path / journal)
                if lock is not None:
                    unlocked.append(journal)
                    os.close(lock)

    thread = threading.Thread(target=sibling)
    thread.start()
    try:
        for number in range(50):
            create_folder(tmp_path, f"journal{number}", HEADER_FRAME, 1)
    finally:
        is_over.set()
        thread.join()
    assert unlocked == []


def test_04_a_child_does_not_keep_the_lock_of_a_dead_owner(tmp_path: Path) -> None:
    """Close-on-exec: an inherited lock makes a dead owner look alive."""
    lock, _ = create_folder(tmp_path, "journal", HEADER_FRAME, 1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        os.close(lock)  # the owner is gone; the child lives
        taken = try_lock(tmp_path / "journal")
        assert child.stdin is not None
        child.stdin.close()
    assert taken is not None


async def test_30_the_file_stays_until_the_finish_is_heard(bench: Workbench) -> None:
    """Deleted after an unheard finish that did not happen, the usage is lost and the lease leaks."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    faulty.faults, faulty.only = ["late"], "_post_and_finish"
    stopping = asyncio.ensure_future(ledger.stop(HOUR_S))
    while not faulty.late:
        await tick()
    assert segments(ledger.journal.folder) != []
    assert await bench.pass_time(stopping, step_s=0.001)
    assert await bench.rows("SELECT spent, leased FROM windows") == [(50, 0)]
    assert not ledger.journal.folder.exists()
    (late,) = await faulty.deliver_late()
    assert isinstance(late, Exception), "the first one dies on the serial"
    await bench.audit()


@pytest.mark.parametrize("calls", [0, 1])
async def test_30_an_end_that_was_not_heard_is_known_for_one_s_own(
    bench: Workbench, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else has finished the journal, and nobody is alarmed."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    await bench.settle(ledger)
    for _ in range(calls):
        ledger.close(await bench.hold(ledger, (budget, 10)), closing(10))
    faulty.faults, faulty.only = ["unheard"], "_post_and_finish"
    assert await bench.pass_time(ledger.stop(HOUR_S), step_s=0.001)
    assert not ledger.journal.folder.exists()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    await bench.audit()


async def test_30_a_worker_that_cannot_finish_leaves_its_journal(bench: Workbench) -> None:
    """Database away at the stop: the journal stays and is adopted."""
    budget = await bench.budget(100)
    faulty = Faulty(bench.database)
    ledger = await bench.worker(database=faulty)
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    faulty.is_away = True
    assert not await bench.pass_time(ledger.stop(limit_s=1.0))
    assert list_journals(bench.folder / "journals") == [ledger.journal_id]
    await bench.worker()
    assert await bench.rows("SELECT spent, leased FROM windows") == [(50, 0)]
    await bench.audit()


async def test_a_worker_whose_journal_was_finished_takes_no_call(bench: Workbench) -> None:
    """A living worker that reads `finished` must not go on; what it still closes is adopted and posted."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 50))
    await bench.execute("UPDATE leases SET amount = 0")
    await bench.execute("UPDATE windows SET leased = 0")
    await bench.execute("UPDATE journals SET state = 'finished', serial = serial + 1")
    ledger.close(hold, closing(50))
    await bench.settle(ledger)
    assert ledger.health.is_finished
    assert ledger.admit(bench.facts(ledger), []) is None
    await ledger.abandon()
    await bench.worker()
    assert await bench.rows("SELECT charge FROM ledger") == [(50,)]
    assert await bench.rows("SELECT state FROM journals WHERE id = ?", ledger.journal_id) == [("finished",)]


async def test_29_commits_are_durable_and_posted_files_are_kept(bench: Workbench) -> None:
    """A commit lost by the database after its answer: kept segments let it post itself again."""
    budget = await bench.budget(100)
    ledger = await bench.worker()
    ledger.close(await bench.hold(ledger, (budget, 50)), closing(50))
    await ledger.stop()
    kept = bench.folder / "journals" / "done" / ledger.journal_id
    assert len(segments(kept)) == 1
    assert await bench.database.write(_durability) == "on"


def _durability(conn: Connection) -> str:
    if conn.dialect.name == "postgresql":
        return str(run(conn, "SHOW synchronous_commit").scalar_one())
    return "on" if run(conn, "PRAGMA synchronous").scalar_one() == 2 else "off"


async def test_adopting_goes_on_where_a_dead_adopter_stopped(bench: Workbench) -> None:
    """Dying anywhere leaves a journal the next adopter continues: its closes are in the file."""
    budget = await bench.budget(100)
    dead = await bench.worker()
    await bench.hold(dead, (budget, 50), charge_nano=7, tokens=7)
    await tick()
    await dead.abandon()
    for fault in ("away", "unheard", "late"):
        faulty = Faulty(bench.database)
        faulty.faults, faulty.only = [fault], "_post_and_finish"
        failing = await bench.worker(database=faulty)
        await failing.abandon()
        await faulty.deliver_late()
    other: Ledger = await bench.worker()
    assert await bench.rows("SELECT outcome, charge FROM ledger") == [("interrupted", 7)]
    assert await bench.rows("SELECT spent, leased FROM windows") == [(7, 0)]
    assert list_journals(bench.folder / "journals") == [other.journal_id]
    await bench.audit()
