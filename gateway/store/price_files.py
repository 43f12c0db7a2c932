"""Prices that people write: posted ones, price files, and the cited seed that ships with the package.

Pure conversion; `store.prices` writes the rows.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import msgspec

from gateway.domain.catalogue import POSTED, ModelLimits, ModelRecord
from gateway.domain.errors import BadRequest
from gateway.domain.instants import parse_rfc3339
from gateway.domain.money import parse_price
from gateway.domain.names import problem_with
from gateway.domain.prices import MANUAL, SEED, STANDARD_TIERS, PriceRow, with_id
from gateway.domain.usage import METERS

__all__ = [
    "PostedPrice",
    "posted_row",
    "read_price_file",
    "seed_aliases",
    "seed_free",
    "seed_limits",
    "seed_prices",
]

_FREE: dict[str, Any] = {"usd_per_million": "0", "effective_from": "1970-01-01"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class PostedPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A price as `POST /admin/prices` and price files have it."""

    provider: str
    model: str
    meter: str
    usd_per_million: str
    effective_from: str | None = None
    service_tier: str = ""
    context_over: int = 0
    account: str | None = None
    source: str | None = None


def posted_row(price: PostedPrice, now_us: int, *, rank: int = MANUAL) -> PriceRow:
    """The row of a posted price, effective from now unless it says otherwise.

    Raises BadRequest `invalid_value` with the field as its `param`.
    """
    if price.meter not in METERS:
        raise _refusal("meter", f"{price.meter!r} is no meter", f"The meters are {', '.join(METERS)}.")
    if not 0 <= price.context_over < 2**53:
        raise _refusal("context_over", "context_over is no number of tokens", "0 is the base price.")
    tier = price.service_tier.lower()
    row = PriceRow(
        id="",
        provider=_named(price.provider, "provider", 64),
        model=_named(price.model, "model", 255),
        meter=price.meter,
        price_pico=parse_price(price.usd_per_million),
        service_tier="" if tier in STANDARD_TIERS else _named(tier, "service_tier", 32),
        context_over=price.context_over,
        effective_from_us=now_us if price.effective_from is None else _instant_us(price.effective_from),
        account=price.account,
        source=_named(price.source or POSTED, "source", 1000),
        source_text=price.usd_per_million,
        rank=rank,
        recorded_at_us=now_us,
    )
    return with_id(row)


def read_price_file(data: bytes, now_us: int, *, name: str) -> list[PriceRow]:
    """The rows of a price file: a JSON list of posted prices, or CSV with their names as its header.

    Which of the two it is shows in the first character. Every entry needs `effective_from`, so that
    reading the file again changes nothing. Raises BadRequest naming the entry, counted from 1.
    """
    text = _decoded(data)
    entries = _json_entries(text) if text.lstrip()[:1] in ("[", "{") else _csv_entries(text)
    rows = []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(posted_row(_posted(entry, name), now_us))
        except BadRequest as refusal:
            raise BadRequest(
                refusal.code, f"price {number}: {refusal.message}", hint=refusal.hint, param=refusal.param
            ) from None
    return rows


def _posted(entry: Any, name: str) -> PostedPrice:
    hint = f"A price has {', '.join(PostedPrice.__struct_fields__)}; prices are decimal strings."
    try:
        price = msgspec.convert(entry, PostedPrice)
    except msgspec.ValidationError as problem:
        raise BadRequest("invalid_value", str(problem), hint=hint) from None
    if price.effective_from is None:
        raise _refusal("effective_from", "effective_from is missing", "Say from when the price counts.")
    return price if price.source else msgspec.structs.replace(price, source=f"file {name}")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadRequest("invalid_value", f"the file is no UTF-8 text: {problem.reason}") from None


def _json_entries(text: str) -> list[Any]:
    try:
        entries = msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        raise BadRequest("invalid_json", f"the file is no JSON: {problem}") from None
    if isinstance(entries, dict):
        entries = entries.get("prices", entries.get("data"))
    if not isinstance(entries, list):
        raise BadRequest("invalid_value", "the file holds no list of prices", hint='Or {"prices": [...]}.')
    return entries


def _csv_entries(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for line in reader:
            # A cell too many has the name None; it is refused with the unknown fields.
            entry: dict[str, Any] = {
                str(key): value for key, value in line.items() if value not in ("", None)
            }
            if entry.get("context_over", "").isdecimal():
                entry["context_over"] = int(entry["context_over"])
            entries.append(entry)
    except csv.Error as problem:
        raise BadRequest("invalid_value", f"line {reader.line_num}: {problem}") from None
    return entries


def _named(text: str, param: str, longest: int) -> str:
    problem = problem_with(text, longest)
    if problem:
        raise _refusal(param, f"The {param} {problem}.", f"Give a name of 1 to {longest} characters.")
    return text


def _instant_us(text: str) -> int:
    """Microseconds of an RFC 3339 instant, or of a date's first instant in UTC."""
    whole = f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text
    at_us = parse_rfc3339(whole)
    if at_us is None:
        raise _refusal(
            "effective_from",
            f"{text[:80]!r} is no time.",
            'Give an RFC 3339 time with its offset, such as "2026-01-01T00:00:00Z", or a date.',
        )
    return at_us


def _refusal(param: str, message: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", message, hint=hint, param=param)


def seed_prices() -> list[PriceRow]:
    """The cited prices that ship with the package; each names its source."""
    prices = msgspec.json.decode(_seed("prices.json"), type=list[PostedPrice])
    return [posted_row(price, 0, rank=SEED) for price in prices]


def seed_free(models: Iterable[ModelRecord]) -> list[PriceRow]:
    """A price of 0 at each of these models for what its provider bills nothing for, with the source."""
    free = msgspec.json.decode(_seed("free.json"), type=list[dict[str, Any]])
    return [
        posted_row(PostedPrice(**each, model=model.model, **_FREE), 0, rank=SEED)
        for each in free
        for model in models
        if model.provider == each["provider"]
    ]


def seed_limits() -> list[ModelLimits]:
    """The cited model limits that ship with the package."""
    return [ModelLimits(**each) for each in msgspec.json.decode(_seed("limits.json"))]


def seed_aliases() -> dict[str, str]:
    """Bare names that are understood out of the box, each as `provider/model`."""
    return msgspec.json.decode(_seed("aliases.json"), type=dict[str, str])


def _seed(name: str) -> bytes:
    return files("gateway.store").joinpath("seed", name).read_bytes()
