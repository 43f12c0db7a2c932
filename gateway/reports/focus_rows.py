"""What a row of the FOCUS Cost and Usage dataset says: columns, units, SKUs and the four costs.

Specification: FOCUS 1.2 (2025-05-29) and 1.4 (2026-06-04), https://focus.finops.org. One row stands for one
meter of one model at one price, for a day, an account, a key and tags: each kind of token is its own SKU.

    ListCost        list price x quantity, exactly
    ContractedCost  negotiated price x quantity, exactly; list price where nothing was negotiated
    BilledCost      what was charged: the sum of the calls' own charges, each rounded once; 0 where prepaid
    EffectiveCost   what was charged, prepaid or not; 0 for the purchase that prepays
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS, UNIT_OF

__all__ = ["VERSIONS", "Key", "Listed", "Place", "Sums", "columns", "purchase", "usage"]

VERSIONS: Final = ("1.2", "1.4")
_PER_MILLION: Final = 1_000_000

# Column and kind; `number` is a Decimal, `text` a String, Date/Time or JSON. Versions name SELLER and HOST.
_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("BilledCost", "number"),
    ("BillingAccountId", "text"),
    ("BillingAccountName", "text"),
    ("BillingAccountType", "text"),
    ("BillingCurrency", "text"),
    ("BillingPeriodEnd", "text"),
    ("BillingPeriodStart", "text"),
    ("ChargeCategory", "text"),
    ("ChargeClass", "text"),
    ("ChargeDescription", "text"),
    ("ChargeFrequency", "text"),
    ("ChargePeriodEnd", "text"),
    ("ChargePeriodStart", "text"),
    ("CommitmentDiscountCategory", "text"),
    ("CommitmentDiscountId", "text"),
    ("CommitmentDiscountName", "text"),
    ("CommitmentDiscountQuantity", "number"),
    ("CommitmentDiscountStatus", "text"),
    ("CommitmentDiscountType", "text"),
    ("CommitmentDiscountUnit", "text"),
    ("ConsumedQuantity", "number"),
    ("ConsumedUnit", "text"),
    ("ContractedCost", "number"),
    ("ContractedUnitPrice", "number"),
    ("EffectiveCost", "number"),
    ("InvoiceId", "text"),
    ("InvoiceIssuerName", "text"),
    ("ListCost", "number"),
    ("ListUnitPrice", "number"),
    ("PricingCategory", "text"),
    ("PricingQuantity", "number"),
    ("PricingUnit", "text"),
    ("SELLER", "text"),
    ("HOST", "text"),
    ("ServiceCategory", "text"),
    ("ServiceName", "text"),
    ("ServiceSubcategory", "text"),
    ("SkuId", "text"),
    ("SkuMeter", "text"),
    ("SkuPriceDetails", "text"),
    ("SkuPriceId", "text"),
    ("SubAccountId", "text"),
    ("SubAccountName", "text"),
    ("SubAccountType", "text"),
    ("Tags", "text"),
    ("x_KeyId", "text"),
)
# 1.3 renamed who sells and who makes; 1.4 took the old names away.
_SELLERS: Final[Mapping[str, Mapping[str, str]]] = {
    "1.2": {"SELLER": "ProviderName", "HOST": "PublisherName"},
    "1.4": {"SELLER": "ServiceProviderName", "HOST": "HostProviderName"},
}
_METERS: Final[Mapping[str, str]] = {
    "input": "Input Tokens",
    "cache_read": "Cache Read Input Tokens",
    "cache_write_5m": "Cache Write Input Tokens",
    "cache_write_1h": "Cache Write 1h Input Tokens",
    "audio_cache_read": "Audio Cache Read Input Tokens",
    "image_cache_read": "Image Cache Read Input Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Output Tokens",
    "requests": "Requests",
}
_CACHE_ACTIONS: Final[Mapping[str, str]] = {
    "cache_read": "Read",
    "audio_cache_read": "Read",
    "image_cache_read": "Read",
    "cache_write_5m": "Write",
    "cache_write_1h": "Write",
}
_SERVICE: Final = "AI and Machine Learning"
_SUBSERVICE: Final = "Generative AI"
_JSON: Final = msgspec.json.Encoder(order="sorted").encode

Cells = list[Any]


class Place(NamedTuple):
    """An account as FOCUS knows it: its root pays, it is the sub-account, its cost centre is a tag."""

    root: str
    root_name: str
    account: str
    path: str
    kind: str
    cost_center: str


class Listed(NamedTuple):
    """What stands in the price list for a line: pico-USD per unit, and what tells the price from others."""

    price_pico: int | None
    service_tier: str
    context_over: int


class Key(NamedTuple):
    """What a row is about. Instants are the day of the charge; `pool` is the credit that paid, if any.

    `price_pico` None is what no price explains.
    """

    start_us: int
    end_us: int
    account: str
    key: str
    provider: str
    model: str
    meter: str
    price: str
    price_pico: int | None
    tags: str
    pool: str | None
    is_late: bool


class Sums(NamedTuple):
    """Units, and nano-USD as charged and at list price."""

    quantity: int
    cost: int
    list_cost: int


def columns(version: str) -> list[tuple[str, str]]:
    """Names and kinds of the columns, in order; custom ones last, as the specification asks."""
    names = _SELLERS[version]
    return [(names.get(name, name), kind) for name, kind in _COLUMNS]


def usage(
    key: Key, sums: Sums, listed: Listed, place: Place, period: tuple[str, str], days: tuple[str, str]
) -> Cells:
    """The row of a meter. `period` and `days` are the bounds of billing and charge period as text."""
    is_token = UNIT_OF.get(key.meter) == "tokens"
    unit = _unit(key.meter)
    is_priced = key.price_pico is not None
    list_pico = _list_pico(key, sums, listed)
    scale = _PER_MILLION if is_token else 1
    sku = f"{key.provider}/{key.model}/{key.meter}"
    prepaid = key.pool is not None
    known = {
        **_shared(place, key.provider, period, days),
        "BilledCost": 0 if prepaid else sums.cost * 1000,
        "EffectiveCost": sums.cost * 1000,
        "ListCost": sums.list_cost * 1000 if list_pico is None else list_pico * sums.quantity,
        "ContractedCost": sums.cost * 1000 if key.price_pico is None else key.price_pico * sums.quantity,
        "ChargeCategory": "Usage" if is_priced else "Adjustment",
        "ChargeClass": "Correction" if key.is_late else None,
        "ChargeDescription": f"{key.model}, {_meter(key.meter)}",
        "ChargeFrequency": "Usage-Based" if is_priced else "One-Time",
        "SkuId": sku if is_priced else None,
        "SkuMeter": _meter(key.meter) if is_priced else None,
        "SkuPriceId": _price_id(sku, listed) if is_priced else None,
        "SkuPriceDetails": _details(key) if is_priced else None,
        "Tags": _tags(key.tags, place),
        "x_KeyId": key.key,
    }
    if is_priced:
        known |= {
            "ConsumedQuantity": sums.quantity * 10**12,
            "ConsumedUnit": unit,
            "PricingQuantity": sums.quantity * 10**12 // scale,
            "PricingUnit": f"{_PER_MILLION} {unit}" if is_token else unit,
            "ListUnitPrice": None if list_pico is None else list_pico * scale,
            "ContractedUnitPrice": (key.price_pico or 0) * scale,
            "PricingCategory": "Committed" if prepaid else "Standard",
        }
    if prepaid:
        known |= _committed(key.pool, sums.cost) | {"CommitmentDiscountStatus": "Used"}
    return [known.get(name) for name, _ in _COLUMNS]


def purchase(grant: Any, place: Place, period: tuple[str, str], days: tuple[str, str]) -> Cells:
    """The row of credit that was given to an account: billed now, effective as it is used."""
    pico = grant.amount * 1000
    known = {
        **_shared(place, "Tollgate", period, days),
        "BilledCost": pico,
        "EffectiveCost": 0,
        "ListCost": pico,
        "ContractedCost": pico,
        "ChargeCategory": "Purchase",
        "ChargeDescription": grant.reason or "Prepaid credit",
        "ChargeFrequency": "One-Time",
        "PricingCategory": "Standard",
        "PricingQuantity": 10**12,
        "PricingUnit": "Grants",
        "ListUnitPrice": pico,
        "ContractedUnitPrice": pico,
        "SkuId": "tollgate/credit",
        "SkuPriceId": f"tollgate/credit/{grant.id}",
        "SkuMeter": "Prepaid Credit",
        "Tags": _tags("{}", place),
        **_committed(grant.budget, grant.amount),
    }
    return [known.get(name) for name, _ in _COLUMNS]


def _shared(place: Place, provider: str, period: tuple[str, str], days: tuple[str, str]) -> dict[str, Any]:
    return {
        "BillingAccountId": place.root,
        "BillingAccountName": place.root_name,
        "BillingAccountType": "Organization",
        "BillingCurrency": "USD",
        "BillingPeriodStart": period[0],
        "BillingPeriodEnd": period[1],
        "ChargePeriodStart": days[0],
        "ChargePeriodEnd": days[1],
        "InvoiceIssuerName": provider,
        "SELLER": provider,
        "HOST": provider,
        "ServiceCategory": _SERVICE,
        "ServiceName": f"{provider} API",
        "ServiceSubcategory": _SUBSERVICE,
        "SubAccountId": place.account,
        "SubAccountName": place.path,
        "SubAccountType": place.kind,
    }


def _committed(pool: str | None, nano: int) -> dict[str, Any]:
    return {
        "CommitmentDiscountCategory": "Spend",
        "CommitmentDiscountId": pool,
        "CommitmentDiscountName": "Prepaid credit",
        "CommitmentDiscountType": "Prepaid Credit",
        "CommitmentDiscountQuantity": nano * 1000,
        "CommitmentDiscountUnit": "USD",
    }


def _list_pico(key: Key, sums: Sums, listed: Listed) -> int | None:
    """Pico-USD per unit at list price: of the price list, or as what it came to where no row says it."""
    if listed.price_pico is not None:
        return listed.price_pico
    if sums.list_cost == sums.cost:
        return key.price_pico
    return None if not sums.quantity else sums.list_cost * 1000 // sums.quantity


def _price_id(sku: str, listed: Listed) -> str:
    """Never the price or its date: it stays the same when those change, and for every account."""
    over = f"/over-{listed.context_over}" if listed.context_over else ""
    return f"{sku}/{listed.service_tier or 'standard'}{over}"


def _details(key: Key) -> str:
    """Names that the specification does not define begin with x_."""
    details = {"x_ModelId": key.model}
    if key.meter in INPUT_METERS or key.meter in OUTPUT_METERS:
        details["x_TokenDirection"] = "Input" if key.meter in INPUT_METERS else "Output"
    if key.meter in INPUT_METERS:
        details["x_TokenCacheAction"] = _CACHE_ACTIONS.get(key.meter, "Uncached")
    return _JSON(details).decode()


def _tags(tags: str, place: Place) -> str:
    found = msgspec.json.decode(tags, type=dict[str, str])
    if place.cost_center:
        found = {**found, "tollgate/cost_center": place.cost_center}
    return _JSON(found).decode()


def _meter(meter: str) -> str:
    known = _METERS.get(meter)
    if known is not None:
        return known
    words = meter.replace("_", " ").title()
    return f"{words} Tokens" if UNIT_OF.get(meter) == "tokens" else f"{words} Uses"


def _unit(meter: str) -> str:
    return {"tokens": "Tokens", "requests": "Requests"}.get(UNIT_OF.get(meter, ""), "Uses")
