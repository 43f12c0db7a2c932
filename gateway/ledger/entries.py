"""From journal records to what posting writes: ledger rows, sums, charges by window. Pure.

Charges of a row and of the sums are the same integers: what no line of the call explains is put on the
`requests` meter, so that the sums of a table of sums and of the ledger are one number, always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gateway.domain.periods import slot_of
from gateway.ledger.records import CallFacts, Close, Closing, Correct, PostedPart, WindowRef, decode
from gateway.store.belongings import Belonging
from gateway.store.posting import Batch, Charge

__all__ = ["Postable", "Rows", "digest"]

# window's row, amount, hold (None: soft), whether it had its row when it was held
_Part = tuple[int, int, int | None, bool]
NOTHING: Final = Charge(0, 0, 0, 0, 0)
_JSON: Final = msgspec.json.Encoder().encode
_NO_TAGS: Final = "{}"
_NO_FLAGS: Final = "[]"


class Postable(NamedTuple):
    """One record to be posted, as it stands in the journal: a close or a correction.

    `poison` is why SQL refuses its row ("row: ..."), or its amounts, too ("amounts: ...").
    """

    seq: int
    frame: bytes
    poison: str = ""


# Rows of the windows that records name otherwise; None: the budget does not exist.
Rows = Mapping[WindowRef, int | None]


def digest(journal: str, postables: Sequence[Postable], rows: Rows) -> Batch:
    """Everything the records write, added up. Costs a few microseconds each; done before the transaction."""
    made = _Digest(journal, rows)
    for postable in postables:
        made.add(postable)
    return made.batch(postables[-1].seq)


class _Digest:
    """Adds records up."""

    def __init__(self, journal: str, window_rows: Rows) -> None:
        self._journal = journal
        self._window_rows = window_rows
        self._rows: list[tuple[Any, ...]] = []
        self._charges: dict[int, Charge] = {}
        self._quarantined: list[tuple[int, bytes, str, str]] = []
        self._belongings: list[Belonging] = []
        # Sums by key and then by meter: most calls of a batch share the key.
        self._sums: dict[tuple[Any, ...], dict[str, list[int]]] = {}
        self._user_sums: dict[tuple[Any, ...], dict[str, list[int]]] = {}
        self._tag_sums: dict[tuple[Any, ...], dict[str, list[int]]] = {}

    def batch(self, last_seq: int) -> Batch:
        return Batch(
            last_seq,
            self._rows,
            {
                "rollups": _flat(self._sums),
                "end_user_rollups": _flat(self._user_sums),
                "tag_rollups": _flat(self._tag_sums),
            },
            self._charges,
            self._quarantined,
            self._belongings,
        )

    def add(self, postable: Postable) -> None:
        record = decode(postable.frame)
        if isinstance(record, Correct):
            facts, closing, hold, is_held = record.facts, record.difference, 0, False
            name: tuple[str, str, str | None] = (record.correction, record.kind, record.reason)
        else:
            assert isinstance(record, Close), "nothing else is postable"
            facts, closing, hold, is_held = record.facts, record.closing, record.hold_nano, True
            name = (facts.attempt, "call", None)
        parts = self._named(record.parts)
        if postable.poison:
            self._set_aside(postable, parts, is_held)
            return
        has_overrun = self._charge(parts, is_held)
        self._rows.append(self._row(postable.seq, name, facts, closing, hold, parts, has_overrun))
        self._sum(facts, closing)
        self._belongings += [
            Belonging(
                each,
                facts.upstream,
                facts.account,
                facts.attempt,
                closing.closed_at_us,
                each == closing.awaited,
            )
            for each in closing.made
        ]

    def _named(self, parts: Sequence[PostedPart]) -> list[_Part]:
        """The parts by their windows' rows."""
        named: list[_Part] = []
        for ref, amount, hold in parts:
            row = ref if isinstance(ref, int) else self._window_rows[ref]
            if row is not None:
                named.append((row, amount, hold, isinstance(ref, int)))
        return named

    def _set_aside(self, postable: Postable, parts: Sequence[_Part], is_held: bool) -> None:
        """No row and no sums; the money counts all the same, unless that is what SQL refuses."""
        counted = [] if postable.poison.startswith("amounts") else parts
        self._charge(counted, is_held)
        amounts = _text([each[:2] for each in counted])
        self._quarantined.append((postable.seq, postable.frame, amounts, postable.poison))

    def _charge(self, parts: Sequence[_Part], is_held: bool) -> bool:
        """Add to each window what was charged to it; True when any was charged more than it held."""
        has_overrun = False
        for window, amount, hold, has_row in parts:
            # Nothing was held for a correction, so an addition is overrun in full; soft budgets hold nothing.
            is_hard = hold is not None
            overrun = max(0, amount - (hold if is_held and hold else 0)) if is_hard else 0
            against_lease = amount if is_hard and is_held and has_row else 0
            unleased = amount if is_hard and is_held and not has_row else 0
            settled = amount if is_held else 0
            known = self._charges.get(window, NOTHING)
            self._charges[window] = Charge(
                known[0] + amount,
                known[1] + overrun,
                known[2] + against_lease,
                known[3] + unleased,
                known[4] + settled,
            )
            has_overrun = has_overrun or overrun > 0
        return has_overrun

    def _row(
        self,
        seq: int,
        name: tuple[str, str, str | None],
        facts: CallFacts,
        closing: Closing,
        hold: int,
        parts: Sequence[_Part],
        has_overrun: bool,
    ) -> tuple[Any, ...]:
        """In the order of the ledger's columns."""
        flags = closing.flags
        if has_overrun and "overrun" not in flags:
            flags = [*flags, "overrun"]
        return (
            name[0],
            name[1],
            facts.attempt,
            facts.call,
            self._journal,
            seq,
            facts.admitted_at_us,
            closing.closed_at_us,
            None,
            facts.account,
            facts.key,
            facts.end_user,
            _text(facts.tags) if facts.tags else _NO_TAGS,
            facts.provider,
            facts.upstream,
            facts.model,
            closing.served_model,
            closing.service_tier or None,
            facts.format,
            facts.streamed,
            closing.status,
            closing.outcome,
            _text(closing.usage),
            closing.usage_source,
            closing.raw_usage,
            _text(closing.lines),
            _text(flags) if flags else _NO_FLAGS,
            hold,
            closing.charge_nano,
            closing.list_nano,
            max(0, closing.charge_nano - hold),
            _text([each[:3] for each in parts]),
            name[2],
        )

    def _sum(self, facts: CallFacts, closing: Closing) -> None:
        slot = slot_of(facts.admitted_at_us)
        key = (slot, facts.account, facts.key, facts.provider, facts.model)
        _add(self._sums.setdefault(key, {}), closing)
        if facts.end_user is not None:
            _add(self._user_sums.setdefault((*key, facts.end_user), {}), closing)
        for tag, value in facts.tags.items():
            _add(self._tag_sums.setdefault((*key, tag, value), {}), closing)


