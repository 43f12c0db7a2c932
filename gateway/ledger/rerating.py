"""Re-rating: what booked calls would have cost by the prices there are now, and the entries that make it so.

Nothing booked is changed. The difference of each call is an entry of kind `adjustment` in the windows, sums
and hour of the call; with it a second run finds nothing to do. A call that is not posted yet is found by a
later run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from gateway.domain.catalogue import Catalogue
from gateway.domain.costing import Charge
from gateway.domain.rerating import Rated, rerated
from gateway.ledger.correcting import adjustment
from gateway.ledger.entries import Postable, digest
from gateway.ledger.records import CORRECT, Correct, encode
from gateway.store.corrections import Booked, booked
from gateway.store.posting import post
from gateway.store.rerating import Due

__all__ = ["Change", "rerate"]

# Where such entries say they are from: no worker's journal has them.
JOURNAL: Final = "rerating"


class Change(NamedTuple):
    """What re-rating does to one call, in nano-USD."""

    account: str
    provider: str
    model: str
    before_nano: int
    after_nano: int


def rerate(
    conn: Connection,
    due: Iterable[Due],
    catalogue: Catalogue,
    chains: Mapping[str, Sequence[str]],
    prices_of: Mapping[str, str],
    *,
    books: bool,
    reason: str,
    new_id: Callable[[], str],
    now_us: int,
) -> list[Change]:
    """Compare each call with what it would cost now and, if `books`, book the differences.

    `chains` has every account with those above it; `prices_of` the provider whose prices an upstream's calls
    pay, where it is not the upstream's own.
    """
    changes, entries = [], []
    for each in due:
        found = booked(conn, each.attempt)
        assert found is not None, "it was read from the book"
        exact = _exact(found, catalogue, chains, prices_of)
        entry = None if exact is None else adjustment(new_id(), found, exact, reason, now_us)
        if entry is not None:
            entries.append(entry)
            after = found.charge + entry.difference.charge_nano
            row = found.row
            changes.append(Change(row.account, row.provider, row.model, found.charge, after))
    if books and entries:
        _book(conn, entries, now_us)
    return changes


def _exact(
    found: Booked,
    catalogue: Catalogue,
    chains: Mapping[str, Sequence[str]],
    prices_of: Mapping[str, str],
) -> Charge | None:
    row = found.row
    call = Rated(
        provider=prices_of.get(row.upstream, row.provider),
        model=row.model,
        served_model=row.served_model,
        service_tier=row.service_tier or "",
        accounts=chains[row.account],
        admitted_at_us=row.admitted_at if row.late_for is None else row.late_for,
        usage=found.usage,
        lines=[(meter, price, quantity) for (meter, price, _), (quantity, _, _) in found.lines.items()],
    )
    return rerated(call, catalogue)


def _book(conn: Connection, entries: Sequence[Correct], now_us: int) -> None:
    """Ledger, sums and windows, as posting moves them; no lease is touched, for nothing was held."""
    frames = [Postable(seq, encode(seq, CORRECT, each)) for seq, each in enumerate(entries, start=1)]
    post(conn, JOURNAL, digest(JOURNAL, frames, {}), {}, now_us)
