"""From journal records to what posting writes: the ledger row, the sums, the amounts by window. Pure.

Charges of a row and of the sums are the same integers: what no line of the call explains is put on the
`requests` meter, so that the sums of a table of sums and of the ledger are one number, always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.domain.periods import slot_of
from gateway.ledger.records import (
    CallFacts,
    Close,
    Closing,
    Correct,
    Line,
    PostedPart,
)
from gateway.store.posting import Entry, Sum

__all__ = ["amounts_of", "amounts_only", "entry_of_close", "entry_of_correction"]

_JSON: Final = msgspec.json.Encoder().encode


def entry_of_close(journal: str, seq: int, facts: CallFacts, close: Close) -> Entry:
    """What a closed attempt writes."""
    closing = close.closing
    overrun = max(0, closing.charge_nano - close.hold_nano)
    flags = [*closing.flags]
    if any(over for _, _, over, is_hard in amounts_of(close.parts) if is_hard) and "overrun" not in flags:
        flags.append("overrun")
    row = _row(
        facts.attempt,
        "call",
        journal,
        seq,
        facts,
        closing,
        flags,
        close.hold_nano,
        overrun,
        close.parts,
        None,
    )
    return Entry(seq, row, _sums(facts, closing), amounts_of(close.parts))


def entry_of_correction(journal: str, seq: int, correct: Correct) -> Entry:
    """What a correction writes. Nothing was held for it, so an addition is overrun in full."""
    difference = correct.difference
    overrun = max(0, difference.charge_nano)
    row = _row(
        correct.correction,
        correct.kind,
        journal,
        seq,
        correct.facts,
        difference,
        difference.flags,
        0,
        overrun,
        correct.parts,
        correct.reason,
    )
    amounts = [
        (window, amount, 0 if hold is None else max(0, amount), False)
        for window, amount, hold in correct.parts
    ]
    return Entry(seq, row, _sums(correct.facts, difference), amounts)


def amounts_of(parts: Sequence[PostedPart]) -> list[tuple[int, int, int, bool]]:
    """(window, amount, overrun, is hard) of each window a call was counted in."""
    return [
        (window, amount, 0 if hold is None else max(0, amount - hold), hold is not None)
        for window, amount, hold in parts
    ]


def amounts_only(entry: Entry) -> Entry:
    """The entry of a record whose row SQL refuses: its money counts all the same."""
    return entry._replace(row=None, sums=())


def _row(
    entry: str,
    kind: str,
    journal: str,
    seq: int,
    facts: CallFacts,
    closing: Closing,
    flags: Sequence[str],
    hold: int,
    overrun: int,
    parts: Sequence[PostedPart],
    reason: str | None,
) -> tuple[Any, ...]:
    """In the order of the ledger's columns."""
    return (
        entry,
        kind,
        facts.attempt,
        facts.call,
        journal,
        seq,
        facts.admitted_at_us,
        closing.closed_at_us,
        facts.account,
        facts.key,
        facts.end_user,
        _text(facts.tags),
        facts.provider,
        facts.upstream,
        facts.model,
        closing.served_model,
        facts.format,
        facts.streamed,
        closing.status,
        closing.outcome,
        _text(closing.usage),
        closing.usage_source,
        closing.raw_usage,
        _text(closing.lines),
        _text(flags),
        hold,
        closing.charge_nano,
        closing.list_nano,
        overrun,
        _text(parts),
        reason,
    )


def _text(value: Any) -> str:
    return _JSON(value).decode()


def _sums(facts: CallFacts, closing: Closing) -> list[Sum]:
    """The additions to the three tables of sums, one for each meter (and end user, and tag)."""
    base = (slot_of(facts.admitted_at_us), facts.account, facts.key, facts.provider, facts.model)
    sums = []
    for meter, amounts in _meters(closing).items():
        sums.append(Sum("rollups", (*base, meter), amounts))
        if facts.end_user is not None:
            sums.append(Sum("end_user_rollups", (*base, facts.end_user, meter), amounts))
        for tag, value in facts.tags.items():
            sums.append(Sum("tag_rollups", (*base, tag, value, meter), amounts))
    return sums


def _meters(closing: Closing) -> Mapping[str, tuple[int, int, int]]:
    """Quantity, cost and list cost of each meter that has any."""
    meters = {meter: [quantity, 0, 0] for meter, quantity in closing.usage.items() if meter != "requests"}
    meters["requests"] = [
        closing.requests,
        closing.charge_nano - _total(closing.lines, 4),
        closing.list_nano - _total(closing.lines, 5),
    ]
    for line in closing.lines:
        total = meters.setdefault(line[0], [line[1], 0, 0])
        total[1] += line[4]
        total[2] += line[5]
    return {meter: (each[0], each[1], each[2]) for meter, each in meters.items() if any(each)}


def _total(lines: Sequence[Line], column: int) -> int:
    return sum(line[column] for line in lines)  # type: ignore[misc]
