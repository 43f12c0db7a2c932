"""Quotes: the most a call can cost, before it is made; and the most output that an amount can pay.

A quote bounds every usage whose input total is at most `input_tokens` and whose output total is at most
`output_tokens`, in any split over the meters the call may use, plus the fees it may incur. It takes the
dearest rate of each direction and adds what rounding line by line can add, so it is never below the cost
and, where all rates are whole nano-USD, equal to the dearest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from gateway.domain.costing import UNPRICED
from gateway.domain.prices import STANDARD_TIERS, RateCard, Rates

__all__ = ["UNKNOWN_CONTEXT", "UNKNOWN_CONTEXT_TOKENS", "Asked", "Quote", "affordable_output", "quote"]

# A call brings input that we cannot see to a model whose context window nobody recorded: the largest
# window that the catalogue knew of when this was written.
UNKNOWN_CONTEXT: Final = "unknown_context"
UNKNOWN_CONTEXT_TOKENS: Final = 2_000_000


class Asked(Protocol):
    """What a quote needs to know of a call; `formats.base.Intent` is one.

    `input_bound` tokens can be seen, `unseen_input` says that there is more; all of it is read `loops`
    times. `output_extra` is what each choice may be billed beyond its cap (rejected predictions). `fees`
    bounds the per-use meters, `prices_apart` names the meters beyond text that the call may use.
    """

    @property
    def input_bound(self) -> int: ...
    @property
    def unseen_input(self) -> bool: ...
    @property
    def loops(self) -> int: ...
    @property
    def choices(self) -> int: ...
    @property
    def output_extra(self) -> int: ...
    @property
    def fees(self) -> Mapping[str, int]: ...
    @property
    def service_tier(self) -> str | None: ...
    @property
    def prices_apart(self) -> frozenset[str]: ...


class Quote(NamedTuple):
    """The worst case: tokens in and out, nano-USD, and flags (unpriced meters or tier, unknown context)."""

    input_tokens: int
    output_tokens: int
    cost_nano: int
    flags: tuple[str, ...] = ()

    @property
    def is_priced(self) -> bool:
        """Whether everything the call may use has a price, at the tier it asks for."""
        return all(flag == UNKNOWN_CONTEXT for flag in self.flags)

    def plus(self, other: Quote) -> Quote:
        """The worst case of two parts of one call."""
        return Quote(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano + other.cost_nano,
            tuple(dict.fromkeys(self.flags + other.flags)),
        )

    @property
    def tokens(self) -> int:
        """What a budget of tokens must hold."""
        return self.input_tokens + self.output_tokens


class _Case(NamedTuple):
    """One tier and context bucket the call may end in, as pico-USD: `fixed + output * per_output`."""

    fixed: int
    per_output: int


def quote(card: RateCard, asked: Asked, output_cap: int, context_window: int | None, at_us: int) -> Quote:
    """The most the call can cost with `output_cap` tokens for each choice."""
    tokens, flags = _input_tokens(asked, context_window)
    output = asked.choices * (output_cap + asked.output_extra)
    worst = 0
    for case in _cases(card, asked, tokens, at_us):
        worst = max(worst, (case.fixed + output * case.per_output) // 1000)
    flags += _unpriced(card, asked, tokens, output, at_us)
    return Quote(tokens, output, worst, flags)


def affordable_output(
    card: RateCard, asked: Asked, headroom_nano: int, ceiling: int, context_window: int | None, at_us: int
) -> int:
    """The largest output cap for each choice, up to `ceiling`, whose quote is at most `headroom_nano`.

    0 where not one token of output fits, whether or not the input alone would.
    """
    tokens, _ = _input_tokens(asked, context_window)
    most = ceiling
    for case in _cases(card, asked, tokens, at_us):
        left = 1000 * headroom_nano + 999 - case.fixed
        if left < 0:
            return 0
        if case.per_output:
            most = min(most, left // (case.per_output * asked.choices) - asked.output_extra)
    return max(most, 0)


def _input_tokens(asked: Asked, context_window: int | None) -> tuple[int, tuple[str, ...]]:
    flags: tuple[str, ...] = ()
    bound = asked.input_bound
    if asked.unseen_input:
        if context_window is None:
            context_window = UNKNOWN_CONTEXT_TOKENS
            flags = (UNKNOWN_CONTEXT,)
        bound = max(bound, context_window)
    return bound * asked.loops, flags


def _cases(card: RateCard, asked: Asked, tokens: int, at_us: int) -> Iterator[_Case]:
    """Every tier and context bucket the call may end in.

    A provider may serve the standard tier where another was asked for, so both are cases.
    """
    tier = asked.service_tier or ""
    tiers = ("",) if tier in STANDARD_TIERS else (tier, "")
    for name in tiers:
        for threshold in card.thresholds:
            if threshold < tokens:
                yield _case(card.rates(at_us, name, threshold), asked, threshold)
        yield _case(card.rates(at_us, name, tokens), asked, tokens)


def _case(rates: Rates, asked: Asked, tokens: int) -> _Case:
    dearest = rates.dearest(asked.prices_apart)
    fixed = tokens * dearest.input_pico + 500 * dearest.uneven
    if asked.fees or rates.per_request:
        fixed += sum(map(_fee, _uses(rates, asked)))
    return _Case(fixed, dearest.output_pico)


def _uses(rates: Rates, asked: Asked) -> Iterator[tuple[int, int]]:
    """The most uses of each priced fee, with its price in pico-USD."""
    for meter, uses in asked.fees.items():
        row = rates.rows.get(meter)
        if row is not None:
            yield uses, row.price_pico
    if rates.per_request and "requests" not in asked.fees:
        yield 1, rates.rows["requests"].price_pico


def _fee(uses_and_price: tuple[int, int]) -> int:
    uses, pico = uses_and_price
    return uses * pico + (500 if pico % 1000 else 0)


def _unpriced(card: RateCard, asked: Asked, tokens: int, output: int, at_us: int) -> tuple[str, ...]:
    rates = card.rates(at_us, asked.service_tier, tokens)
    rows = rates.rows
    if "input" in rows and "output" in rows and not asked.fees:
        return rates.flags
    needed = {"input": tokens, "output": output, **asked.fees}
    return rates.flags + tuple(
        UNPRICED + meter for meter, most in needed.items() if most and meter not in rows
    )
