"""The file: one write a tick, callbacks after it, segments that go only when nothing needs them."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.budgets import Need
from gateway.domain.errors import Unavailable
from gateway.ledger.files import (
    JournalUnsafe,
    append_frames,
    create_folder,
    list_journals,
    refuse_network,
    replay,
    segments,
    try_lock,
)
from gateway.ledger.journal import CLOSE_RESERVE
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import CHECK, CLOSE, HEADER, OPEN, VERSION, Header, decode, encode, frames
from tests.ledger.workbench import Workbench, closing, tick

SMALL = 512 * 1024  # its segments are 64 KiB long


def kinds(file: Path) -> list[int]:
    return [frame.kind for frame in frames(file.read_bytes())]


async def fill(bench: Workbench, ledger: Ledger, rounds: int = 12) -> None:
    """Write more than a segment holds, without a sync in between."""
    for _ in range(rounds):
        hold = await bench.hold(ledger)
        ledger.close(hold, closing(1, raw_usage=b"x" * 6_000))
    await tick()


async def test_one_tick_is_one_write_and_callbacks_come_after_it(bench: Workbench) -> None:
    ledger = await bench.worker()
    seen: list[Any] = []
    size = segments(ledger.journal.folder)[0].stat().st_size
    first = await bench.hold(ledger)
    ledger.after_write(lambda error: seen.append((error, segments(ledger.journal.folder)[0].stat().st_size)))
    second = await bench.hold(ledger)
    ledger.after_write(lambda error: seen.append((error, segments(ledger.journal.folder)[0].stat().st_size)))
    assert segments(ledger.journal.folder)[0].stat().st_size == size
    await tick()
    after = size + len(first.open_frame) + len(second.open_frame)
    assert seen == [(None, after), (None, after)]


async def test_one_failing_callback_does_not_silence_the_others(bench: Workbench) -> None:
    ledger = await bench.worker()
    seen: list[Any] = []
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

    def failing(error: OSError | None) -> None:
        raise ValueError("a defect of the caller's")

    ledger.after_write(failing)
    ledger.after_write(seen.append)
    await tick()
    assert seen == [None]
    assert [type(each["exception"]) for each in problems] == [ValueError]


async def test_a_record_counts_as_synced_after_an_fsync_that_began_later(bench: Workbench) -> None:
    ledger = await bench.worker()
    await bench.hold(ledger)
    await tick()
    assert ledger.journal.synced_seq == 1 < ledger.journal.written_seq
    await ledger.journal.synced(ledger.journal.seq)
    assert ledger.journal.synced_seq == ledger.journal.seq


async def test_31_a_segment_begins_when_the_old_one_is_on_disk(bench: Workbench) -> None:
    """Rotated unsynced, a power cut leaves the new one without the old one's end."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    await fill(bench, ledger)
    assert len(segments(ledger.journal.folder)) == 1
    await ledger.journal.sync()
    assert len(segments(ledger.journal.folder)) == 2
    assert kinds(segments(ledger.journal.folder)[1]) == [HEADER]


async def test_31_a_segment_goes_on_while_its_end_is_not_on_disk(bench: Workbench) -> None:
    """Written while the fsync ran, the end of the old segment is not covered by it."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    await fill(bench, ledger)
    syncing = asyncio.ensure_future(ledger.journal.sync())
    await asyncio.sleep(0)
    assert ledger.admit(bench.facts(ledger), []) is not None
    ledger.journal.flush()
    await syncing
    assert len(segments(ledger.journal.folder)) == 1
    await ledger.journal.sync()
    assert len(segments(ledger.journal.folder)) == 2


async def test_31_what_was_written_while_the_disk_was_busy_goes_to_the_new_segment(bench: Workbench) -> None:
    """A journal that never rests is held for one fsync, at twice its segment's size."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    await fill(bench, ledger, rounds=24)
    syncing = asyncio.ensure_future(ledger.journal.sync())
    await asyncio.sleep(0)
    written: list[Any] = []
    late = await bench.hold(ledger)
    ledger.after_write(written.append)
    await syncing
    await tick()
    old, new = segments(ledger.journal.folder)
    assert written == [None]
    assert kinds(new) == [HEADER, OPEN]
    assert late.open_frame in new.read_bytes()
    assert late.open_frame not in old.read_bytes()


