"""The worker's own file: what is appended in one tick of the event loop goes out in one write.

    append -> (end of the tick) write -> after-write callbacks -> (50 ms) fsync in a thread

A record counts as written once the write returned: killing the process loses nothing after that. It counts
as synced once an fsync that began later returned: only then may SQL rest on it, so that a power cut never
leaves the database ahead of the file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from gateway.ledger.files import (
    create_folder,
    discard,
    fsync_folder,
    keep_segment,
    open_segment,
    segment_path,
)
from gateway.ledger.records import CHECK, HEADER, OPEN, Check, Close, Correct, Header, Open, encode
from gateway.ledger.timer import Timer

__all__ = ["CLOSE_RESERVE", "AfterWrite", "Journal", "Runner", "Segment"]

AfterWrite = Callable[[OSError | None], None]

SYNC_S: Final = 0.05
RETRY_S: Final = 0.1
SEGMENT_BYTES: Final = 16 * 1024 * 1024
# What the close of an open call may still need; a close is never refused, this only keeps room for it.
CLOSE_RESERVE: Final = 4096
# Attempts carried into the current segment in one step, so that no tick is long.
CARRY_BATCH: Final = 100


class Runner(Protocol):
    """An attempt under way, as far as its journal is concerned."""

    segment: Segment | None

    @property
    def is_closed(self) -> bool: ...

    def open_record(self) -> Open: ...

    def last_check(self) -> Check | None: ...


class Segment:
    """One file: which attempts were opened in it and still run, and what of it is not posted."""

    __slots__ = ("carried_to", "first_seq", "last_needed", "path", "running", "size")

    def __init__(self, path: Path, first_seq: int) -> None:
        self.path = path
        self.first_seq = first_seq
        self.size = 0
        self.running: set[Runner] = set()
        self.last_needed = 0  # kept until this seq is posted: of what is in it, of what was opened in it
        self.carried_to = 0  # the last seq at which one of its attempts was written again


class Journal:
    """An open journal. Everything but `create` and the threads' work happens on the event loop."""

    def __init__(
        self,
        folder: Path,
        header: Header,
        descriptors: tuple[int, int],
        *,
        limit_bytes: int,
        timer: Timer,
    ) -> None:
        self.folder = folder
        self.header = header
        self.failure: OSError | None = None  # of the last write or fsync
        self.is_closed = False
        self.refusal = ""  # why no call is taken, for good
        self.is_broken = False  # an fsync failed: nothing written since the one before it counts as synced
        self.seq = 1
        self.written_seq = self.synced_seq = 1
        self._lock, self._descriptor = descriptors
        self.limit_bytes = limit_bytes
        self.bound_bytes = limit_bytes - CLOSE_RESERVE
        self.used_bytes = 0
        self.segment_bytes = min(SEGMENT_BYTES, max(64 * 1024, limit_bytes // 8))
        self._timer = timer
        self._on_withdrawn: Callable[[Runner], None] = lambda runner: None
        self._on_synced: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(1, "journal")
        self._syncing = asyncio.Lock()
        self._buffer: list[bytes] = []
        self._opens: list[tuple[int, Runner]] = []
        self._callbacks: list[AfterWrite] = []
        self._is_scheduled = False
        self._is_paused = False
        self._folder_dirty = False
        self._segments = [Segment(segment_path(folder, 1), 1)]
        self._posted = 0
        self.dirty = asyncio.Event()

    @classmethod
    async def create(
        cls,
        parent: Path,
        header: Header,
        *,
        limit_bytes: int,
        timer: Timer,
    ) -> Journal:
        """Make the folder, locked and durable, and open it."""
        first = encode(1, HEADER, header)
        loop = asyncio.get_running_loop()
        descriptors = await loop.run_in_executor(None, create_folder, parent, header.journal, first, 1)
        journal = cls(
            parent / header.journal,
            header,
            descriptors,
            limit_bytes=limit_bytes,
            timer=timer,
        )
        journal._grew(len(first))
        return journal

    def attach(self, on_withdrawn: Callable[[Runner], None], on_synced: Callable[[], None]) -> None:
        """Who hears of calls whose open record could not be written, and of records that reached the disk."""
        self._on_withdrawn = on_withdrawn
        self._on_synced = on_synced

    # What is kept, against its bound. `used_bytes` is what is on disk and in the buffer, with room for the
    # closes of every open call; beyond `bound_bytes` the next call might not find room for its own.

    def refuse(self, reason: str) -> None:
        """Take no call any more; those that run are closed as always."""
        self.refusal = reason
        self.bound_bytes = -1

    @property
    def segments(self) -> list[Segment]:
        """Oldest first; the last one is being written."""
        return self._segments

    # Appending.

    def append_open(self, runner: Runner, record: Open) -> bytes:
        """A call was admitted; returns the frame."""
        self._opens.append((len(self._buffer), runner))
        self.used_bytes += CLOSE_RESERVE
        segment = runner.segment = self._segments[-1]
        segment.running.add(runner)
        return self._append(OPEN, record)

    def append(self, kind: int, record: Check | Close | Correct) -> tuple[int, bytes]:
        """A record that follows an open; returns its seq and frame."""
        frame = self._append(kind, record)
        return self.seq, frame

    def closed(self, runner: Runner, seq: int) -> None:
        """A call's close was appended at `seq`: its open stays needed until that is posted."""
        segment = runner.segment
        assert segment is not None, "a call is closed once, and was opened before"
        segment.running.discard(runner)
        segment.last_needed = seq
        self.used_bytes -= CLOSE_RESERVE
        self.postable(seq)

    def postable(self, seq: int) -> None:
        """The current segment has a record that is to be posted."""
        self._segments[-1].last_needed = seq

    def after_write(self, callback: AfterWrite) -> None:
        """Call back once everything appended so far is written, or could not be."""
        self._callbacks.append(callback)
        self._schedule()

    def _append(self, kind: int, record: Open | Check | Close | Correct | Header) -> bytes:
        self.seq += 1
        frame = encode(self.seq, kind, record)
        self._buffer.append(frame)
        self.used_bytes += len(frame)
        if not self._is_scheduled:
            self._schedule()
        return frame

    def _runs_in(self, runner: Runner, segment: Segment) -> None:
        if runner.segment is not None:
            runner.segment.running.discard(runner)
        runner.segment = segment
        segment.running.add(runner)

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_paused:
            self._is_scheduled = True
            self._loop.call_soon(self.flush)

    # Writing.

    def flush(self) -> None:
        """Write the buffer and tell whoever waits for it."""
        self._is_scheduled = False
        if self._is_paused:
            return
        failure = self._write() if self._buffer else None
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(failure)
            except Exception as error:
                # One caller's fault must not keep the others from hearing that their records are safe.
                self._loop.call_exception_handler({"message": "after-write callback", "exception": error})

    def _write(self) -> OSError | None:
        data = b"".join(self._buffer)
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._failed(error)
            return error
        self._segments[-1].size += len(data)
        self._buffer.clear()
        self._opens.clear()
        self.written_seq = self.seq
        if not self.is_broken:
            self.failure = None
        self.dirty.set()
        return None

    def _failed(self, error: OSError) -> None:
        """Take back the calls just admitted, which were not sent yet; keep all else for another try."""
        self.failure = error
        os.ftruncate(self._descriptor, self._segments[-1].size)
        withdrawn = {index: runner for index, runner in self._opens if not runner.is_closed}
        self.used_bytes -= sum(len(self._buffer[index]) for index in withdrawn)
        self._buffer = [frame for index, frame in enumerate(self._buffer) if index not in withdrawn]
        self._opens.clear()
        for runner in withdrawn.values():
            self.used_bytes -= CLOSE_RESERVE
            assert runner.segment is not None
            runner.segment.running.discard(runner)
            self._on_withdrawn(runner)
        if self._buffer:
            self._loop.call_later(RETRY_S, self._schedule)

    # Syncing, and starting a new segment.

    async def run(self) -> None:
        """Sync soon after every write, until cancelled."""
        while True:
            await self.dirty.wait()
            await self._timer.pause(SYNC_S)
            await self.sync()

    async def synced(self, seq: int) -> None:
        """Return when every record up to `seq` is on disk; raises OSError when it cannot be."""
        while self.synced_seq < seq:
            await self.sync()
            if self.failure is not None and self.synced_seq < seq:
                raise self.failure

    async def sync(self) -> None:
        """Bring everything appended so far to the disk."""
        async with self._syncing:
            if not self._is_paused and self._buffer:
                self.flush()
            self.dirty.clear()
            if self.synced_seq < self.written_seq and not self.is_broken:
                self._is_paused = self._segments[-1].size >= 2 * self.segment_bytes
                await self._fsync()
                self._turn_if_due()
            self._carry()
            await self._drop()

    async def _fsync(self) -> None:
        reached, folder = self.written_seq, self.folder if self._folder_dirty else None
        try:
            await self._loop.run_in_executor(self._threads, _fsync, self._descriptor, folder)
        except OSError as error:
            # After a failed fsync the next one may succeed although the data is gone: trust none.
            self.failure, self.is_broken = error, True
            self.refuse(f"cannot be brought to the disk: {error}")
            return
        self._folder_dirty = False
        self.synced_seq = reached
        self._on_synced()

    def _turn_if_due(self) -> None:
        """Begin a new segment at a moment when the old one is wholly on disk.

        A lull brings that moment by itself. A journal that never rests is paused for one fsync when its
        segment is twice as long as it should be.
        """
        if self._segments[-1].size >= self.segment_bytes and self.synced_seq == self.written_seq:
            self._turn()
        if self._is_paused:
            self._is_paused = False
            self._schedule()

    def _turn(self) -> None:
        header = encode(self.written_seq, HEADER, self.header)
        segment = Segment(segment_path(self.folder, self.written_seq + 1), self.written_seq + 1)
        try:
            descriptor = open_segment(self.folder, segment.first_seq)
            os.write(descriptor, header)
        except OSError as error:
            # No room for another file: the old one goes on growing, and the next sync tries again.
            self.failure = error
            segment.path.unlink(missing_ok=True)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._folder_dirty = True
        self._segments.append(segment)
        self._grew(len(header))

    # Dropping what is posted.

    def note_posted(self, seq: int) -> None:
        """Every postable record up to `seq` is in SQL."""
        self._posted = seq
        if len(self._segments) > 1:
            self.dirty.set()

    def _carry(self) -> None:
        """Write running attempts of the oldest segment again, so that it need not be kept for them."""
        oldest = self._segments[0]
        if len(self._segments) < 2 or oldest.last_needed > self._posted:
            return
        for runner in list(oldest.running)[:CARRY_BATCH]:
            self._append(OPEN, runner.open_record())
            check = runner.last_check()
            if check is not None:
                self._append(CHECK, check)
            self._runs_in(runner, self._segments[-1])
            oldest.carried_to = self.seq

    async def _drop(self) -> None:
        while len(self._segments) > 1 and self._is_droppable(self._segments[0]):
            segment = self._segments.pop(0)
            self.used_bytes -= segment.size
            await self._loop.run_in_executor(self._threads, keep_segment, self.folder, segment.path)

    def _is_droppable(self, segment: Segment) -> bool:
        return (
            not segment.running
            and segment.last_needed <= self._posted
            and segment.carried_to <= self.synced_seq
        )

    # The end.

    async def close(self) -> None:
        """Let go of the files and of the lock; what is in them stays for an adopter."""
        self.is_closed = True
        await self._loop.run_in_executor(self._threads, os.close, self._descriptor)
        os.close(self._lock)
        self._threads.shutdown()

    async def discard(self, posted: int) -> None:
        """Delete everything: SQL has it all, up to this seq, and said so."""
        self.is_closed = True
        os.close(self._descriptor)
        await self._loop.run_in_executor(self._threads, discard, self.folder, posted)
        os.close(self._lock)
        self._threads.shutdown()

    def _grew(self, size: int) -> None:
        self.used_bytes += size
        self._segments[-1].size += size


def _fsync(descriptor: int, folder: Path | None) -> None:
    os.fsync(descriptor)
    if folder is not None:
        fsync_folder(folder)
