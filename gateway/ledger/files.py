"""A journal's folder on disk: its lock, its segments, what they hold. Blocking; called from threads.

    <data>/journals/<id>/lock            flock: held from before the folder is visible until it is gone
    <data>/journals/<id>/<seq>.seg       frames from that seq on
    <data>/journals/tmp-<id>/            being made; nobody adopts it
    <data>/journals/done/<id>/           posted, kept a while: a restored database posts them again

The lock is the only proof of life. It is taken before the folder gets its name, so a sibling that sees the
folder and gets the lock knows that the owner is dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.ledger.records import POSTABLE, VERSION, Check, Close, Frame, Header, Open, decode, frames

__all__ = [
    "DONE",
    "JournalUnsafe",
    "Replay",
    "append_frames",
    "bring_back",
    "create_folder",
    "discard",
    "first_seq",
    "fsync_folder",
    "keep_segment",
    "kept_journals",
    "list_journals",
    "open_segment",
    "prune",
    "read_postable",
    "refuse_network",
    "replay",
    "reunite",
    "segment_path",
    "segments",
    "try_lock",
]

DONE: Final = "done"
_NEWBORN: Final = "tmp-"
_SUFFIX: Final = ".seg"
_POSTED: Final = "posted"
# File systems whose locks are the server's to keep: they lapse when the connection does.
_NETWORK: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2"}
    | {"glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"}
)


class JournalUnsafe(Exception):
    """The data directory lies where a lock is no proof of life."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal's files say, folded by attempt.

    `open` are the attempts without a close, each with its last checkpoint; `last_postable` is the seq of
    the last record that is to be posted, 0 without one. `read_postable` reads those, a segment at a time.
    """

    header: Header
    last_seq: int
    last_postable: int
    open: Sequence[tuple[Open, Check | None]]


def refuse_network(folder: Path, mounts: str) -> None:
    """Raise JournalUnsafe when `folder` is on a network file system; `mounts` is /proc/self/mountinfo."""
    path = folder.resolve()
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].encode().decode("unicode_escape")
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, right.split(" ")[0]
    if kind in _NETWORK:
        raise JournalUnsafe(
            f"{path} is on a {kind} file system, whose locks lapse: keep the data directory on a local disk"
        )


def create_folder(parent: Path, journal: str, first: bytes, first_seq: int) -> tuple[int, int]:
    """Make a journal with its first frame, locked before anybody can see it.

    Returns the descriptors of the lock and of the first segment. Both close on exec: a child that inherited
    the lock would make a dead owner look alive.
    """
    newborn, folder = parent / f"{_NEWBORN}{journal}", parent / journal
    newborn.mkdir(parents=True)
    lock = os.open(newborn / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    segment = open_segment(newborn, first_seq)
    _write(segment, first)
    os.fsync(segment)
    fsync_folder(newborn)
    newborn.rename(folder)
    fsync_folder(parent)
    return lock, segment


def segment_path(folder: Path, first_seq: int) -> Path:
    """Where the segment that begins at this seq lies."""
    return folder / f"{first_seq:020d}{_SUFFIX}"


def open_segment(folder: Path, first_seq: int) -> int:
    """A new segment's descriptor; the caller makes the name durable with `fsync_folder`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    return os.open(segment_path(folder, first_seq), flags, 0o600)


def segments(folder: Path) -> list[Path]:
    """The segments, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def fsync_folder(folder: Path) -> None:
    """Make names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_journals(parent: Path) -> list[str]:
    """The ids of every visible journal, living or dead."""
    if not parent.is_dir():
        return []
    names = [entry.name for entry in parent.iterdir() if entry.is_dir()]
    return sorted(name for name in names if name != DONE and not name.startswith(_NEWBORN))