async def test_31_a_segment_with_a_running_call_is_kept(bench: Workbench) -> None:
    """Dropped because its closes are posted, the open record of a running call is lost with it."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    running = await bench.hold(ledger)
    ledger.check(running, {"input": 1, "output": 4}, 5, 5)
    await fill(bench, ledger)
    await ledger.journal.sync()
    oldest = segments(ledger.journal.folder)[0]
    while await ledger.courier.step():
        pass
    assert ledger.poster.unposted == 0
    assert oldest.exists(), "everything in it is posted, but for a call that runs"
    await ledger.journal.sync()
    assert oldest.exists(), "carried, but the carry is not on disk"
    await tick()
    await ledger.journal.sync()
    assert not oldest.exists()
    await ledger.abandon()
    found = replay(ledger.journal.folder)
    assert found is not None
    assert [(opened.facts.attempt, check and check.charge_nano) for opened, check in found.open] == [
        (running.attempt, 5)
    ]


async def test_31_a_segment_with_a_close_not_posted_is_kept(bench: Workbench) -> None:
    """Neither is one whose call is closed in a later segment and not posted yet."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    running = await bench.hold(ledger)
    await fill(bench, ledger)
    await ledger.journal.sync()
    while await ledger.courier.step():
        pass
    ledger.close(running, closing(3))
    await tick()
    await ledger.journal.sync()
    assert len(segments(ledger.journal.folder)) == 2
    await bench.settle(ledger)
    await ledger.journal.sync()
    assert len(segments(ledger.journal.folder)) == 1
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == 13


