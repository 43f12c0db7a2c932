"""The catalogue: which model a name means at a provider, what it costs and what its limits are.

A catalogue is an immutable snapshot; a change of prices makes a new one. Rate cards and match expressions
are prepared when they are first asked for, so a snapshot of thousands of models is made in milliseconds.

What a name means, first hit wins:
1. the model of that id (letter case aside);
2. the first model of the provider, by position, whose match expression accepts the name;
3. the same two at the providers whose models this one serves too (Azure serves OpenAI's);
4. all of the above for the name with a compact date written out (`-20251211` as `-2025-12-11`), the form
   that LiteLLM and OpenRouter use.
A model that exists because somebody posted a price for it (`source` POSTED) inherits the rows of the
model that its name would mean otherwise: a price of its own for one meter leaves the others as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from gateway.domain.explanations import ExplainedRate, explain
from gateway.domain.matching import Predicate, compile_match
from gateway.domain.prices import PriceRow, RateCard
from gateway.domain.terms import Term

__all__ = [
    "MODELS_OF_OTHERS",
    "POSTED",
    "Catalogue",
    "Explanation",
    "ModelEntry",
    "ModelLimits",
    "ModelRecord",
]

# Providers that serve other companies' models under those companies' names, and whose prices hold there:
# genai-prices `fallback_model_providers`, in its order.
MODELS_OF_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "azure_openai": ("openai", "anthropic", "deepseek", "x-ai", "moonshotai"),
    "gemini": ("anthropic",),
}

# The `source` of a model that exists because somebody posted a price for it.
POSTED: Final = "manual"

# Names come from clients and there is no end to them; the memory of what they mean starts anew when full.
_REMEMBERED_NAMES: Final = 8192
_LONGEST_NAME: Final = 255
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)", re.ASCII)


class ModelRecord(NamedTuple):
    """One row of `models`: `match` is the expression of genai-prices as JSON data, see `domain.matching`."""

    provider: str
    model: str
    match: Mapping[str, Any]
    position: int
    context_window: int | None
    source: str


class ModelLimits(NamedTuple):
    """One row of `model_limits`: tokens, and the request field that caps the output; None is unknown.

    `model` may be a name that is no model of its own, such as `gpt-5-chat-latest`: it has the price of
    another but limits of its own.
    """

    provider: str
    model: str
    effective_from_us: int
    context_window: int | None
    max_output: int | None
    cap_field: str | None
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class ModelEntry:
    """A model as one provider serves it.

    `provider` and `model` are the catalogue name: what budgets, allow-lists, ledger and reports see.
    `card` is another provider's (see `card.provider`) where that one's model is served here. `limits` are
    sorted by date, the latest first.
    """

    provider: str
    model: str
    card: RateCard
    limits: tuple[ModelLimits, ...]
    described_window: int | None = None

    @property
    def name(self) -> str:
        """The catalogue name in full: `provider/model`."""
        return f"{self.provider}/{self.model}"

    def limits_at(self, at_us: int) -> ModelLimits | None:
        """The limits in force at the instant."""
        return next((each for each in self.limits if each.effective_from_us <= at_us), None)

    def context_window(self, at_us: int) -> int | None:
        """Most tokens of input and output together: the cited figure, else the price list's round one."""
        limits = self.limits_at(at_us)
        if limits is None or limits.context_window is None:
            return self.described_window
        return limits.context_window


class Explanation(NamedTuple):
    """What a name means at a provider, how that was found, and the rows a call would pay."""

    name: str
    entry: ModelEntry
    how: str
    rates: tuple[ExplainedRate, ...]


