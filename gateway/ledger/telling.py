"""What a ledger tells others: figures of a window, calls that SQL does not have yet, how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.ledger.book import FOREVER_US, WindowState
from gateway.ledger.holds import Pending
from gateway.ledger.machinery import Machinery
from gateway.ledger.records import CallFacts, Close, Closing, PostedPart, decode

__all__ = ["Balance", "Health", "Unposted", "balance_of", "health_of", "left_of", "unposted_of"]


class Balance(NamedTuple):
    """A window's figures in the budget's unit. `held` is this worker's own exactly, others' at most a second
    old; `free` is what can still be held. `resets_at_us` is None for a lifetime."""

    cap: int
    spent: int
    held: int
    resets_at_us: int | None

    @property
    def free(self) -> int:
        """What is left; negative after an overrun."""
        return self.cap - self.spent - self.held


class Unposted(NamedTuple):
    """A call that has ended and is not in SQL yet: (window, charged, held) of each window in `windows`."""

    facts: CallFacts
    closing: Closing
    windows: Sequence[PostedPart]


class Health(NamedTuple):
    """What an operator should know.

    `journal_bytes` come with room for the closes of open calls; `to_adopt` are dead journals the database
    did not take yet, `foreign_journals` those of another database or a later release. `is_finished`: the
    worker must end, for its own journal was finished by somebody else.
    """

    database_away_since_us: int | None
    database_reason: str
    journal_bytes: int
    journal_limit_bytes: int
    journal_failure: str
    unposted: int
    quarantined: int
    waiting: int
    adopted: int
    to_adopt: Sequence[str]
    foreign_journals: Sequence[str]
    is_finished: bool


def balance_of(window: WindowState) -> Balance:
    """A window's figures."""
    return Balance(
        cap=window.cap,
        spent=window.spent,
        held=window.in_flight + window.others_held,
        resets_at_us=None if window.ends_at_us >= FOREVER_US else window.ends_at_us,
    )


def left_of(window: WindowState) -> int:
    """`Balance.free` of a window, for every call's headers: without the balance."""
    return window.cap - window.spent - window.held - window.unposted - window.others_held


def unposted_of(records: Iterable[Pending]) -> list[Unposted]:
    """The calls among these records; corrections are for the book alone."""
    found = []
    for pending in records:
        record = decode(pending.frame)
        if isinstance(record, Close):
            found.append(Unposted(record.facts, record.closing, record.parts))
    return found


def health_of(parts: Machinery) -> Health:
    """How a ledger stands with the database, the journal and what dead workers left."""
    journal, courier, watcher = parts.journal, parts.courier, parts.watcher
    away = [since for since in (courier.away_since_us, watcher.away_since_us) if since is not None]
    return Health(
        database_away_since_us=min(away, default=None),
        database_reason=courier.away_reason or watcher.away_reason,
        journal_bytes=journal.used_bytes,
        journal_limit_bytes=journal.limit_bytes,
        journal_failure=str(journal.failure or ""),
        unposted=parts.poster.unposted,
        quarantined=parts.poster.quarantined,
        waiting=parts.asks.waiting,
        adopted=parts.adopter.adopted,
        to_adopt=sorted(parts.adopter.waiting),
        foreign_journals=sorted(parts.adopter.foreign),
        is_finished=courier.is_finished,
    )