async def test_at_its_bound_the_journal_takes_no_call_and_every_close(bench: Workbench) -> None:
    """Room for the closes of open calls is reserved before an open is accepted."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    holds = []
    while (hold := ledger.admit(bench.facts(ledger), [])) is not None:
        holds.append(hold)
    assert ledger.journal.used_bytes <= SMALL
    assert ledger.journal.used_bytes + CLOSE_RESERVE > SMALL - CLOSE_RESERVE
    with pytest.raises(Unavailable) as full:
        await bench.hold(ledger)
    assert "is full" in full.value.message
    for hold in holds:
        assert ledger.close(hold, closing(1))
    await bench.settle(ledger)
    await bench.settle(ledger)
    assert await bench.scalar("SELECT COUNT(*) FROM ledger") == len(holds)
    assert ledger.admit(bench.facts(ledger), []) is not None, "posted, there is room again"


@pytest.fixture
def small_files() -> Iterator[None]:
    """A limit on the size of files: writing beyond it fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_write_that_fails_takes_back_what_was_not_sent(bench: Workbench, small_files: None) -> None:
    """Calls just admitted are refused; closes are kept and written when there is room."""
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    running = await bench.hold(ledger, (budget, 10))
    await tick()
    file = segments(ledger.journal.folder)[0]
    before = file.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, resource.RLIM_INFINITY))
    seen: list[OSError | None] = []
    refused = ledger.admit(bench.facts(ledger), [Need(budget, "", 10)])
    assert refused is not None
    ledger.after_write(seen.append)
    ledger.close(running, closing(10))
    await tick()
    assert isinstance(seen[0], OSError)
    assert refused.is_closed
    assert file.read_bytes() == before, "no torn record stays in the middle"
    (window,) = ledger.book
    assert (window.held, window.unposted) == (0, 10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await bench.hold(ledger, (budget, 5))
    await bench.settle(ledger)
    assert await bench.rows("SELECT charge FROM ledger") == [(10,)]
    await bench.audit()


async def test_a_torn_tail_is_cut_and_the_rest_adopted(bench: Workbench) -> None:
    """The process died in the middle of a write."""
    budget = await bench.budget(100)
    dead = await bench.worker()
    first = await bench.hold(dead, (budget, 10))
    dead.close(first, closing(10))
    await bench.hold(dead, (budget, 20), charge_nano=2)
    await tick()
    await dead.abandon()
    file = segments(dead.journal.folder)[0]
    with file.open("ab") as stream:
        stream.write(first.open_frame[:-7])
    found = replay(dead.journal.folder)
    assert found is not None
    assert (found.last_postable, len(found.open)) == (3, 1)
    assert not file.read_bytes().endswith(first.open_frame[:-7])
    await bench.worker()
    assert await bench.rows("SELECT charge FROM ledger ORDER BY charge") == [(2,), (10,)]
    await bench.audit()


async def test_a_damaged_segment_ends_the_journal(bench: Workbench) -> None:
    """What comes after a damaged record cannot be trusted; later segments go with it."""
    ledger = await bench.worker(max_journal_bytes=SMALL)
    await fill(bench, ledger)
    await ledger.journal.sync()
    await bench.hold(ledger)
    await tick()
    await ledger.abandon()
    old, new = segments(ledger.journal.folder)
    whole = list(frames(old.read_bytes()))
    with old.open("r+b") as stream:
        stream.seek(whole[5].start + 20)
        stream.write(b"\xff\xff\xff")
    found = replay(ledger.journal.folder)
    assert found is not None
    assert kinds(old) == [frame.kind for frame in whole[:5]]
    assert not new.exists()


async def test_a_journal_of_another_database_is_left_alone(bench: Workbench) -> None:
    """Posted elsewhere, its money would be counted where nobody leased it."""
    dead = await bench.worker()
    await dead.abandon()
    await bench.execute("UPDATE meta SET value = 'another' WHERE name = 'database'")
    other = await bench.worker()
    assert other.health.foreign_journals == [dead.journal_id]
    assert dead.journal_id in list_journals(bench.folder / "journals")


async def test_a_journal_of_a_later_release_is_left_alone(bench: Workbench) -> None:
    """Its records may be of a kind this release takes for damage: nothing of it is cut."""
    folder = bench.folder / "journals" / "later"
    lock, segment = create_folder(
        bench.folder / "journals",
        "later",
        encode(1, HEADER, Header("later", "d", "db", "boot", VERSION + 1)),
        1,
    )
    os.write(segment, b"records of a later form")
    os.close(segment)
    os.close(lock)
    before = segments(folder)[0].read_bytes()
    ledger = await bench.worker()
    assert ledger.health.foreign_journals == ["later"]
    assert segments(folder)[0].read_bytes() == before


async def test_frames_appended_for_the_dead_are_on_disk_before_sql(bench: Workbench) -> None:
    """`append_frames` syncs even when there is nothing to append: what the dead wrote was never synced."""
    dead = await bench.worker()
    hold = await bench.hold(dead)
    await tick()
    await dead.abandon()
    append_frames(dead.journal.folder, hold.open_frame)
    found = replay(dead.journal.folder)
    assert found is not None
    assert len(found.open) == 1, "carried twice is open once"


def test_a_deleted_lock_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    assert try_lock(tmp_path / "journal") is None
    assert not (tmp_path / "journal").exists(), "an empty folder without a lock is a last step not taken"
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "lock").touch()
    lock = try_lock(tmp_path / "journal")
    assert lock is not None
    assert try_lock(tmp_path / "journal") is None, "taken, also within one process"
    os.close(lock)


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /srv/share rw,relatime - nfs4 server:/export rw
31 22 0:41 / /srv/share/local rw,relatime - xfs /dev/vdb rw
32 22 0:42 / /mnt/with\\040space rw - cifs //server/share rw
"""


def test_network_file_systems_are_refused() -> None:
    """Their locks are the server's to keep, and lapse."""
    for path in ("/srv/share/data", "/mnt/with space/data"):
        with pytest.raises(JournalUnsafe):
            refuse_network(Path(path), MOUNTS)
    for path in ("/srv/data", "/srv/share/local/data", "/srv/shared"):
        refuse_network(Path(path), MOUNTS)


async def test_a_check_and_a_close_name_what_was_held(bench: Workbench) -> None:
    budget = await bench.budget(1_000)
    ledger = await bench.worker()
    hold = await bench.hold(ledger, (budget, 100))
    ledger.check(hold, {"input": 1, "output": 3}, 4, 4)
    ledger.close(hold, closing(60))
    ledger.check(hold, {"input": 1, "output": 99}, 100, 100)
    await tick()
    read = list(frames(segments(ledger.journal.folder)[0].read_bytes()))
    assert [frame.kind for frame in read] == [HEADER, OPEN, CHECK, CLOSE]
    window = next(iter(ledger.book)).id
    assert decode(read[2].raw).parts == [(window, "usd", 100)]  # type: ignore[union-attr]
    assert decode(read[3].raw).parts == [(window, 60, 100)]  # type: ignore[union-attr]
