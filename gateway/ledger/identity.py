"""Who this worker is to others: the data directory's id, the machine's boot, its name. Blocking."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gateway.domain.ids import JOURNAL_BYTES, base62
from gateway.ledger.files import fsync_folder, refuse_network

__all__ = ["Place", "find_place", "journal_id"]

_MOUNTS = Path("/proc/self/mountinfo")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Place(NamedTuple):
    """Where a worker keeps its journals. `boot_id` changes with every start of the machine, "" if unknown."""

    journals: Path
    data_dir: str
    boot_id: str
    host: str


def journal_id(random: bytes) -> str:
    """A journal's id: 11 base62 characters of 8 random bytes, never used again."""
    assert len(random) == JOURNAL_BYTES, "a journal's id is 8 bytes"
    return base62(int.from_bytes(random, "big"), 11)


def find_place(folder: Path, random_bytes: Callable[[int], bytes]) -> Place:
    """Prepare the data directory. Raises JournalUnsafe on a network file system."""
    journals = folder / "journals"
    journals.mkdir(parents=True, exist_ok=True)
    if _MOUNTS.exists():
        refuse_network(journals, _MOUNTS.read_text())
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    return Place(journals, _data_dir_id(folder, random_bytes), boot, socket.gethostname())


def _data_dir_id(folder: Path, random_bytes: Callable[[int], bytes]) -> str:
    """The directory's id, made once: several workers may start at once, and one of them wins."""
    name = folder / "data_dir.id"
    candidate = folder / f"data_dir.{random_bytes(8).hex()}"
    if not name.exists():
        candidate.write_text(random_bytes(8).hex())
        try:
            os.link(candidate, name)
            fsync_folder(folder)
        except FileExistsError:
            pass
        candidate.unlink()
    return name.read_text()