def _add(meters: dict[str, list[int]], closing: Closing) -> None:
    """Add a call to [quantity, cost, list cost] of each of its meters.

    Quantities are the usage's; a meter that only a line knows (a fee) has the line's.
    """
    cost_left, list_left = closing.charge_nano, closing.list_nano
    usage = closing.usage
    for meter, quantity in usage.items():
        if meter != "requests":
            _of(meters, meter)[0] += quantity
    for line in closing.lines:
        meter, quantity, _, _, cost, at_list = line
        total = _of(meters, meter)
        if meter not in usage and meter != "requests":
            total[0] += quantity
        total[1] += cost
        total[2] += at_list
        cost_left -= cost
        list_left -= at_list
    total = _of(meters, "requests")
    total[0] += closing.requests
    total[1] += cost_left
    total[2] += list_left


def _of(meters: dict[str, list[int]], meter: str) -> list[int]:
    total = meters.get(meter)
    if total is None:
        total = meters[meter] = [0, 0, 0]
    return total


def _flat(sums: Mapping[tuple[Any, ...], Mapping[str, Sequence[int]]]) -> list[tuple[Any, ...]]:
    """Rows in ascending order of their keys, which is the order of their locks."""
    return sorted(
        (*key, meter, *amounts)
        for key, meters in sums.items()
        for meter, amounts in meters.items()
        if any(amounts)
    )


def _text(value: Any) -> str:
    return _JSON(value).decode()