class Catalogue:
    """A snapshot of models, prices, limits and aliases."""

    def __init__(
        self,
        models: Iterable[ModelRecord],
        prices: Iterable[PriceRow],
        limits: Iterable[ModelLimits] = (),
        aliases: Mapping[str, str] | None = None,
        terms: Iterable[Term] = (),
    ) -> None:
        """`aliases` map a bare name to `provider/model`; `terms` are what accounts negotiated."""
        self._terms = tuple(terms)
        self.aliases = dict(aliases or {})
        self._rows: dict[tuple[str, str], list[PriceRow]] = {}
        for row in prices:
            self._rows.setdefault((row.provider, row.model), []).append(row)
        self._by_price: dict[str, PriceRow] = {}
        self._limits: dict[tuple[str, str], list[ModelLimits]] = {}
        for each in limits:
            self._limits.setdefault((each.provider, each.model), []).append(each)
        self._by_id: dict[str, dict[str, ModelRecord]] = {}
        for record in sorted(models, key=lambda each: (each.provider, each.position, each.model)):
            self._by_id.setdefault(record.provider, {}).setdefault(record.model.lower(), record)
        self._matchers: dict[str, list[tuple[Predicate, ModelRecord]]] = {}
        self._entries: dict[tuple[str, str, str], ModelEntry] = {}
        self._meanings: dict[tuple[str, str], ModelEntry | None] = {}

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider that has a model here, sorted."""
        return tuple(sorted(self._by_id))

    def resolve(self, provider: str, name: str) -> ModelEntry | None:
        """The model that `name` means at `provider`, or None. Aliases are not looked at."""
        key = (provider, name)
        try:
            return self._meanings[key]
        except KeyError:
            if len(name) > _LONGEST_NAME:
                return None
        lowered = name.lower()
        entry = self._meaning(provider, lowered)
        if entry is None and (written_out := _COMPACT_DATE.sub(r"-\1-\2-\3", lowered)) != lowered:
            entry = self._meaning(provider, written_out)
        if len(self._meanings) >= _REMEMBERED_NAMES:
            self._meanings.clear()
        self._meanings[key] = entry
        return entry

    def price(self, price: str) -> PriceRow | None:
        """The row that a charge names; None for one that is in no list, such as a ceiling's."""
        if not self._by_price:
            self._by_price = {row.id: row for rows in self._rows.values() for row in rows}
        return self._by_price.get(price)

    def alias_of(self, name: str) -> tuple[str, str] | None:
        """The provider and model that a bare name is an alias of."""
        target = self.aliases.get(name)
        if target is None:
            return None
        provider, _, model = target.partition("/")
        return provider, model

    def providers_of(self, name: str, among: Sequence[str] | None = None) -> tuple[str, ...]:
        """The providers at which `name` means a priced model, in the order of `among` (all, if None)."""
        found = []
        for provider in self.providers if among is None else among:
            entry = self.resolve(provider, name)
            if entry is not None and entry.card.is_priced:
                found.append(provider)
        return tuple(found)

    def explain(
        self, provider: str, name: str, at_us: int, accounts: Sequence[str] = ()
    ) -> Explanation | None:
        """Which rows a call by those accounts would pay at that instant, and why; None for unknown names."""
        entry = self.resolve(provider, name)
        if entry is None:
            return None
        how = "its match expression accepts the name"
        if entry.card.provider != provider:
            how = f"{provider} serves the model of {entry.card.provider}"
        elif entry.model.lower() == name.lower():
            how = "it has this id"
        card = entry.card.for_accounts(accounts)
        return Explanation(name, entry, how, tuple(explain(card, at_us)))

    def entries(self, provider: str) -> Iterator[ModelEntry]:
        """Every model that the provider serves: its own by position, then other companies'."""
        seen: set[str] = set()
        for owner in (provider, *MODELS_OF_OTHERS.get(provider, ())):
            for name, record in self._by_id.get(owner, {}).items():
                if name not in seen:
                    seen.add(name)
                    yield self._entry(record, provider)

    def _meaning(self, provider: str, name: str) -> ModelEntry | None:
        record = next(self._candidates(provider, name), None)
        if record is None:
            return None
        entry = self._entry(record, provider)
        own = self._limits_of(record.provider, name)
        return replace(entry, limits=own) if own and name != record.model.lower() else entry

    def _limits_of(self, provider: str, model: str) -> tuple[ModelLimits, ...]:
        return tuple(
            sorted(self._limits.get((provider, model), ()), key=lambda each: -each.effective_from_us)
        )

    def _candidates(self, provider: str, name: str) -> Iterator[ModelRecord]:
        """The models that the lower-case `name` can mean at `provider`, best first."""
        for owner in (provider, *MODELS_OF_OTHERS.get(provider, ())):
            record = self._by_id.get(owner, {}).get(name)
            if record is not None:
                yield record
            yield from (record for accepts, record in self._matchers_of(owner) if accepts(name))

    def _matchers_of(self, provider: str) -> list[tuple[Predicate, ModelRecord]]:
        matchers = self._matchers.get(provider)
        if matchers is None:
            records = self._by_id.get(provider, {}).values()
            # A posted model is known by its id alone: it must not take names away from others.
            listed = [record for record in records if record.source != POSTED]
            matchers = self._matchers[provider] = [(compile_match(each.match), each) for each in listed]
        return matchers

    def _entry(self, record: ModelRecord, provider: str) -> ModelEntry:
        key = (provider, record.provider, record.model)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._made(record, provider)
        return entry

    def _made(self, record: ModelRecord, provider: str) -> ModelEntry:
        owned = (record.provider, record.model)
        rows = self._rows.get(owned, ())
        limits = self._limits_of(*owned)
        terms = [term for term in self._terms if term.covers(provider, record.model)]
        base = self._base(record) if record.source == POSTED else None
        if base is None:
            card = RateCard(record.provider, record.model, rows, terms=terms)
            return ModelEntry(provider, record.model, card, limits, record.context_window)
        card = RateCard(
            record.provider,
            record.model,
            rows,
            inherited=(*base.card.rows, *base.card.inherited),
            terms=terms,
        )
        window = record.context_window or base.described_window
        return ModelEntry(provider, record.model, card, limits or base.limits, window)

    def _base(self, posted: ModelRecord) -> ModelEntry | None:
        """What the name of a posted model would mean if nobody had posted it."""
        candidates = self._candidates(posted.provider, posted.model.lower())
        record = next((each for each in candidates if each is not posted), None)
        return None if record is None else self._entry(record, posted.provider)
