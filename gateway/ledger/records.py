"""The journal's records and their bytes. Pure: values in, bytes out, and back.

A frame is length, CRC-32, seq, type, body; the CRC covers all that follows it. The body is MessagePack.
A file may end in the middle of a frame (the process died while it wrote, or the power went): reading
stops at the first frame that is not whole, and what stands before it is everything there is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from gateway.domain.budgets import Unit

__all__ = [
    "CHECK",
    "CLOSE",
    "CORRECT",
    "HEADER",
    "OPEN",
    "OUTCOMES",
    "POSTABLE",
    "VERSION",
    "CallFacts",
    "Check",
    "Close",
    "Closing",
    "Correct",
    "Frame",
    "Header",
    "Line",
    "Open",
    "Part",
    "PostedPart",
    "WindowRef",
    "decode",
    "encode",
    "frames",
    "interrupted",
]

HEADER: Final = 1
OPEN: Final = 2
CHECK: Final = 3
CLOSE: Final = 4
CORRECT: Final = 5
POSTABLE: Final = (CLOSE, CORRECT)
# Of the records' form. A journal of a later release is left to a worker that knows it.
VERSION: Final = 1
OUTCOMES: Final = ("done", "void", "aborted", "interrupted")

# meter, quantity, price id, price_pico, cost_nano, list_nano
Line = tuple[str, int, str, int, int, int]
# A window by its row or, where the database was away when it began, by (budget, subject, start, end).
WindowRef = int | tuple[str, str, int, int | None]
# window, unit of its budget, amount held in that unit; None: a soft budget, counted and never held
Part = tuple[WindowRef, Unit, int | None]
# window, amount charged, amount that was held (None: soft), all in the unit of its budget
PostedPart = tuple[WindowRef, int, int | None]

_PREFIX: Final = struct.Struct("<II")  # length of the body, CRC of the rest
_HEAD: Final = struct.Struct("<QB")  # seq, type
_pack_prefix: Final = _PREFIX.pack
_pack_head: Final = _HEAD.pack
_OVERHEAD: Final = _PREFIX.size + _HEAD.size
# No record of ours comes near it; a length beyond it is garbage, not a record to wait for.
_BODY_MAX: Final = 64 * 1024 * 1024


class CallFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of an attempt when it is admitted.

    Amounts are nano-USD. `usage`, `charge_nano`, `tokens`, `lines` and `list_nano` are what it costs so
    far: the counted prompt. They are booked if the worker dies before the first checkpoint. `claim` is the
    Idempotency-Key the call was made under, `service_tier` what it asked for: "" is the standard tier.
    """

    attempt: str
    call: str
    key: str
    account: str
    end_user: str | None
    tags: Mapping[str, str]
    provider: str
    upstream: str
    model: str
    format: str
    streamed: bool
    admitted_at_us: int
    hold_nano: int
    usage: Mapping[str, int]
    charge_nano: int
    tokens: int
    lines: Sequence[Line] = ()
    list_nano: int = 0
    claim: str | None = None
    service_tier: str = ""


class Closing(msgspec.Struct, array_like=True, gc=False):
    """How an attempt ended and what it costs.

    `outcome` is one of OUTCOMES. `status` is that of the upstream's answer, None when none came.
    `usage_source` is provider, counted, mixed or none; `raw_usage` the provider's object, verbatim.
    `tokens` is what token budgets count; `requests` what request budgets count: 1, or 0 for a void. `made`
    are the ids of what the attempt left at the provider; `awaited` is the one of them that is an answer made
    in the background, where its end is not known. `service_tier` is the one that decided the prices.
    """

    outcome: str
    status: int | None
    served_model: str | None
    usage: Mapping[str, int]
    usage_source: str
    raw_usage: bytes | None
    lines: Sequence[Line]
    flags: Sequence[str]
    charge_nano: int
    list_nano: int
    tokens: int
    closed_at_us: int
    requests: int
    made: Sequence[str] = ()
    awaited: str = ""
    service_tier: str = ""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The first record of every segment. A journal is never posted into another database."""

    journal: str
    data_dir: str
    database: str
    boot: str
    version: int


class Open(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt was admitted; also carried into a later segment while it runs."""

    facts: CallFacts
    parts: Sequence[Part]


class Check(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an attempt consumed so far, cumulative, what it holds by now, and what it made (see Closing)."""

    attempt: str
    usage: Mapping[str, int]
    charge_nano: int
    tokens: int
    lines: Sequence[Line]
    list_nano: int
    hold_nano: int
    parts: Sequence[Part]
    made: Sequence[str] = ()
    awaited: str = ""


class Close(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt ended; `hold_nano` is what it held in the end. Posting needs this record and no other."""

    facts: CallFacts
    closing: Closing
    hold_nano: int
    parts: Sequence[PostedPart]


class Correct(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A later, more exact figure for an attempt, booked as differences in the attempt's own windows."""

    correction: str
    kind: str  # correction, adjustment
    facts: CallFacts  # of the attempt it corrects
    difference: Closing  # usage, lines, charge, tokens: each what is to be added
    parts: Sequence[PostedPart]
    reason: str


Record = Header | Open | Check | Close | Correct
_TYPES: Final[dict[int, type[Record]]] = {
    HEADER: Header,
    OPEN: Open,
    CHECK: Check,
    CLOSE: Close,
    CORRECT: Correct,
}
_DECODERS: Final = {kind: msgspec.msgpack.Decoder(struct) for kind, struct in _TYPES.items()}
_ENCODE: Final = msgspec.msgpack.Encoder().encode


class Frame(NamedTuple):
    """One record as it stands in a file: `raw` is the whole frame, `start` its place."""

    seq: int
    kind: int
    raw: bytes
    start: int


def encode(seq: int, kind: int, record: Record) -> bytes:
    """The frame of a record."""
    body = _ENCODE(record)
    rest = _pack_head(seq, kind) + body
    return _pack_prefix(len(body), crc32(rest)) + rest


def decode(raw: bytes) -> Record:
    """The record in a whole frame, as `frames` yields them."""
    record: Record = _DECODERS[raw[_OVERHEAD - 1]].decode(memoryview(raw)[_OVERHEAD:])
    return record


def frames(data: bytes) -> Iterator[Frame]:
    """Every whole frame from the beginning on; ends at the first one that is torn or damaged."""
    start = 0
    while start + _OVERHEAD <= len(data):
        length, crc = _PREFIX.unpack_from(data, start)
        end = start + _OVERHEAD + length
        if length > _BODY_MAX or end > len(data) or crc32(data[start + _PREFIX.size : end]) != crc:
            return
        seq, kind = _HEAD.unpack_from(data, start + _PREFIX.size)
        if kind not in _DECODERS:
            return
        yield Frame(seq, kind, data[start:end], start)
        start = end


def interrupted(opened: Open, check: Check | None, closed_at_us: int) -> Closing:
    """The closing of an attempt whose worker is gone: its last checkpoint, or the counted prompt."""
    last = check or opened.facts
    return Closing(
        outcome="interrupted",
        status=None,
        served_model=None,
        usage=last.usage,
        usage_source="counted" if last.usage else "none",
        raw_usage=None,
        lines=last.lines,
        flags=["estimated", "interrupted"],
        charge_nano=last.charge_nano,
        list_nano=last.list_nano,
        tokens=last.tokens,
        closed_at_us=closed_at_us,
        requests=1,
        made=() if check is None else check.made,
        awaited="" if check is None else check.awaited,
        service_tier=opened.facts.service_tier,
    )