def try_lock(folder: Path) -> int | None:
    """The descriptor of the journal's lock if its owner is gone, else None."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        with suppress(OSError):
            folder.rmdir()  # an adopter died before its last step; a folder with anything in it stays
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another adopter may have finished with this very file between the two calls.
        if os.fstat(lock).st_nlink:
            return lock
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
            os.close(lock)
            raise
    os.close(lock)
    return None


def replay(folder: Path) -> Replay | None:
    """Read a journal whose lock is held, cut its torn tail, and fold it by attempt; None when empty.

    Of a journal that a later release wrote only the header is read, and nothing is cut.
    """
    fold = _Fold()
    files = segments(folder)
    for number, file in enumerate(files):
        data = file.read_bytes()
        end = 0
        for frame in frames(data):
            fold.add(frame)
            end = frame.start + len(frame.raw)
            if fold.is_foreign:
                return fold.result()
        if end < len(data):
            _cut(file, end, files[number + 1 :])
            break
    return fold.result()


class _Fold:
    """Folds frames by attempt. Only what runs is remembered: a journal may be far larger than memory."""

    def __init__(self) -> None:
        self._header: Header | None = None
        self._last_seq = 0
        self._last_postable = 0
        self._opened: dict[str, Open] = {}
        self._checks: dict[str, Check] = {}

    @property
    def is_foreign(self) -> bool:
        return self._header is not None and self._header.version > VERSION

    def add(self, frame: Frame) -> None:
        self._last_seq = max(self._last_seq, frame.seq)
        if frame.kind in POSTABLE:
            self._last_postable = frame.seq
        match decode(frame.raw):
            case Header() as header:
                self._header = self._header or header
            case Open() as opened:
                self._opened[opened.facts.attempt] = opened
            case Check() as check:
                self._checks[check.attempt] = check
            case Close() as close:
                self._opened.pop(close.facts.attempt, None)
                self._checks.pop(close.facts.attempt, None)

    def result(self) -> Replay | None:
        if self._header is None:
            return None
        running = [(opened, self._checks.get(attempt)) for attempt, opened in self._opened.items()]
        return Replay(self._header, self._last_seq, self._last_postable, running)


def read_postable(folder: Path, after_seq: int, up_to_seq: int) -> list[tuple[int, bytes]]:
    """The records to be posted, (seq, frame), of the first segment that has any in `(after, up_to]`."""
    for file in segments(folder):
        found = [
            (frame.seq, frame.raw)
            for frame in frames(file.read_bytes())
            if frame.kind in POSTABLE and after_seq < frame.seq <= up_to_seq
        ]
        if found:
            return found
    return []


def append_frames(folder: Path, data: bytes) -> None:
    """Append to a dead journal's last segment, and bring all of it to the disk before SQL hears of it."""
    descriptor = os.open(segments(folder)[-1], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync_folder(folder)


def discard(folder: Path, posted: int) -> None:
    """Delete a finished journal, its lock still held: the segments, then the lock.

    The segments go to `done`, with the seq they were posted up to: a database that is restored to an
    earlier state posts them again.
    """
    keep = _kept(folder)
    keep.mkdir(parents=True, exist_ok=True)
    for file in segments(folder):
        file.rename(keep / file.name)
    (keep / _POSTED).write_text(str(posted))
    (folder / "lock").unlink(missing_ok=True)
    folder.rmdir()


def keep_segment(folder: Path, file: Path) -> None:
    """Set a posted segment of a living journal aside."""
    keep = _kept(folder)
    keep.mkdir(parents=True, exist_ok=True)
    file.rename(keep / file.name)


def kept_journals(parent: Path) -> dict[str, int]:
    """The journals in `done` that were finished, and the seq each was posted up to."""
    found = {}
    for marker in sorted((parent / DONE).glob(f"*/{_POSTED}")):
        if segments(marker.parent):
            found[marker.parent.name] = int(marker.read_text() or 0)
    return found


def bring_back(parent: Path, journal: str) -> None:
    """Make a finished journal one of the dead again, for an adopter to post."""
    kept, newborn = parent / DONE / journal, parent / f"{_NEWBORN}{journal}"
    newborn.mkdir(exist_ok=True)
    reunite(newborn, kept)
    (newborn / "lock").touch(mode=0o600)
    newborn.rename(parent / journal)
    fsync_folder(parent)


def reunite(folder: Path, kept: Path | None = None) -> bool:
    """Put the segments that were set aside back before those that are left; False when there are none."""
    kept = kept or _kept(folder)
    if not kept.is_dir():
        return False
    for file in segments(kept):
        file.rename(folder / file.name)
    shutil.rmtree(kept)
    fsync_folder(folder)
    return True


def first_seq(folder: Path) -> int:
    """The seq that the oldest segment begins with."""
    return int(segments(folder)[0].stem)


def prune(parent: Path, before_s: float, at_most_bytes: int) -> None:
    """Forget what was set aside before that moment, and the oldest of it beyond the bound.

    Segments of a journal that lives, or waits to be adopted, are forgotten like any other.
    """
    files = sorted(parent.glob(f"{DONE}/*/*{_SUFFIX}"), key=lambda file: file.stat().st_mtime)
    left = sum(file.stat().st_size for file in files)
    for file in files:
        if file.stat().st_mtime < before_s or left > at_most_bytes:
            left -= file.stat().st_size
            file.unlink()
    for folder in (*(parent / DONE).glob("*"), *parent.glob(f"{_NEWBORN}*")):
        if not segments(folder) and folder.stat().st_mtime < before_s:
            shutil.rmtree(folder)


def _kept(folder: Path) -> Path:
    return folder.parent / DONE / folder.name


def _cut(file: Path, end: int, later: Sequence[Path]) -> None:
    """Cut a torn tail. Segments after it were never synced past it, so nothing was promised from them."""
    with file.open("r+b") as stream:
        stream.truncate(end)
        os.fsync(stream.fileno())
    for each in later:
        each.unlink()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
