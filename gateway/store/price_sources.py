"""genai-prices as rows: its providers, models, tiers, hours and dates, converted without loss.

Pure conversion; `store.prices` writes the rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from gateway.domain.catalogue import ModelRecord
from gateway.domain.money import price_pico
from gateway.domain.prices import GENAI, STANDARD_TIERS, Hours, PriceRow, with_id

__all__ = ["PROVIDER_NAMES", "UNITS", "Conversion", "convert_genai", "genai_prices"]

# genai-prices has its own words for two of our providers.
PROVIDER_NAMES: Final[Mapping[str, str]] = {"google": "gemini", "azure": "azure_openai"}

# Its price keys: the meter, and how many units the figure is for (genai_prices/data_units.py, `per`).
# Below the line are units of endpoints that the gateway does not relay. They are kept under names of
# their own, so that nothing of the source is lost and nothing that is metered is priced by them.
UNITS: Final[Mapping[str, tuple[str, int]]] = {
    "input_mtok": ("input", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write_5m", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "input_audio_mtok": ("audio_input", 1_000_000),
    "output_audio_mtok": ("audio_output", 1_000_000),
    "cache_audio_read_mtok": ("audio_cache_read", 1_000_000),
    "input_image_mtok": ("image_input", 1_000_000),
    "output_image_mtok": ("image_output", 1_000_000),
    "cache_image_read_mtok": ("image_cache_read", 1_000_000),
    "input_video_mtok": ("video_input", 1_000_000),
    "output_video_mtok": ("video_output", 1_000_000),
    "output_reasoning_mtok": ("reasoning", 1_000_000),
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "code_executions_kcount": ("code_interpreter", 1000),
    "requests_kcount": ("requests", 1000),
    # ---
    "output_citation_mtok": ("citation_tokens", 1_000_000),
    "input_mchars": ("characters", 1_000_000),
    "input_text_messages_kcount": ("text_messages", 1000),
    "audio_hours": ("audio_seconds", 3600),
    "input_audio_hours": ("audio_input_seconds", 3600),
    "output_audio_hours": ("audio_output_seconds", 3600),
    "input_gpixels": ("pixels", 1_000_000_000),
    "input_document_kpages": ("document_pages", 1000),
    "input_annotated_document_kpages": ("annotated_pages", 1000),
    "rerank_searches_kcount": ("rerank_searches", 1000),
    "social_searches_kcount": ("social_searches", 1000),
}

# What genai-prices makes a price variant depend on, and we call a service tier. Variants by anything else
# become a tier named "key:value", which no provider reports, so they are listed and never charged.
_TIER_KEYS: Final = ("service_tier", "processing", "speed")


class Conversion(NamedTuple):
    """What a source holds, as rows; `skipped` says in words what could not be said in rows."""

    models: list[ModelRecord]
    rows: list[PriceRow]
    skipped: list[str]


class _Unsayable(ValueError):
    """A price that our rows have no way to say. Its model is left out, and refused, rather than guessed."""


def genai_prices() -> Conversion:
    """The installed genai-prices, converted.

    It takes 0.2 s to import and is wanted once in a table's life, so it is loaded here, not with the module.
    """
    data = importlib.import_module("genai_prices.data")
    return convert_genai(data.providers, f"genai-prices {version('genai-prices')}")


def convert_genai(providers: Iterable[Any], source: str) -> Conversion:
    """Rows of genai-prices' `Provider` objects (genai_prices/types.py), equal in what they charge.

    There, the last conditional price that is active counts as a whole, and a variant replaces single prices
    of it. Here, each price is a row with the dates between which it counts, so a price that a later set
    does not have ends when that set begins.
    """
    conversion = Conversion([], [], [])
    for provider in providers:
        name = PROVIDER_NAMES.get(provider.id, provider.id)
        for position, model in enumerate(provider.models):
            match = _clause(model.match)
            record = ModelRecord(name, model.id, match, position, model.context_window, source)
            try:
                rows = list(_model_rows(name, model, source))
            except _Unsayable as problem:
                conversion.skipped.append(f"{record.provider}/{record.model}: {problem}")
                continue
            conversion.models.append(record)
            conversion.rows.extend(rows)
    return conversion


class _Figure(NamedTuple):
    """A price as found: what it is for, and the source's text."""

    meter: str
    over: int
    text: str
    per: int


class _Era(NamedTuple):
    """Figures that count from an instant on, until the next era, within `hours`."""

    start_us: int
    figures: list[_Figure]


def _model_rows(provider: str, model: Any, source: str) -> Iterator[PriceRow]:
    conditions = model.prices if isinstance(model.prices, list) else [_Always(model.prices)]
    for hours, eras in _standard(conditions):
        yield from _rows(provider, model.id, "", hours, eras, source)
    variants: dict[str, list[Any]] = {}
    for variant in model.price_variants or ():
        variants.setdefault(_tier(variant.when), []).append(variant)
    for tier, those in variants.items():
        if tier not in STANDARD_TIERS:
            yield from _rows(provider, model.id, tier, None, _variant_eras(those), source)
        elif any(variant.prices.__dict__ for variant in those):
            raise _Unsayable(f"the standard tier {tier!r} has prices of its own")


class _Always(NamedTuple):
    """A plain set of prices, in the shape of a conditional one."""

    prices: Any
    constraint: None = None


