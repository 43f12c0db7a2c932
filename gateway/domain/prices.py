"""Prices: dated rows, and the rate card that finds which of them a call pays.

Rows are append-only: a new price is a new row, and every charge names the rows it was made of. Which row
a meter pays is decided slot by slot. A slot is (meter, service tier, context threshold); among its rows in
force at the call's time the first of these that tells them apart decides:

1. a row for the caller's own account over its parent's, and any of these over the list price;
2. a row of the model itself over one it inherits (`RateCard(inherited=...)`);
3. the higher rank: `MANUAL` (posted by an admin or read from a file) over `SEED` (cited in this package)
   over `GENAI` (imported): what a human wrote is not undone by an import that comes later;
4. a row for some hours of the day over one for all day;
5. the later `effective_from_us`, then the later `recorded_at_us`, then the id, so that no two workers differ.

What is paid may then differ from the row by what the account negotiated (`domain.terms`).

Among a meter's slots, the service tier's own go before the standard tier's, and the highest threshold that
the call's input exceeds goes before the lower ones. A meter without any row is priced as the next one in
`FALLBACKS`; a per-use fee has no such relative and stays unpriced, which is flagged, never free.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from gateway.domain.price_rows import GENAI, MANUAL, SEED, Hours, PriceRow
from gateway.domain.terms import Term, contracted
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS

__all__ = [
    "FALLBACKS",
    "GENAI",
    "MANUAL",
    "SEED",
    "STANDARD_TIERS",
    "UNPRICED_TIER",
    "Dearest",
    "Hours",
    "PriceRow",
    "RateCard",
    "Rates",
    "with_id",
]

UNPRICED_TIER: Final = "unpriced_tier"

# How the providers name the tier that the plain price list is for: OpenAI `auto` and `default`, Anthropic
# and Gemini `standard`, Anthropic's request `standard_only`, Vertex `ON_DEMAND`.
STANDARD_TIERS: Final = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})

# The rows a meter may pay, best first. Cached audio or images without a price of their own are billed like
# uncached ones where those are priced apart: the dearer reading, and the one genai-prices has.
FALLBACKS: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input",),
    "cache_read": ("cache_read", "input"),
    "cache_write_5m": ("cache_write_5m", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write_5m", "input"),
    "audio_input": ("audio_input", "input"),
    "audio_cache_read": ("audio_cache_read", "audio_input", "cache_read", "input"),
    "image_input": ("image_input", "input"),
    "image_cache_read": ("image_cache_read", "image_input", "cache_read", "input"),
    "video_input": ("video_input", "input"),
    "output": ("output",),
    "reasoning": ("reasoning", "output"),
    "audio_output": ("audio_output", "output"),
    "image_output": ("image_output", "output"),
    "video_output": ("video_output", "output"),
}

# Meters that any call may turn out to use. OpenAI caches by itself and from gpt-5.6 on bills the writes
# (openai-python `cache_write_tokens`), so a cache write needs no request for one.
_PLAIN: Final = frozenset({"input", "cache_read", "cache_write_5m", "output", "reasoning"})

_NEVER: Final = 2**63 - 1


class Dearest(NamedTuple):
    """The dearest rates of each direction in pico-USD, and how many of the rates considered are uneven.

    A line whose rate is no whole number of nano-USD may be rounded up by half of one.
    """

    input_pico: int
    output_pico: int
    uneven: int


class Rates:
    """What each meter pays in one situation: `rows` has an entry for every meter that has a price.

    `flags` holds `UNPRICED_TIER` where a tier was asked for that nobody priced: `rows` are the standard
    tier's then. `per_request` says that a call pays a fee for itself, whatever it consumes.
    """

    __slots__ = ("_dearest", "flags", "per_request", "rows")

    def __init__(self, rows: Mapping[str, PriceRow], flags: tuple[str, ...] = ()) -> None:
        self.rows = rows
        self.flags = flags
        self.per_request = "requests" in rows
        self._dearest: dict[frozenset[str], Dearest] = {}

    def dearest(self, apart: frozenset[str]) -> Dearest:
        """The dearest rates among the meters any call may use and those in `apart`."""
        found = self._dearest.get(apart)
        if found is None:
            entering = self._picos(meter for meter in INPUT_METERS if meter in _PLAIN or meter in apart)
            leaving = self._picos(meter for meter in OUTPUT_METERS if meter in _PLAIN or meter in apart)
            uneven = sum(pico % 1000 != 0 for pico in (*entering, *leaving))
            found = Dearest(max(entering, default=0), max(leaving, default=0), uneven)
            self._dearest[apart] = found
        return found

    def _picos(self, meters: Iterable[str]) -> list[int]:
        return [self.rows[meter].price_pico for meter in meters if meter in self.rows]


class _Span(NamedTuple):
    """Rates and the instants [start, end) in which they hold."""

    start_us: int
    end_us: int
    rates: Rates


class RateCard:
    """All rows of one provider's model, prepared so that finding a call's rates takes about a microsecond.

    Immutable but for its memory of answers, which is bounded by the rows themselves. A card answers with
    list prices; `for_accounts` gives the card that an account pays.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        rows: Iterable[PriceRow],
        *,
        inherited: Iterable[PriceRow] = (),
        accounts: Sequence[str] = (),
        terms: Sequence[Term] = (),
    ) -> None:
        """`accounts` runs from the caller's own up to the root; rows and `terms` of others are left out.

        `terms` are those that cover this model.
        """
        self.provider = provider
        self.model = model
        self.rows = tuple(rows)
        self.inherited = tuple(inherited)
        self._all_terms = tuple(terms)
        depth = self._depth = {account: -index for index, account in enumerate(accounts)}
        self._terms = [term for term in terms if term.account in depth]
        ours = [row for row in self.rows if row.account is None or row.account in depth]
        beneath = [row for row in self.inherited if row.account is None or row.account in depth]
        ranked = [(_precedence(row, depth, own=True), row) for row in ours]
        ranked += [(_precedence(row, depth, own=False), row) for row in beneath]
        ranked.sort(key=lambda each: each[0], reverse=True)
        self._slots: dict[tuple[str, str], list[PriceRow]] = {}
        for _, row in ranked:
            self._slots.setdefault((row.service_tier, row.meter), []).append(row)
        applicable = [row for _, row in ranked]
        self.thresholds = tuple(sorted({row.context_over for row in applicable} - {0}))
        self.tiers = frozenset(row.service_tier for row in applicable) - {""}
        self._hours = tuple(sorted({row.hours for row in applicable if row.hours is not None}))
        self._instants = _instants((*applicable, *self._terms))
        self._overriding = frozenset(
            row.account for row in (*self.rows, *self.inherited) if row.account is not None
        ) | {term.account for term in terms}
        self._spans: dict[tuple[str, int], _Span] = {}
        self._answers: dict[tuple[str, int, int, tuple[bool, ...]], Rates] = {}
        self._contracts: dict[tuple[str, ...], RateCard] = {}
        self.list_card = self

    @classmethod
    def flat(cls, model: str, price_pico: int) -> RateCard:
        """A card on which every token costs the same: what a policy charges where nobody has a price."""
        rows = [
            PriceRow("", "", model, meter, price_pico, source="prices.unpriced")
            for meter in ("input", "output")
        ]
        return cls("", model, map(with_id, rows))

    @property
    def is_priced(self) -> bool:
        """Whether anybody ever priced anything of this model."""
        return bool(self.rows or self.inherited)

    def for_accounts(self, accounts: Sequence[str]) -> RateCard:
        """The card a caller pays whose accounts, own first, up to the root, are these."""
        if not self._overriding:
            return self
        ours = tuple(account for account in accounts if account in self._overriding)
        if not ours:
            return self
        card = self._contracts.get(ours)
        if card is None:
            card = RateCard(
                self.provider,
                self.model,
                self.rows,
                inherited=self.inherited,
                accounts=ours,
                terms=self._all_terms,
            )
            card.list_card = self
            self._contracts[ours] = card
        return card

    def rates(self, at_us: int, service_tier: str | None = "", input_total: int = 0) -> Rates:
        """What each meter pays for a call of that time, tier and total input (in tokens)."""
        bucket = bisect_left(self.thresholds, input_total) if self.thresholds else 0
        span = self._spans.get((service_tier or "", bucket))
        if span is not None and span.start_us <= at_us < span.end_us:
            return span.rates
        return self._find(at_us, service_tier or "", bucket)

    def _find(self, at_us: int, service_tier: str, bucket: int) -> Rates:
        tier = service_tier if service_tier in self.tiers else service_tier.lower()
        if tier in STANDARD_TIERS:
            tier = ""
        elif tier not in self.tiers:
            tier = UNPRICED_TIER
        date = bisect_right(self._instants, at_us)
        hours = tuple(each.cover(at_us) for each in self._hours)
        key = (tier, bucket, date, hours)
        rates = self._answers.get(key)
        if rates is None:
            rates = self._answers[key] = self._resolve(at_us, tier, bucket)
        # Hours make rates come and go within a day; only a card without them can say until when they hold.
        # A tier that nobody priced may have any name, and names must not fill the memory.
        if not hours and (tier == service_tier or service_tier in STANDARD_TIERS):
            start = self._instants[date - 1] if date else -_NEVER
            end = self._instants[date] if date < len(self._instants) else _NEVER
            self._spans[service_tier, bucket] = _Span(start, end, rates)
        return rates

    def _resolve(self, at_us: int, tier: str, bucket: int) -> Rates:
        over = self.thresholds[bucket - 1] if bucket else 0
        meters = dict.fromkeys((*FALLBACKS, *(meter for _, meter in self._slots)))
        rows: dict[str, PriceRow] = {}
        for meter in meters:
            row = next(self.candidates(meter, at_us, tier, over), None)
            if row is not None:
                rows[meter] = self.paid(row, meter, at_us)
        tiered = tier == "" or any(row.service_tier == tier for row in rows.values())
        return Rates(rows, () if tiered else (UNPRICED_TIER,))

    def paid(self, row: PriceRow, meter: str, at_us: int) -> PriceRow:
        """What the caller pays for `meter` where `row` is its price: that, or what was negotiated on it."""
        return contracted(row, meter, at_us, self._terms, self._depth) if self._terms else row

    def candidates(self, meter: str, at_us: int, tier: str, over: int) -> Iterator[PriceRow]:
        """The rows in force that `meter` could pay with any input above `over` tokens; the first counts."""
        for candidate in FALLBACKS.get(meter, (meter,)):
            for slot_tier in (tier, "") if tier else ("",):
                for row in self._slots.get((slot_tier, candidate), ()):
                    if row.context_over <= over and row.in_force(at_us):
                        yield row


def with_id(row: PriceRow, again_us: int = 0) -> PriceRow:
    """The row with its id: the same for the same price of the same slot, date and rank.

    So writing a price twice is one row, whatever its source was called and whenever it came. `again_us`
    is for a price that comes back to a date after another one took its place there.
    """
    key = (*row[1:9], row.account, row.rank, *((again_us,) if again_us else ()))
    return row._replace(id="price_" + blake2b(repr(key).encode(), digest_size=12).hexdigest())


def _precedence(row: PriceRow, depth: Mapping[str, int], *, own: bool) -> tuple[int | str, ...]:
    """Sorts the rows of a meter and tier so that the first one that applies is the one that counts."""
    return (
        row.context_over,
        int(row.account is not None),
        depth.get(row.account, 0) if row.account is not None else 0,
        int(own),
        row.rank,
        int(row.hours is not None),
        row.effective_from_us,
        row.recorded_at_us,
        row.id,
    )


def _instants(rows: Iterable[PriceRow | Term]) -> tuple[int, ...]:
    """Every instant at which some row or term comes into force or ends, in order."""
    found = {row.effective_from_us for row in rows}
    found.update(row.effective_to_us for row in rows if row.effective_to_us is not None)
    return tuple(sorted(found))