def _standard(conditions: Sequence[Any]) -> Iterator[tuple[Hours | None, list[_Era]]]:
    """The eras of a model's standard prices: those for all day, then those of each daily span.

    The last active condition counts, by its place in the list; where none is active, the first.
    """
    if conditions and _is_daily(conditions[0].constraint):
        raise _Unsayable("it has prices for some hours of the day only")
    dated = [index for index, each in enumerate(conditions) if not _is_daily(each.constraint)]
    since = {index: _start(conditions[index].constraint) for index in dated}
    # Which condition counts all day from an instant on, in order.
    winners = {
        start: max((index for index in dated if since[index] <= start), default=0)
        for start in sorted({0, *since.values()} if dated else ())
    }
    yield None, [_Era(start, _figures(conditions[winner].prices)) for start, winner in winners.items()]
    spans: list[Hours] = []
    for index, each in enumerate(conditions):
        if not _is_daily(each.constraint):
            continue
        hours = _hours(each.constraint)
        if any(_overlap(hours, other) for other in spans):
            raise _Unsayable("it has daily spans that overlap")
        spans.append(hours)
        yield hours, list(_daily(conditions, index, winners))


def _daily(conditions: Sequence[Any], index: int, winners: Mapping[int, int]) -> Iterator[_Era]:
    """The eras of one daily span: it counts until a condition behind it in the list does."""
    figures = _figures(conditions[index].prices)
    slots = {(figure.meter, figure.over) for figure in figures}
    for start, winner in winners.items():
        all_day = {(figure.meter, figure.over) for figure in _figures(conditions[winner].prices)}
        if winner < index and all_day - slots:
            raise _Unsayable("a daily span has fewer prices than the rest of the day")
        yield _Era(start, figures if winner < index else [])


def _variant_eras(variants: Sequence[Any]) -> list[_Era]:
    """The eras of one tier: at each instant, the first active variant that has a key decides it."""
    if any(_is_daily(variant.constraint) for variant in variants):
        raise _Unsayable("a tier's price depends on the hour")
    eras = []
    for start in sorted({0, *(_start(variant.constraint) for variant in variants)}):
        chosen: dict[str, Any] = {}
        for variant in variants:
            if _start(variant.constraint) <= start:
                chosen = {**variant.prices.__dict__, **chosen}
        eras.append(_Era(start, _figures_of(chosen)))
    return eras


def _rows(
    provider: str, model: str, tier: str, hours: Hours | None, eras: Sequence[_Era], source: str
) -> Iterator[PriceRow]:
    """A row for each stretch of eras in which a slot's figure stays the same."""
    running: dict[tuple[str, int], tuple[int, _Figure]] = {}
    for start, figures in (*eras, _Era(-1, [])):
        found = {(figure.meter, figure.over): figure for figure in figures}
        for slot, (since, figure) in list(running.items()):
            if found.get(slot) == figure:
                del found[slot]
                continue
            # A row without an end would come back to life where its successor ends.
            yield _row(provider, model, tier, hours, since, None if start < 0 else start, figure, source)
            del running[slot]
        running.update({slot: (start, figure) for slot, figure in found.items()})


def _row(
    provider: str,
    model: str,
    tier: str,
    hours: Hours | None,
    since: int,
    until: int | None,
    figure: _Figure,
    source: str,
) -> PriceRow:
    row = PriceRow(
        id="",
        provider=provider,
        model=model,
        meter=figure.meter,
        price_pico=_pico(figure.text, figure.per),
        service_tier=tier,
        context_over=figure.over,
        hours=hours,
        effective_from_us=since,
        effective_to_us=until,
        source=source,
        source_text=figure.text if figure.per == 1_000_000 else f"{figure.text} per {figure.per}",
        rank=GENAI,
    )
    return with_id(row)


# A few hundred figures make up all the prices there are.
_pico = lru_cache(maxsize=4096)(price_pico)


def _figures(prices: Any) -> list[_Figure]:
    return _figures_of(prices.__dict__)


def _figures_of(prices: Mapping[str, Any]) -> list[_Figure]:
    found = []
    for key, value in prices.items():
        if value is None:
            continue
        if key not in UNITS:
            raise _Unsayable(f"{key} is a unit we do not know")
        meter, per = UNITS[key]
        tiers = getattr(value, "tiers", ())
        found.append(_Figure(meter, 0, f"{value.base if tiers else value:f}", per))
        for tier in tiers:
            if tier.start < 1:
                raise _Unsayable("a context tier begins at nothing")
            found.append(_Figure(meter, tier.start, f"{tier.price:f}", per))
    return found


def _tier(when: Mapping[str, str]) -> str:
    if len(when) != 1:
        raise _Unsayable(f"a tier depends on {' and '.join(sorted(when))}")
    [(key, value)] = when.items()
    return value.lower() if key in _TIER_KEYS else f"{key}:{value}"


def _is_daily(constraint: Any) -> bool:
    return hasattr(constraint, "start_time")


def _start(constraint: Any) -> int:
    """The instant a date begins; genai-prices means UTC dates."""
    return 0 if constraint is None else _midnight_us(constraint.start_date)


def _midnight_us(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * 86_400_000_000


def _hours(constraint: Any) -> Hours:
    minutes = []
    for time in (constraint.start_time, constraint.end_time):
        moment = datetime.combine(date(2000, 1, 1), time if time.tzinfo else time.replace(tzinfo=UTC))
        moment = moment.astimezone(UTC)
        if moment.second or moment.microsecond:
            raise _Unsayable("a daily span does not begin or end at a full minute")
        minutes.append(moment.hour * 60 + moment.minute)
    return Hours(minutes[0], minutes[1], "UTC")


def _overlap(one: Hours, other: Hours) -> bool:
    starts = (one.start, other.start)
    return any(hours.cover(start * 60_000_000) for start, hours in zip(starts, (other, one), strict=True))


def _clause(clause: Any) -> dict[str, Any]:
    """A match expression as data: `ClauseOr(or_=[...])` becomes `{"or": [...]}`."""
    [(key, value)] = clause.__dict__.items()
    return {key.rstrip("_"): [_clause(part) for part in value] if isinstance(value, list) else value}
